// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/content"
)

// Retention says how long records are kept; 0 is for good.
type Retention struct {
	Content  time.Duration // what people, models and tools said
	Metadata time.Duration // who asked whom, when, and what was decided
	Admin    time.Duration // what administrators did, approvals, policy, configuration
}

// Expired is what Expire did.
type Expired struct {
	Keys     int
	Segments int
}

// Expiry is the body of the admin records about what record.retention took away.
type Expiry struct {
	Action  string    `json:"action"`
	Keys    int       `json:"keys,omitempty"`
	Before  time.Time `json:"before,omitzero"` // content that is older
	First   uint64    `json:"first_segment,omitempty"`
	Last    uint64    `json:"last_segment,omitempty"`
	Removed []Removed `json:"removed,omitempty"` // where each chain stands at the end of what is removed
}

// Removed is the last record of a generation that is not here any more.
type Removed struct {
	Generation uint64 `json:"generation"`
	Sequence   uint64 `json:"sequence"`
	Head       Hash   `json:"head"`
}

// Expire destroys the keys of contents that are due, and removes the oldest segments of which every record is due. Both are on record
// before. What is under hold stays, and so does what needed does not cover: segments from that number on, 0 = none.
func (j *Journal) Expire(ctx context.Context, r Retention, needed uint64) (Expired, error) {
	j.admin.Lock()
	defer j.admin.Unlock()
	var out Expired
	if r == (Retention{}) {
		return out, nil
	}
	held, err := j.held(ctx)
	if err != nil {
		return out, err
	}
	if r.Content > 0 {
		if out.Keys, err = j.expireContent(r.Content, held); err != nil {
			return out, fmt.Errorf("expiring contents: %w", err)
		}
	}
	if r.Metadata > 0 {
		if out.Segments, err = j.expireSegments(ctx, r, held, needed); err != nil {
			return out, fmt.Errorf("expiring segments: %w", err)
		}
	}
	return out, nil
}

func (j *Journal) expireContent(keep time.Duration, held map[string]bool) (int, error) {
	before := j.o.Now().Add(-keep - content.KeyLife).UTC() // the newest that a key sealed is younger than the key
	sums := sumsOf(held)
	due := func(k content.Key) bool { return k.Live && k.Created.Before(before) && !sums[k.Session] }
	n := 0
	if err := j.store.Keys(func(k content.Key) error {
		if due(k) {
			n++
		}
		return nil
	}); err != nil || n == 0 {
		return 0, err
	}
	if err := j.wait(pipeline.KindAdmin, &Expiry{Action: ActionExpireContent, Keys: n, Before: before.Add(content.KeyLife)}); err != nil {
		return 0, err
	}
	return j.destroy(due, func(string) bool { return false })
}

func (j *Journal) expireSegments(ctx context.Context, r Retention, held map[string]bool, needed uint64) (int, error) {
	if err := j.catchUp(); err != nil {
		return 0, err
	}
	cat, err := openCatalog(j.o.Dir)
	if err != nil {
		return 0, err
	}
	defer cat.keys.close() // files that were only read
	cat.keys.shared = j.store
	x := Expiry{Action: ActionExpireSegments}
	now := j.o.Now()
	for i := range cat.infos {
		s := &cat.infos[i]
		if i == len(cat.infos)-1 || s.generation == j.gen && cat.newest(j.gen).number == s.number || j.running(s.generation) && s.generation != j.gen ||
			needed != 0 && s.number >= needed || now.Sub(cat.infos[i+1].created) < r.Metadata {
			break
		}
		end, due, err := j.due(ctx, cat, s, r, held, now)
		if err != nil {
			return 0, err
		}
		if !due {
			break
		}
		x.note(s.number, end)
	}
	if x.First == 0 {
		return 0, nil
	}
	if err := j.wait(pipeline.KindAdmin, &x); err != nil {
		return 0, err
	}
	if j.o.Index != nil {
		j.o.Index.forget(x.Last)
	}
	n := 0
	for s := x.First; s <= x.Last; s++ { // oldest first: a crash in between leaves no hole
		if err := os.Remove(segmentPath(j.o.Dir, s)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return n, fmt.Errorf("removing an expired segment: %w", err)
		}
		n++
	}
	if err := j.folder.Sync(); err != nil {
		return n, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed, err = j.usage()
	return n, err
}

func (x *Expiry) note(segment uint64, end Removed) {
	if x.First == 0 {
		x.First = segment
	}
	x.Last = segment
	for i := range x.Removed {
		if x.Removed[i].Generation == end.Generation {
			x.Removed[i] = end
			return
		}
	}
	x.Removed = append(x.Removed, end)
}

// due says whether every record of a segment may go, and where its chain stands at its end.
func (j *Journal) due(ctx context.Context, cat *catalog, s *segmentInfo, r Retention, held map[string]bool, now time.Time) (end Removed, due bool, err error) {
	c, err := openChain(cat, pipeline.Position{Segment: s.number})
	if err != nil {
		return end, false, err
	}
	defer c.close()
	for {
		if ctx.Err() != nil {
			return end, false, ctx.Err()
		}
		ok, err := c.record()
		if err != nil {
			return end, false, err
		}
		if !ok {
			return Removed{s.generation, c.seq, c.head}, true, nil
		}
		e, keep := &c.entry, r.Metadata
		switch e.Kind {
		case KindOpen, pipeline.KindCheckpoint:
			continue
		case pipeline.KindAdmin, pipeline.KindConfig, pipeline.KindPolicy, pipeline.KindApproval, pipeline.KindElevation:
			keep = r.Admin
		}
		if keep == 0 || now.Sub(e.Time) < keep || held[e.Session] {
			return end, false, nil
		}
		state, err := e.Content()
		if err != nil {
			return end, false, err
		}
		if plain := e.flags&flagAttachment != 0 && e.flags&flagSealed == 0; plain || state == ContentHere && e.flags&flagSealed != 0 {
			// Of a version that did not seal, or not erased yet. A content under hold was dealt with above.
			if !plain || r.Content == 0 || now.Sub(e.Time) < r.Content {
				return end, false, nil
			}
		}
	}
}
