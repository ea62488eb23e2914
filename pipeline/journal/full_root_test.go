// SPDX-License-Identifier: Apache-2.0

//go:build root

package journal

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// small is a disk of a size.
func small(t *testing.T, size string) (dir string, grow func(size string)) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("full-disk", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mounting a small disk (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func(size string) {
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size="+size); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that fills up refuses ordinary records, takes essential ones into the emergency segment until that is full too,
// and costs nothing that was acknowledged. With room, the journal goes on without a restart.
func TestDiskFull(t *testing.T) {
	dir, grow := small(t, "1m")
	o := options(t, dir)
	o.SegmentBytes = 4 * minSegment
	o.EmergencyBytes = 2 * minSegment
	o.FullCheck = time.Nanosecond
	j := open(t, o)
	acked := fillUp(t, j)
	if s := j.State(); !s.Full || s.Err != nil || s.Refused != 1 {
		t.Fatalf("state %+v", s)
	}
	ends := 0
	for ; !refused(t, j, outcome("exc_1")); ends++ {
	}
	if ends*300 < minSegment {
		t.Errorf("%d outcomes were taken", ends)
	}
	if rep := verified(t, dir); int(rep.Records) < acked+ends {
		t.Errorf("%d records on disk, %d acknowledged", rep.Records, acked+ends)
	}
	dead := copyDir(t, dir) // as kill -9 would leave it
	closeJournal(t, open(t, options(t, dead)))
	verified(t, dead)

	grow("1152k") // room for a segment, but not for another emergency segment
	if !refused(t, j, intent("exc_2")) {
		t.Error("taken before there was enough room")
	}
	grow("4m")
	put(t, j, intent("exc_2"))
	if s := j.State(); s.Full || s.Err != nil {
		t.Errorf("state with room %+v", s)
	}
	closeJournal(t, j)
	verified(t, dir)
	// Whether there was room left to say that it begins depends on what the last record that fitted left over.
	if at, counts := shortages(t, dir); strings.TrimPrefix(strings.Join(at, " "), "begin ") != "emergency end" || counts[len(counts)-1] < 2 {
		t.Errorf("shortages %v %v", at, counts)
	}
}

// A disk without room for a segment and the emergency segment is no place for a journal.
func TestOpenOnFullDisk(t *testing.T) {
	dir, grow := small(t, "1m")
	o := options(t, dir)
	o.SegmentBytes, o.EmergencyBytes = 12*minSegment, 8*minSegment
	if _, err := Open(o); !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("Open on a full disk: %v", err)
	}
	for _, left := range must(os.ReadDir(dir)) {
		if n := left.Name(); n != "keys" && n != "lock" && n != "journal.pub" {
			t.Errorf("left over: %v", left)
		}
	}
	grow("4m")
	j := open(t, o)
	put(t, j, outcome("exc_1"))
	closeJournal(t, j)
	verified(t, dir)
}
