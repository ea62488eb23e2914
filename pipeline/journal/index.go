// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/content"
)

// Summary is what the index knows about a session without reading the journal.
type Summary struct {
	Session   string
	Started   time.Time
	Last      time.Time
	Workload  pipeline.Workload // of the newest exchange, without labels
	Principal pipeline.Principal
	Models    []string // at most maxModels
	Exchanges int
	Denied    int // exchanges in which something was, or in observe would have been, denied
	Masked    int // masked spans
	Open      int // exchanges without an outcome
}

const maxModels = 16

// ErrNotFound is what Index returns for an ID that it does not have.
var ErrNotFound = errors.New("not in the index")

// Index knows the newest sessions, exchanges and decisions: where their records are, and what a listing shows. It holds
// no content. It is safe for concurrent use; Append feeds it.
type Index struct {
	mu        sync.Mutex
	dir       string
	keys      *content.Store
	flush     func() error // brings what was observed into the files
	watch     func(*pipeline.Record)
	max       int
	sessions  map[string]*sessionEntry
	exchanges map[string]*exchangeEntry
	decisions map[string]string // exchange
	queue     []*exchangeEntry  // in the order of their intents
}

type sessionEntry struct {
	Summary
	list []*exchangeEntry
}

type exchangeEntry struct {
	Refs
	session   *sessionEntry
	decisions []string
	kept      []pipeline.Position // Refs.Decisions, owned
}

// NewIndex makes an index of the newest exchanges; 0 means 20,000, which take some 20 MB.
func NewIndex(exchanges int) *Index {
	if exchanges <= 0 {
		exchanges = 20_000
	}
	return &Index{max: exchanges, sessions: map[string]*sessionEntry{}, exchanges: map[string]*exchangeEntry{},
		decisions: map[string]string{}}
}

// load reads the newest segments of generations before one, as many as fit into the limit but at least one, and from the
// given segment on in any case. It returns how far it came.
func (x *Index) load(cat *catalog, before, needed uint64, limit int64, keys *content.Store, flush func() error) (Mark, error) {
	x.mu.Lock()
	x.dir, x.flush, x.keys = cat.dir, flush, keys
	x.mu.Unlock()
	from, size := uint64(0), int64(0)
	for i := range slices.Backward(cat.infos) {
		n := cat.infos[i].number
		_, bytes, err := statSegment(cat.dir, n)
		if err != nil {
			return nil, err
		}
		if n < needed { // what is needed is read in any case, and segments that are being written are mostly room
			if size += bytes; size > limit && from != 0 {
				break
			}
		}
		from = n
	}
	if from == 0 {
		return nil, nil
	}
	r, err := OpenReader(cat.dir, pipeline.Position{Segment: from})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	r.below = before
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Mark(), nil
		}
		if err != nil {
			return nil, err
		}
		if err := x.take(e); err != nil {
			return nil, err
		}
	}
}

// Watch lets f see the intents and outcomes that are read from the journal: at Open, and what another generation writes. f may keep nothing of
// a record. It is called before Open, once.
func (x *Index) Watch(f func(*pipeline.Record)) { x.watch = f }

// take observes a record that was read.
func (x *Index) take(e *Entry) error {
	rec := pipeline.Record{Kind: e.Kind, Time: e.Time, Session: e.Session, Exchange: e.Exchange}
	switch e.Kind {
	case pipeline.KindIntent:
		rec.Body = new(pipeline.Intent)
	case pipeline.KindOutcome:
		rec.Body = new(pipeline.Outcome)
	case pipeline.KindDecision:
		rec.Body = new(pipeline.Decision)
	default:
		return nil
	}
	read := e.Metadata
	if x.watch != nil && e.Kind == pipeline.KindOutcome {
		read = e.Decode // what was answered tells a conversation
	}
	if err := read(rec.Body); err != nil {
		return err
	}
	x.observe(&rec, e.Position)
	if x.watch != nil && e.Kind != pipeline.KindDecision {
		x.watch(&rec)
	}
	return nil
}

// observe takes a record that was written.
func (x *Index) observe(r *pipeline.Record, at pipeline.Position) {
	switch r.Kind {
	case pipeline.KindIntent:
		switch v := r.Body.(type) {
		case *pipeline.Intent:
			x.intent(r, v, at)
		case pipeline.Intent:
			x.intent(r, &v, at)
		}
	case pipeline.KindDecision:
		switch v := r.Body.(type) {
		case *pipeline.Decision:
			x.decision(r, v, at)
		case pipeline.Decision:
			x.decision(r, &v, at)
		}
	case pipeline.KindOutcome:
		switch v := r.Body.(type) {
		case *pipeline.Outcome:
			x.outcome(r, v, at)
		case pipeline.Outcome:
			x.outcome(r, &v, at)
		}
	}
}

func (x *Index) intent(r *pipeline.Record, in *pipeline.Intent, at pipeline.Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.exchanges[r.Exchange] != nil {
		return
	}
	s := x.sessions[r.Session]
	if s == nil {
		s = &sessionEntry{Summary: Summary{Session: r.Session, Started: r.Time}}
		x.sessions[r.Session] = s
	}
	e := &exchangeEntry{Refs: Refs{Session: r.Session, Exchange: r.Exchange, Intent: at}, session: s}
	s.list = append(s.list, e)
	s.Exchanges++
	s.Open++
	s.Last = later(s.Last, r.Time)
	s.Workload, s.Principal = in.Workload, in.Principal
	s.Workload.Labels = nil
	s.Masked += len(in.Masks)
	if m := in.Call.Model; m != "" && len(s.Models) < maxModels && !slices.Contains(s.Models, m) {
		s.Models = append(s.Models, m)
	}
	x.exchanges[r.Exchange] = e
	x.queue = append(x.queue, e)
	for len(x.queue) > x.max {
		x.drop(x.queue[0])
		x.queue[0] = nil
		x.queue = x.queue[1:]
	}
}

