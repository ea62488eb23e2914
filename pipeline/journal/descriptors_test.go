// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestNoDescriptors: without descriptors the segment that is ready is begun all the same; when there is none, records are
// refused until there are descriptors again, and the chain is whole.
func TestNoDescriptors(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(options(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	}
	defer restore()
	next, err := unix.Dup(0) // the lowest one that is free
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(next); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	put := func(n int) error {
		_, done := j.Append(event("exc_1", n, strings.Repeat("x", 4000)))
		return <-done
	}
	taken := 0
	for err = put(0); err == nil && taken < 5000; err = put(taken) {
		taken++
	}
	if !errors.Is(err, unix.EMFILE) || taken == 0 {
		t.Fatalf("%d taken, then %v", taken, err)
	}
	if err := j.State().Err; err != nil {
		t.Errorf("it is out for good: %v", err)
	}
	restore()
	for range 100 {
		if err := put(taken); err != nil {
			t.Fatal(err)
		}
		taken++
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries(t, dir) {
		if e.Kind == pipeline.KindEvent {
			n++
		}
	}
	if n != taken {
		t.Errorf("%d of %d records are there", n, taken)
	}
}
