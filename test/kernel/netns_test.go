// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/netns"
)

// TestSpaceAtScan: a namespace that was there before the agent gets listeners of both families.
func TestSpaceAtScan(t *testing.T) {
	w := inScope(t, enforced)
	r := newRoom(t, 0)
	p := w.spawnIn(r, "app")
	s := w.spaces()
	if got := p.connect("v4", origin4); got != "ECONNREFUSED" {
		t.Errorf("before: %s", got)
	}
	must(t, s.Scan())
	must(t, s.Scan()) // again is harmless
	for _, kind := range []string{"v4", "v6", "mapped"} {
		to := origin4
		if kind == "v6" {
			to = origin6
		}
		if got := p.connect(kind, to); got != "PROXY" {
			t.Errorf("%s: %s", kind, got)
		}
	}
	for _, c := range w.taken() {
		if c.Proc.NetNS != r.cookie || c.Proc.NetNS == w.netns {
			t.Errorf("recorded in namespace %d, want %d", c.Proc.NetNS, r.cookie)
		}
	}
	if st := s.Stats(); st.Served != 1 || st.Made != 1 || st.Failed+st.Refused+st.Ended != 0 {
		t.Errorf("%+v", st)
	}
	if n := s.Sweep(); n != 0 {
		t.Errorf("%d namespaces were left although a process is there", n)
	}
	p.end()
	if n := s.Sweep(); n != 1 || s.Stats().Served != 0 {
		t.Errorf("%d namespaces were left, %+v", n, s.Stats())
	}
	r.leave()
	r.gone()
}

// TestSpaceUnwanted: namespaces in which nothing is redirected are left alone.
func TestSpaceUnwanted(t *testing.T) {
	w := inScope(t, enforced)
	must(t, w.k.SetCgroup(w.sub("other"), 0))
	s := w.spaces()
	w.answer(s)
	r := newRoom(t, 0)
	p := w.spawnIn(r, "other")
	must(t, s.Scan())
	p.connect("v4", origin4)
	in := newRoom(t, 1)
	q := w.spawnIn(in, "app") // asked for after the other one could have been
	wait(t, "a listener", func() bool { return q.connect("v4", origin4) == "PROXY" })
	if st := s.Stats(); st.Served != 1 {
		t.Errorf("%+v", st)
	}
}

// TestSpaceAsked: whoever begins to run in a namespace, enters one or makes one, finds a listener soon, and until then nothing
// goes direct.
func TestSpaceAsked(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(*world, *room) *process
	}{
		{"exec", func(w *world, r *room) *process { return w.spawnIn(r, "app") }},
		{"setns", func(w *world, r *room) *process {
			p := w.spawn("app", func(c *exec.Cmd) { c.ExtraFiles = []*os.File{os.NewFile(uintptr(dup(w.t, int(r.ns))), "ns")} })
			p.do("setns", "3")
			return p
		}},
		{"unshare", func(w *world, _ *room) *process {
			p := w.spawn("app")
			p.do("unshare")
			return p
		}},
		{"connect alone", func(w *world, r *room) *process {
			must(w.t, w.k.SetCgroup(w.sub("app"), 0))
			p := w.spawnIn(r, "app")
			must(w.t, w.k.SetCgroup(w.sub("app"), 1))
			return p
		}},
		{"cgroup not resolved", func(w *world, r *room) *process {
			must(w.t, w.k.DelCgroup(w.sub("app")))
			return w.spawnIn(r, "app")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := inScope(t, enforced)
			s := w.spaces()
			w.answer(s)
			p := c.begin(w, newRoom(t, 0))
			wait(t, "a listener", func() bool {
				switch got := p.connect("v4", origin4); got {
				case "PROXY":
					return true
				case "ECONNREFUSED":
				default:
					t.Fatalf("got %s", got)
				}
				return false
			})
			if w.went() != 0 {
				t.Errorf("%d connections went direct", w.went())
			}
		})
	}
}

