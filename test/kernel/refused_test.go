// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// host changes how a child sees the host: a script of its own mount namespace, and capabilities that it has not.
func host(script, without string) func(*exec.Cmd) {
	return func(c *exec.Cmd) {
		exe, err := os.Executable()
		if err != nil {
			panic(err)
		}
		set := "+all"
		for name := range strings.SplitSeq(without, ",") {
			if name != "" {
				set += ",-" + name
			}
		}
		c.Path = "/bin/sh"
		c.Args = []string{"sh", "-c", script + "\nexec setpriv --bounding-set=" + set + " \"$0\"", exe}
		c.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
}

const (
	noBPFFS   = "umount -l /sys/fs/bpf || exit 9"
	noTraceFS = "umount -l /sys/kernel/tracing || exit 9"
	noCgroup2 = "umount -a -l -t cgroup2 || exit 9"
)

// TestMissing makes hosts on which something is missing. What is missing is named, with what to do, and nothing is left half
// done; programs that are in force already stay so.
func TestMissing(t *testing.T) {
	mountAsHost(t)
	for _, c := range []struct {
		name, script, without string
		want                  []string // in the error
		refused               []string // or these capabilities are missing
	}{
		{name: "CAP_PERFMON", without: "perfmon,sys_admin", want: []string{"redirection is not supported here: missing CAP_PERFMON: grant it"}},
		{name: "CAP_BPF", without: "bpf,sys_admin", want: []string{"redirection is not supported here: missing CAP_BPF: grant it"}},
		{name: "CAP_NET_ADMIN", without: "net_admin,sys_admin", want: []string{"redirection is not supported here: missing CAP_NET_ADMIN: grant it"}},
		{name: "CAP_SYS_ADMIN alone", without: "sys_admin"},
		{name: "bpffs, which can be mounted", script: noBPFFS},
		{name: "bpffs, which cannot", script: noBPFFS, without: "sys_admin", want: []string{"mounting bpf at /sys/fs/bpf", "mount it by hand (mount -t bpf bpf /sys/fs/bpf), or grant CAP_SYS_ADMIN"}},
		{name: "tracefs, which can be mounted", script: noTraceFS},
		{name: "tracefs, which cannot", script: noTraceFS, without: "sys_admin", refused: []string{"tracefs", "track/enter_openat", "track/enter_openat2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := inScope(t, enforced)
			must(t, w.k.SetCgroup(w.sub("agent"), 0))
			app := w.spawn("app")
			p := w.spawn("agent", host(c.script, c.without))
			pins := w.pins + "-missing"
			must(t, unpinAll(pins))
			t.Cleanup(func() { must(t, unpinAll(pins)) })
			before := p.do("mounts").Said
			r := p.do("load", pins, w.cgroup)
			for _, want := range c.want {
				if !strings.Contains(r.Error, want) {
					t.Errorf("error %q, want %q", r.Error, want)
				}
			}
			if (r.Error == "") != (c.want == nil) {
				t.Errorf("error %q", r.Error)
			}
			if c.want == nil && !slices.Contains(r.Attached, bpf.RedirectProgConnect4) {
				t.Errorf("attached %v", r.Attached)
			}
			for _, name := range c.refused {
				if r.Refused[name] == "" {
					t.Errorf("%s was not refused: %v", name, r.Refused)
				}
			}
			if len(c.refused) == 0 && len(r.Refused) > 0 {
				t.Errorf("refused: %v", r.Refused)
			}
			if _, err := os.Stat(pins); c.want != nil && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is half installed", pins)
			}
			if r := p.do("uninstall", pins); r.Error != "" && c.script != noBPFFS {
				t.Errorf("uninstall: %s", r.Error)
			}
			if after := p.do("mounts").Said; after != before {
				t.Errorf("mounts before:\n%s\nafter uninstall:\n%s", before, after)
			}
			if c.want != nil { // who tried has changed nothing for what an earlier agent put in force
				if got := app.connect("v4", origin4); got != "PROXY" {
					t.Errorf("under the earlier agent: %s", got)
				}
				w.stopProxy()
				if got := app.connect("v4", origin4); got != "ECONNREFUSED" {
					t.Errorf("with no agent: %s", got)
				}
			}
		})
	}
}

