// SPDX-License-Identifier: Apache-2.0

package older

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// host is a fake host: the sockets that there are, and what was done to them.
type host struct {
	sockets map[uint64]*fakeSocket
	listErr error
	covered bool
	policy  Policy
	records []pipeline.Flow
}

type fakeSocket struct {
	agent.Socket
	state
	busy     bool // bytes go all the time
	denied   error
	shutErr  error
	killErr  error
	shut     int
	killed   int
	holdsNot bool // its process has closed it
	goes     bool // its process closes it when we would
	stubborn bool // shutting it down does nothing
}

var errDenied = errors.New("denied")

func (h *host) list() (out []agent.Socket, err error) {
	for _, s := range h.sockets {
		if !s.holdsNot && !s.closed {
			out = append(out, s.Socket)
		}
	}
	return out, h.listErr
}

func (h *host) look(s agent.Socket) (state, error) {
	f := h.sockets[s.Cookie]
	if f == nil || f.holdsNot {
		return state{}, errGone
	}
	st := f.state
	if !f.busy {
		st.sinceSent, st.sinceReceived = time.Hour, time.Hour
	}
	return st, f.denied
}

func (h *host) shutOne(s agent.Socket) error {
	f := h.sockets[s.Cookie]
	f.shut++
	f.holdsNot = f.goes
	if f.shutErr == nil && !f.stubborn {
		f.closed = true
	}
	return f.shutErr
}

func (h *host) destroyOne(s agent.Socket) error {
	f := h.sockets[s.Cookie]
	f.killed++
	if f.killErr == nil {
		f.closed = true
	}
	return f.killErr
}

type fakeToucher struct{ h *host }

func (f fakeToucher) look(s agent.Socket) (state, error) { return f.h.look(s) }
func (f fakeToucher) shut(s agent.Socket) error          { return f.h.shutOne(s) }
func (f fakeToucher) destroy(s agent.Socket) error       { return f.h.destroyOne(s) }
func (f fakeToucher) list(pid uint32) (out []agent.Socket, err error) {
	for _, s := range f.h.sockets {
		if s.PID == pid && !s.closed {
			out = append(out, s.Socket)
		}
	}
	return out, nil
}

func newHost() *host {
	return &host{sockets: map[uint64]*fakeSocket{}, covered: true, policy: Policy{Scope: "s", Mode: pipeline.ModeEnforce, Action: Cut, Idle: 5 * time.Second, Deadline: time.Minute}}
}

var provider = netip.MustParseAddrPort("203.0.113.1:443")

// add adds a connection on which nothing goes on.
func (h *host) add(cookie uint64) *fakeSocket {
	f := &fakeSocket{Socket: agent.Socket{Cookie: cookie, PID: uint32(cookie), Remote: provider}, state: state{sent: 1, received: 1}}
	h.sockets[cookie] = f
	return f
}

func (h *host) older() *Older {
	return New(Options{List: h.list, touch: fakeToucher{h}, Record: func(r pipeline.Record) { h.records = append(h.records, r.Body.(pipeline.Flow)) },
		Redirected: func(int) (bool, error) { return false, nil }, Ports: []uint16{443}, Proxy: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:15001")},
		Judge: func(pid uint32, _ uint64) (pipeline.Holder, Policy, bool) {
			return pipeline.Holder{Workload: pipeline.Workload{PID: pid}}, h.policy, h.covered
		}})
}

// run runs the watch for a while of synthetic time, with something that happens after the first scans.
func (h *host) run(d time.Duration, then func(*Older)) {
	o := h.older()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- o.Run(ctx) }()
	time.Sleep(2 * settle)
	synctest.Wait()
	if then != nil {
		then(o)
	}
	time.Sleep(d)
	synctest.Wait()
	stop()
	<-done
}