// TestSpaceEarly: the question comes with exec, so that the listener is there before the process connects: here the process
// waits for it, which a container's start does not need to.
func TestSpaceEarly(t *testing.T) {
	w := inScope(t, enforced)
	s := w.spaces()
	w.answer(s)
	p := w.spawnIn(newRoom(t, 0), "app")
	wait(t, "a namespace", func() bool { return s.Stats().Served == 1 })
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("got %s", got)
	}
	if n, err := w.k.Scope(0); err != nil || n.Refused != 0 || n.Redirected != 1 {
		t.Errorf("%+v, %v", n, err)
	}
}

// TestSpaceLimit: beyond the limit scopes do what they say for a dead agent, and there is room again when a namespace ends.
func TestSpaceLimit(t *testing.T) {
	open := agent.ScopeRow{Mode: agent.ModeObserve, NeedCgroup: true}
	w := inScope(t, enforced, open)
	must(t, w.k.SetCgroup(w.sub("app-open"), 2))
	var log bytes.Buffer
	s := w.spaces(func(o *netns.Options) { o.Max, o.Log = 1, slog.New(slog.NewTextHandler(&log, nil)) })
	first, second, third := newRoom(t, 0), newRoom(t, 1), newRoom(t, 2)
	p, q, o := w.spawnIn(first, "app"), w.spawnIn(second, "app"), w.spawnIn(third, "app-open")
	third.do(func() { w.origin(origin4) })
	must(t, s.Scan())
	got := map[string]int{p.connect("v4", origin4): 1}
	got[q.connect("v4", origin4)]++
	if got["PROXY"] != 1 || got["ECONNREFUSED"] != 1 {
		t.Errorf("enforce: %v", got)
	}
	if got := o.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("observe: %s", got)
	}
	if st := s.Stats(); st.Served != 1 || st.Refused < 2 {
		t.Errorf("%+v", st)
	}
	if !strings.Contains(log.String(), "raise proxy.max_namespaces") || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("logged %q", log.String())
	}
	p.end()
	q.end()
	s.Sweep()
	p = w.spawnIn(second, "app")
	must(t, s.Scan())
	if got := p.connect("v4", origin4); got != "PROXY" && s.Stats().Served != 1 {
		t.Errorf("after room was made: %s, %+v", got, s.Stats())
	}
}

