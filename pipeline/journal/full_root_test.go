// SPDX-License-Identifier: Apache-2.0

//go:build root

package journal

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk that fills up stops the journal for good, with a reason, and costs nothing that was acknowledged.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("sallyport-test", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mounting a small disk (this test needs root): %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	o := options(t, dir)
	o.SegmentBytes = 4 * minSegment
	j := open(t, o)
	acked := 0
	var err error
	for err == nil {
		_, done := j.Append(event("exc_1", acked, strings.Repeat("x", 1000)))
		if err = <-done; err == nil {
			acked++
		}
		if acked > 2000 {
			t.Fatal("a full disk was not noticed")
		}
	}
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "free disk space") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("after %d records: %v", acked, err)
	}
	_, done := j.Append(outcome("exc_1"))
	if again := <-done; !errors.Is(again, unix.ENOSPC) {
		t.Errorf("the next record: %v", again)
	}
	if j.Close() == nil {
		t.Error("Close says that all is well")
	}
	rep := verified(t, dir)
	if int(rep.Records) < acked+1 {
		t.Errorf("%d records on disk, %d events acknowledged", rep.Records, acked)
	}
	if _, err := Open(o); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Open on a full disk: %v", err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	j = open(t, o)
	put(t, j, outcome("exc_1"))
	closeJournal(t, j)
	verified(t, dir)
}
