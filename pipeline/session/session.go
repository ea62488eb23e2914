// SPDX-License-Identifier: Apache-2.0

// Package session puts exchanges into sessions: the conversation of one workload. A session is one process, that is a
// thread group with its start time, until it has been idle for half an hour; what it asks after that is a new session.
//
// Idle means that no exchange began: a reply that streams for longer than that is followed by a new session.
package session

import (
	"container/list"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Options configures New. Zero values are the defaults.
type Options struct {
	Idle time.Duration // after which a session is closed; 30 minutes
	Max  int           // sessions that are kept open; 100,000, some 20 MB. Beyond it the one idle for longest is closed
}

// Process names one thread group: a pid alone is used again.
type Process struct {
	PID   uint32
	Start uint64 // nanoseconds since boot
}

// Sessions assigns sessions. It is safe for concurrent use and starts no goroutine.
type Sessions struct {
	idle time.Duration
	max  int

	mu   sync.Mutex
	open map[Process]*list.Element // of *session
	used *list.List                // the longest idle first
}

type session struct {
	id   string
	proc Process
	last time.Time
}

// New makes an empty set of sessions.
func New(o Options) *Sessions {
	if o.Idle <= 0 {
		o.Idle = 30 * time.Minute
	}
	if o.Max <= 0 {
		o.Max = 100_000
	}
	return &Sessions{idle: o.Idle, max: o.Max, open: map[Process]*list.Element{}, used: list.New()}
}

// Assign sets m.Session, unless it is set. An exchange whose process is not known gets a session of its own, so that
// strangers never share one.
func (s *Sessions) Assign(m *pipeline.Meta, _ *pipeline.Call) {
	if m.Session != "" {
		return
	}
	if m.Workload.PID == 0 {
		m.Session = newID()
		return
	}
	m.Session = s.assign(Process{m.Workload.PID, m.Workload.Start}, time.Now())
}

func (s *Sessions) assign(p Process, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if e := s.open[p]; e != nil {
		x := e.Value.(*session)
		x.last = now
		s.used.MoveToBack(e)
		return x.id
	}
	x := &session{newID(), p, now}
	s.open[p] = s.used.PushBack(x)
	s.expire(now)
	return x.id
}

// Resume continues a session that began before a restart of the agent, if it is not idle for too long and its process
// has none yet. Call it in the order of last, the oldest first.
func (s *Sessions) Resume(p Process, id string, last time.Time) {
	if p.PID == 0 || id == "" {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(last) >= s.idle || s.open[p] != nil {
		return
	}
	s.open[p] = s.used.PushBack(&session{id, p, last})
	s.expire(now)
}

// expire closes what is idle for too long, and the longest idle if there are too many.
func (s *Sessions) expire(now time.Time) {
	for e := s.used.Front(); e != nil; e = s.used.Front() {
		x := e.Value.(*session)
		if now.Sub(x.last) < s.idle && s.used.Len() <= s.max {
			return
		}
		s.used.Remove(e)
		delete(s.open, x.proc)
	}
}

// Len is the number of open sessions.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(time.Now())
	return s.used.Len()
}

func newID() string { return "ses_" + uuid.Must(uuid.NewV7()).String() } // an error means no randomness: nothing can go on
