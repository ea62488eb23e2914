// SPDX-License-Identifier: Apache-2.0

// Package older deals with connections that are older than what would have redirected them: those that the processes of a
// scope held open before the agent came, before the scope began to name them, or before they were recognised. They are
// listed or, in a scope that says so, cut: when they are idle, so that the application takes a new one as it does after any
// idle connection that its provider closed, or at a deadline. Each leaves one record.
//
// A connection that our programs redirected is never touched. That is asked of the very socket, once more before the cut.
package older

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// Action is what happens to older connections.
type Action string

const (
	Cut   Action = "cut"   // when idle, or at the deadline
	List  Action = "list"  // recorded
	Leave Action = "leave" // not even that
)

// Policy is what a scope wants.
type Policy struct {
	Scope    string
	Mode     pipeline.Mode
	Action   Action
	Idle     time.Duration // without a byte either way, before it counts as idle
	Deadline time.Duration // after it was found
}

// Options are what the package needs of others.
type Options struct {
	// List lists open connections; an *agent.Unsupported makes us look in /proc instead.
	List func() ([]agent.Socket, error)
	// Redirected says whether our programs redirected the connection of a descriptor of this process.
	Redirected func(fd int) (bool, error)
	// Judge says who a process is and what is wanted of its connections; false if no scope that is in force covers it.
	Judge  func(pid uint32, start uint64) (pipeline.Holder, Policy, bool)
	Record func(pipeline.Record)
	Ports  []uint16         // the captured ones
	Proxy  []netip.AddrPort // where the agent listens
	Log    *slog.Logger

	proc  string // "/proc"
	touch toucher
}

// toucher reaches the sockets of other processes. Errors are errGone if the process does not hold the socket any more.
type toucher interface {
	look(agent.Socket) (state, error)
	shut(agent.Socket) error    // as if both sides had closed: what is queued still goes
	destroy(agent.Socket) error // as if the network had failed: what is queued does not
	list(pid uint32) ([]agent.Socket, error)
}

// state is what a socket tells about itself.
type state struct {
	closed                   bool // nothing can go any more
	peerClosed               bool
	queued                   bool // bytes that were sent but not acknowledged, or received but not read
	sinceSent, sinceReceived time.Duration
	sent, received           uint64 // bytes
	redirected               bool
}

// idle says whether nothing goes on: no byte for so long, none on its way, and no question that waits for its answer. A
// model may think for minutes before the first byte of an answer.
func (s *state) idle(after time.Duration) bool {
	if s.queued || min(s.sinceSent, s.sinceReceived) < after {
		return false
	}
	return s.peerClosed || s.sent == 0 || s.received > 0 && s.sinceReceived <= s.sinceSent
}

const (
	rescanEvery = time.Minute // for processes that move into a scope, which nobody tells of
	share       = 1000        // at most this part of the time goes into scans nobody asked for
	gap         = 20          // and this one into those that somebody asked for
	settle      = time.Second // after a scan that somebody asked for: connections that were just being made
	shortest    = 20 * time.Millisecond
	longest     = time.Second
	maxKnown    = 65536 // connections on record, so that each is recorded once
)

// Older is the watch. One Run at a time; Look may be called by anybody.
type Older struct {
	o       Options
	wanted  chan struct{} // capacity 1
	watched map[uint64]*watch
	took    time.Duration   // the last scan
	known   map[uint64]bool // on record already, by cookie
	unusual map[string]bool // what was logged once
}

// watch is one connection that is to be cut.
type watch struct {
	conn
	found time.Time
}

// conn is one connection with all who hold it.
type conn struct {
	sockets []agent.Socket // one per descriptor
	holders []pipeline.Holder
	policy  Policy
	source  string
}

// New prepares a watch.
func New(o Options) *Older {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.proc == "" {
		o.proc = "/proc"
	}
	if o.touch == nil {
		o.touch = &system{proc: o.proc, ports: o.Ports, redirected: o.Redirected}
	}
	return &Older{o: o, wanted: make(chan struct{}, 1), watched: map[uint64]*watch{}, known: map[uint64]bool{}, unusual: map[string]bool{}}
}

// Look asks for a scan soon: some process may be covered now that was not before. It does not block.
func (o *Older) Look() {
	select {
	case o.wanted <- struct{}{}:
	default:
	}
}

