// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// The next segment is written with zeros in advance where records are small, and not where they are large. Both hold what is
// written to them, and a segment that is left can be read.
func TestPrepare(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		filled bool
	}{{"small records", 1000, true}, {"large records", 200_000, false}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			o := options(t, dir)
			o.SegmentBytes = 1 << 20
			j := open(t, o)
			data := strings.Repeat("x", c.size)
			n := 0
			write := func(until int) {
				var last <-chan error
				for ; n*c.size < until; n++ {
					_, last = j.Append(event("exc_1", n, data))
				}
				if err := <-last; err != nil {
					t.Fatal(err)
				}
			}
			write(700_000)
			var spare *os.File
			for end := time.Now().Add(30 * time.Second); spare == nil; time.Sleep(time.Millisecond) {
				j.mu.Lock()
				spare = j.spare
				j.mu.Unlock()
				if time.Now().After(end) {
					t.Fatal("no segment was prepared")
				}
			}
			if filled := strings.HasSuffix(spare.Name(), ".filled"+tmpSuffix); filled != c.filled {
				t.Errorf("prepared: %s", spare.Name())
			}
			write(3 << 20)
			closeJournal(t, j)
			seen := 0
			for _, e := range entries(t, dir) {
				if e.Kind == pipeline.KindEvent {
					seen++
				}
			}
			if seen != n {
				t.Errorf("%d of %d records can be read", seen, n)
			}
		})
	}
}
