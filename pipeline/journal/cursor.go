// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Cursor follows a journal that is being written. It shows only what is on disk, so that nobody acts on a record which a
// loss of power could still take back: also of earlier generations that still run, as far as their records say so. It is
// used by one goroutine.
type Cursor struct {
	j       *Journal
	r       *Reader
	durable pipeline.Position // of j when it was last asked
	scouts  map[uint64]*scout // of the generations beside j
	err     error             // of a scout
}

// Follow starts at a mark that another Cursor of this folder had; the zero mark is the oldest record.
func (j *Journal) Follow(from Mark) (*Cursor, error) {
	for len(from) > 0 && from[len(from)-1].Generation > j.gen { // of one that was begun and given up
		from = from[:len(from)-1]
	}
	r, err := OpenReaderAt(j.o.Dir, from)
	if err != nil {
		return nil, err
	}
	r.cat.keys.shared = j.store
	c := &Cursor{j: j, r: r, scouts: map[uint64]*scout{}}
	r.below, r.ready, r.alive = j.gen+1, c.ready, j.running
	if err := j.count(r.cat, from); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return c, nil
}

// Next returns the following record, valid until the next call, and waits for one if need be. It ends with the error of
// ctx, with ErrClosed after the last record of a closed journal, or with the error that stopped the journal.
func (c *Cursor) Next(ctx context.Context) (*Entry, error) {
	for {
		c.j.mu.Lock()
		c.durable = c.j.durable
		c.j.mu.Unlock()
		if !c.idle() {
			e, err := c.r.Next()
			if c.err != nil {
				return nil, c.err
			}
			if !errors.Is(err, io.EOF) {
				return e, err
			}
			if l := c.own(); l == nil || before(l.position(), c.durable) { // the chain ends before what we know to be there
				return nil, &Damage{Segment: c.durable.Segment, Offset: c.durable.Offset, What: "acknowledged records are missing"}
			}
		}
		if done, err := c.wait(ctx); done || err != nil {
			return nil, err
		}
	}
}

// idle says, without looking at files, that there is nothing to read: no generation but the own one, and that to its end.
func (c *Cursor) idle() bool {
	l := c.own()
	return l != nil && len(c.r.lanes) == 1 && !l.have && !before(l.position(), c.durable)
}

// own is the lane of the journal itself.
func (c *Cursor) own() *lane {
	if n := len(c.r.lanes); n > 0 && c.r.lanes[n-1].info.generation == c.j.gen {
		return c.r.lanes[n-1]
	}
	return nil
}

// ready says whether the next record of a lane is on disk.
func (c *Cursor) ready(l *lane) bool {
	g := l.info.generation
	if g == c.j.gen {
		return before(l.position(), c.durable)
	}
	if !c.j.running(g) {
		c.drop(g)
		return true
	}
	s := c.scouts[g]
	if s == nil {
		var err error
		if s, err = newScout(c.r.cat, l.position()); err != nil {
			c.err = err
			return false
		}
		c.scouts[g] = s
	}
	if !before(l.position(), s.synced.at) {
		if err := s.run(); err != nil {
			c.err = err
			return false
		}
	}
	return before(l.position(), s.synced.at)
}

func (c *Cursor) drop(generation uint64) {
	if s := c.scouts[generation]; s != nil {
		_ = s.close() // was only read
		delete(c.scouts, generation)
	}
}

// wait returns when there may be more.
func (c *Cursor) wait(ctx context.Context) (done bool, err error) {
	j := c.j
	j.mu.Lock()
	more, shut, failed, beside := j.durable != c.durable, j.shut, j.err, len(j.lives) > 0
	if j.moved == nil {
		j.moved = make(chan struct{})
	}
	moved := j.moved
	j.mu.Unlock()
	switch {
	case more:
		return false, nil
	case failed != nil:
		return true, failed
	case shut:
		select {
		case <-j.stopped: // the last sync may have brought more
		case <-ctx.Done():
			return true, ctx.Err()
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.durable == c.durable {
			return true, ErrClosed
		}
		return false, nil
	}
	var look <-chan time.Time
	if beside {
		t := time.NewTimer(j.o.Follow)
		defer t.Stop()
		look = t.C
	}
	select {
	case <-moved:
	case <-look:
	case <-ctx.Done():
		return true, ctx.Err()
	}
	return false, nil
}

// Mark is where Next reads on.
func (c *Cursor) Mark() Mark { return c.r.Mark() }

// Close releases the cursor.
func (c *Cursor) Close() error {
	for g := range c.scouts {
		c.drop(g)
	}
	return c.r.Close()
}