// Run scans at its start, when asked, and now and then, and watches what is to be cut, until ctx ends. What it still watches
// then is recorded as left.
func (o *Older) Run(ctx context.Context) error {
	defer func() {
		for cookie, w := range o.watched {
			o.end(cookie, w, pipeline.OlderLeft, "", "the agent stopped while it waited")
		}
	}()
	again := o.scan()
	late := time.After(settle)
	var soon <-chan time.Time
	for {
		var tick <-chan time.Time
		if len(o.watched) > 0 {
			tick = time.After(o.pace())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.wanted:
			if soon == nil { // many programs may start at once
				soon = time.After(max(shortest, gap*o.took))
			}
		case <-soon:
			soon, again, late = nil, o.scan(), time.After(settle)
		case <-late:
			again, late = o.scan(), nil
		case <-again:
			again = o.scan()
		case <-tick:
			o.tend()
		}
	}
}

// pace is how often the watched connections are looked at.
func (o *Older) pace() time.Duration {
	p := longest
	for _, w := range o.watched {
		p = min(p, w.policy.Idle/4)
	}
	return max(p, shortest)
}

// scan lists, watches and records what is new, and says when to do so again.
func (o *Older) scan() <-chan time.Time {
	began := time.Now()
	found, err := o.find()
	if err != nil {
		o.once("older connections cannot be listed: " + err.Error())
	}
	for cookie, c := range found {
		if w := o.watched[cookie]; w != nil {
			w.sockets, w.holders, w.policy = c.sockets, c.holders, c.policy
			continue
		}
		switch {
		case o.known[cookie]:
		case c.policy.Action == Cut:
			o.watched[cookie] = &watch{c, time.Now()}
		default:
			o.known[cookie] = true
			o.record(c, time.Now(), pipeline.OlderListed, "", "")
		}
	}
	for cookie, w := range o.watched {
		if _, still := found[cookie]; !still && err == nil {
			o.vanished(cookie, w)
		}
	}
	if len(o.known) > maxKnown {
		for cookie := range o.known {
			if _, still := found[cookie]; !still {
				delete(o.known, cookie)
			}
		}
	}
	o.took = time.Since(began)
	return time.After(max(rescanEvery, share*o.took))
}

// vanished ends the watch of a connection that no scan finds any more: it is closed, or no scope covers its holders now.
func (o *Older) vanished(cookie uint64, w *watch) {
	for _, s := range w.sockets {
		if st, err := o.o.touch.look(s); err == nil && !st.closed {
			o.end(cookie, w, pipeline.OlderLeft, "", "no scope that is in force covers its process any more")
			return
		}
	}
	o.end(cookie, w, pipeline.OlderGone, "", "")
}

// find lists the connections that were not redirected and that a scope covers, by cookie.
func (o *Older) find() (map[uint64]conn, error) {
	judged := map[uint32]*verdict{}
	judge := func(pid uint32, start uint64) *verdict {
		v := judged[pid]
		if v == nil {
			v = &verdict{}
			v.holder, v.policy, v.ok = o.o.Judge(pid, start)
			judged[pid] = v
		}
		return v
	}
	source := "kernel"
	all, err := o.o.List()
	var unsupported *agent.Unsupported
	if errors.As(err, &unsupported) {
		o.once("older connections are looked for in /proc: " + err.Error())
		source = "proc"
		all, err = o.fromProc(judge)
	}
	if err != nil {
		return nil, err
	}
	found := map[uint64]conn{}
	for _, s := range all {
		if s.Redirected || slices.Contains(o.o.Proxy, s.Remote) {
			continue
		}
		c := found[s.Cookie]
		c.sockets, c.source = append(c.sockets, s), source
		found[s.Cookie] = c
	}
	for cookie, c := range found {
		for _, s := range c.sockets {
			v := judge(s.PID, s.Start)
			if v.ok && stronger(v.policy.Action, c.policy.Action) {
				c.policy = v.policy
			}
			if v.holder.Workload.PID != 0 && !slices.ContainsFunc(c.holders, func(h pipeline.Holder) bool { return h.Workload.PID == s.PID }) {
				h := v.holder
				h.Covered = v.ok
				c.holders = append(c.holders, h)
			}
		}
		if c.policy.Action == "" || c.policy.Action == Leave {
			delete(found, cookie)
			continue
		}
		// Who is covered comes first: the record is about them.
		slices.SortStableFunc(c.holders, func(a, b pipeline.Holder) int { return number(b.Covered) - number(a.Covered) })
		found[cookie] = c
	}
	return found, nil
}

type verdict struct {
	holder pipeline.Holder
	policy Policy
	ok     bool
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// stronger compares what two holders of one connection want.
func stronger(a, b Action) bool {
	order := []Action{"", Leave, List, Cut}
	return slices.Index(order, a) > slices.Index(order, b)
}

// once logs a line the first time only.
func (o *Older) once(line string) {
	if !o.unusual[line] && len(o.unusual) < 64 {
		o.unusual[line] = true
		o.o.Log.Warn(line)
	}
}
