// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// beside are options for a generation that takes over from one that lives.
func beside(t testing.TB, dir string) Options {
	t.Helper()
	o := options(t, dir)
	o.Beside, o.Follow = true, time.Millisecond
	o.Notice = func(err error) { t.Error(err) }
	return o
}

// take opens a generation beside others, with an index, and closes what was left open.
func takeOver(t testing.TB, o Options) *Journal {
	t.Helper()
	j := open(t, o)
	if _, err := j.CloseOpen(context.Background()); err != nil {
		t.Fatal(err)
	}
	return j
}

// kill ends a writer as SIGKILL does: nothing is written any more, its locks are gone.
func kill(t testing.TB, j *Journal) {
	t.Helper()
	j.mu.Lock()
	j.shut, j.err = true, errors.New("killed")
	j.timer.Stop()
	j.mu.Unlock()
	close(j.stop)
	<-j.stopped
	j.tasks.Wait()
	if err := errors.Join(j.active.Close(), j.lock.Close()); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came that %s", what)
		}
	}
}

// chains checks that each generation's records come in order, without a hole, and gives the last sequences.
func chains(t testing.TB, list []Entry) map[uint64]uint64 {
	t.Helper()
	last := map[uint64]uint64{}
	for _, e := range list {
		if e.Sequence != last[e.Generation]+1 {
			t.Fatalf("generation %d: record %d after %d", e.Generation, e.Sequence, last[e.Generation])
		}
		last[e.Generation] = e.Sequence
	}
	return last
}

// checkpoints lists the checkpoints of a reason.
func checkpoints(t testing.TB, list []Entry, reason string) (out []Checkpoint) {
	t.Helper()
	for _, e := range list {
		var c Checkpoint
		if e.Kind == pipeline.KindCheckpoint {
			if err := e.Decode(&c); err != nil {
				t.Fatal(err)
			}
			if c.Reason == reason {
				out = append(out, c)
			}
		}
	}
	return out
}

// Two generations are written at the same time, over many segments each; the folder is sound at each moment, and the
// older one's end is on record in the newer one.
func TestTwoGenerationsSideBySide(t *testing.T) {
	dir := t.TempDir()
	old := open(t, options(t, dir))
	put(t, old, intent("exc_old"))
	if _, err := Open(options(t, dir)); !errors.Is(err, ErrLocked) {
		t.Fatalf("not beside: %v", err)
	}
	j := takeOver(t, beside(t, dir))
	for i := range 150 {
		put(t, old, event("exc_old", i, strings.Repeat("x", 1500)))
		put(t, j, event("exc_new", i, strings.Repeat("y", 900)))
		if i%25 == 0 {
			verified(t, dir)
			list := entries(t, dir)
			if last := chains(t, list); len(last) != 2 {
				t.Fatalf("generations %v", last)
			}
		}
	}
	put(t, old, outcome("exc_old"))
	closeJournal(t, old)
	eventually(t, "the end is on record", func() bool { return !exists(generationLock(dir, 1)) })
	list := entries(t, dir)
	last := chains(t, list)
	got := checkpoints(t, list, CheckEnded)
	if len(got) != 1 || got[0].Generation != 1 || got[0].Sequence != last[1] || got[0].Head != old.State().Head {
		t.Errorf("end on record: %+v, want sequence %d", got, last[1])
	}
	eventually(t, "it is settled", func() bool { return len(checkpoints(t, entries(t, dir), CheckSettled)) == 1 })
	closeJournal(t, j)
	if rep := verified(t, dir); rep.Generations != 2 || !rep.Clean || rep.Segments < 5 || rep.Head != j.State().Head {
		t.Errorf("report %+v", rep)
	}
	j = open(t, options(t, dir)) // an ordinary start
	if n, err := j.CloseOpen(context.Background()); n != 0 || err != nil {
		t.Errorf("%d exchanges were open: %v", n, err)
	}
	closeJournal(t, j)
	verified(t, dir)
}

