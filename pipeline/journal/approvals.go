// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"io"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Approvals reads what is needed to know which approvals and elevations wait or are in force, in order: their records from the
// newest snapshot that has an end on, or all that may have been written since a time, whichever is less. Older segments are not
// opened. newest is the time of the newest record of any kind.
func Approvals(dir string, since time.Time, visit func(pipeline.Record) error) (newest time.Time, err error) {
	cat, err := openCatalog(dir)
	if err != nil {
		return newest, err
	}
	s := scan{cat: cat, ends: map[string]bool{}}
	from, err := s.back(since)
	newest = s.newest
	if err != nil || from == (pipeline.Position{}) {
		return newest, err
	}
	r, err := OpenReader(dir, from)
	if err != nil {
		return newest, err
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return newest, nil
		}
		if err != nil {
			return newest, err
		}
		if e.Time.After(newest) {
			newest = e.Time
		}
		if !ofApprovals(e) {
			continue
		}
		a := new(pipeline.Approval)
		if err := e.Decode(a); err != nil {
			return newest, err
		}
		if err := visit(pipeline.Record{Kind: e.Kind, Time: e.Time, Session: e.Session, Exchange: e.Exchange, Body: a}); err != nil {
			return newest, err
		}
	}
}

func ofApprovals(e *Entry) bool {
	return e.Kind == pipeline.KindApproval || e.Kind == pipeline.KindElevation
}

// scan looks for a place to begin, from the newest segment backwards.
type scan struct {
	cat    *catalog
	ends   map[string]bool // snapshots whose end was seen
	newest time.Time
}

// back finds where to begin; zero if there is nothing to read.
func (s *scan) back(since time.Time) (from pipeline.Position, err error) {
	for i := len(s.cat.infos) - 1; i >= 0; i-- {
		info := &s.cat.infos[i]
		begun, at, last, err := s.segment(info.number)
		if err != nil {
			return from, err
		}
		if begun {
			return s.beside(info, at)
		}
		if last.Before(since) && !last.IsZero() && info.number != s.cat.last() {
			if from == (pipeline.Position{}) {
				from = pipeline.Position{Segment: info.number}
			}
			return from, nil
		}
		from = pipeline.Position{Segment: info.number}
	}
	return from, nil
}

// segment reads one segment: whether a snapshot begins in it whose end is known, where, and the time of its newest record.
func (s *scan) segment(number uint64) (begun bool, at pipeline.Position, last time.Time, err error) {
	c, err := openChain(s.cat, pipeline.Position{Segment: number})
	if err != nil {
		return false, at, last, err
	}
	defer c.close()
	begins := map[string]pipeline.Position{}
	for {
		ok, err := c.record()
		if err != nil {
			return false, at, last, err
		}
		if !ok {
			return begun, at, last, nil
		}
		e := &c.entry
		if e.Time.After(last) {
			last = e.Time
		}
		if e.Time.After(s.newest) {
			s.newest = e.Time
		}
		if e.Kind != pipeline.KindApproval {
			continue
		}
		var a struct {
			Mark *pipeline.ApprovalSnapshot `json:"mark"`
		}
		if err := e.Metadata(&a); err != nil {
			return false, at, last, err
		}
		switch {
		case a.Mark == nil:
		case a.Mark.End:
			s.ends[a.Mark.ID] = true
			if b, ok := begins[a.Mark.ID]; ok {
				begun, at = true, b
			}
		case s.ends[a.Mark.ID]: // it ends in a later segment
			begun, at = true, e.Position
		default:
			begins[a.Mark.ID] = e.Position
		}
	}
}

// beside begins earlier if the generation before still wrote when the snapshot of this one began: what it wrote is in segments
// with smaller numbers.
func (s *scan) beside(info *segmentInfo, at pipeline.Position) (pipeline.Position, error) {
	var before *segmentInfo
	for _, g := range s.cat.generations() {
		if g < info.generation {
			before = s.cat.newest(g)
		}
	}
	if before == nil || before.number > info.number {
		return at, nil
	}
	_, _, last, err := s.segment(before.number)
	if err != nil {
		return at, err
	}
	c, err := openChain(s.cat, at)
	if err != nil {
		return at, err
	}
	defer c.close()
	if ok, err := c.record(); err != nil || !ok {
		return at, err
	}
	if last.Before(c.entry.Time) {
		return at, nil
	}
	return pipeline.Position{Segment: before.number}, nil
}
