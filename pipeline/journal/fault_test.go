// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// copyDir makes a copy of a journal as a crash at this moment would leave it.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, path := range must(filepath.Glob(filepath.Join(from, "*"+segmentSuffix))) {
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), must(os.ReadFile(path)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func patch(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	if err := os.WriteFile(path, change(must(os.ReadFile(path))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// crashed is a journal as kill -9 leaves it: preallocated, not closed. It returns its entries too.
func crashed(t testing.TB) (string, []Entry) {
	t.Helper()
	dir := t.TempDir()
	j := open(t, options(t, dir))
	put(t, j, intent("exc_1"))
	put(t, j, event("exc_1", 1, "data: one\n\n"))
	put(t, j, event("exc_1", 2, "data: two\n\n"))
	dead := copyDir(t, dir)
	closeJournal(t, j)
	return dead, entries(t, dead)
}

// gaps lists the bytes of the gap records.
func gaps(t testing.TB, dir string) []int64 {
	t.Helper()
	var out []int64
	for _, e := range entries(t, dir) {
		if e.Kind == pipeline.KindGap {
			var g pipeline.Gap
			if err := e.Decode(&g); err != nil {
				t.Fatal(err)
			}
			out = append(out, g.Bytes)
		}
	}
	return out
}

func TestTornLastRecord(t *testing.T) {
	dead, list := crashed(t)
	last := list[len(list)-1]
	start, end := int(last.Position.Offset), int(last.End.Offset)
	for name, tear := range map[string]func(b []byte, at int) []byte{
		"file cut":      func(b []byte, at int) []byte { return b[:at] },
		"zeros instead": func(b []byte, at int) []byte { clear(b[at:]); return b },
		"garbage":       func(b []byte, at int) []byte { copy(b[at:end], bytes.Repeat([]byte{0xa5}, end-at)); return b },
	} {
		t.Run(name, func(t *testing.T) {
			for at := start; at < end; at++ {
				dir := copyDir(t, dead)
				path := segmentPath(dir, 1)
				before := must(os.ReadFile(path))
				patch(t, path, func(b []byte) []byte { return tear(b, at) })
				if rep := must(Verify(dir)); !rep.OK || rep.Records != uint64(len(list)-1) {
					t.Fatalf("torn at %d: report %+v", at-start, rep)
				}
				j := open(t, options(t, dir))
				put(t, j, outcome("exc_1"))
				closeJournal(t, j)
				verified(t, dir)
				got := gaps(t, dir)
				nothing := at == start && name != "garbage" || name == "zeros instead" && quiet(before[start:at])
				if nothing != (len(got) == 0) {
					t.Fatalf("torn at %d: gaps %v", at-start, got)
				}
				if len(got) > 0 && (got[0] < 1 || got[0] > int64(end-start)) {
					t.Fatalf("torn at %d: gap of %d bytes", at-start, got[0])
				}
			}
		})
	}
}

func TestZeroTail(t *testing.T) {
	dead, list := crashed(t)
	if st := must(os.Stat(segmentPath(dead, 1))); st.Size() != minSegment {
		t.Fatalf("the segment is not preallocated: %d bytes", st.Size())
	}
	closeJournal(t, open(t, options(t, dead)))
	if st := must(os.Stat(segmentPath(dead, 1))); st.Size() != int64(list[len(list)-1].End.Offset) {
		t.Errorf("%d bytes after repair", st.Size())
	}
	if g := gaps(t, dead); len(g) != 0 {
		t.Errorf("gaps %v, but nothing was lost", g)
	}
	if rep := verified(t, dead); rep.Generations != 2 {
		t.Errorf("report %+v", rep)
	}
}

// Every bit of a closed journal counts: Verify sees it flipped, and Open either refuses or says what is missing.
func TestFlippedBits(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	put(t, j, intent("exc_1"))
	put(t, j, outcome("exc_1"))
	closeJournal(t, j)
	whole := must(os.ReadFile(segmentPath(dir, 1)))
	list := entries(t, dir)
	last := int(list[len(list)-1].Position.Offset)
	for i := range len(whole) {
		for _, bit := range []byte{1, 0x80} {
			work := t.TempDir()
			bad := bytes.Clone(whole)
			bad[i] ^= bit
			if err := os.WriteFile(segmentPath(work, 1), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			rep, err := Verify(work)
			if err != nil {
				t.Fatal(err)
			}
			if rep.OK && rep.Torn == 0 {
				t.Fatalf("byte %d bit %#x: not noticed", i, bit)
			}
			if rep.OK && i < last {
				t.Fatalf("byte %d bit %#x: an acknowledged record counts as torn", i, bit)
			}
			j, err := Open(options(t, work))
			if err == nil {
				closeJournal(t, j)
				if len(gaps(t, work)) == 0 {
					t.Fatalf("byte %d bit %#x: Open repaired it silently", i, bit)
				}
			} else if !strings.Contains(err.Error(), "sallyport journal verify") {
				t.Fatalf("byte %d bit %#x: %v", i, bit, err)
			}
		}
	}
}

// After a loss of power, pages that were not synced may be there in any combination.
func TestHoleBeforeUnsyncedRecords(t *testing.T) {
	dir := t.TempDir()
	o := options(t, dir)
	o.EventDelay = time.Hour
	j := open(t, o)
	put(t, j, intent("exc_1"))
	for i := range 5 {
		j.Append(event("exc_1", i, "data: x\n\n"))
	}
	dead := copyDir(t, dir)
	list := entries(t, dead)
	patch(t, segmentPath(dead, 1), func(b []byte) []byte {
		clear(b[list[3].Position.Offset:list[3].End.Offset])
		return b
	})
	if rep := must(Verify(dead)); !rep.OK || rep.Torn == 0 {
		t.Fatalf("report %+v %v", rep, rep.Problem)
	}
	closeJournal(t, open(t, options(t, dead)))
	if rep := verified(t, dead); rep.Gaps != 1 {
		t.Errorf("report %+v", rep)
	}

	// The same hole where a later record says that all before it was on disk.
	put(t, j, outcome("exc_1"))
	put(t, j, outcome("exc_1"))
	dead = copyDir(t, dir)
	patch(t, segmentPath(dead, 1), func(b []byte) []byte {
		clear(b[list[3].Position.Offset:list[3].End.Offset])
		return b
	})
	_, err := Open(options(t, dead))
	if want := fmt.Sprintf("segment 1 offset %d", list[3].Position.Offset); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Open: %v, want %q", err, want)
	}
}

func TestDamagedFolder(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		j := open(t, options(t, dir))
		for i := range 200 {
			j.Append(event("exc_1", i, strings.Repeat("x", 800)))
		}
		closeJournal(t, j)
	}
	tests := map[string]struct {
		do     func(dir string) error
		verify string
		open   bool // Open notices too; otherwise only Verify reads that far
	}{
		"segment missing":   {func(d string) error { return os.Remove(segmentPath(d, 4)) }, "segment 4 offset 0: the segment is missing", true},
		"segment empty":     {func(d string) error { return os.Truncate(segmentPath(d, 4), 0) }, "segment 4 offset 0: the file is shorter than its header", true},
		"not a segment":     {func(d string) error { return os.WriteFile(segmentPath(d, 4), make([]byte, 4096), 0o600) }, "segment 4 offset 0: this is no segment", true},
		"segment cut":       {func(d string) error { return os.Truncate(segmentPath(d, 3), 5000) }, "segment 3 offset", false},
		"segments swapped":  {func(d string) error { return os.Rename(segmentPath(d, 4), segmentPath(d, 5)) }, "segment 4 offset 0: the segment is missing", true},
		"segment from else": {func(d string) error { return copyFile(segmentPath(d, 2), segmentPath(d, 4)) }, "segment 4 offset 0: the file holds segment 2", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			work := copyDir(t, dir)
			if err := tt.do(work); err != nil {
				t.Fatal(err)
			}
			rep := must(Verify(work))
			if rep.OK || rep.Problem == nil || !strings.Contains(rep.Problem.Error(), tt.verify) {
				t.Errorf("report %+v, problem %v, want %q", rep, rep.Problem, tt.verify)
			}
			j, err := Open(options(t, work))
			if err == nil {
				closeJournal(t, j)
			}
			if tt.open && (err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "sallyport journal verify")) {
				t.Errorf("Open: %v", err)
			}
		})
	}
	t.Run("oldest segments moved away", func(t *testing.T) {
		work := copyDir(t, dir)
		if err := errors.Join(os.Remove(segmentPath(work, 1)), os.Remove(segmentPath(work, 2))); err != nil {
			t.Fatal(err)
		}
		if rep := verified(t, work); rep.First != 3 {
			t.Errorf("report %+v", rep)
		}
		closeJournal(t, open(t, options(t, work)))
		verified(t, work)
	})
	t.Run("no journal", func(t *testing.T) {
		if _, err := Verify(t.TempDir()); err == nil {
			t.Error("an empty folder was verified")
		}
	})
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// After the first failing sync nothing is acknowledged any more, even if later syncs go well.
func TestSyncFailureLatches(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	put(t, j, intent("exc_1"))
	j.mu.Lock()
	j.sync = func(*os.File, int) error { return unix.EIO }
	j.mu.Unlock()
	_, done := j.Append(outcome("exc_1"))
	if err := <-done; !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "restart sallyportd") {
		t.Fatalf("sync failed, but the record got %v", err)
	}
	j.mu.Lock()
	j.sync = func(f *os.File, _ int) error { return datasync(f) }
	j.mu.Unlock()
	for range 3 {
		_, done := j.Append(outcome("exc_1"))
		select {
		case err := <-done: // at once: the caller of an event looks only once
			if !errors.Is(err, unix.EIO) {
				t.Fatalf("after a failed sync: %v", err)
			}
		default:
			t.Fatal("the refusal is not there when Append returns")
		}
	}
	if err := j.State().Err; !errors.Is(err, unix.EIO) {
		t.Errorf("state %v", err)
	}
	c := must(j.Follow(nil))
	defer c.Close()
	for n := 0; ; n++ { // a follower sees what is on disk, and then why there is no more
		e, err := c.Next(context.Background())
		if err == nil && e.Kind == pipeline.KindOutcome {
			t.Error("a record that may not be on disk was shown")
		}
		if err != nil {
			if !errors.Is(err, unix.EIO) || n != 2 {
				t.Errorf("after %d records: %v", n, err)
			}
			break
		}
	}
	if err := j.Close(); !errors.Is(err, unix.EIO) {
		t.Errorf("Close: %v", err)
	}
	closeJournal(t, open(t, options(t, dir)))
	verified(t, dir)
}

func TestWriteFailureLatches(t *testing.T) {
	j := open(t, options(t, t.TempDir()))
	j.mu.Lock()
	_ = j.active.Close()
	j.mu.Unlock()
	_, done := j.Append(intent("exc_1"))
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if j.State().Err == nil {
		t.Error("the journal goes on")
	}
}

// A start that died before its opening record was complete leaves no trace in the chain.
func TestStartThatDied(t *testing.T) {
	for name, before := range map[string]int{"first start": 0, "later start": 1} {
		for cut, size := range map[string]int64{"no record": segmentHeader, "torn record": segmentHeader + 50} {
			t.Run(name+", "+cut, func(t *testing.T) {
				dir := t.TempDir()
				saved := t.TempDir()
				for i := range before + 1 {
					if i > 0 { // a start that dies has signed nothing
						if err := os.CopyFS(saved, os.DirFS(keysDir(dir))); err != nil {
							t.Fatal(err)
						}
					}
					closeJournal(t, open(t, options(t, dir)))
				}
				if err := errors.Join(os.RemoveAll(keysDir(dir)), os.CopyFS(keysDir(dir), os.DirFS(saved))); err != nil {
					t.Fatal(err)
				}
				newest := segmentPath(dir, uint64(before+1))
				if err := os.Truncate(newest, size); err != nil {
					t.Fatal(err)
				}
				j := open(t, options(t, dir))
				put(t, j, outcome("exc_1"))
				closeJournal(t, j)
				if rep := verified(t, dir); rep.Generations != before+1 || rep.Gaps != uint64(size-segmentHeader)/50 {
					t.Errorf("report %+v", rep)
				}
			})
		}
	}
}
