// SPDX-License-Identifier: Apache-2.0

// Package hist is a small HDR-style histogram: log-linear buckets, relative
// error under 0.4 %, safe for concurrent recording.
package hist

import (
	"math"
	"math/bits"
	"sync/atomic"
)

const (
	subBits = 8 // 256 linear buckets per power of two
	subN    = 1 << subBits
	nBucket = (64 - subBits + 1) * subN
)

// H counts non-negative int64 values, by convention nanoseconds.
type H struct {
	counts [nBucket]atomic.Uint64
	n      atomic.Uint64
	sum    atomic.Int64
	max    atomic.Int64
	min    atomic.Int64 // stored as value+1, 0 means unset
}

// New returns an empty histogram.
func New() *H { return &H{} }

func index(v int64) int {
	if v < subN {
		return int(v)
	}
	shift := bits.Len64(uint64(v)) - subBits - 1
	return (shift+1)*subN + int(uint64(v)>>uint(shift)) - subN
}

// upper is the largest value that falls in bucket i.
func upper(i int) int64 {
	if i < subN {
		return int64(i)
	}
	shift := i/subN - 1
	base := int64(i%subN + subN)
	return (base+1)<<uint(shift) - 1
}

// Record adds one value; negative values count as zero.
func (h *H) Record(v int64) {
	if v < 0 {
		v = 0
	}
	h.counts[index(v)].Add(1)
	h.n.Add(1)
	h.sum.Add(v)
	for {
		m := h.max.Load()
		if v <= m || h.max.CompareAndSwap(m, v) {
			break
		}
	}
	for {
		m := h.min.Load()
		if (m != 0 && v+1 >= m) || h.min.CompareAndSwap(m, v+1) {
			break
		}
	}
}

// Count is the number of values recorded.
func (h *H) Count() uint64 { return h.n.Load() }

// Quantile gives the value at q in [0,1]: the upper edge of the bucket that
// holds it, never above the recorded maximum.
func (h *H) Quantile(q float64) int64 {
	n := h.n.Load()
	if n == 0 {
		return 0
	}
	want := uint64(math.Ceil(q * float64(n)))
	if want == 0 {
		want = 1
	}
	var seen uint64
	for i := range h.counts {
		if seen += h.counts[i].Load(); seen >= want {
			return min(upper(i), h.max.Load())
		}
	}
	return h.max.Load()
}

// Summary holds the usual percentiles in microseconds.
type Summary struct {
	Count uint64  `json:"count"`
	Min   float64 `json:"min_us"`
	Mean  float64 `json:"mean_us"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	Max   float64 `json:"max_us"`
}

// Summary reads the histogram, taking values as nanoseconds.
func (h *H) Summary() Summary {
	n := h.n.Load()
	if n == 0 {
		return Summary{}
	}
	us := func(v int64) float64 { return math.Round(float64(v)/10) / 100 }
	return Summary{n, us(h.min.Load() - 1), us(h.sum.Load() / int64(n)), us(h.Quantile(.5)),
		us(h.Quantile(.9)), us(h.Quantile(.99)), us(h.Quantile(.999)), us(h.max.Load())}
}