// drop forgets an exchange, and its session with the last one. The counts of a session keep what was dropped.
func (x *Index) drop(e *exchangeEntry) {
	delete(x.exchanges, e.Exchange)
	for _, id := range e.decisions {
		delete(x.decisions, id)
	}
	s := e.session
	s.list[0] = nil // the oldest of all is the oldest of its session
	s.list = s.list[1:]
	if len(s.list) == 0 {
		delete(x.sessions, s.Session)
	}
}

// forget drops the exchanges that begin in segments up to a number.
func (x *Index) forget(segment uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.queue) > 0 && x.queue[0].Intent.Segment <= segment {
		x.drop(x.queue[0])
		x.queue[0] = nil
		x.queue = x.queue[1:]
	}
}

func (x *Index) decision(r *pipeline.Record, d *pipeline.Decision, at pipeline.Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.exchanges[r.Exchange]
	if e == nil {
		return
	}
	e.kept = append(e.kept, at)
	if d.ID != "" {
		e.decisions = append(e.decisions, d.ID)
		x.decisions[d.ID] = r.Exchange
	}
}

func (x *Index) outcome(r *pipeline.Record, o *pipeline.Outcome, at pipeline.Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.exchanges[r.Exchange]
	if e == nil || e.Outcome != (pipeline.Position{}) {
		return
	}
	e.Outcome = at
	s := e.session
	s.Open--
	s.Last = later(s.Last, r.Time)
	s.Masked += len(o.Masks)
	if o.Verdict.Action == pipeline.Deny {
		s.Denied++
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Sessions lists up to limit sessions that match, newest first; a nil match takes all, limit 0 means no limit.
func (x *Index) Sessions(limit int, match func(*Summary) bool) []Summary {
	x.mu.Lock()
	out := make([]Summary, 0, len(x.sessions))
	for _, s := range x.sessions {
		c := s.Summary
		c.Models = slices.Clone(c.Models)
		if match == nil || match(&c) {
			out = append(out, c)
		}
	}
	x.mu.Unlock()
	slices.SortFunc(out, func(a, b Summary) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(b.Session, a.Session))
	})
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}

// Session reads a session's exchanges from the journal, oldest first.
func (x *Index) Session(id string) (Summary, []*Parts, error) {
	x.mu.Lock()
	s := x.sessions[id]
	if s == nil {
		x.mu.Unlock()
		return Summary{}, nil, ErrNotFound
	}
	sum := s.Summary
	sum.Models = slices.Clone(sum.Models)
	refs := make([]Refs, len(s.list))
	for i, e := range s.list {
		refs[i] = e.refs()
	}
	dir, flush, keys := x.dir, x.flush, x.keys
	x.mu.Unlock()
	if err := flush(); err != nil {
		return sum, nil, err
	}
	l := newLoader(dir, keys)
	defer l.Close()
	out := make([]*Parts, len(refs))
	for i := range refs {
		var err error
		if out[i], err = l.Load(&refs[i]); err != nil {
			return sum, nil, err
		}
	}
	return sum, out, nil
}

// Exchange reads one exchange from the journal.
func (x *Index) Exchange(id string) (*Parts, error) {
	x.mu.Lock()
	e := x.exchanges[id]
	if e == nil {
		x.mu.Unlock()
		return nil, ErrNotFound
	}
	refs, dir, flush, keys := e.refs(), x.dir, x.flush, x.keys
	x.mu.Unlock()
	if err := flush(); err != nil {
		return nil, err
	}
	l := newLoader(dir, keys)
	defer l.Close()
	return l.Load(&refs)
}

// Decisions reads the decisions since a time, of the exchanges that the index has, in the order in which these began. An error
// of take ends it.
func (x *Index) Decisions(since time.Time, take func(at time.Time, d *pipeline.Decision) error) error {
	x.mu.Lock()
	var at []pipeline.Position
	for _, e := range x.queue {
		if !e.session.Last.Before(since) {
			at = append(at, e.kept...)
		}
	}
	dir, flush, keys := x.dir, x.flush, x.keys
	x.mu.Unlock()
	if len(at) == 0 {
		return nil
	}
	if err := flush(); err != nil {
		return err
	}
	l := newLoader(dir, keys)
	defer l.Close()
	for _, p := range at {
		var d pipeline.Decision
		e, err := l.read(p, pipeline.KindDecision, &d)
		if err != nil {
			return err
		}
		if e.Time.Before(since) {
			continue
		}
		if err := take(e.Time, &d); err != nil {
			return err
		}
	}
	return nil
}

// Decision reads one decision and the exchange that it belongs to.
func (x *Index) Decision(id string) (TimedDecision, *Parts, error) {
	x.mu.Lock()
	exchange, ok := x.decisions[id]
	x.mu.Unlock()
	if !ok {
		return TimedDecision{}, nil, ErrNotFound
	}
	p, err := x.Exchange(exchange)
	if err != nil {
		return TimedDecision{}, nil, err
	}
	for _, t := range p.Decisions {
		if t.ID == id {
			return t, p, nil
		}
	}
	return TimedDecision{}, nil, ErrNotFound
}

func (e *exchangeEntry) refs() Refs {
	r := e.Refs
	r.Decisions = slices.Clone(e.kept)
	return r
}
