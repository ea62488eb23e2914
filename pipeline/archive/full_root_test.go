// SPDX-License-Identifier: Apache-2.0

//go:build root

package archive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// disk is a disk of a size, apart from that of the journal.
func disk(t *testing.T, size string) (dir string, again func(options string, flags uintptr)) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("archive-disk", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mounting a small disk (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func(options string, flags uintptr) {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flags, options); err != nil {
			t.Fatal(err)
		}
	}
}

// on is a rig whose archive is on another disk than its journal. The archive may not have been opened.
func on(t *testing.T, dir string) (*rig, error) {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), base: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	if r.j, err = journal.Open(journal.Options{Dir: filepath.Join(r.dir, "journal"), EventDelay: time.Microsecond}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.j.Close() })
	a, err := Open(t.Context(), Options{Path: filepath.Join(dir, "archive.db"), Now: func() time.Time { return r.base.Add(24 * time.Hour) }})
	t.Cleanup(func() { _ = a.Close() })
	r.a = a
	return r, err
}

// stopped follows the journal until that fails.
func (r *rig) stopped() error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 60*time.Second)
	defer cancel()
	return r.a.Follow(ctx, r.j)
}

// bulk writes exchanges with many words.
func (r *rig) bulk(n int) {
	r.t.Helper()
	var list []x
	for range n {
		var b strings.Builder
		for i := range 500 {
			fmt.Fprintf(&b, "w%dx%d ", r.n+len(list), i)
		}
		list = append(list, x{session: fmt.Sprint("ses_", len(list)%7), user: "ann", unit: "s", model: "m", prompts: []string{b.String()}, answer: "ok"})
	}
	r.write(list...)
}

// TestDiskFull: on a disk that is full the archive takes nothing, says so, and still answers; the journal takes everything. With room, it has all
// that came meanwhile.
func TestDiskFull(t *testing.T) {
	dir, again := disk(t, "3m")
	r, err := on(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	r.write(samples()...)
	r.follow(4)
	r.bulk(600)
	for range 2 { // it is no damage, however often it is tried
		if err := r.stopped(); err == nil || IsDamaged(err) || !is(err, full, ioErr) || !strings.Contains(err.Error(), "writing the archive") {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	s := r.whole("full")
	if s.Exchanges < 4 || s.Exchanges >= 604 || s.Renewed != 0 {
		t.Errorf("%+v", s)
	}
	if got := r.find("transfer"); got != "1" {
		t.Errorf("on a full disk: found %q", got)
	}
	if _, err := r.j.Erase(t.Context(), journal.Subject{Session: "ses_a"}, pipeline.Person{User: "dpo"}, ""); err != nil {
		t.Fatal(err)
	}
	forgotten := r.a.Forget(t.Context(), r.j.Dir(), "ses_a") // deleting takes room too: it may fail, and then says so
	if forgotten != nil && !is(forgotten, full, ioErr) {
		t.Errorf("forgetting on a full disk: %v", forgotten)
	}
	if err := r.a.Close(); err != nil && !is(err, full, ioErr) {
		t.Fatal(err)
	}
	r.bulk(1) // the journal goes on
	r2, err := Open(t.Context(), r.a.o)
	t.Cleanup(func() { _ = r2.Close() })
	if err != nil && IsDamaged(err) {
		t.Fatalf("opened on a full disk: %v", err)
	}
	r.a = r2
	again("size=64m", 0)
	r.until(func() bool {
		s, err := r.a.Stats(t.Context())
		return err == nil && s.Exchanges == 605 && r.find("transfer") == "" && !stillScrubs(t, r.a)
	})
	if s := r.whole("with room"); s.Exchanges != 605 || s.Renewed != 0 || r.find("w300x17") == "" {
		t.Errorf("%+v, found %q", s, r.find("w300x17"))
	}
}

func stillScrubs(t *testing.T, a *Archive) (yes bool) {
	t.Helper()
	if err := a.read.Load().QueryRow("SELECT EXISTS (SELECT 1 FROM meta WHERE name = 'scrub')").Scan(&yes); err != nil {
		t.Fatal(err)
	}
	return yes
}

// TestOpenOnFullDisk: an archive for which there is no room is made when there is.
func TestOpenOnFullDisk(t *testing.T) {
	dir, again := disk(t, "16k")
	r, err := on(t, dir)
	if err == nil || IsDamaged(err) {
		t.Fatalf("opened: %v", err)
	}
	r.write(samples()...)
	if got := r.find("transfer"); !strings.HasPrefix(got, "the archive is not open: opening the archive: ") {
		t.Errorf("found %q", got)
	}
	if err := r.stopped(); err == nil || IsDamaged(err) {
		t.Fatalf("followed: %v", err)
	}
	again("size=64m", 0)
	r.until(func() bool { return r.find("transfer") == "1" })
	if s := r.whole("made"); s.Exchanges != 4 {
		t.Errorf("%+v", s)
	}
}

// TestReadOnly: a file system that became read-only stops the archive, without harm, until it can be written again.
func TestReadOnly(t *testing.T) {
	dir, again := disk(t, "64m")
	r, err := on(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	r.write(samples()...)
	r.follow(4)
	o := r.a.o
	if err := r.a.Close(); err != nil {
		t.Fatal(err)
	}
	again("size=64m", unix.MS_RDONLY)
	if r.a, err = Open(t.Context(), o); err == nil || IsDamaged(err) {
		t.Fatalf("opened: %v", err)
	}
	t.Cleanup(func() { _ = r.a.Close() })
	r.write(samples()[:1]...)
	if err := r.stopped(); err == nil || IsDamaged(err) {
		t.Fatalf("followed: %v", err)
	}
	if got := r.find("transfer"); !strings.HasPrefix(got, "the archive is not open: ") {
		t.Errorf("found %q", got)
	}
	if err := r.a.Renew(t.Context()); err == nil { // what cannot be written cannot be removed
		t.Error("renewed")
	} else if errors.Is(err, errClosed) {
		t.Error(err)
	}
	again("size=64m", 0)
	r.until(func() bool { return r.find("transfer") == "5 1" })
	if s := r.whole("written again"); s.Exchanges != 5 {
		t.Errorf("%+v", s)
	}
}