func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*host, *fakeSocket)
		then    func(*host, *fakeSocket, *Older)
		ended   string // "" = no record
		how     string
		waited  time.Duration // at least
	}{
		{name: "idle", ended: pipeline.OlderIdle, how: "shutdown"},
		{name: "busy", prepare: func(_ *host, s *fakeSocket) { s.busy = true }, ended: pipeline.OlderDeadline, how: "destroy", waited: time.Minute},
		{name: "a byte is on its way", prepare: func(_ *host, s *fakeSocket) { s.queued = true }, ended: pipeline.OlderDeadline, how: "destroy", waited: time.Minute},
		{name: "no copy of the descriptor: the deadline alone counts", prepare: func(_ *host, s *fakeSocket) { s.denied = errDenied }, ended: pipeline.OlderDeadline, how: "destroy", waited: time.Minute},
		{name: "shutdown does not work", prepare: func(_ *host, s *fakeSocket) { s.shutErr = errDenied }, ended: pipeline.OlderIdle, how: "destroy"},
		{name: "destroy does not work", prepare: func(_ *host, s *fakeSocket) { s.busy, s.killErr = true, errDenied }, ended: pipeline.OlderDeadline, how: "shutdown", waited: time.Minute},
		{name: "nothing works", prepare: func(_ *host, s *fakeSocket) { s.shutErr, s.killErr = errDenied, errDenied }, ended: pipeline.OlderFailed},
		{name: "gone at the last moment", prepare: func(_ *host, s *fakeSocket) { s.shutErr, s.goes = errGone, true }, ended: pipeline.OlderGone},
		{name: "destroy finds nothing, but it is there", prepare: func(_ *host, s *fakeSocket) { s.busy, s.killErr = true, errGone }, ended: pipeline.OlderDeadline, how: "shutdown", waited: time.Minute},
		{name: "shutdown has no effect", prepare: func(_ *host, s *fakeSocket) { s.stubborn = true }, ended: pipeline.OlderIdle, how: "destroy"},
		{name: "closed by itself", prepare: func(_ *host, s *fakeSocket) { s.busy = true }, then: func(_ *host, s *fakeSocket, _ *Older) { s.closed = true }, ended: pipeline.OlderGone},
		{name: "its process ended", prepare: func(_ *host, s *fakeSocket) { s.busy = true }, then: func(_ *host, s *fakeSocket, _ *Older) { s.holdsNot = true }, ended: pipeline.OlderGone},
		{name: "the glass is broken while it waits", prepare: func(_ *host, s *fakeSocket) { s.busy = true }, then: func(h *host, _ *fakeSocket, _ *Older) { h.covered = false }, ended: pipeline.OlderLeft},
		{name: "only listed", prepare: func(h *host, _ *fakeSocket) { h.policy.Action = List }, then: func(_ *host, _ *fakeSocket, o *Older) { o.Look() }, ended: pipeline.OlderListed},
		{name: "left alone", prepare: func(h *host, _ *fakeSocket) { h.policy.Action = Leave }},
		{name: "nobody covers it", prepare: func(h *host, _ *fakeSocket) { h.covered = false }},
		{name: "redirected", prepare: func(_ *host, s *fakeSocket) { s.Redirected = true }},
		{name: "to the proxy", prepare: func(_ *host, s *fakeSocket) { s.Remote = netip.MustParseAddrPort("127.0.0.1:15001") }},
		{name: "redirected, seen only at the socket", prepare: func(_ *host, s *fakeSocket) { s.redirected = true }},
		{name: "the kernel cannot list", prepare: func(h *host, _ *fakeSocket) { h.listErr = errDenied }, then: func(h *host, _ *fakeSocket, o *Older) { h.listErr = nil; o.Look() }, ended: pipeline.OlderIdle, how: "shutdown"},
		{name: "covered later", prepare: func(h *host, _ *fakeSocket) { h.covered = false }, then: func(h *host, _ *fakeSocket, o *Older) { h.covered = true; o.Look() }, ended: pipeline.OlderIdle, how: "shutdown"},
		{name: "covered later, and nobody tells", prepare: func(h *host, _ *fakeSocket) { h.covered = false }, then: func(h *host, _ *fakeSocket, _ *Older) { h.covered = true }, ended: pipeline.OlderIdle, how: "shutdown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost()
				s := h.add(7)
				if c.prepare != nil {
					c.prepare(h, s)
				}
				h.run(10*time.Minute, func(o *Older) {
					if c.then != nil {
						c.then(h, s, o)
					}
				})
				if c.ended == "" {
					if len(h.records) != 0 || s.shut+s.killed != 0 {
						t.Fatalf("it was touched: %+v %+v", h.records, s)
					}
					return
				}
				if len(h.records) != 1 {
					t.Fatalf("%d records: %+v", len(h.records), h.records)
				}
				f := h.records[0]
				disposition := pipeline.FlowOlder
				if c.how != "" {
					disposition = pipeline.FlowCut
				}
				if f.Disposition != disposition || f.Older.Ended != c.ended || f.Older.How != c.how || f.Scope != "s" || f.Workload.PID != 7 || f.Dest != provider.String() ||
					time.Duration(f.Older.WaitedMS)*time.Millisecond < c.waited {
					t.Errorf("record %+v %+v", f, *f.Older)
				}
				if c.how == "" && c.ended != pipeline.OlderFailed && c.ended != pipeline.OlderGone && s.shut+s.killed != 0 {
					t.Error("it was touched")
				}
			})
		})
	}
}

