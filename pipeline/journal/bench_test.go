// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func benchRecord(size int) pipeline.Record {
	r := intent("exc_01912e4c-0000-7000-8000-000000000000")
	in := r.Body.(*pipeline.Intent)
	in.Body = []byte(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"` + strings.Repeat("word ", size/5) + `"}]}`)
	r.Time = time.Unix(1_700_000_000, 0)
	return r
}

// The time until one record of 1 KB is on disk, alone and beside others. Compare with BenchmarkRaw.
func BenchmarkAppend(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("durable/clients=%d", clients), func(b *testing.B) {
			j := open(b, Options{Dir: b.TempDir()})
			r := benchRecord(1024)
			b.SetParallelism((clients + 1) / 2)
			if clients == 1 {
				b.SetParallelism(1)
				for b.Loop() {
					_, done := j.Append(r)
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, done := j.Append(r)
					if err := <-done; err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	for _, size := range []int{0, 1 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("written/intent=%d", size), func(b *testing.B) {
			j := open(b, Options{Dir: b.TempDir()})
			r := benchRecord(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				_, done := j.Append(r)
				select {
				case err := <-done:
					if err != nil {
						b.Fatal(err)
					}
				default:
				}
			}
		})
	}
	b.Run("written/event", func(b *testing.B) {
		j := open(b, Options{Dir: b.TempDir()})
		r := event("exc_1", 7, strings.Repeat("data: x\n\n", 25))
		b.ReportAllocs()
		for b.Loop() {
			j.Append(r)
		}
	})
}

// What the disk gives: a preallocated file, write and fdatasync.
func BenchmarkRaw(b *testing.B) {
	for _, fill := range []bool{false, true} {
		b.Run(fmt.Sprintf("filled=%v", fill), func(b *testing.B) {
			const size, n = 64 << 20, 1500
			f, err := newSegmentFile(b.TempDir(), "test", size, fill)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			buf, at := bytes.Repeat([]byte("x"), n), int64(0)
			for b.Loop() {
				if at+n > size {
					at = 0
				}
				if _, err := f.WriteAt(buf, at); err != nil {
					b.Fatal(err)
				}
				if err := datasync(f); err != nil {
					b.Fatal(err)
				}
				at += n
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	j := open(b, Options{Dir: dir})
	r := benchRecord(1024)
	for range 20_000 {
		j.Append(r)
	}
	closeJournal(b, j)
	total := int64(0)
	for _, path := range must(filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))) {
		total += must(os.Stat(path)).Size()
	}
	b.SetBytes(total)
	for b.Loop() {
		if rep, err := Verify(dir); err != nil || !rep.OK {
			b.Fatal(rep.Problem, err)
		}
	}
}
