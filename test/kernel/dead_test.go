// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"net/netip"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/bpf"
)

// TestDeadAgent: with no agent, a hung one, or somebody else on its port, closed scopes are refused and open ones go
// direct, and a bypass lets both go until it ends by itself.
func TestDeadAgent(t *testing.T) {
	open := agent.ScopeRow{Mode: agent.ModeObserve, NeedCgroup: true}
	w := newWorld(t, enforced, open)
	must(t, w.k.SetCgroup(w.sub("closed"), 1))
	must(t, w.k.SetCgroup(w.sub("open"), 2))
	closed, opened := w.spawn("closed"), w.spawn("open")
	expect := func(when, wantClosed, wantOpen string) {
		t.Helper()
		for _, a := range []netip.AddrPort{origin4, origin6} {
			kind := "v4"
			if a.Addr().Is6() {
				kind = "v6"
			}
			if got := closed.connect(kind, a); got != wantClosed {
				t.Errorf("%s: closed scope to %s: %s, want %s", when, a, got, wantClosed)
			}
			if got := opened.connect(kind, a); got != wantOpen {
				t.Errorf("%s: open scope to %s: %s, want %s", when, a, got, wantOpen)
			}
		}
	}
	expect("alive", "PROXY", "PROXY")
	w.stopProxy()
	expect("nobody listens", "ECONNREFUSED", "ORIGIN")
	for _, a := range []netip.AddrPort{proxy4, proxy6} {
		ln := listen(t, a)
		defer ln.Close()
	}
	must(t, w.k.Beat())
	expect("somebody else listens", "ECONNREFUSED", "ORIGIN")

	must(t, kernel.Bypass(w.pins, 0, time.Hour))
	if got := closed.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("bypassed: %s", got)
	}
	must(t, kernel.Bypass(w.pins, 0, 50*time.Millisecond))
	for left := time.Duration(1); left > 0; {
		var err error
		left, err = w.k.BypassUntil(0)
		must(t, err)
		runtime.Gosched()
	}
	expect("after the bypass", "ECONNREFUSED", "ORIGIN")

	n, err := w.k.Scope(0)
	must(t, err)
	if n.Redirected != 2 || n.Bypassed != 1 || n.Refused != 6 || n.Opened != 0 || n.Seen != 9 {
		t.Errorf("counters of the closed scope: %+v", n)
	}
	errs, err := w.k.Errors()
	must(t, err)
	if errs["no listener"] == 0 || errs["foreign listener"] == 0 {
		t.Errorf("error counters: %v", errs)
	}
}

// TestHungAgent: a listener whose accept loop does not run any more is as good as none.
func TestHungAgent(t *testing.T) {
	w := inScope(t, enforced)
	w.stop() // the heart stops, the listener stays
	p := w.spawn("app")
	for end := time.Now().Add(30 * time.Second); ; {
		got := p.connect("v4", origin4)
		if got == "ECONNREFUSED" {
			return
		}
		if got != "PROXY" || time.Now().After(end) {
			t.Fatalf("got %s", got)
		}
	}
}

// TestTakeover: an agent that stops does not stop the heart of the one that took over.
func TestTakeover(t *testing.T) {
	w := inScope(t, enforced)
	p := w.spawn("app")
	next := w.load(2)
	defer next.Close()
	must(t, next.Attach())
	w.stop()
	w.heart.Wait()
	got := ""
	for range 20 { // on a busy machine a beat may be stale before the connection is made
		must(t, next.Beat())
		must(t, w.k.StopHeart())
		if got = p.connect("v4", origin4); got == "PROXY" {
			break
		}
	}
	if got != "PROXY" {
		t.Errorf("after the old agent stopped: %s", got)
	}
	must(t, next.StopHeart())
	if got := p.connect("v4", origin4); got != "ECONNREFUSED" {
		t.Errorf("after the new agent stopped: %s", got)
	}
}

