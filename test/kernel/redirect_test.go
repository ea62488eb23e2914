// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel"
)

var enforced = agent.ScopeRow{Mode: agent.ModeEnforce, Closed: true, NeedCgroup: true}

// inScope makes a world in which the cgroup "app" satisfies the first row.
func inScope(t *testing.T, rows ...agent.ScopeRow) *world {
	t.Helper()
	w := newWorld(t, rows...)
	must(t, w.k.SetCgroup(w.sub("app"), 1))
	return w
}

// TestConnectKinds connects in every way that a program can, and looks at what the proxy knows and the program sees.
func TestConnectKinds(t *testing.T) {
	w := inScope(t, enforced)
	p := w.spawn("app")
	for _, c := range []struct {
		kind, peer string
		to         netip.AddrPort
	}{
		{"v4", origin4.String(), origin4},
		{"v6", origin6.String(), origin6},
		{"mapped", fmt.Sprintf("[::ffff:127.0.0.2]:%d", originPort), origin4},
		{"nonblocking", origin4.String(), origin4},
		{"bound", origin4.String(), origin4},
		{"again", origin4.String(), origin4},
		{"mptcp", "", origin4}, // the storage sits on the subflow: getpeername shows the proxy
	} {
		t.Run(c.kind, func(t *testing.T) {
			r := p.do("connect", c.kind, c.to.String())
			if r.Said != "PROXY" {
				t.Fatalf("got %+v", r)
			}
			if c.peer != "" && r.Peer != c.peer {
				t.Errorf("getpeername says %s, want %s", r.Peer, c.peer)
			}
			got := w.taken()
			if len(got) != 1 {
				t.Fatalf("%d records", len(got))
			}
			if got[0].Orig != c.to {
				t.Errorf("recorded destination %s, want %s", got[0].Orig, c.to)
			}
			proc := got[0].Proc
			if int(proc.TGID) != r.Pid || proc.UID != 0 || proc.CgroupID != w.sub("app") || proc.NetNS != w.netns || got[0].Scope != 0 || got[0].Generation != 1 || proc.Start == 0 || proc.Comm == "" {
				t.Errorf("record %+v of pid %d", got[0], r.Pid)
			}
		})
	}
	if n, err := w.k.Records(); err != nil || n != 0 {
		t.Errorf("%d records left, %v", n, err)
	}
}

// TestUntouched: what no scope selects, and ports that are not captured, connect directly.
func TestUntouched(t *testing.T) {
	w := inScope(t, enforced)
	must(t, w.k.SetCgroup(w.sub("other"), 0))
	if got := w.spawn("other").connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("a process outside every scope: %s", got)
	}
	must(t, w.k.SetPorts([]uint16{1}))
	if got := w.spawn("app").connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("a port that is not captured: %s", got)
	}
}

// TestExemptIsOneCgroup: exactly the exempt cgroup goes direct, not those below it.
func TestExemptIsOneCgroup(t *testing.T) {
	w := inScope(t, enforced)
	must(t, w.k.Exempt(w.sub("app")))
	below := w.sub("app/below")
	must(t, w.k.SetCgroup(below, 1))
	if got := w.spawn("app").connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("exempt cgroup: %s", got)
	}
	if got := w.spawn("app/below").connect("v4", origin4); got != "PROXY" {
		t.Errorf("cgroup below the exempt one: %s", got)
	}
}