// mountAsHost mounts what a host has mounted at boot, where it has not: what is missing later, is so because we took it away.
func mountAsHost(t *testing.T) {
	t.Helper()
	for _, f := range []struct {
		kind, at string
		magic    int64
	}{{"bpf", "/sys/fs/bpf", unix.BPF_FS_MAGIC}, {"tracefs", "/sys/kernel/tracing", unix.TRACEFS_MAGIC}} {
		var st unix.Statfs_t
		must(t, unix.Statfs(f.at, &st))
		if int64(st.Type) == f.magic {
			continue
		}
		must(t, unix.Mount(f.kind, f.at, f.kind, 0, ""))
		t.Cleanup(func() { must(t, unix.Unmount(f.at, unix.MNT_DETACH)) })
	}
}

// unpinAll removes pins that were left on the host's own bpf file system.
func unpinAll(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	if rerr := os.Remove(dir); !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}

// TestCgroupV1Only: a host without cgroup v2 is told so, and what to do.
func TestCgroupV1Only(t *testing.T) {
	w := inScope(t, enforced)
	p := w.spawn("app", host(noCgroup2, ""))
	if r := p.do("cgroup root"); !strings.Contains(r.Error, "redirection by cgroup is not supported here: no cgroup v2 is mounted: mount one") {
		t.Errorf("%q", r.Error)
	}
	for _, c := range p.do("doctor", w.pins).Checks {
		if c.Name == "cgroup v2" && (c.OK || !strings.Contains(c.Mend, "cgroup v1 only")) {
			t.Errorf("doctor: %+v", c)
		}
	}
}

// TestRingFull: events that nobody reads are lost at last. That is counted, and the cgroups that they would have told of are
// as closed as the strictest scope that they may be in.
func TestRingFull(t *testing.T) {
	w := newWorld(t, enforced)
	for i := 0; ; i++ {
		if n, err := w.k.Lost(); err != nil || n > 0 {
			must(t, err)
			break
		}
		if i == 5000 {
			t.Fatal("the buffer takes everything")
		}
		w.sub("full")
		must(t, os.Remove(filepath.Join(w.cgroup, "full")))
	}
	w.sub("late")
	p := w.spawn("late")
	if got := p.connect("v4", origin4); got != "PROXY" { // the agent decides
		t.Errorf("alive: %s", got)
	}
	if c := w.taken(); len(c) != 1 || c[0].Scope != agent.ScopePending {
		t.Errorf("records %+v", c)
	}
	if errs, err := w.k.Errors(); err != nil || errs["event lost"] == 0 {
		t.Errorf("counted: %v, %v", errs, err)
	}
	w.stopProxy()
	if got := p.connect("v4", origin4); got != "ECONNREFUSED" {
		t.Errorf("dead: %s", got)
	}
	// With a reader there is room again.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var seen atomic.Int64
	w.group.Go(func() {
		must(t, w.k.Listen(ctx, func(agent.Mark) {}, func(agent.CgroupEvent) { seen.Add(1) }))
	})
	wait(t, "events", func() bool { return seen.Load() > 0 })
	n, err := w.k.Lost()
	must(t, err)
	id := w.sub("again")
	wait(t, "the newest event", func() bool { return seen.Load() > 1000 })
	if after, err := w.k.Lost(); err != nil || after != n {
		t.Errorf("%d lost, then %d, %v", n, after, err)
	}
	must(t, w.k.SetCgroup(id, 0))
	stop()
}

// TestCgroupsFull: cgroups that the map cannot hold are counted, and as closed as the strictest scope that they may be in.
func TestCgroupsFull(t *testing.T) {
	w := newWorld(t, enforced)
	m, err := ebpf.LoadPinnedMap(filepath.Join(w.pins, bpf.RedirectMapCgroups), nil)
	must(t, err)
	defer m.Close()
	full := func() bool { errs, err := w.k.Errors(); must(t, err); return errs["cgroup full"] > 0 }
	for i := uint64(0); ; i++ { // other tests and the host make cgroups too
		err := m.Put(1<<48+i, bpf.RedirectCgroupState{})
		if err != nil {
			break
		}
	}
	w.sub("new")
	if !full() {
		t.Error("it is not counted")
	}
	p := w.spawn("new")
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("alive: %s", got)
	}
	if c := w.taken(); len(c) != 1 || c[0].Scope != agent.ScopePending {
		t.Errorf("records %+v", c)
	}
	w.stopProxy()
	if got := p.connect("v4", origin4); got != "ECONNREFUSED" {
		t.Errorf("dead: %s", got)
	}
	if errs, err := w.k.Errors(); err != nil || errs["unknown cgroup"] < 2 {
		t.Errorf("counted: %v, %v", errs, err)
	}
}
