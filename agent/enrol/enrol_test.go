// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

func TestRows(t *testing.T) {
	h := newHost(t)
	h.enrol(h.options(
		agent.Scope{Name: "a", Match: agent.Match{Unit: "x"}, Mode: agent.ModeEnforce}, // Closed is not said, but so
		agent.Scope{Name: "b", Match: agent.Match{Cgroup: "/x", UID: ptr(uint32(5))}, Mode: agent.ModeObserve, Closed: true},
		agent.Scope{Name: "c", Match: agent.Match{Exe: "/x", LangChain: true}, Mode: agent.ModeOff},
	))
	want := []agent.ScopeRow{{Name: "a", Mode: agent.ModeEnforce, Closed: true, NeedCgroup: true}, {Name: "b", Mode: agent.ModeObserve, Closed: true, NeedCgroup: true, NeedUID: true},
		{Name: "c", Mode: agent.ModeOff, NeedExe: true, NeedMark: true}}
	if diff := cmp.Diff(want, h.kernel.rows); diff != "" || h.kernel.mode != agent.ModeDiscover || h.kernel.closed {
		t.Error(diff, h.kernel.mode, h.kernel.closed)
	}
	if !strings.Contains(h.log.String(), "no such executable") {
		t.Errorf("no warning: %s", &h.log)
	}
	o := h.options()
	o.DefaultMode = agent.ModeEnforce
	if h.enrol(o); !h.kernel.closed {
		t.Error("marked programs go direct while the agent is dead, although they are enforced")
	}
}

// TestSelection compares what the kernel selects with what user space says of the same process.
func TestSelection(t *testing.T) {
	h := newHost(t)
	python, other := h.program("venv/python3"), h.program("other")
	service, worker := h.cgroup("system.slice/app.service"), h.cgroup("system.slice/app.service/worker")
	lab, root := h.cgroup("lab/a/b"), h.cgroup("")
	e := h.enrol(h.options(
		agent.Scope{Name: "unit", Match: agent.Match{Unit: "app*.service", UID: ptr(uint32(5))}, Mode: agent.ModeEnforce},
		agent.Scope{Name: "cgroup", Match: agent.Match{Cgroup: "lab/*"}, Mode: agent.ModeObserve},
		agent.Scope{Name: "exe", Match: agent.Match{Exe: filepath.Join(h.dir, "bin/*/python*")}, Mode: agent.ModeObserve},
		agent.Scope{Name: "mark", Match: agent.Match{LangChain: true, UID: ptr(uint32(6))}, Mode: agent.ModeObserve},
	))
	for i, c := range []struct {
		name   string
		cgroup uint64
		path   string
		uid    uint32
		exe    string
		marked bool
		want   int64
	}{
		{"unit and uid", service, "/system.slice/app.service", 5, other, false, 0},
		{"below the unit", worker, "/system.slice/app.service/worker", 5, other, false, 0},
		{"unit, other uid", service, "/system.slice/app.service", 8, other, false, -1},
		{"cgroup with what is below", lab, "/lab/a/b", 5, other, true, 1},
		{"first of two", lab, "/lab/a/b", 5, python, false, 1},
		{"executable", root, "/", 5, python, false, 2},
		{"mark and uid", root, "/", 6, other, true, 3},
		{"mark missing", root, "/", 6, other, false, -1},
		{"mark alone", root, "/", 7, other, true, int64(agent.ScopeDefault)},
		{"nothing", root, "/", 7, other, false, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := h.kernel.scope(c.cgroup, c.uid, file(t, c.exe), c.marked); got != c.want {
				t.Errorf("the kernel selects %d, want %d", got, c.want)
			}
			pid := 100 + i
			h.process(pid, c.path, c.uid, c.exe, "pid:[1]")
			row, ok := e.Matches(&pipeline.Workload{PID: uint32(pid), UID: c.uid, Cgroup: c.path}, c.marked)
			if ok != (c.want >= 0 && c.want < 64) || ok && int64(row) != c.want {
				t.Errorf("user space selects %d %v, want %d", row, ok, c.want)
			}
			// The same while the cgroup is pending in the kernel.
			conn := agent.Conn{Scope: agent.ScopePending, Proc: agent.Process{TGID: uint32(pid), UID: c.uid, CgroupID: c.cgroup}}
			h.kernel.marks[uint32(pid)] = c.marked
			scope, r := e.scope(conn, &pipeline.Workload{})
			switch {
			case c.want == -1 && (r == nil || r.Disposition != Pass):
				t.Errorf("pending: got %+v", r)
			case c.want == int64(agent.ScopeDefault) && (r != nil || scope.Name != DefaultScope):
				t.Errorf("pending: got %+v, %+v", scope, r)
			case c.want >= 0 && c.want < 64 && (r != nil || scope != &e.scopes[c.want]):
				t.Errorf("pending: got %+v, %+v", scope, r)
			}
		})
	}
}

