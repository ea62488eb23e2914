// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Run does what time asks for until ctx ends: deadlines, escalations, snapshots.
func (d *Desk) Run(ctx context.Context) error {
	mark := time.NewTimer(everyMark)
	defer mark.Stop()
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-mark.C:
			if err := d.Snapshot(); err != nil {
				d.o.Notice(err)
			}
			mark.Reset(everyMark)
		case <-d.wake:
		case <-t.C:
		}
		t.Reset(d.sweep())
	}
}

// sweep does what is due, and says when to look again.
func (d *Desk) sweep() time.Duration {
	next := tick
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return next
	}
	var due []*item
	for _, it := range d.items {
		if !lives(it.State) {
			continue
		}
		left := d.left(it.lasts)
		if it.State == pipeline.ApprovalWaiting {
			waited := d.o.Mono() - it.begun
			if n := it.escalations(waited); n > it.raised {
				it.raised = n
				d.tell("escalated", it)
			}
			for _, e := range it.Settings.Escalate {
				if e.After > waited {
					left = min(left, e.After-waited)
				}
			}
			if it.gone != (limit{}) {
				left = min(left, d.left(it.gone))
			}
		}
		if left > 0 {
			next = min(next, left)
			continue
		}
		due = append(due, it)
	}
	d.mu.Unlock()
	for _, it := range due {
		if !d.end(it) {
			next = min(next, time.Second)
		}
	}
	return next
}

// end writes down that an item is over. It returns false if that is to be tried again.
func (d *Desk) end(it *item) bool {
	select {
	case it.busy <- struct{}{}:
	default:
		return false
	}
	defer func() { <-it.busy }()
	d.mu.Lock()
	r := &pipeline.Approval{ID: it.ID}
	switch {
	case !lives(it.State) || d.closed:
	case d.passed(it.lasts):
		r.State = d.ending(it)
	case it.State == pipeline.ApprovalWaiting && d.passed(it.gone) && len(it.waiters) == 0:
		r.State, r.Note = pipeline.ApprovalWithdrawn, "the application went away"
	}
	d.mu.Unlock()
	if r.State == "" {
		return true
	}
	if err := d.commit(it, r, r.State); err != nil {
		d.o.Notice(err)
		return false
	}
	return true
}

// Snapshot writes everything that lives down once more, so that a start need not read what is older. Run does so once an hour.
func (d *Desk) Snapshot() error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	mark := func(end bool) <-chan error {
		_, durable := d.o.Log.Append(pipeline.Record{Kind: pipeline.KindApproval, Time: d.now(),
			Body: &pipeline.Approval{Mark: &pipeline.ApprovalSnapshot{ID: id.String(), End: end}}})
		return durable
	}
	begun := mark(false)
	var all []*item
	for _, it := range d.items {
		if lives(it.State) || !d.passed(it.lasts) {
			all = append(all, it)
		}
	}
	d.mu.Unlock()
	if err := <-begun; err != nil {
		return err
	}
	for _, it := range all {
		it.busy <- struct{}{} // no record of it is on its way: what it is now is what the journal says so far
		d.mu.Lock()
		asked := it.ApprovalAsked
		r := &pipeline.Approval{ID: it.ID, State: it.State, Asked: &asked, Votes: it.Votes, Uses: it.Uses, Note: it.Note, Until: it.Until}
		_, kept := d.items[it.ID]
		var durable <-chan error
		if kept {
			durable = d.append(it, r)
		}
		d.mu.Unlock()
		<-it.busy
		if durable != nil {
			if err := <-durable; err != nil {
				return err
			}
		}
	}
	return <-mark(true)
}
