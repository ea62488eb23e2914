// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"io"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Cursor follows a journal that is being written. It shows only what is on disk, so that nobody acts on a record which a
// loss of power could still take back. It is used by one goroutine.
type Cursor struct {
	j *Journal
	r *Reader
}

// Follow starts at a position that an Entry had as its Position or End; the zero position is the oldest record.
func (j *Journal) Follow(from pipeline.Position) (*Cursor, error) {
	r, err := OpenReader(j.o.Dir, from)
	if err != nil {
		return nil, err
	}
	return &Cursor{j, r}, nil
}

// Next returns the following record, valid until the next call, and waits for one if need be. It ends with the error of
// ctx, with ErrClosed after the last record of a closed journal, or with the error that stopped the journal.
func (c *Cursor) Next(ctx context.Context) (*Entry, error) {
	for {
		at := c.r.Position()
		c.j.mu.Lock()
		durable, shut, err := c.j.durable, c.j.shut, c.j.err
		var moved chan struct{}
		if !before(at, durable) && !shut && err == nil {
			if c.j.moved == nil {
				c.j.moved = make(chan struct{})
			}
			moved = c.j.moved
		}
		c.j.mu.Unlock()
		if before(at, durable) {
			e, err := c.r.Next()
			if !errors.Is(err, io.EOF) {
				return e, err
			}
			if c.r.Position() == at { // the chain ends before what we know to be there
				return nil, &Damage{Segment: at.Segment, Offset: at.Offset, What: "acknowledged records are missing"}
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if shut {
			select {
			case <-c.j.stopped: // the last sync may have brought more
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			c.j.mu.Lock()
			done := !before(at, c.j.durable)
			c.j.mu.Unlock()
			if done {
				return nil, ErrClosed
			}
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// before orders positions.
func before(a, b pipeline.Position) bool {
	return a.Segment < b.Segment || a.Segment == b.Segment && a.Offset < b.Offset
}

// Position is where Next reads on.
func (c *Cursor) Position() pipeline.Position { return c.r.Position() }

// Close releases the cursor.
func (c *Cursor) Close() error { return c.r.Close() }