// TestStop: what is still watched when the agent stops is on record.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		h.add(7).busy = true
		h.run(time.Second, nil)
		if len(h.records) != 1 || h.records[0].Older.Ended != pipeline.OlderLeft || h.records[0].Disposition != pipeline.FlowOlder {
			t.Errorf("records %+v", h.records)
		}
	})
}

// TestNoIterator: without the kernel's list, descriptors are asked one by one, of covered processes only.
func TestNoIterator(t *testing.T) {
	h := newHost()
	h.listErr = &agent.Unsupported{Feature: "listing"}
	s := h.add(7)
	s.PID = uint32(selfPID())
	s.closed = false
	o := h.older()
	o.o.proc = "/proc"
	found, err := o.find()
	if err != nil || len(found) != 1 || found[7].source != "proc" {
		t.Errorf("found %+v, %v", found, err)
	}
	h.covered = false
	if found, err := o.find(); err != nil || len(found) != 0 {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestIdle(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name string
		st   state
		want bool
	}{
		{"answered, long ago", state{sent: 1, received: 1, sinceSent: 9 * s, sinceReceived: 8 * s}, true},
		{"answered just now", state{sent: 1, received: 1, sinceSent: 9 * s, sinceReceived: 1 * s}, false},
		{"asked just now", state{sent: 1, received: 1, sinceSent: 1 * s, sinceReceived: 9 * s}, false},
		{"the answer is awaited", state{sent: 1, received: 1, sinceSent: 60 * s, sinceReceived: 90 * s}, false},
		{"the first answer is awaited", state{sent: 1, sinceSent: 60 * s, sinceReceived: 60 * s}, false},
		{"never used", state{sinceSent: 9 * s, sinceReceived: 9 * s}, true},
		{"unread or unacknowledged bytes", state{sent: 1, received: 1, queued: true, sinceSent: 9 * s, sinceReceived: 8 * s}, false},
		{"the provider has closed it", state{sent: 1, received: 1, peerClosed: true, sinceSent: 8 * s, sinceReceived: 9 * s}, true},
	} {
		if got := c.st.idle(5 * s); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestStrongest: of two holders of one connection, the one that wants more decides, and both are on record.
func TestStrongest(t *testing.T) {
	h := newHost()
	a := h.add(7)
	o := h.older()
	o.o.List = func() ([]agent.Socket, error) {
		other := a.Socket
		other.PID, other.FD = 8, 9
		return []agent.Socket{other, a.Socket}, nil
	}
	o.o.Judge = func(pid uint32, _ uint64) (pipeline.Holder, Policy, bool) {
		p := Policy{Scope: "strict", Action: Cut}
		if pid == 8 {
			p = Policy{Scope: "lenient", Action: List}
		}
		return pipeline.Holder{Workload: pipeline.Workload{PID: pid}}, p, true
	}
	found, err := o.find()
	if c := found[7]; err != nil || c.policy.Scope != "strict" || len(c.holders) != 2 || len(c.sockets) != 2 {
		t.Errorf("found %+v, %v", found, err)
	}
}
