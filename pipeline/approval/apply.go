// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// apply does to an item what a record says. It is all that changes an item, now and at start. mu is held.
func (d *Desk) apply(it *item, r *pipeline.Approval) {
	before := it.State
	if r.Voted != nil {
		it.Votes = append(it.Votes, *r.Voted)
	}
	if r.Used != nil {
		it.Uses = append(it.Uses, *r.Used)
		if len(it.Uses) > keepUses {
			it.Uses = slices.Delete(it.Uses, 0, 1)
		}
		if r.State == pipeline.ApprovalUsed {
			d.used[useKey{it.Digest, r.Used.Use}] = it
		}
	}
	if r.Note != "" {
		it.Note = r.Note
	}
	it.Have = have(it.Votes)
	if it.State = r.State; before != it.State {
		d.leave(it, before)
		if lives(it.State) {
			d.live++
		}
		if it.State == pipeline.ApprovalApproved {
			it.Until = r.Until
			d.grant(it)
		} else if !lives(it.State) {
			d.finish(it)
		}
		if before == pipeline.ApprovalApproved && it.Of == pipeline.ApprovalOfElevation {
			d.tabulate()
		}
	}
	it.stir()
}

// keepUses bounds the releases that are remembered of an approval for a session.
const keepUses = 100

// grant makes what was approved count from now on.
func (d *Desk) grant(it *item) {
	it.scope, it.free, _ = agreed(it.Votes)
	it.lasts = limit{it.Until, d.o.Mono() + it.Until.Sub(d.now())}
	if it.Of == pipeline.ApprovalOfElevation {
		d.tabulate()
	}
}

// finish keeps an item that is over for a while, without most of what it shows.
func (d *Desk) finish(it *item) {
	it.lasts = d.in(it.Settings.Valid) // that a denial answers the same thing coming again, and a use the same use
	if it.Body != "" {
		it.Body, it.Cut = "", true
	}
	if s := it.Step; s != nil && len(s.Args)+len(s.Text) > keepShownOver {
		kept := *s
		kept.Args, kept.Text = nil, ""
		it.Step, it.Cut = &kept, true
	}
	d.over = append(d.over, it)
	if len(d.over) > keepOver {
		old := d.over[0]
		d.over[0] = nil
		d.over = d.over[1:]
		d.drop(old)
	}
}

// drop takes an item out of the tables. mu is held.
func (d *Desk) drop(it *item) {
	delete(d.items, it.ID)
	if d.digest[it.Digest] == it {
		delete(d.digest, it.Digest)
	}
	for _, u := range it.Uses {
		if key := (useKey{it.Digest, u.Use}); d.used[key] == it {
			delete(d.used, key)
		}
	}
}

const keepShownOver = 1 << 10

// have counts the people who approved.
func have(votes []pipeline.ApprovalVote) (n int) {
	for _, v := range votes {
		if v.Approve {
			n++
		}
	}
	return n
}

// agreed is how far people agree to go: no further than each of them.
func agreed(votes []pipeline.ApprovalVote) (scope string, free []string, last time.Duration) {
	first := true
	for _, v := range votes {
		if !v.Approve {
			continue
		}
		if v.For > 0 && (last == 0 || v.For < last) {
			last = v.For
		}
		if first {
			scope, free, first = v.Scope, slices.Clone(v.Free), false
			continue
		}
		if v.Scope != scope {
			scope = pipeline.ScopeOnce
		}
		free = slices.DeleteFunc(free, func(f string) bool { return !slices.Contains(v.Free, f) })
	}
	return scope, free, last
}

// Fold takes the next record of the journal at start. Records of other kinds are ignored. It may begin where a snapshot begins that
// has an end. Where a process takes over from another, exchanges may wait here already: records of theirs change nothing.
func (d *Desk) Fold(r pipeline.Record) error {
	if r.Kind != pipeline.KindApproval && r.Kind != pipeline.KindElevation {
		return nil
	}
	var a *pipeline.Approval
	switch v := r.Body.(type) {
	case *pipeline.Approval:
		a = v
	case pipeline.Approval:
		a = &v
	default:
		return fmt.Errorf("approval: a %s record with a body of type %T", r.Kind, r.Body)
	}
	if a.ID == "" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	it := d.items[a.ID]
	switch {
	case it != nil && it.own: // it is what its records say
		return nil
	case a.Asked != nil && it != nil: // in a snapshot
		d.leave(it, it.State)
		d.drop(it)
		d.over = slices.DeleteFunc(d.over, func(o *item) bool { return o == it })
		fallthrough
	case a.Asked != nil:
		it = newItem(r.Kind, a.ID, whoOf(a.Asked))
		it.ApprovalAsked, it.State, it.late = *a.Asked, pipeline.ApprovalWaiting, true
		close(it.written)
		it.Need, it.Votes, it.Uses = need(a.Asked), a.Votes, a.Uses
		d.file(it)
	case it == nil:
		return nil // of an approval that was over before the reading began
	}
	if a.State == "" {
		return errors.New("approval: a record without a state")
	}
	d.apply(it, a)
	return nil
}

// Restored ends the fold. newest is the time of the newest record of the journal, of any kind: a clock that has been set back
// behind it does not lengthen what was granted.
func (d *Desk) Restored(newest time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, mono := d.now(), d.o.Mono()
	at := now
	if newest.After(at) {
		at = newest
	}
	for _, it := range d.items {
		if it.own {
			continue
		}
		end, most := it.Deadline, it.Settings.Timeout
		if it.State == pipeline.ApprovalApproved {
			if end, most = it.Until, it.Settings.Valid; it.Of == pipeline.ApprovalOfElevation || it.scope == pipeline.ScopeSession {
				most = it.Settings.MaxFor
			}
		} else if it.State != pipeline.ApprovalWaiting {
			end, most = it.lastTime().Add(it.Settings.Valid), it.Settings.Valid
		}
		it.lasts = limit{end, mono + min(end.Sub(at), most)}
		waited := min(max(0, at.Sub(it.Time)), it.Settings.Timeout)
		it.begun = mono - waited
		it.raised = it.escalations(waited)
	}
	d.minute = limit{}
	d.tabulate()
	d.nudge()
	return nil
}

// lastTime is when something last happened to an item, as far as it says.
func (it *item) lastTime() time.Time {
	t := it.Time
	if n := len(it.Votes); n > 0 {
		t = it.Votes[n-1].Time
	}
	if n := len(it.Uses); n > 0 && it.Uses[n-1].Time.After(t) {
		t = it.Uses[n-1].Time
	}
	return t
}
