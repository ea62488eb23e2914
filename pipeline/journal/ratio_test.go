// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// BenchmarkRatio compares what the journal makes durable in a second with what the disk takes of records of that size which are
// written in groups of as many as there are clients, a sync for each group. Both take turns on the same disk; "ratio" is to be 0.7
// or more. Each body is new: nothing of it was recorded before.
func BenchmarkRatio(b *testing.B) {
	for _, clients := range []int{8, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			j := open(b, Options{Dir: b.TempDir()})
			const slice = 100 * time.Millisecond
			var mine, raw []float64
			size := uint64(2000)
			for i := 0; b.Loop(); i++ {
				from, records := j.State().Durable, j.State().Records
				mine = append(mine, float64(appendFor(b, j, clients, i, slice))/slice.Seconds())
				to := j.State()
				if to.Durable.Segment != from.Segment { // the size of a record is that of the last round
					from.Offset = to.Durable.Offset - min(to.Durable.Offset, size*(to.Records-records))
				}
				if n := to.Records - records; n > 0 {
					size = max((to.Durable.Offset-from.Offset)/n, 1)
				}
				raw = append(raw, float64(rawFor(b, clients, int(size), slice))/slice.Seconds())
			}
			ratios := make([]float64, len(mine))
			for i := range mine {
				ratios[i] = mine[i] / raw[i]
			}
			for name, list := range map[string][]float64{"records/s": mine, "raw/s": raw, "ratio": ratios} {
				slices.Sort(list)
				b.ReportMetric(list[len(list)/2], name)
			}
		})
	}
}

// appendFor counts the records that clients brought to disk in some time, each one after the other.
func appendFor(b *testing.B, j *Journal, clients, round int, d time.Duration) (n int64) {
	var count atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for c := range clients {
		all.Go(func() {
			r := benchRecord(1024)
			in := *r.Body.(*pipeline.Intent)
			r.Session = fmt.Sprint("ses_", c)
			for i := 0; time.Now().Before(end); i++ {
				in.Body = fmt.Appendf(nil, `{"n":"%d %d %d",%s`, round, c, i, benchBody)
				r.Body = &in
				if _, done := j.Append(r); <-done == nil {
					count.Add(1)
				} else {
					b.Error("not recorded")
				}
			}
		})
	}
	all.Wait()
	return count.Load()
}

var benchBody = bytes.Repeat([]byte(`"k":"word word word word word word",`), 30)

// rawFor counts the records that plain writes brought to disk in some time, in a file that was written before.
func rawFor(b *testing.B, clients, size int, d time.Duration) (n int64) {
	f, err := newSegmentFile(b.TempDir(), "raw", 32<<20, true)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	group := bytes.Repeat([]byte("x"), clients*size)
	at := int64(0)
	for end := time.Now().Add(d); time.Now().Before(end); n += int64(clients) {
		if at+int64(len(group)) > 32<<20 {
			at = 0
		}
		if _, err := f.WriteAt(group, at); err != nil {
			b.Fatal(err)
		}
		if err := datasync(f); err != nil {
			b.Fatal(err)
		}
		at += int64(len(group))
	}
	return n
}
