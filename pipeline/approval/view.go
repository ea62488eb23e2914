// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Item is an approval or elevation as people see it.
type Item struct {
	ID    string
	State string
	pipeline.ApprovalAsked
	Votes   []pipeline.ApprovalVote
	Uses    []pipeline.ApprovalUse // the newest
	Need    int                    // people who have to approve
	Have    int                    // people who have approved
	Waiters int                    // exchanges that wait for it now
	Groups  []string               // that may decide now, escalations included; none: whoever may decide at all
	Until   time.Time              // approved: how long it is good for
	Note    string
}

// Filter chooses items. Zero takes all that wait or are in force.
type Filter struct {
	Of     string // ApprovalOf…; "" all
	States []string
	All    bool // those that are over too, as far as they are remembered
	UID    *uint32
	Limit  int
}

// whoOf is the key of the share of who asks.
func whoOf(a *pipeline.ApprovalAsked) string {
	if r := a.Requester; r != nil && (r.User != "" || r.UID != pipeline.NoUID) {
		return fmt.Sprintf("person\x00%s\x00%d", r.User, r.UID)
	}
	c := callerOf(&a.Principal, &a.Workload)
	return fmt.Sprintf("%s\x00%s\x00%d\x00%s", c.SPIFFEID, c.User, c.UID, c.Place)
}

// view copies what people see of an item. mu is held.
func (d *Desk) view(it *item) Item {
	out := it.Item
	out.Votes, out.Uses = slices.Clone(it.Votes), slices.Clone(it.Uses)
	out.Waiters = len(it.waiters)
	out.Groups, _ = it.deciders(d.o.Mono() - it.begun)
	if lives(out.State) && d.passed(it.lasts) { // its record is about to come
		out.State = d.ending(it)
	}
	return out
}

// ending is the state that an item comes to when its time is over.
func (d *Desk) ending(it *item) string {
	switch {
	case it.State == pipeline.ApprovalWaiting:
		return pipeline.ApprovalExpired
	case it.Of == pipeline.ApprovalOfElevation || it.scope == pipeline.ScopeSession:
		return pipeline.ApprovalEnded
	}
	return pipeline.ApprovalLapsed
}

// List lists, newest first.
func (d *Desk) List(f Filter) []Item {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Item
	for _, it := range d.items {
		v := d.view(it)
		switch {
		case f.Of != "" && v.Of != f.Of:
		case len(f.States) > 0 && !slices.Contains(f.States, v.State):
		case len(f.States) == 0 && !f.All && !lives(v.State):
		case f.UID != nil && !ofUID(&v, *f.UID):
		default:
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b Item) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID)) })
	if f.Limit > 0 && len(out) > f.Limit {
		out = out[:f.Limit]
	}
	return out
}

// ofUID tells whether a user of this host asks, or it is asked for them.
func ofUID(v *Item, uid uint32) bool {
	return v.Requester != nil && v.Requester.UID == uid || v.Subject != nil && v.Subject.UID != nil && *v.Subject.UID == uid ||
		v.Of != pipeline.ApprovalOfElevation && v.Workload.UID == uid
}

// Get finds one by its ID.
func (d *Desk) Get(id string) (Item, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	it := d.items[id]
	if it == nil {
		return Item{}, ErrNotFound
	}
	return d.view(it), nil
}

// Change is something that happened to an item.
type Change struct {
	What   string // "asked", "escalated", "voted", "used" or the state that it has come to
	Item   Item
	Missed int // changes before it that were dropped, because they were not fetched in time: List again
}

// maxChanges is how many changes a Feed keeps.
const maxChanges = 256

// Feed is a subscription to changes.
type Feed struct {
	d      *Desk
	kept   []Change
	missed int
	more   chan struct{} // capacity 1
}

// Changes begins a subscription, from now on. It keeps the newest changes that were not fetched. Close it.
func (d *Desk) Changes() *Feed {
	f := &Feed{d: d, more: make(chan struct{}, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.feeds[f] = struct{}{}
	return f
}

// tell lets subscribers know. mu is held.
func (d *Desk) tell(what string, it *item) {
	if len(d.feeds) == 0 {
		return
	}
	c := Change{What: what, Item: d.view(it)}
	for f := range d.feeds {
		if len(f.kept) == maxChanges {
			f.kept = slices.Delete(f.kept, 0, 1)
			f.missed++
		}
		f.kept = append(f.kept, c)
		select {
		case f.more <- struct{}{}:
		default:
		}
	}
}

// Next waits for a change. One goroutine at a time calls it.
func (f *Feed) Next(ctx context.Context) (Change, error) {
	for {
		f.d.mu.Lock()
		if len(f.kept) > 0 {
			c := f.kept[0]
			c.Missed, f.missed = f.missed, 0
			f.kept = slices.Delete(f.kept, 0, 1)
			f.d.mu.Unlock()
			return c, nil
		}
		f.d.mu.Unlock()
		select {
		case <-f.more:
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

// Close ends the subscription.
func (f *Feed) Close() {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	delete(f.d.feeds, f)
}