// What the opening record says of a generation that runs is what was on disk then.
func TestOpeningNamesWhatRuns(t *testing.T) {
	dir := t.TempDir()
	old := open(t, options(t, dir))
	put(t, old, intent("exc_old"))
	put(t, old, event("exc_old", 1, "x"))
	kept := old.State()
	put(t, old, event("exc_old", 2, "x")) // says that all before it is on disk
	j := open(t, beside(t, dir))
	var o Opening
	for _, e := range entries(t, dir) {
		if e.Kind == KindOpen && e.Generation == 2 {
			if err := e.Decode(&o); err != nil {
				t.Fatal(err)
			}
		}
	}
	if p := o.Predecessor; p == nil || !p.Open || p.Generation != 1 || p.Sequence != kept.Sequence || p.Head != kept.Head || o.Earlier != nil {
		t.Errorf("opening %+v %+v", o, o.Predecessor)
	}
	closeJournal(t, old)
	closeJournal(t, j) // nobody looked after the end: the next start records it
	closeJournal(t, open(t, options(t, dir)))
	o = Opening{}
	list := entries(t, dir)
	for _, e := range list {
		if e.Kind == KindOpen && e.Generation == 3 {
			if err := e.Decode(&o); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(o.Earlier) != 1 || o.Earlier[0].Generation != 1 || o.Earlier[0].Open || o.Earlier[0].Head != old.State().Head || o.Predecessor.Generation != 2 {
		t.Errorf("opening %+v %+v", o, o.Predecessor)
	}
	verified(t, dir)
	if left := must(filepath.Glob(filepath.Join(dir, "*.lock"))); len(left) != 1 { // of generation 3
		t.Errorf("locks %v", left)
	}
}

// The older writer is killed with an exchange open and a torn write: the newer one, which runs, ends both.
func TestOldGenerationIsKilled(t *testing.T) {
	dir := t.TempDir()
	old := open(t, options(t, dir))
	put(t, old, intent("exc_old"))
	put(t, old, event("exc_old", 1, "12345"))
	o := beside(t, dir)
	o.Index = NewIndex(0)
	j := takeOver(t, o)
	put(t, j, intent("exc_new"))
	if p := must(o.Index.Exchange("exc_old")); p.Outcome != nil {
		t.Fatalf("closed while it runs: %+v", p.Outcome)
	}
	put(t, old, event("exc_old", 2, "678"))
	if _, err := old.active.WriteAt([]byte{200, 0, 0, 0, 1, 2, 3}, old.off); err != nil { // torn
		t.Fatal(err)
	}
	size := must(os.Stat(segmentPath(dir, 1))).Size()
	verified(t, dir)
	if now := must(os.Stat(segmentPath(dir, 1))).Size(); now != size {
		t.Errorf("a segment whose writer lives was cut from %d to %d bytes", size, now)
	}
	kill(t, old)
	eventually(t, "the end is on record", func() bool { return !exists(generationLock(dir, 1)) })
	p := must(o.Index.Exchange("exc_old"))
	if p.Outcome == nil || p.Outcome.Cut != CutAgent || p.Outcome.BytesReleased != 8 {
		t.Errorf("outcome %+v", p.Outcome)
	}
	if now := must(os.Stat(segmentPath(dir, 1))).Size(); now >= size {
		t.Errorf("the torn write is still there: %d bytes", now)
	}
	if p := must(o.Index.Exchange("exc_new")); p.Outcome != nil {
		t.Errorf("an exchange of the running generation was closed: %+v", p.Outcome)
	}
	put(t, j, outcome("exc_new"))
	closeJournal(t, j)
	if rep := verified(t, dir); rep.Gaps != 1 {
		t.Errorf("report %+v", rep)
	}
}

// A third start, while the second died and the first still runs, leaves the first alone and ends the second.
func TestTakeOverThatDied(t *testing.T) {
	for name, die := range map[string]func(t *testing.T, dir string, j *Journal){
		"closed": func(t *testing.T, _ string, j *Journal) { closeJournal(t, j) },
		"killed": func(t *testing.T, _ string, j *Journal) { kill(t, j) },
		"before its first word": func(t *testing.T, dir string, j *Journal) {
			kill(t, j)
			truncate(t, segmentPath(dir, 2), segmentHeader)
		},
		"within its first word": func(t *testing.T, dir string, j *Journal) {
			kill(t, j)
			truncate(t, segmentPath(dir, 2), segmentHeader+60)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			old := open(t, options(t, dir))
			put(t, old, intent("exc_old"))
			second := open(t, beside(t, dir))
			for i := range 100 { // the first goes on in segments behind the second's
				put(t, old, event("exc_old", i, strings.Repeat("x", 1500)))
			}
			die(t, dir, second)
			j := takeOver(t, beside(t, dir))
			put(t, old, event("exc_old", 100, "x"))
			put(t, old, outcome("exc_old"))
			closeJournal(t, old)
			eventually(t, "the end is on record", func() bool { return !exists(generationLock(dir, 1)) })
			closeJournal(t, j)
			verified(t, dir)
			chains(t, entries(t, dir))
			j = open(t, options(t, dir))
			if n, err := j.CloseOpen(context.Background()); n != 0 || err != nil {
				t.Errorf("%d open, %v", n, err)
			}
			closeJournal(t, j)
			verified(t, dir)
		})
	}
}

func truncate(t testing.TB, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// The machine dies while both write: the next start repairs both and records both ends.
func TestBothGenerationsDie(t *testing.T) {
	dir := t.TempDir()
	old := open(t, options(t, dir))
	put(t, old, intent("exc_old"))
	j := takeOver(t, beside(t, dir))
	put(t, j, intent("exc_new"))
	for i := range 60 {
		put(t, old, event("exc_old", i, strings.Repeat("x", 1500)))
		put(t, j, event("exc_new", i, strings.Repeat("x", 1500)))
	}
	dead := copyDir(t, dir)
	for g := range uint64(2) { // a lock file outlives its holder
		if err := os.WriteFile(generationLock(dead, g+1), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rep := verified(t, dead)
	for _, tear := range []bool{false, true} {
		work := copyDir(t, dead)
		for _, path := range must(filepath.Glob(filepath.Join(dead, "*.lock"))) {
			if err := copyFile(path, filepath.Join(work, filepath.Base(path))); err != nil {
				t.Fatal(err)
			}
		}
		if tear {
			ends := map[uint64]pipeline.Position{}
			for _, e := range entries(t, work) {
				ends[e.Generation] = e.End
			}
			for _, at := range ends {
				patch(t, segmentPath(work, at.Segment), func(b []byte) []byte { copy(b[at.Offset-5:at.Offset], "zzzzz"); return b })
			}
		}
		o := options(t, work)
		third := open(t, o)
		if n, err := third.CloseOpen(context.Background()); n != 2 || err != nil {
			t.Errorf("%d were cut, %v", n, err)
		}
		closeJournal(t, third)
		if after := verified(t, work); after.Records < rep.Records+4 || tear != (after.Gaps == 1) {
			t.Errorf("report %+v, before %+v", after, rep)
		}
		if left := must(filepath.Glob(filepath.Join(work, "*.lock"))); len(left) != 1 {
			t.Errorf("locks %v", left)
		}
	}
}

// The quota counts what both write.
func TestQuotaOfTwoGenerations(t *testing.T) {
	dir := t.TempDir()
	q := quota(t, dir)
	old := open(t, q)
	o := beside(t, dir)
	o.MaxBytes, o.FullCheck = q.MaxBytes, q.FullCheck
	j := takeOver(t, o)
	n, m := 0, 0
	for !refused(t, old, event("exc_1", n, strings.Repeat("x", 4000))) {
		if n++; !refused(t, j, event("exc_2", n, strings.Repeat("x", 4000))) {
			m++
		}
	}
	fillUp(t, j)
	if size := bytesIn(t, dir); size > o.MaxBytes+4*minSegment {
		t.Errorf("%d bytes on disk, quota %d", size, o.MaxBytes)
	}
	put(t, old, outcome("exc_1"))
	put(t, j, outcome("exc_2"))
	closeJournal(t, old)
	closeJournal(t, j)
	verified(t, dir)
}

func TestLocks(t *testing.T) {
	dir := t.TempDir()
	f := must(lockFolder(dir, 0))
	if _, err := lockFolder(dir, 0); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	g := must(lockGeneration(dir, 7))
	if again, err := lockGeneration(dir, 7); again != nil || err != nil {
		t.Errorf("taken twice: %v %v", again, err)
	}
	for _, name := range []string{"lock", "7.lock", "000000000000000x.lock", "0000000000000000.lock"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := lockedGenerations(dir); err != nil || len(got) != 1 || got[0] != 7 {
		t.Errorf("%v %v", got, err)
	}
	if err := unlockGeneration(g); err != nil || exists(generationLock(dir, 7)) {
		t.Error(err)
	}
	if err := unix.Mkdir(generationLock(dir, 8), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := lockGeneration(dir, 8); err == nil {
		t.Error("a folder was locked")
	}
}
