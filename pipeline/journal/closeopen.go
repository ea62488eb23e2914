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

// CutAgent is the Cut of an outcome whose exchange ended with the agent.
const CutAgent = "agent"

// maxPace bounds the pace that CloseOpen reconstructs for one exchange.
const maxPace = 10_000

// CloseOpen gives an outcome to every exchange that an earlier generation began and did not end, because the process was
// killed or its last records were lost: cut by "agent", with what had been released. It returns how many, once they are on
// disk. Call it after Open and before the first exchange.
func (j *Journal) CloseOpen(ctx context.Context) (int, error) {
	from, err := j.unsettled()
	if err != nil {
		return 0, err
	}
	open := map[string]*openExchange{}
	if from > 0 {
		if err := j.scanOpen(ctx, from, open); err != nil {
			return 0, fmt.Errorf("looking for exchanges that were cut: %w", err)
		}
	}
	var last <-chan error
	for id, x := range open {
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
	return len(open), j.settled()
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
	segments := j.old.segments
	for i := len(segments) - 1; i >= 0; i-- {
		info, _, err := statSegment(j.o.Dir, segments[i])
		if err != nil {
			return 0, err
		}
		if info.first != 1 {
			continue // not the first of its generation
		}
		done, err := j.didSettle(segments[i])
		if done || err != nil {
			return segments[i], err
		}
	}
	if len(segments) == 0 {
		return 0, nil
	}
	return segments[0], nil
}

// didSettle says whether a segment has a checkpoint of CloseOpen. It comes early, if it comes.
func (j *Journal) didSettle(segment uint64) (bool, error) {
	r, err := OpenReader(j.o.Dir, pipeline.Position{Segment: segment})
	if err != nil {
		return false, err
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) || err == nil && e.Position.Segment != segment {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if e.Kind == pipeline.KindCheckpoint {
			var c Checkpoint
			if err := e.Decode(&c); err != nil {
				return false, err
			}
			if c.Reason == CheckSettled {
				return true, nil
			}
		}
	}
}

// openExchange is what the records of an exchange without an outcome tell.
type openExchange struct {
	session  string
	began    time.Time
	last     time.Time
	enforced bool
	verdict  pipeline.Verdict
	decision string
	bytes    int64
	pace     []pipeline.Pace
}

func (j *Journal) scanOpen(ctx context.Context, from uint64, open map[string]*openExchange) error {
	r, err := OpenReader(j.o.Dir, pipeline.Position{Segment: from})
	if err != nil {
		return err
	}
	defer r.Close()
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, err := r.Next()
		if errors.Is(err, io.EOF) || err == nil && e.Generation == j.gen {
			return nil
		}
		if err != nil {
			return err
		}
		x := open[e.Exchange]
		switch {
		case e.Kind == pipeline.KindIntent:
			x = &openExchange{session: e.Session, began: e.Time}
			var in struct {
				Mode pipeline.Mode `json:"mode"`
			}
			if err := e.Decode(&in); err != nil {
				return err
			}
			x.enforced = in.Mode == pipeline.ModeEnforce
			open[e.Exchange] = x
		case e.Kind == pipeline.KindOutcome:
			delete(open, e.Exchange)
			continue
		case x == nil:
			continue
		case e.Kind == pipeline.KindEvent:
			var ev struct {
				Bytes int `json:"bytes"`
			}
			if err := e.Decode(&ev); err != nil {
				return err
			}
			x.bytes += int64(ev.Bytes)
			if len(x.pace) < maxPace {
				x.pace = append(x.pace, pipeline.Pace{At: e.Time.Sub(x.began).Milliseconds(), Bytes: ev.Bytes})
			}
		case e.Kind == pipeline.KindDecision:
			var d pipeline.Decision
			if err := e.Decode(&d); err != nil {
				return err
			}
			if x.decision == "" || d.Verdict.Action > x.verdict.Action {
				x.verdict, x.decision, x.enforced = d.Verdict, d.ID, d.Enforced
			}
		}
		x.last = e.Time
	}
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
