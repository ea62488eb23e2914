// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// BenchmarkRatio compares what the journal makes durable in a second for some clients with what the plainest group commit does for as
// many, with writes of the same size. Both take turns on the same disk; "ratio" is to be 0.7 or more. Each body is new: nothing of it
// was recorded before. Making it is not measured.
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
			r.Session, r.Awaited = fmt.Sprint("ses_", c), true // as flow writes them
			in.Body = fmt.Appendf(nil, `{"n":"%8d %8d %8d",%s`, round, c, 0, benchBody)
			r.Body = &in
			number := in.Body[len(`{"n":"`)+18:][:8]
			for i := uint64(1); time.Now().Before(end); i++ {
				binary.LittleEndian.PutUint64(number, i) // one chunk up to the first brace: all of it is new
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

// rawFor counts the records that clients brought to disk in some time by the plainest group commit: who wants to write hands over
// bytes and waits; one writes and syncs what has gathered. The file was written before.
func rawFor(b *testing.B, clients, size int, d time.Duration) int64 {
	f, err := newSegmentFile(b.TempDir(), "raw", 32<<20, true)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	type write struct {
		b    []byte
		done chan error
	}
	queue := make(chan write, clients)
	var count atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for range clients {
		all.Go(func() {
			body := bytes.Repeat([]byte("x"), size)
			for time.Now().Before(end) {
				w := write{body, make(chan error, 1)}
				queue <- w
				if err := <-w.done; err != nil {
					b.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	go func() { all.Wait(); close(queue) }()
	at := int64(0)
	for first := range queue {
		runtime.Gosched()
		group, buf := []write{first}, bytes.Clone(first.b)
		for n := len(queue); n > 0; n-- {
			w := <-queue
			group, buf = append(group, w), append(buf, w.b...)
		}
		if at+int64(len(buf)) > 32<<20 {
			at = 0
		}
		_, err := f.WriteAt(buf, at)
		if err == nil {
			err = datasync(f)
		}
		at += int64(len(buf))
		for _, w := range group {
			w.done <- err
		}
	}
	return count.Load()
}