func TestNewErrors(t *testing.T) {
	scope := func(m agent.Match) []agent.Scope {
		return []agent.Scope{{Name: "s", Match: m, Mode: agent.ModeObserve}}
	}
	many := make([]agent.Scope, agent.MaxScopes+1)
	for _, c := range []struct {
		name   string
		scopes []agent.Scope
		want   string
	}{
		{"pod labels", scope(agent.Match{PodLabels: map[string]string{"a": "b"}}), "scope s: podLabels are not supported yet"},
		{"empty", scope(agent.Match{}), "scope s matches everything"},
		{"unit pattern", scope(agent.Match{Unit: "["}), `"[" is no valid pattern`},
		{"cgroup pattern", scope(agent.Match{Cgroup: "/a/[b/c]"}), `"[b" is no valid pattern`},
		{"exe pattern", scope(agent.Match{Exe: "/a["}), `exe "/a[" is no valid pattern`},
		{"too many", many, "65 scopes, the kernel programs hold 64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			if _, err := New(h.options(c.scopes...)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestVital(t *testing.T) {
	const host, container = "pid:[1]", "pid:[2]"
	for _, c := range []struct {
		name    string
		match   agent.Match
		off     bool
		attach  string
		refused string
	}{
		{name: "every unit", match: agent.Match{Unit: "*"}, refused: "matches sshd in /system.slice/ssh.service"},
		{name: "ssh, which does not run", match: agent.Match{Unit: "ssh*"}, refused: "matches sshd in /system.slice/ssh.service"},
		{name: "all system services", match: agent.Match{Cgroup: "/system.slice"}, refused: "matches sshd in"},
		{name: "everything", match: agent.Match{Cgroup: "/"}, refused: "matches systemd in"},
		{name: "kubelet by name", match: agent.Match{Exe: "/usr/bin/kube*"}, refused: "matches kubelet in"},
		{name: "process 1", match: agent.Match{Cgroup: "/odd"}, refused: "(process 1)"},
		{name: "daemon at an odd place", match: agent.Match{Cgroup: "/opt"}, refused: "sshd (process 20)"},
		{name: "user of a daemon", match: agent.Match{UID: ptr(uint32(101))}, refused: "systemd-resolved (process 23)"},
		{name: "a program that calls itself sshd", match: agent.Match{Unit: "liar.service"}},
		{name: "a file that others may change", match: agent.Match{Unit: "open.service"}},
		{name: "one unit for each ssh connection", match: agent.Match{Unit: "sshd@*"}, refused: "matches sshd in"},
		{name: "k3s", match: agent.Match{Unit: "k3s*.service"}, refused: "matches k3s in"},
		{name: "the guard", match: agent.Match{Unit: "sallyport-*"}, refused: "matches sallyportd in"},
		{name: "where the daemon usually is", match: agent.Match{Exe: "/usr/local/bin/*"}, refused: "matches kubelet in"},
		{name: "this process", match: agent.Match{Unit: "me.service"}, refused: "(process "},
		{name: "root", match: agent.Match{UID: ptr(uint32(0))}, refused: "matches systemd"},
		{name: "off", match: agent.Match{Unit: "*"}, off: true},
		{name: "LangChain programs in any unit", match: agent.Match{Unit: "*", LangChain: true}},
		{name: "a user's own program of that name", match: agent.Match{UID: ptr(uint32(1000))}},
		{name: "in a container", match: agent.Match{Cgroup: "/docker"}},
		{name: "not attached there", match: agent.Match{Unit: "*"}, attach: "lab"},
		{name: "fine", match: agent.Match{Unit: "app.service"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			sshd := h.program("sshd")
			h.process(1, "/odd", 0, h.program("anything"), host)
			h.process(20, "/opt/x", 0, sshd, host)
			h.process(23, "/sys/systemd-resolved.service", 101, h.program("systemd-resolved"), host)
			h.process(24, "/agents/liar.service", 102, sshd, host)
			h.process(25, "/agents/open.service", 0, h.program("containerd"), host)
			h.must(os.Chmod(h.program("containerd"), 0o777))
			h.process(21, "/docker/c", 0, sshd, container)
			h.process(22, "/home", 1000, sshd, host)
			h.process(os.Getpid(), "/sys/me.service", 3, h.program("agent"), host)
			h.cgroup("lab")
			mode := agent.ModeDiscover
			if c.off {
				mode = agent.ModeOff
			}
			o := h.options(agent.Scope{Name: "s", Match: c.match, Mode: mode})
			o.Attach = filepath.Join(o.CgroupRoot, c.attach)
			switch _, err := New(o); {
			case c.refused == "" && err != nil:
				t.Error(err)
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused) || !strings.HasSuffix(err.Error(), "narrow the scope")):
				t.Errorf("got %v, want %q", err, c.refused)
			}
		})
	}
}

