// SPDX-License-Identifier: Apache-2.0

// Package session puts exchanges into sessions: the conversations of a workload.
//
// # What makes a session
//
// The first of these that holds says which session an exchange belongs to:
//
//  1. The request names a conversation that is kept at the provider, or the reply that it goes on from
//     (Call.Thread, Call.Previous): the session of that conversation, or of that reply, if it was the same principal's; of one who is unknown, the
//     same workload's.
//  2. The messages of the request begin with all messages of an earlier request of the same workload: it is the next turn of that
//     conversation. Of several conversations that began alike, it is the one whose answer stands behind them. A request that
//     repeats an earlier one, and nothing more, is its retry if it comes within two minutes.
//  3. The process asked something in the last half hour, and this is not a new beginning: the session in which it asked last. A new
//     beginning is a request with the same instructions and tools as an earlier one of this process, but another first message.
//  4. It begins a new session.
//
// By 1 and 2 an exchange has a parent: the exchange that it goes on from. So a session is a tree.
//
// # What is kept
//
// Only keyed hashes of messages are kept, and only those go into the journal (Intent.Chain, Intent.Opening). Observe reads them back, so that
// a restart of the agent splits no session. Of what was recorded, which is masked, there are sums besides (Recorded), of this process alone.
package session

import (
	"container/list"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// retry is how long after a request the same one is taken for its retry.
const retry = 2 * time.Minute

// Options configures New. Zero values are the defaults.
type Options struct {
	Key  []byte        // of the hashes; the same at each start, or nothing is recognised after a restart
	Idle time.Duration // after which a process is not followed any more; 30 minutes
	Max  int           // marks that are kept; 200,000, some 40 MB. Beyond it the one not seen for longest is forgotten
}

// Sessions assigns sessions. It is safe for concurrent use and starts no goroutine.
type Sessions struct {
	hasher
	idle time.Duration
	max  int

	mu    sync.Mutex
	marks map[mark]*list.Element // of *seen
	used  *list.List             // the one not seen for longest first

	running map[string]running // exchanges that Observe saw begin
	records records
}

// mark is the keyed hash of something by which an exchange is recognised.
type mark uint64

// seen is where a mark was seen last.
type seen struct {
	mark     mark
	session  string
	exchange string
	last     time.Time
	many     bool // in several sessions
}

// New makes an empty set of sessions.
func New(o Options) *Sessions {
	if o.Idle <= 0 {
		o.Idle = 30 * time.Minute
	}
	if o.Max <= 0 {
		o.Max = 200_000
	}
	return &Sessions{hasher: newHasher(o.Key), idle: o.Idle, max: o.Max, marks: map[mark]*list.Element{}, used: list.New(),
		running: map[string]running{}, records: newRecords(o.Max / 8)}
}

// Assign sets m.Session, unless it is set, and m.Parent, m.Shared, m.Chain and m.Opening. An exchange whose process is not known gets a session of
// its own unless it names a conversation, so that strangers never share one. c may be nil.
func (s *Sessions) Assign(m *pipeline.Meta, c *pipeline.Call) {
	if m.Session != "" {
		return
	}
	if c == nil {
		c = &pipeline.Call{}
	}
	t := s.turn(m, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	from, shared := s.from(&t, now)
	switch {
	case from != nil:
		m.Session, m.Parent, m.Shared = from.session, from.exchange, shared
	case t.process != 0 && !s.begins(&t):
		if at := s.look(t.process); at != nil && now.Sub(at.last) < s.idle {
			m.Session = at.session
		}
	}
	if m.Session == "" {
		m.Session = newID()
	}
	m.Chain, m.Opening = uint64(t.end()), uint64(t.opening)
	s.note(&t, m.Session, m.Exchange, now)
}

// from finds the exchange that a turn goes on from, and how many messages of it the turn begins with.
func (s *Sessions) from(t *turn, now time.Time) (at *seen, shared int) {
	for _, k := range [...]mark{t.previous, t.thread} {
		if at := s.look(k); at != nil {
			return at, 0
		}
	}
	if t.thread != 0 || t.previous != 0 {
		return nil, 0 // of a conversation that we have not seen: it is no other
	}
	for i := len(t.chain) - 1; i >= 0; i-- {
		if i < len(t.chain)-1 {
			if at := s.look(t.answered(i)); at != nil {
				return at, i + 1
			}
		}
		if i == len(t.chain)-1 {
			if at := s.look(t.repeat); at != nil && now.Sub(at.last) < retry {
				return at, i + 1
			}
			continue
		}
		at := s.look(t.chain[i])
		switch {
		case at == nil:
		case at.many:
			return nil, 0 // it began as several did, and no answer tells which of them it is
		default:
			return at, i + 1
		}
	}
	return nil, 0
}

// begins tells whether a turn that goes on from nothing known is the beginning of a conversation.
func (s *Sessions) begins(t *turn) bool {
	return t.thread != 0 || t.previous != 0 || len(t.chain) > 0 && s.look(t.opening) != nil
}

// note remembers by what the next turn will be recognised.
func (s *Sessions) note(t *turn, session, exchange string, now time.Time) {
	s.put(t.process, session, exchange, now)
	s.put(t.thread, session, exchange, now)
	if len(t.chain) > 0 {
		s.put(t.end(), session, exchange, now)
		s.put(t.repeat, session, exchange, now)
		s.put(t.opening, session, exchange, now)
	}
}

// Answered tells how an exchange ended, so that what goes on from its reply is recognised.
func (s *Sessions) Answered(m *pipeline.Meta, _ *pipeline.Call, o *pipeline.Outcome, _ pipeline.Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered(m.Session, m.Exchange, s.who(&m.Principal, &m.Workload), mark(m.Chain), o, time.Now())
}

func (s *Sessions) answered(session, exchange string, who, chain mark, o *pipeline.Outcome, now time.Time) {
	if o.ResponseID != "" {
		s.put(s.reply(who, o.ResponseID), session, exchange, now)
	}
	if chain != 0 && o.Text != "" {
		s.put(s.answer(chain, o.Text), session, exchange, now)
	}
}

// Observe takes an intent or an outcome from the journal, in its order, also while exchanges are assigned. Records that are not about an
// exchange are left alone.
func (s *Sessions) Observe(r *pipeline.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch b := r.Body.(type) {
	case *pipeline.Intent:
		t := s.known(b)
		s.note(&t, r.Session, r.Exchange, r.Time)
		if len(s.running) < maxRunning {
			s.running[r.Exchange] = running{s.who(&b.Principal, &b.Workload), mark(b.Chain)}
		}
	case *pipeline.Outcome:
		x, ok := s.running[r.Exchange]
		delete(s.running, r.Exchange)
		if ok {
			s.answered(r.Session, r.Exchange, x.who, x.chain, b, r.Time)
		}
	}
}

// maxRunning bounds what Observe keeps about exchanges whose outcome is still to come.
const maxRunning = 100_000

type running struct{ who, chain mark }

// look finds where a mark was seen. Mark 0 was seen nowhere.
func (s *Sessions) look(k mark) *seen {
	e := s.marks[k]
	if k == 0 || e == nil {
		return nil
	}
	return e.Value.(*seen)
}

func (s *Sessions) put(k mark, session, exchange string, now time.Time) {
	if k == 0 {
		return
	}
	if e := s.marks[k]; e != nil {
		at := e.Value.(*seen)
		at.many = at.many || at.session != session
		if at.last.After(now) { // read from the record of another agent, that ends beside this one
			return
		}
		at.session, at.exchange, at.last = session, exchange, now
		s.used.MoveToBack(e)
		return
	}
	s.marks[k] = s.used.PushBack(&seen{mark: k, session: session, exchange: exchange, last: now})
	for s.used.Len() > s.max {
		e := s.used.Front()
		delete(s.marks, e.Value.(*seen).mark)
		s.used.Remove(e)
	}
}

// Len is the number of marks that are kept.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used.Len()
}

func newID() string { return "ses_" + uuid.Must(uuid.NewV7()).String() } // an error means no randomness: nothing can go on
