// SPDX-License-Identifier: Apache-2.0

package hist

import (
	"math"
	"math/rand"
	"sort"
	"testing"
)

func TestBucketEdges(t *testing.T) {
	for _, v := range []int64{0, 1, 255, 256, 257, 511, 512, 513, 1e6, 1e9, 1 << 40, math.MaxInt64} {
		i := index(v)
		if i >= nBucket {
			t.Fatalf("index(%d)=%d out of range", v, i)
		}
		if u := upper(i); u < v || (v > 0 && float64(u-v)/float64(v) > 0.004) {
			t.Errorf("value %d in bucket %d with upper edge %d", v, i, u)
		}
		if i > 0 && upper(i-1) >= v {
			t.Errorf("value %d also fits bucket %d", v, i-1)
		}
	}
}

func TestQuantilesAgainstSort(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	h, all := New(), []int64{}
	for range 20000 {
		v := int64(math.Exp(r.NormFloat64()*2 + 10))
		h.Record(v)
		all = append(all, v)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	for _, q := range []float64{0.01, .5, .9, .99, .999, 1} {
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		got := h.Quantile(q)
		if got < want || float64(got-want)/float64(want) > 0.004 {
			t.Errorf("q%.3f: got %d want %d", q, got, want)
		}
	}
	if s := h.Summary(); s.Count != 20000 || s.Max < s.P999 || s.Min > s.P50 {
		t.Errorf("odd summary %+v", s)
	}
}

func TestEmpty(t *testing.T) {
	if h := New(); h.Quantile(.5) != 0 || h.Summary().Count != 0 {
		t.Fatal("an empty histogram must read zero")
	}
}