// TestBypassFollowsName: a bypass is asked for by the name of a scope, and stays with it when the order changes.
func TestBypassFollowsName(t *testing.T) {
	named := func(name string) agent.ScopeRow { r := enforced; r.Name = name; return r }
	w := newWorld(t, named("a"), named("b"))
	must(t, w.k.SetCgroup(w.sub("app"), 0b10))
	p := w.spawn("app")
	must(t, kernel.BypassName(w.pins, "b", time.Hour))
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Fatalf("bypassed: %s", got)
	}
	must(t, w.k.SetScopes([]agent.ScopeRow{named("b"), named("c")}))
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("row 1 is another scope now, but still bypassed: %s", got)
	}
	must(t, w.k.SetCgroup(w.sub("app"), 0b01))
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("the bypass did not move with its scope: %s", got)
	}
	must(t, w.k.SetScopes([]agent.ScopeRow{named("c"), named("b")}))
	must(t, kernel.BypassName(w.pins, "b", 0))
	for i := range uint32(2) {
		if left, err := w.k.BypassUntil(i); err != nil || left != 0 {
			t.Errorf("row %d is bypassed for %s, %v", i, left, err)
		}
	}
	if err := kernel.BypassName(w.pins, "nobody", time.Hour); err == nil {
		t.Error("a scope that is not there was bypassed")
	}
	if err := kernel.Bypass(w.pins, 99, time.Hour); err == nil {
		t.Error("a scope that cannot be was bypassed")
	}
}

// TestFullMap: with no room for records, closed scopes are refused and open ones go direct; with room, all is well again.
func TestFullMap(t *testing.T) {
	open := agent.ScopeRow{Mode: agent.ModeObserve, NeedCgroup: true}
	w := newWorld(t, enforced, open)
	must(t, w.k.SetCgroup(w.sub("closed"), 1))
	must(t, w.k.SetCgroup(w.sub("open"), 2))
	closed, opened := w.spawn("closed"), w.spawn("open")
	conns, err := ebpf.LoadPinnedMap(filepath.Join(w.pins, bpf.RedirectMapConns), nil)
	must(t, err)
	defer conns.Close()
	keys, values := make([]bpf.RedirectFlowKey, conns.MaxEntries()), make([]bpf.RedirectConn, conns.MaxEntries())
	for i := range keys {
		keys[i].Netns = ^uint64(i)
	}
	_, err = conns.BatchUpdate(keys, values, nil)
	must(t, err)
	if got := closed.connect("v4", origin4); got != "" {
		t.Errorf("the first connection without a record: %q, want it closed", got)
	}
	if got := closed.connect("v4", origin4); got != "ECONNREFUSED" {
		t.Errorf("closed scope: %q", got)
	}
	if got := opened.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("open scope: %q", got)
	}
	errs, err := w.k.Errors()
	must(t, err)
	if errs["record full"] != 3 {
		t.Errorf("error counters: %v", errs)
	}
	_, err = conns.BatchDelete(keys, nil)
	must(t, err)
	wait(t, "room to be noticed", func() bool { return closed.connect("v4", origin4) == "PROXY" })
}

// TestOtherNamespace: where the proxy does not listen, scopes do what they say for a dead agent.
func TestOtherNamespace(t *testing.T) {
	w := inScope(t, enforced)
	p := w.spawn("app", func(c *exec.Cmd) { c.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET })
	if got := p.connect("v4", origin4); got != "ECONNREFUSED" {
		t.Errorf("got %s", got)
	}
	if n, err := w.k.Scope(0); err != nil || n.Refused != 1 {
		t.Errorf("counters %+v, %v", n, err)
	}
}

// TestPendingDead: a cgroup that nobody has looked at is as closed as the strictest scope that it may belong to.
func TestPendingDead(t *testing.T) {
	open := agent.ScopeRow{Mode: agent.ModeObserve, NeedCgroup: true}
	for _, c := range []struct {
		name string
		rows []agent.ScopeRow
		want string
	}{
		{"one of them is closed", []agent.ScopeRow{open, enforced}, "ECONNREFUSED"},
		{"all are open", []agent.ScopeRow{open}, "ORIGIN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.rows...)
			w.sub("new")
			w.stopProxy()
			if got := w.spawn("new").connect("v4", origin4); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if n, err := w.k.Scope(agent.ScopePending); err != nil || n.Seen != 1 {
				t.Errorf("counters %+v, %v", n, err)
			}
		})
	}
}
