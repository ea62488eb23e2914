// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

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
		{"routed", origin4.String(), origin4},
		{"routed6", origin6.String(), origin6},
		{"fastopen", "", origin4}, // not connected yet when the sender goes on
		{"deferred", "", origin4},
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

// TestOverlay: an executable on an overlay of two file systems, where stat does not show the device that the kernel knows.
func TestOverlay(t *testing.T) {
	w := newWorld(t, agent.ScopeRow{Mode: agent.ModeEnforce, Closed: true, NeedExe: true})
	w.sub("app")
	dir := t.TempDir()
	for _, d := range []string{"lower", "upper", "all"} {
		at := filepath.Join(dir, d)
		must(t, os.Mkdir(at, 0o755))
		if d != "all" {
			must(t, unix.Mount("tmpfs", at, "tmpfs", 0, ""))
			t.Cleanup(func() { must(t, unix.Unmount(at, 0)) })
		}
	}
	copyFile(t, "/proc/self/exe", filepath.Join(dir, "lower", "prog"))
	must(t, os.Mkdir(filepath.Join(dir, "upper", "files"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "upper", "work"), 0o755))
	all := filepath.Join(dir, "all")
	must(t, unix.Mount("overlay", all, "overlay", 0, fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper/files,workdir=%s/upper/work", dir, dir, dir)))
	t.Cleanup(func() { must(t, unix.Unmount(all, 0)) })
	prog := filepath.Join(all, "prog")
	files, err := kernel.Files(prog)
	must(t, err)
	t.Logf("known as %+v", files)
	for _, f := range files {
		must(t, w.k.SetExe(f, 1))
	}
	p := w.spawn("app", func(c *exec.Cmd) { c.Path = prog })
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("got %s; known as %+v", got, files)
	}
	p.end()
}
