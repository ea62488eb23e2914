// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// A generation may begin while earlier ones are still written, each by a process that hands over and ends what it had
// begun. The newest one follows them: it feeds its index with their records and, when one has ended, does what Open does
// for one that ended before. Of several, only the newest does.

// point is a place in a chain.
type point struct {
	sequence uint64
	head     Hash
	at       pipeline.Position // behind the record
}

// A scout reads ahead in a generation that somebody else writes, and knows how much of it is on disk: what the synced
// fields of later records say, and all segments but the newest.
type scout struct {
	*chain
	pending []point // read, and not known to be on disk
	synced  point
}

func newScout(cat *catalog, from pipeline.Position) (*scout, error) {
	c, err := openChain(cat, from)
	if err != nil {
		return nil, err
	}
	return &scout{chain: c, synced: point{c.seq, c.head, c.position()}}, nil
}

// run reads what is there.
func (s *scout) run() error {
	for {
		ok, err := s.next()
		if !ok {
			return err
		}
		e := &s.entry
		s.pending = append(s.pending, point{e.Sequence, e.Hash, e.End})
		n := 0
		for n < len(s.pending) && s.pending[n].sequence <= e.synced {
			s.synced = s.pending[n]
			n++
		}
		s.pending = s.pending[n:]
	}
}

// follower reads what the generations before write.
type follower struct {
	r       *Reader
	indexed Mark                     // the index has what lies before
	open    map[string]*openExchange // by exchange
	asked   chan chan struct{}       // to look at once; each is closed then
	ended   chan struct{}            // nobody follows any more
}

// running says whether the writer of a generation lives: it is this one, or was alive when last looked at.
func (j *Journal) running(generation uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return generation == j.gen || j.lives[generation]
}

// besides says whether there is any other generation that runs.
func (j *Journal) besides() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.lives) > 0
}

// read takes in what is there.
func (j *Journal) read(ctx context.Context, f *follower) error {
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, err := f.r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f.take(e); err != nil {
			return err
		}
		if j.o.Index != nil && !f.indexed.Covers(e.Generation, e.Position) {
			if err := j.o.Index.take(e); err != nil {
				return err
			}
		}
		j.mu.Lock()
		if j.lives[e.Generation] { // what it did before this one opened is known
			if e.Kind == pipeline.KindAdmin {
				j.holds, _ = FoldHolds(j.holds, e) // no error of an admin record
			}
			j.ends[e.Generation] = e.Sequence
		}
		j.mu.Unlock()
	}
}

// LookBeside returns when the index knows what generations beside this one have written so far. Call it after CloseOpen.
func (j *Journal) LookBeside(ctx context.Context) error {
	f := j.following
	if f == nil {
		return nil
	}
	asked := make(chan struct{})
	select {
	case f.asked <- asked:
	case <-f.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-asked:
	case <-f.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// follow is a task of its own. It ends with the journal, when all others have ended, or when a newer generation begins.
func (j *Journal) follow(f *follower) {
	defer close(f.ended)
	defer f.r.Close()
	tick := time.NewTicker(j.o.Follow)
	defer tick.Stop()
	settled := true
	for j.besides() {
		var asked chan struct{}
		select {
		case <-j.stop:
			return
		case <-tick.C:
		case asked = <-f.asked:
		}
		if err := j.read(context.Background(), f); err != nil {
			j.o.Notice(fmt.Errorf("following an earlier journal generation: %w", err))
			return
		}
		if asked != nil {
			close(asked)
			continue
		}
		for _, g := range j.others() {
			err := j.finish(f, g)
			if errors.Is(err, errSuperseded) || errors.Is(err, ErrClosed) {
				return
			}
			if err != nil {
				j.o.Notice(fmt.Errorf("closing journal generation %d: %w", g, err))
				settled = false
			}
		}
	}
	if settled {
		if err := j.settled(); err != nil {
			j.o.Notice(fmt.Errorf("closing earlier journal generations: %w", err))
		}
	}
}

// others lists the other generations that run.
func (j *Journal) others() []uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]uint64, 0, len(j.lives))
	for g := range j.lives {
		out = append(out, g)
	}
	return out
}

// errSuperseded says that a newer generation looks after the earlier ones.
var errSuperseded = errors.New("a newer generation has begun")

// finish records the end of an earlier generation, if its writer is gone: it repairs it, gives outcomes to what it left
// open, and notes the head of its chain.
func (j *Journal) finish(f *follower, generation uint64) (err error) {
	folder, err := lockFolder(j.o.Dir, 0)
	if errors.Is(err, ErrLocked) {
		return nil // somebody opens; later
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	cat, err := openCatalog(j.o.Dir)
	if err != nil {
		return err
	}
	if g := cat.generations(); g[len(g)-1] > j.gen {
		return errSuperseded
	}
	lock, err := lockGeneration(j.o.Dir, generation)
	if lock == nil {
		return err
	}
	done := false
	defer func() {
		if !done { // the file stays, for the next start to see
			err = errors.Join(err, lock.Close())
		}
	}()
	err = j.read(context.Background(), f)
	var end ending
	if err == nil {
		end, err = repair(cat, generation)
	}
	j.mu.Lock()
	delete(j.lives, generation)
	if err == nil {
		j.ends[generation] = end.sequence
	}
	j.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err := j.cut(context.Background(), f, func(g uint64) bool { return g == generation }); err != nil {
		return err
	}
	if end.torn > 0 {
		if err := j.wait(pipeline.KindGap, torn(end.torn)); err != nil {
			return err
		}
	}
	if err := j.wait(pipeline.KindCheckpoint, &Checkpoint{Reason: CheckEnded, Generation: generation, Sequence: end.sequence, Head: end.head}); err != nil {
		return err
	}
	done = true
	return unlockGeneration(lock)
}

// torn is the record of a write that was cut off.
func torn(bytes int64) *pipeline.Gap {
	return &pipeline.Gap{Reason: "the last write of an earlier run was torn and never acknowledged", Bytes: bytes}
}

// wait appends a record and returns when it is on disk.
func (j *Journal) wait(kind string, body any) error {
	_, done := j.Append(pipeline.Record{Kind: kind, Body: body})
	return <-done
}

// release lets go of the locks of generations whose end is on record now.
func (e *earlier) release() error {
	var errs []error
	for _, f := range e.locks {
		errs = append(errs, unlockGeneration(f))
	}
	e.locks = nil
	return errors.Join(errs...)
}

// letGo lets go of them without having recorded anything.
func (e *earlier) letGo() error {
	var errs []error
	for _, f := range e.locks {
		errs = append(errs, f.Close())
	}
	e.locks = nil
	return errors.Join(errs...)
}
