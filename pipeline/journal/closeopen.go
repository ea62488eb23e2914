// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// CutAgent is the Cut of an outcome whose exchange ended with the agent.
const CutAgent = "agent"

// maxPace bounds the pace that CloseOpen reconstructs for one exchange.
const maxPace = 10_000

// CloseOpen gives an outcome to every exchange that an earlier generation began and did not end, because the process was
// killed or its last records were lost: cut by "agent", with what had been released. It returns how many, once they are on
// disk. Generations that still run keep theirs; they are followed from now on and closed when they have ended. Call it
// after Open and before the first exchange.
func (j *Journal) CloseOpen(ctx context.Context) (int, error) {
	from, err := j.unsettled()
	if err != nil {
		return 0, err
	}
	if from == 0 {
		return 0, j.settled()
	}
	r, err := OpenReader(j.o.Dir, pipeline.Position{Segment: from})
	if err != nil {
		return 0, err
	}
	r.below, r.alive = j.gen, j.running
	f := &follower{r: r, indexed: j.indexed, open: map[string]*openExchange{}, asked: make(chan chan struct{}), ended: make(chan struct{})}
	n := 0
	if err = j.read(ctx, f); err == nil {
		n, err = j.cut(ctx, f, func(g uint64) bool { return !j.running(g) })
	} else {
		err = fmt.Errorf("looking for exchanges that were cut: %w", err)
	}
	if err == nil && j.besides() {
		j.following = f
		j.tasks.Go(func() { j.follow(f) })
		return n, nil
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return n, err
	}
	return n, j.settled()
}

// cut gives outcomes to what some generations left open, and returns how many once they are on disk.
func (j *Journal) cut(ctx context.Context, f *follower, of func(generation uint64) bool) (n int, err error) {
	var last <-chan error
	for id, x := range f.open {
		if !of(x.generation) {
			continue
		}
		delete(f.open, id)
		n++
		_, last = j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Time: j.o.Now(), Session: x.session, Exchange: id, Body: x.outcome()})
		select {
		case err := <-last: // not taken
			if err != nil {
				return 0, fmt.Errorf("recording a cut exchange: %w", err)
			}
			last = nil
		default:
		}
	}
	if last != nil { // records become durable in order
		select {
		case err := <-last:
			if err != nil {
				return 0, fmt.Errorf("recording a cut exchange: %w", err)
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return n, nil
}

// settled notes that earlier generations need no second look.
func (j *Journal) settled() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	if err := j.room(checkpointRoom, true); err != nil {
		return err
	}
	if err := j.own(pipeline.KindCheckpoint, j.checkpoint(CheckSettled)); err != nil {
		return err
	}
	j.wake()
	return nil
}

// unsettled is the first segment from which on exchanges may be open: that of the newest earlier generation that settled
// all before it. 0 if there is nothing to look at.
func (j *Journal) unsettled() (uint64, error) {
	cat, err := openCatalog(j.o.Dir)
	if err != nil {
		return 0, err
	}
	oldest := uint64(0)
	from := map[uint64]uint64{} // by generation, as its newest segment says
	for i := range slices.Backward(cat.infos) {
		s := &cat.infos[i]
		if s.generation >= j.gen {
			continue
		}
		begin, known := from[s.generation]
		if !known {
			if begin, err = openFrom(cat, s.number); err != nil {
				return 0, err
			}
			from[s.generation] = begin
		}
		if s.number >= begin {
			oldest = s.number
		}
		if s.first != 1 {
			continue // not the first of its generation
		}
		if done, err := didSettle(cat, s.number); done || err != nil {
			return oldest, err
		}
	}
	return oldest, nil
}

// openFrom is the segment from which on exchanges of a generation may be open, by the state with which a segment of it begins; 0 if
// that does not say.
func openFrom(cat *catalog, segment uint64) (uint64, error) {
	c, err := openChain(cat, pipeline.Position{Segment: segment})
	if err != nil {
		return 0, err
	}
	defer c.close()
	ok, err := c.record()
	if !ok || err != nil || c.entry.Kind != pipeline.KindCheckpoint {
		return 0, err
	}
	var p Checkpoint
	if err := c.entry.Metadata(&p); err != nil {
		return 0, err
	}
	return p.OpenFrom, nil
}

// didSettle says whether a segment has a checkpoint of CloseOpen. It comes early, if it comes.
func didSettle(cat *catalog, segment uint64) (bool, error) {
	c, err := openChain(cat, pipeline.Position{Segment: segment})
	if err != nil {
		return false, err
	}
	defer c.close()
	for {
		ok, err := c.next()
		if !ok || c.info.number != segment {
			return false, err
		}
		if c.entry.Kind == pipeline.KindCheckpoint {
			var p Checkpoint
			if err := c.entry.Decode(&p); err != nil {
				return false, err
			}
			if p.Reason == CheckSettled {
				return true, nil
			}
		}
	}
}

// openExchange is what the records of an exchange without an outcome tell.
type openExchange struct {
	generation uint64
	session    string
	began      time.Time
	last       time.Time
	enforced   bool
	verdict    pipeline.Verdict
	decision   string
	bytes      int64
	pace       []pipeline.Pace
}

// take learns from a record which exchanges are open.
func (f *follower) take(e *Entry) error {
	x := f.open[e.Exchange]
	switch {
	case e.Kind == pipeline.KindIntent:
		x = &openExchange{generation: e.Generation, session: e.Session, began: e.Time}
		var in struct {
			Mode pipeline.Mode `json:"mode"`
		}
		if err := e.Metadata(&in); err != nil {
			return err
		}
		x.enforced = in.Mode == pipeline.ModeEnforce
		f.open[e.Exchange] = x
	case e.Kind == pipeline.KindOutcome:
		delete(f.open, e.Exchange)
		return nil
	case x == nil:
		return nil
	case e.Kind == pipeline.KindEvent:
		var ev struct {
			Bytes int `json:"bytes"`
		}
		if err := e.Metadata(&ev); err != nil {
			return err
		}
		x.bytes += int64(ev.Bytes)
		if len(x.pace) < maxPace {
			x.pace = append(x.pace, pipeline.Pace{At: e.Time.Sub(x.began).Milliseconds(), Bytes: ev.Bytes})
		}
	case e.Kind == pipeline.KindDecision:
		var d pipeline.Decision
		if err := e.Metadata(&d); err != nil {
			return err
		}
		if x.decision == "" || d.Verdict.Action > x.verdict.Action {
			x.verdict, x.decision, x.enforced = d.Verdict, d.ID, d.Enforced
		}
	}
	x.last = e.Time
	return nil
}

func (x *openExchange) outcome() *pipeline.Outcome {
	o := &pipeline.Outcome{Verdict: x.verdict, Decision: x.decision, Enforced: x.enforced, Cut: CutAgent,
		BytesReleased: x.bytes, DurationMS: max(x.last.Sub(x.began).Milliseconds(), 0), Pace: x.pace}
	if len(x.pace) > 0 {
		o.FirstReleaseMS = x.pace[0].At
	}
	if o.Verdict.Stage == "" {
		o.Verdict.Stage = "call"
	}
	return o
}