// TestSpaceForeign: a program of the namespace that sits on our address is not taken for us, and is not fought.
func TestSpaceForeign(t *testing.T) {
	w := inScope(t, enforced)
	r := newRoom(t, 0)
	r.do(func() {
		ln := listen(t, proxy4)
		t.Cleanup(func() { ln.Close() })
	})
	p := w.spawnIn(r, "app")
	var log bytes.Buffer
	s := w.spaces(func(o *netns.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	must(t, s.Scan())
	if got := p.connect("v4", origin4); got != "ECONNREFUSED" {
		t.Errorf("got %s", got)
	}
	if got := p.connect("v6", origin6); got != "ECONNREFUSED" {
		t.Errorf("got %s", got)
	}
	if st := s.Stats(); st.Failed != 1 || st.Served != 0 || !strings.Contains(log.String(), "choose another proxy.listen") {
		t.Errorf("%+v, logged %q", st, log.String())
	}
}

// TestSpaceHandedOver: listeners go from one Spaces to the next with what waits in their queues.
func TestSpaceHandedOver(t *testing.T) {
	w := inScope(t, enforced)
	r := newRoom(t, 0)
	p := w.spawnIn(r, "app")
	quiet := &mute{w}
	old := w.spaces(func(o *netns.Options) { o.Server = quiet })
	must(t, old.Scan())
	answered := make(chan string)
	go func() { answered <- p.connect("v4", origin4) }()
	wait(t, "a connection in the queue", func() bool { n, err := w.k.Scope(0); return err == nil && n.Redirected == 1 })
	files, err := old.Files()
	must(t, err)
	must(t, old.Close())
	var ls []*net.TCPListener
	for _, f := range files {
		l, err := net.FileListener(f)
		must(t, errors.Join(err, f.Close()))
		ls = append(ls, l.(*net.TCPListener))
	}
	next := w.spaces()
	next.Adopt(ls)
	if got := <-answered; got != "PROXY" {
		t.Errorf("what waited: %s", got)
	}
	must(t, next.Scan())
	for _, kind := range []string{"v4", "mapped"} {
		if got := p.connect(kind, origin4); got != "PROXY" {
			t.Errorf("%s: %s", kind, got)
		}
	}
	if got := p.connect("v6", origin6); got != "PROXY" {
		t.Errorf("v6: %s", got)
	}
	if st := next.Stats(); st.Served != 1 || st.Failed != 0 {
		t.Errorf("%+v", st)
	}
	p.end()
	if n := next.Sweep(); n != 1 {
		t.Errorf("%d were left", n)
	}
	r.leave()
	r.gone()
}

// mute serves nothing: connections wait.
type mute struct{ *world }

func (m *mute) Attend(*net.TCPListener) error { return nil }

// TestSpaceLoopbackDown: without a loopback interface there is no way to the proxy, and scopes do what they say for a dead
// agent; the listener is made when there is one.
func TestSpaceLoopbackDown(t *testing.T) {
	w := inScope(t, enforced)
	r := newRoom(t, 0)
	lo, err := r.h.LinkByName("lo")
	must(t, errors.Join(err, r.h.LinkSetDown(lo)))
	p := w.spawnIn(r, "app")
	s := w.spaces()
	w.answer(s)
	for _, kind := range []string{"v4", "mapped"} {
		if got := p.connect(kind, origin4); got != "ECONNREFUSED" {
			t.Errorf("with loopback down: %s", got)
		}
	}
	must(t, r.h.LinkSetUp(lo))
	wait(t, "a listener", func() bool { return p.connect("v4", origin4) == "PROXY" })
	if st := s.Stats(); st.Served != 1 || st.Failed != 0 {
		t.Errorf("%+v", st)
	}
}

// TestSpaceFamilies: a namespace without IPv6 gets a listener of IPv4 alone, and the other one when it is wanted.
func TestSpaceFamilies(t *testing.T) {
	w := inScope(t, enforced)
	r := newRoom(t, 0)
	lo, err := r.h.LinkByName("lo")
	must(t, err)
	six, err := netlink.ParseAddr("::1/128")
	must(t, errors.Join(err, r.h.AddrDel(lo, six)))
	p := w.spawnIn(r, "app")
	s := w.spaces()
	w.answer(s)
	wait(t, "a listener", func() bool { return p.connect("v4", origin4) == "PROXY" })
	if got := p.connect("v6", origin6); got != "ECONNREFUSED" {
		t.Errorf("v6: %s", got)
	}
	six.Flags = unix.IFA_F_NODAD
	must(t, r.h.AddrAdd(lo, six))
	wait(t, "a listener of IPv6", func() bool { return p.connect("v6", origin6) == "PROXY" })
	if st := s.Stats(); st.Served != 1 || st.Made != 1 || st.Failed != 0 {
		t.Errorf("%+v", st)
	}
}

// TestSpacesDoNotLeak makes and ends many namespaces and counts what is left.
func TestSpacesDoNotLeak(t *testing.T) {
	const rounds, at = 10, 20
	w := inScope(t, enforced)
	s := w.spaces(func(o *netns.Options) { o.Max = at })
	w.answer(s)
	before := descriptors(t)
	for range rounds {
		var rooms []*room
		var ps []*process
		for i := range at {
			rooms = append(rooms, newRoom(t, i))
			ps = append(ps, w.spawnIn(rooms[i], "app"))
		}
		for _, p := range ps {
			wait(t, "a listener", func() bool { return p.connect("v4", origin4) == "PROXY" })
			p.end()
		}
		for _, r := range rooms {
			r.leave()
		}
		wait(t, "all namespaces to be left", func() bool { s.Sweep(); return s.Stats().Served == 0 })
		for _, r := range rooms {
			r.gone()
		}
	}
	if st := s.Stats(); st.Made != rounds*at || st.Ended != st.Made || st.Failed+st.Refused != 0 {
		t.Errorf("%+v", st)
	}
	wait(t, "descriptors to be closed", func() bool { return descriptors(t) <= before })
	if w.went() != 0 {
		t.Errorf("%d connections went direct", w.went())
	}
}