// TestVitalLater: what the host cannot do without and comes into a scope later is left alone if nobody else is there, and is
// told in either case.
func TestVitalLater(t *testing.T) {
	h := newHost(t)
	alone, mixed := h.cgroup("app/alone.service"), h.cgroup("app/mixed.service")
	procs := func(unit, pids string) {
		h.must(os.WriteFile(filepath.Join(h.dir, "cg/app", unit, "cgroup.procs"), []byte(pids), 0o644))
	}
	e := h.enrol(h.options(agent.Scope{Name: "s", Match: agent.Match{Cgroup: "/app"}, Mode: agent.ModeEnforce}))
	if alerts, err := e.Spare(); err != nil || len(alerts) > 0 {
		t.Fatalf("%q, %v", alerts, err)
	}
	kubelet := h.program("kubelet")
	h.process(30, "/app/alone.service", 0, kubelet, "pid:[1]")
	h.process(31, "/app/mixed.service", 0, kubelet, "pid:[1]")
	h.process(32, "/app/mixed.service", 0, h.program("python3"), "pid:[1]")
	procs("alone.service", "30\n")
	procs("mixed.service", "31\n32\n")
	alerts, err := e.Spare()
	if err != nil || len(alerts) != 2 || !strings.Contains(alerts[0], "left alone") || !strings.Contains(alerts[1], "not let go") {
		t.Errorf("%q, %v", alerts, err)
	}
	if h.kernel.cgroups[alone] != 0 || h.kernel.cgroups[mixed] != 1 {
		t.Errorf("in the kernel: %v", h.kernel.cgroups)
	}
	if _, in := e.Matches(&pipeline.Workload{Cgroup: "/app/alone.service"}, false); in {
		t.Error("it still counts as governed")
	}
	procs("alone.service", "30\n33\n")
	if _, err := e.Spare(); err != nil || h.kernel.cgroups[alone] != 1 {
		t.Errorf("somebody joined it: %v, %v", h.kernel.cgroups, err)
	}
}

func TestCgroupsComeAndGo(t *testing.T) {
	h := newHost(t)
	old := h.cgroup("old/app.service")
	e := h.enrol(h.options(agent.Scope{Name: "s", Match: agent.Match{Unit: "app.service"}, Mode: agent.ModeEnforce}))
	if h.kernel.cgroups[old] != 1 || len(h.kernel.cgroups) != 3 {
		t.Errorf("at the start: %v", h.kernel.cgroups)
	}
	fresh := h.cgroup("new/app.service")
	if got := h.kernel.scope(fresh, 1, agent.File{}, false); got != int64(agent.ScopePending) {
		t.Errorf("before its event: %d", got)
	}
	e.Cgroup(agent.CgroupEvent{ID: fresh, Path: "/new/app.service"})
	if got := h.kernel.scope(fresh, 1, agent.File{}, false); got != 0 {
		t.Errorf("after its event: %d", got)
	}
	e.Cgroup(agent.CgroupEvent{ID: fresh, Path: "/new/app.service", Removed: true})
	if _, ok := h.kernel.cgroups[fresh]; ok {
		t.Error("a removed cgroup is still known")
	}
	// Events were lost: one came, one went.
	lost := h.cgroup("lost/app.service")
	h.must(os.RemoveAll(filepath.Join(h.dir, "cg/old")))
	h.must(e.Rescan())
	if _, ok := h.kernel.cgroups[old]; ok || h.kernel.cgroups[lost] != 1 {
		t.Errorf("after a rescan: %v", h.kernel.cgroups)
	}
	// A path that did not fit is left pending.
	e.Cgroup(agent.CgroupEvent{ID: 77, Path: "/" + strings.Repeat("x", maxEventPath-1)})
	if _, ok := h.kernel.cgroups[77]; ok {
		t.Error("half a path was believed")
	}
}