// TestScopes checks each criterion alone, two together, and the order of rows.
func TestScopes(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	var st unix.Stat_t
	must(t, unix.Stat(self, &st))
	observe := func(r agent.ScopeRow) agent.ScopeRow { r.Mode = agent.ModeObserve; return r }
	uid := func(id uint32) func(*exec.Cmd) {
		return func(c *exec.Cmd) { c.SysProcAttr.Credential = &syscall.Credential{Uid: id, Gid: id} }
	}
	for _, c := range []struct {
		name string
		rows []agent.ScopeRow
		set  func(*world)
		as   func(*exec.Cmd)
		want string
		row  uint32
	}{
		{"uid that matches", []agent.ScopeRow{observe(agent.ScopeRow{NeedUID: true})}, func(w *world) { must(t, w.k.SetUID(12345, 1)) }, uid(12345), "PROXY", 0},
		{"uid that does not", []agent.ScopeRow{observe(agent.ScopeRow{NeedUID: true})}, func(w *world) { must(t, w.k.SetUID(12345, 1)) }, uid(12346), "ORIGIN", 0},
		{"executable", []agent.ScopeRow{observe(agent.ScopeRow{NeedExe: true})}, func(w *world) { must(t, w.k.SetExe(agent.File{Dev: st.Dev, Ino: st.Ino}, 1)) }, nil, "PROXY", 0},
		{"another executable", []agent.ScopeRow{observe(agent.ScopeRow{NeedExe: true})}, func(w *world) { must(t, w.k.SetExe(agent.File{Dev: st.Dev, Ino: st.Ino + 1}, 1)) }, nil, "ORIGIN", 0},
		{"cgroup and uid, one missing", []agent.ScopeRow{observe(agent.ScopeRow{NeedCgroup: true, NeedUID: true})}, func(w *world) { must(t, w.k.SetUID(12345, 1)) }, nil, "ORIGIN", 0},
		{"first row wins", []agent.ScopeRow{observe(agent.ScopeRow{NeedUID: true}), enforced, enforced}, func(w *world) { must(t, w.k.SetCgroup(w.sub("app"), 0b110)) }, nil, "PROXY", 1},
		{"off goes direct", []agent.ScopeRow{{Mode: agent.ModeOff, NeedCgroup: true}, enforced}, func(w *world) { must(t, w.k.SetCgroup(w.sub("app"), 0b11)) }, nil, "ORIGIN", 0},
		{"a cgroup that nobody has looked at", []agent.ScopeRow{enforced}, func(w *world) { must(t, w.k.DelCgroup(w.sub("app"))) }, nil, "PROXY", agent.ScopePending},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := inScope(t, c.rows...)
			c.set(w)
			var options []func(*exec.Cmd)
			if c.as != nil {
				options = append(options, c.as)
			}
			if got := w.spawn("app", options...).connect("v4", origin4); got != c.want {
				t.Fatalf("got %s, want %s", got, c.want)
			}
			if conns := w.taken(); c.want == "PROXY" && (len(conns) != 1 || conns[0].Scope != c.row) {
				t.Errorf("scope of %+v, want %d", conns, c.row)
			}
		})
	}
}

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

	must(t, kernel.Bypass(w.pins, 0, 300*time.Millisecond))
	if got := closed.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("bypassed: %s", got)
	}
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
	for end := time.Now().Add(5 * time.Second); ; {
		got := p.connect("v4", origin4)
		if got == "ECONNREFUSED" {
			return
		}
		if got != "PROXY" || time.Now().After(end) {
			t.Fatalf("got %s", got)
		}
	}
}

// TestChurn: 20,000 connections from eight processes, a part of which leave before the proxy can look: every record is
// found or its miss counted, and nothing stays behind.
func TestChurn(t *testing.T) {
	w := inScope(t, enforced)
	before := openFiles(t)
	const each, leavers = 2000, 4000
	done := make(chan map[string]int, 9)
	for range 8 {
		p := w.spawn("app")
		go func() { done <- p.do("many", origin4.String(), fmt.Sprint(each)).Count }()
	}
	leaver := w.spawn("app")
	go func() { done <- leaver.do("churn", origin4.String(), fmt.Sprint(leavers)).Count }()
	said := map[string]int{}
	for range 9 {
		for k, n := range <-done {
			said[k] += n
		}
	}
	if said["PROXY"] != 8*each || len(said) != 1 {
		t.Errorf("answers: %v, want %d from the proxy", said, 8*each)
	}
	if w.direct != 0 {
		t.Errorf("%d connections went direct", w.direct)
	}
	wait(t, "records to go", func() bool {
		n, err := w.k.Records()
		must(t, err)
		w.mu.Lock()
		defer w.mu.Unlock()
		return n == 0 && len(w.conns)+w.misses <= 8*each+leavers
	})
	w.mu.Lock()
	found, missed := len(w.conns), w.misses
	w.mu.Unlock()
	if found < 8*each {
		t.Errorf("%d records found, want at least %d", found, 8*each)
	}
	t.Logf("%d records found, %d accepted connections had left before", found, missed)
	if after := openFiles(t); after > before+27 { // three pipes for each child
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}

// TestUpgrade replaces the programs while a process connects all the time.
func TestUpgrade(t *testing.T) {
	w := inScope(t, enforced)
	p := w.spawn("app")
	done := make(chan map[string]int, 1)
	go func() { done <- p.do("many", origin4.String(), "5000").Count }()
	upgrades := uint32(0)
	for {
		select {
		case said := <-done:
			if said["PROXY"] != 5000 || len(said) != 1 {
				t.Errorf("answers during %d upgrades: %v", upgrades, said)
			}
			if upgrades == 0 {
				t.Error("nothing was upgraded")
			}
			return
		default:
			upgrades++
			k := w.load(upgrades + 1)
			must(t, k.Attach())
			k.Close()
		}
	}
}

// TestUninstall leaves nothing behind, whatever state there was.
func TestUninstall(t *testing.T) {
	w := inScope(t, enforced)
	p := w.spawn("app")
	must(t, kernel.Uninstall(w.pins))
	if _, err := os.Stat(w.pins); !os.IsNotExist(err) {
		t.Errorf("%s is still there", w.pins)
	}
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("after uninstall: %s", got)
	}
	must(t, kernel.Uninstall(w.pins)) // twice is fine
}

func openFiles(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(d)
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}
