// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// What Verify can see only because generations speak of each other.
func TestVerifyGenerations(t *testing.T) {
	dir := t.TempDir()
	old := open(t, options(t, dir))
	put(t, old, intent("exc_old"))
	put(t, old, event("exc_old", 1, "x"))
	j := takeOver(t, beside(t, dir))
	put(t, old, outcome("exc_old"))
	put(t, j, intent("exc_new"))
	unfinished := copyDir(t, dir)
	closeJournal(t, old)
	eventually(t, "the end is on record", func() bool { return !exists(generationLock(dir, 1)) })
	closeJournal(t, j)
	verified(t, dir)
	first := entries(t, dir)
	var list []Entry
	for _, e := range first {
		if e.Generation == 1 {
			list = append(list, e)
		}
	}
	last := list[len(list)-1]
	for name, c := range map[string]struct {
		dir  string
		do   func(dir string) error
		want string
	}{
		"last record cut":   {dir, func(d string) error { return os.Truncate(segmentPath(d, 1), int64(last.Position.Offset)) }, "missing"},
		"cut while it runs": {unfinished, func(d string) error { return os.Truncate(segmentPath(d, 1), int64(list[0].End.Offset)) }, "missing"},
		"all of it cut":     {dir, func(d string) error { return os.Truncate(segmentPath(d, 1), segmentHeader) }, "not here"},
		"something added": {dir, func(d string) error {
			h := header{kind: 3, generation: 1, sequence: last.Sequence + 1, prev: last.Hash}
			frame := make([]byte, frameHeader+2)
			copy(frame[frameHeader:], "{}")
			h.digest = Hash{}
			seal(frame, &h)
			f, err := os.OpenFile(segmentPath(d, 1), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.Write(frame)
			return errors.Join(err, f.Close())
		}, "generation"},
	} {
		t.Run(name, func(t *testing.T) {
			work := copyDir(t, c.dir)
			if err := c.do(work); err != nil {
				t.Fatal(err)
			}
			rep := must(Verify(work))
			if rep.OK || rep.Problem == nil || !strings.Contains(rep.Problem.Error(), c.want) && !strings.Contains(rep.Problem.Error(), "digest") {
				t.Errorf("report %+v %v, want %q", rep, rep.Problem, c.want)
			}
		})
	}
}

// A cursor of the newer generation shows each record of both once, those of the older one when they are on disk, and
// goes on from its mark.
func TestFollowTwoGenerations(t *testing.T) {
	dir := t.TempDir()
	old := open(t, options(t, dir))
	put(t, old, intent("exc_old"))
	j := takeOver(t, beside(t, dir))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	seen := map[uint64]uint64{}
	var mark Mark
	read := func(until func(e *Entry) bool) {
		t.Helper()
		c := must(j.Follow(mark))
		for {
			e, err := c.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if e.Sequence != seen[e.Generation]+1 {
				t.Fatalf("generation %d: %d after %d", e.Generation, e.Sequence, seen[e.Generation])
			}
			seen[e.Generation] = e.Sequence
			if until(e) {
				break
			}
		}
		mark = c.Mark()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		put(t, old, event("exc_old", i, strings.Repeat("x", 2000)))
		put(t, j, event("exc_new", i, strings.Repeat("x", 2000)))
		read(func(e *Entry) bool { return e.Generation == 2 && e.Exchange == "exc_new" })
	}
	if known := old.State().Sequence - 1; seen[1] < known {
		read(func(e *Entry) bool { return seen[1] == known })
	}
	// The last record of the older one is not known to be on disk until it ends.
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	c := must(j.Follow(mark))
	if e, err := c.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v %v", e, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if n := j.Behind(mark); n != 1 {
		t.Errorf("%d records behind, want 1", n)
	}
	put(t, old, outcome("exc_old"))
	closeJournal(t, old)
	read(func(e *Entry) bool {
		return e.Kind == pipeline.KindCheckpoint && e.Generation == 2 && seen[1] == old.State().Sequence
	})
	eventually(t, "it is settled", func() bool { return len(checkpoints(t, entries(t, dir), CheckSettled)) == 1 })
	put(t, j, outcome("exc_new"))
	read(func(e *Entry) bool { return e.Exchange == "exc_new" })
	if n := j.Behind(mark); n != 0 {
		t.Errorf("%d records behind, want 0: %+v", n, mark)
	}
	if len(mark) != 1 {
		t.Errorf("mark %+v still names a generation that has ended", mark)
	}
}

