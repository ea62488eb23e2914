// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Holds are a state that the journal keeps about itself. The first record of a segment behind the opening states all that are in force
// then, if there are any, so that a start reads them out of the newest segment.

// maxHolds bounds what a segment begins with.
const maxHolds = 1000

// ErrHold says that a hold cannot be made or released as it is asked for.
var ErrHold = errors.New("the hold cannot be changed like this")

// CheckState begins a segment with what was in force then.
const CheckState = "state"

// AddHold puts a subject under hold.
func (j *Journal) AddHold(s Subject, by pipeline.Person, reason string) (Hold, error) {
	if err := s.check(); err != nil {
		return Hold{}, fmt.Errorf("%w: %w", ErrHold, err)
	}
	if reason == "" || len(reason) > 1000 {
		return Hold{}, fmt.Errorf("%w: it needs a reason, of at most 1,000 bytes", ErrHold)
	}
	j.admin.Lock()
	defer j.admin.Unlock()
	h := Hold{Subject: s, By: by, Since: j.o.Now().UTC(), Reason: reason}
	for _, old := range j.Holds() {
		if old.Subject == s {
			return old, fmt.Errorf("%w: %s is under hold already, since %s", ErrHold, s, old.Since.Format("2006-01-02"))
		}
	}
	if len(j.Holds()) >= maxHolds {
		return Hold{}, fmt.Errorf("%w: there are %d, which is all that are possible: release some, or hold a principal in place of its sessions", ErrHold, maxHolds)
	}
	// In force before it is on record, and only then told: an erasure in between would be wrong, a hold too many is not.
	j.setHolds(append(j.Holds(), h))
	if err := j.wait(pipeline.KindAdmin, &HoldChange{ActionHold, h}); err != nil {
		return h, fmt.Errorf("recording the hold: %w", err)
	}
	return h, nil
}

// ReleaseHold ends a hold.
func (j *Journal) ReleaseHold(s Subject, by pipeline.Person, reason string) (Hold, error) {
	j.admin.Lock()
	defer j.admin.Unlock()
	rest := j.Holds()
	i := slices.IndexFunc(rest, func(h Hold) bool { return h.Subject == s })
	if i < 0 {
		return Hold{}, fmt.Errorf("%w: %s is not under hold", ErrHold, s)
	}
	h := Hold{Subject: s, By: by, Since: j.o.Now().UTC(), Reason: reason}
	if err := j.wait(pipeline.KindAdmin, &HoldChange{ActionRelease, h}); err != nil {
		return h, fmt.Errorf("recording the release: %w", err)
	}
	j.setHolds(slices.Delete(rest, i, i+1))
	return h, nil
}

// Holds lists those in force.
func (j *Journal) Holds() []Hold {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.holds)
}

func (j *Journal) setHolds(all []Hold) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.holds = all
}

// held lists the sessions that holds are about.
func (j *Journal) held(ctx context.Context) (map[string]bool, error) {
	var all []Subject
	for _, h := range j.Holds() {
		all = append(all, h.Subject)
	}
	return j.sessionsOf(ctx, all)
}

// FoldHolds applies a record to a list of holds: whoever reads a journal from its beginning, or from that of a segment, has those in force.
func FoldHolds(all []Hold, e *Entry) ([]Hold, error) {
	switch e.Kind {
	case pipeline.KindCheckpoint:
		var c Checkpoint
		if err := e.Metadata(&c); err != nil {
			return all, err
		}
		if c.Reason == CheckState {
			return c.Holds, nil
		}
	case pipeline.KindAdmin:
		var c HoldChange
		if err := e.Metadata(&c); err != nil { // what others record need not look like ours
			return all, nil
		}
		same := func(h Hold) bool { return h.Subject == c.Subject }
		switch c.Action {
		case ActionHold:
			if !slices.ContainsFunc(all, same) {
				return append(slices.Clip(all), c.Hold), nil
			}
		case ActionRelease:
			return slices.DeleteFunc(slices.Clone(all), same), nil
		}
	}
	return all, nil
}

// noteState begins a segment with the state that a start has to know; j.mu is held.
func (j *Journal) noteState() error {
	c := j.checkpoint(CheckState)
	c.Holds, c.OpenFrom = j.holds, j.info.number
	for _, segment := range j.begun {
		c.OpenFrom = min(c.OpenFrom, segment)
	}
	return j.own(pipeline.KindCheckpoint, c)
}

// stateRoom is enough for noteState.
func (j *Journal) stateRoom() int64 {
	if len(j.holds) == 0 {
		return 0
	}
	b, err := appendJSON(nil, j.holds)
	if err != nil {
		return 0 // it always encodes
	}
	return int64(len(b)) + checkpointRoom
}

// takeHolds learns the holds that were in force when an earlier generation ended, or now if it runs, from its newest segment.
func (j *Journal) takeHolds(cat *catalog, generation uint64) error {
	c, err := openChain(cat, pipeline.Position{Segment: cat.newest(generation).number})
	if err != nil {
		return err
	}
	defer c.close()
	for {
		ok, err := c.next()
		if !ok || err != nil {
			return err
		}
		if j.holds, err = FoldHolds(j.holds, &c.entry); err != nil {
			return c.entry.damage("the checkpoint cannot be read")
		}
	}
}
