// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// wake asks the committer for a sync. It never blocks.
func (j *Journal) wake() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// commit is the committer: while one sync runs, the next group gathers.
func (j *Journal) commit() {
	defer close(j.stopped)
	var group []chan error
	var last round
	tick := time.NewTicker(min(j.o.SignEvery, time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-j.kick:
			j.gather(last)
			group, last = j.syncOnce(group)
			group = j.signNow(group)
		case <-tick.C:
			group = j.signNow(group)
		case <-j.stop:
			j.syncOnce(group)
			return
		}
	}
}

// A round is what the committer did last: for how many, and how long the disk took.
type round struct {
	waiters int
	took    time.Duration
}

// maxGather bounds how long a commit waits for company.
const maxGather = 100 * time.Microsecond

// gather lets whoever is about to append join the group. Those whom the last commit answered often go on at once: as many are
// waited for, for a small part of what missing this group would cost them.
func (j *Journal) gather(last round) {
	runtime.Gosched()
	if last.waiters < 2 {
		return
	}
	limit := min(last.took/8, maxGather)
	for start := time.Now(); time.Since(start) < limit; runtime.Gosched() {
		j.mu.Lock()
		n := len(j.waiters)
		j.mu.Unlock()
		if n >= last.waiters {
			return
		}
	}
}

// syncOnce brings what is written to disk and answers everybody who waits for it. It returns an emptied slice for the
// next group.
func (j *Journal) syncOnce(group []chan error) ([]chan error, round) {
	j.mu.Lock()
	group, j.waiters = j.waiters, group[:0]
	retired := j.retired
	j.retired = nil
	err := j.flush()
	f, seq := j.active, j.seq
	end := pipeline.Position{Segment: j.info.number, Offset: uint64(j.off)}
	if j.lazy {
		j.lazy = false
		j.timer.Stop()
	}
	dirty := seq != j.synced
	j.mu.Unlock()

	start := time.Now()
	if err == nil && dirty {
		err = j.keys.Sync() // before what only they open
	}
	if err == nil && dirty {
		err = j.sync(f, len(group)) // segments before the active one were synced when they were left
	}
	done := round{len(group), time.Since(start)}
	for _, old := range retired {
		dropCache(old)
		if cerr := old.Close(); cerr != nil && err == nil {
			err = cerr
		}
	}

	j.mu.Lock()
	switch {
	case j.err != nil:
		// Also if our own sync went well: the kernel tells an error of the disk only once, perhaps to a rotation.
		err = j.err
	case err != nil:
		err = j.fail(fmt.Errorf("syncing the journal: %w", err))
	case seq > j.synced:
		j.synced, j.durable = seq, end
	}
	moved := j.moved
	j.moved = nil
	j.prepare()
	j.mu.Unlock()

	for i, w := range group {
		w <- err
		group[i] = nil
	}
	if moved != nil {
		close(moved)
	}
	return group, done
}

// checkpointRoom is enough for the checkpoint at the end of a segment.
const checkpointRoom = 1024

// rotate completes the active segment and begins the next one, with room for n bytes. The old one is on disk and cut to
// its records before the new one appears. With ErrFull nothing has changed.
func (j *Journal) rotate(n int64, essential bool) error {
	f, size, err := j.nextFile(n, essential)
	if err != nil {
		return err
	}
	done := false
	c := j.checkpoint(CheckRotate)
	t := j.sign(c, 0)
	defer func() { j.endTurn(t, done) }()
	if err := j.own(pipeline.KindCheckpoint, c); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := j.active.Truncate(j.off); err != nil {
		return errors.Join(j.fail(fmt.Errorf("closing a journal segment: %w", err)), f.Close())
	}
	if err := errors.Join(j.keys.Sync(), j.sync(j.active, len(j.waiters))); err != nil {
		return errors.Join(j.fail(fmt.Errorf("syncing a journal segment: %w", err)), f.Close())
	}
	done = true
	j.synced, j.durable = j.seq, pipeline.Position{Segment: j.info.number, Offset: uint64(j.off)}
	old, end := j.active, j.off
	if err := j.begin(f, j.info.number+1, size); err != nil {
		return j.fail(err)
	}
	if used, err := j.usage(); err == nil { // other generations, and people who move segments away, change it too
		j.closed = used
	} else {
		j.closed += end
	}
	j.retired = append(j.retired, old)
	if err := j.noteState(); err != nil {
		return err
	}
	if j.full {
		return j.noteShortage(FullEmergency)
	}
	return nil
}

// begin makes a prepared file of that size the active segment. It owns the file.
func (j *Journal) begin(f *os.File, number uint64, size int64) error {
	info := segmentInfo{number: number, generation: j.gen, first: j.seq + 1, prev: j.head, created: j.o.Now()}
	if err := activate(f, j.folder, &info); err != nil {
		_ = f.Close() // the first error says what matters
		return fmt.Errorf("beginning journal segment %d: %w", number, err)
	}
	j.active, j.info, j.size, j.off = f, info, size, segmentHeader
	return nil
}

// prepare has the next segment made ready once the active one is half full; j.mu is held.
func (j *Journal) prepare() {
	if j.err != nil || j.shut || j.making || j.spare != nil || 2*j.off < j.size || !j.affords() {
		return
	}
	j.making = true
	// Where records are large their bytes cost more than their syncs: writing the segment twice does not pay.
	kind, fill := "filled", j.off/int64(j.seq-j.info.first+2) < tailBytes
	if !fill {
		kind = "unfilled"
	}
	j.tasks.Go(func() {
		f, err := j.newFile(kind, j.o.SegmentBytes, fill)
		if err != nil {
			f = nil // the rotation tries for itself, and says why it cannot
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.making = false
		j.keep(f)
	})
}

// affords says whether the quota has room for one more segment beside the active one, when that is full.
func (j *Journal) affords() bool {
	return !j.full && (j.o.MaxBytes == 0 || j.closed+j.size+j.o.SegmentBytes+j.reserve <= j.o.MaxBytes)
}

// keep takes a segment that was prepared. Where that took so long that the journal had to help itself meanwhile, the quota may have
// no room for it any more: then it goes. j.mu is held.
func (j *Journal) keep(f *os.File) {
	if f != nil && !j.affords() {
		_, _ = f.Close(), os.Remove(f.Name()) // what cannot be removed is at most swept up at the next start
		f = nil
	}
	j.spare = f
}