// The folder is read while one generation hands over to the next, many times, and killed now and then: intents come before
// their outcomes, each record once.
func TestReadWhileHandingOver(t *testing.T) {
	dir := t.TempDir()
	j := takeOver(t, beside(t, dir))
	r := must(OpenReader(dir, pipeline.Position{}))
	defer r.Close()
	last, open := map[uint64]uint64{}, map[string]bool{}
	read := func() {
		t.Helper()
		for {
			e, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.Sequence != last[e.Generation]+1 {
				t.Fatalf("generation %d: %d after %d", e.Generation, e.Sequence, last[e.Generation])
			}
			last[e.Generation] = e.Sequence
			switch e.Kind {
			case pipeline.KindIntent:
				open[e.Exchange] = true
			case pipeline.KindOutcome:
				if !open[e.Exchange] {
					t.Fatalf("the outcome of %s comes before its intent", e.Exchange)
				}
				delete(open, e.Exchange)
			}
		}
	}
	for round := range 12 {
		old := j
		long := fmt.Sprintf("exc_long_%d", round)
		put(t, old, intent(long))
		read()
		j = takeOver(t, beside(t, dir))
		for i := range 30 {
			id := fmt.Sprintf("exc_%d_%d", round, i)
			put(t, j, intent(id))
			put(t, old, event(long, i, strings.Repeat("x", 1000)))
			if i%7 == 0 {
				read()
			}
			put(t, j, outcome(id))
		}
		if round%3 == 2 {
			kill(t, old)
		} else {
			put(t, old, outcome(long))
			closeJournal(t, old)
		}
		if round%4 != 3 || round == 11 { // else the next hand-over comes while this one is still looked after
			eventually(t, "the end is on record", func() bool { return len(j.others()) == 0 && !exists(generationLock(dir, uint64(round+1))) })
		}
	}
	closeJournal(t, j)
	read()
	if len(open) > 0 {
		t.Errorf("without outcome: %v", open)
	}
	if len(last) != 13 {
		t.Errorf("generations %v", last)
	}
	if len(r.lanes) != 1 {
		t.Errorf("%d generations are still looked at", len(r.lanes))
	}
	if rep := verified(t, dir); rep.Generations != 13 {
		t.Errorf("report %+v", rep)
	}
}

// The index of the newer generation learns how exchanges of the older one end.
func TestIndexFollows(t *testing.T) {
	dir := t.TempDir()
	old := open(t, options(t, dir))
	ended(t, old, "exc_1")
	put(t, old, intent("exc_2"))
	o := beside(t, dir)
	o.Index = NewIndex(0)
	j := takeOver(t, o)
	put(t, old, decision("exc_2", "dec_2", pipeline.Deny))
	put(t, old, outcome("exc_2"))
	ended(t, old, "exc_3")
	eventually(t, "the index has all", func() bool {
		l := o.Index.Sessions(0, nil)
		return len(l) == 1 && l[0].Exchanges == 3 && l[0].Open == 0
	})
	for _, id := range []string{"exc_1", "exc_2", "exc_3"} {
		if p := must(o.Index.Exchange(id)); p.Outcome == nil || len(p.Decisions) != 1 {
			t.Errorf("%s: %d decisions, outcome %v", id, len(p.Decisions), p.Outcome)
		}
	}
	closeJournal(t, old)
	closeJournal(t, j)
	verified(t, dir)
}

// Asked, the newer generation looks at once.
func TestLookBeside(t *testing.T) {
	dir := t.TempDir()
	old := open(t, options(t, dir))
	o := beside(t, dir)
	o.Index, o.Follow = NewIndex(0), time.Hour
	j := takeOver(t, o)
	for i := range 3 {
		id := fmt.Sprint("exc_", i)
		ended(t, old, id)
		if err := j.LookBeside(context.Background()); err != nil {
			t.Fatal(err)
		}
		if p := must(o.Index.Exchange(id)); p.Outcome == nil {
			t.Error("its end is not known")
		}
	}
	closeJournal(t, old)
	closeJournal(t, j)
	if err := j.LookBeside(context.Background()); err != nil {
		t.Error(err)
	}
	alone := open(t, options(t, t.TempDir()))
	if err := alone.LookBeside(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestMark(t *testing.T) {
	p := func(g, segment, offset uint64) Progress {
		return Progress{Generation: g, Position: pipeline.Position{Segment: segment, Offset: offset}}
	}
	for _, c := range []struct {
		name       string
		a, b, want Mark
	}{
		{"nothing", nil, nil, nil},
		{"one side", Mark{p(1, 1, 80)}, nil, Mark{p(1, 1, 80)}},
		{"further", Mark{p(1, 1, 80)}, Mark{p(1, 1, 90)}, Mark{p(1, 1, 90)}},
		{"newer", Mark{p(1, 1, 80)}, Mark{p(2, 2, 80)}, Mark{p(2, 2, 80)}},
		{"one has ended", Mark{p(1, 1, 80), p(2, 2, 80)}, Mark{p(2, 2, 90)}, Mark{p(2, 2, 90)}},
		{"one is read again", Mark{p(2, 2, 90)}, Mark{p(1, 1, 80), p(2, 2, 80)}, Mark{p(2, 2, 90)}},
		{"mixed", Mark{p(1, 3, 80), p(2, 2, 80)}, Mark{p(1, 1, 80), p(2, 4, 80)}, Mark{p(1, 3, 80), p(2, 4, 80)}},
		{"one is not there yet", Mark{p(1, 3, 80), p(2, 2, 80)}, Mark{p(1, 1, 80)}, Mark{p(1, 3, 80), p(2, 2, 80)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, got := range []Mark{c.a.Later(c.b), c.b.Later(c.a)} {
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
			}
		})
	}
	m := Mark{p(2, 5, 100), p(4, 6, 200)}
	for _, c := range []struct {
		at   Progress
		want bool
	}{{p(1, 9, 9), true}, {p(2, 5, 99), true}, {p(2, 5, 100), false}, {p(2, 4, 900), true}, {p(3, 7, 1), true}, {p(4, 6, 199), true}, {p(4, 7, 80), false}, {p(5, 1, 1), false}} {
		if got := m.Covers(c.at.Generation, c.at.Position); got != c.want {
			t.Errorf("%+v is before the mark: %v", c.at, got)
		}
	}
	if (Mark)(nil).Covers(1, pipeline.Position{}) {
		t.Error("the beginning covers something")
	}
}