// TestWalkAndEvents lets cgroups come and go during walks: at the end the kernel knows exactly what is there.
func TestWalkAndEvents(t *testing.T) {
	h := newHost(t)
	e := h.enrol(h.options(agent.Scope{Name: "s", Match: agent.Match{Cgroup: "/s"}, Mode: agent.ModeEnforce}))
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 50 {
			if err := e.Rescan(); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 200 {
		path := "/s/" + strings.Repeat("d", i+1)
		id := h.cgroup(path)
		e.Cgroup(agent.CgroupEvent{ID: id, Path: path})
		if i%2 == 0 {
			h.must(os.Remove(filepath.Join(h.dir, "cg", path)))
			e.Cgroup(agent.CgroupEvent{ID: id, Path: path, Removed: true})
		}
	}
	wg.Wait()
	entries, err := os.ReadDir(filepath.Join(h.dir, "cg/s"))
	h.must(err)
	if len(h.kernel.cgroups) != len(entries)+2 || len(e.paths) != len(entries)+2 {
		t.Errorf("%d folders, the kernel knows %d and we %d", len(entries)+2, len(h.kernel.cgroups), len(e.paths))
	}
}

func TestRefresh(t *testing.T) {
	h := newHost(t)
	name := h.program("python3")
	e := h.enrol(h.options(agent.Scope{Name: "s", Match: agent.Match{Exe: filepath.Join(h.dir, "bin/python*")}, Mode: agent.ModeEnforce}))
	was := file(t, name)
	// An upgrade: the new file takes the place of the old one, which still runs.
	h.must(os.Rename(h.program("next"), name))
	now := file(t, name)
	if h.kernel.exes[now] != 0 {
		t.Fatal("known too early")
	}
	h.must(os.Symlink("nowhere", filepath.Join(h.dir, "bin/python4")))
	e.Cgroup(agent.CgroupEvent{ID: 5, Path: "/x"}) // the service starts again
	if h.kernel.exes[now] != 1 || h.kernel.exes[was] != 1 {
		t.Errorf("got %v", h.kernel.exes)
	}
	third := file(t, h.program("python5"))
	h.must(e.Refresh())
	if h.kernel.exes[third] != 1 {
		t.Errorf("got %v", h.kernel.exes)
	}
}

// TestRestart: what an earlier agent left is forgotten, and a kernel that can does it without a gap.
func TestRestart(t *testing.T) {
	scope := agent.Scope{Name: "s", Match: agent.Match{UID: ptr(uint32(1005))}, Mode: agent.ModeEnforce}
	h := newHost(t)
	h.kernel.uids = map[uint32]uint64{1005: 1, 1006: 2}
	h.enrol(h.options(scope))
	want := map[uint32]uint64{1005: 1}
	if diff := cmp.Diff(want, h.kernel.uids); diff != "" || h.kernel.resets != 1 {
		t.Error(diff, h.kernel.resets)
	}
	h.kernel.uids[1006] = 2
	o := h.options(scope)
	o.Kernel = keepingKernel{h.kernel}
	h.enrol(o)
	if diff := cmp.Diff(want, h.kernel.uids); diff != "" || h.kernel.resets != 1 {
		t.Error(diff, h.kernel.resets)
	}
}

func TestKernelErrors(t *testing.T) {
	for _, method := range []string{"SetScopes", "SetDefault", "ResetSelection", "SetUID", "SetExe"} {
		t.Run(method, func(t *testing.T) {
			h := newHost(t)
			e, err := New(h.options(agent.Scope{Name: "s", Match: agent.Match{UID: ptr(uint32(1005)), Exe: h.program("x")}, Mode: agent.ModeEnforce}))
			h.must(err)
			h.kernel.fail[method] = errFake
			if err := e.Apply(); !errors.Is(err, errFake) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("SetCgroup", func(t *testing.T) { // the cgroup stays pending, which is safe
		h := newHost(t)
		h.kernel.fail["SetCgroup"] = errFake
		id := h.cgroup("app.service")
		e := h.enrol(h.options(agent.Scope{Name: "s", Match: agent.Match{Unit: "app.service"}, Mode: agent.ModeEnforce}))
		if got := h.kernel.scope(id, 1, agent.File{}, false); got != int64(agent.ScopePending) || !strings.Contains(h.log.String(), errFake.Error()) {
			t.Errorf("got %d, log %s", got, &h.log)
		}
		conn := agent.Conn{Scope: agent.ScopePending, Proc: agent.Process{TGID: 9, CgroupID: id}}
		if scope, r := e.scope(conn, &pipeline.Workload{Cgroup: "/app.service"}); r != nil || scope.Name != "s" {
			t.Errorf("got %+v, %+v", scope, r)
		}
	})
}
