// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/bpf"
)

// TestUninstall leaves nothing behind, whatever state there was.
func TestUninstall(t *testing.T) {
	w := inScope(t, enforced)
	p := w.spawn("app")
	programs := pinnedPrograms(t, w.pins)
	if len(programs) != len(w.k.Attached()) || len(programs) < 15 {
		t.Errorf("%d pinned programs", len(programs))
	}
	w.stopProxy()
	w.k.Close()
	must(t, kernel.Uninstall(w.pins))
	for _, id := range programs {
		wait(t, "the programs to go", func() bool {
			p, err := ebpf.NewProgramFromID(id)
			if err == nil {
				p.Close()
			}
			return errors.Is(err, os.ErrNotExist)
		})
	}
	if _, err := os.Stat(w.pins); !os.IsNotExist(err) {
		t.Errorf("%s is still there", w.pins)
	}
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("after uninstall: %s", got)
	}
	must(t, kernel.Uninstall(w.pins)) // twice is fine
}

// pinnedPrograms lists the programs behind the pinned links.
func pinnedPrograms(t *testing.T, pins string) (out []ebpf.ProgramID) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(pins, "link_*"))
	must(t, err)
	for _, n := range names {
		l, err := link.LoadPinnedLink(n, nil)
		must(t, err)
		info, err := l.Info()
		must(t, errors.Join(err, l.Close()))
		out = append(out, info.Program)
	}
	return out
}

// TestMoved: an agent that is told another cgroup moves what an earlier one attached.
func TestMoved(t *testing.T) {
	w := inScope(t, enforced)
	must(t, w.k.SetCgroup(w.sub("other"), 1))
	k, err := kernel.Load(kernel.Options{Cgroup: filepath.Join(w.cgroup, "other"), PinDir: w.pins, Generation: 2})
	must(t, err)
	defer k.Close()
	must(t, k.Attach())
	for cgroup, want := range map[string]string{"app": "ORIGIN", "other": "PROXY"} {
		if got := w.spawn(cgroup).connect("v4", origin4); got != want {
			t.Errorf("%s: %s, want %s", cgroup, got, want)
		}
	}
}

// TestHalfInstalled: what cannot be attached leaves nothing behind.
func TestHalfInstalled(t *testing.T) {
	w := inScope(t, enforced)
	pins := w.pins + "-second"
	t.Cleanup(func() { must(t, kernel.Uninstall(pins)) })
	k, err := kernel.Load(kernel.Options{Cgroup: t.TempDir(), PinDir: pins, Generation: 1})
	must(t, err)
	defer k.Close()
	if err := k.Attach(); err == nil {
		t.Error("attached to a folder that is no cgroup")
	}
	if p := pinnedPrograms(t, pins); len(p) > 0 {
		t.Errorf("%d programs stayed attached", len(p))
	}
	must(t, kernel.Uninstall(pins))
	if _, err := kernel.Load(kernel.Options{Cgroup: w.cgroup, PinDir: t.TempDir() + "/pins"}); err == nil || !strings.Contains(err.Error(), "/sys/fs/bpf") {
		t.Errorf("pins outside a bpf file system: %v", err)
	}
}

// TestOtherVersion: pins of another version are not taken over, and stay in force.
func TestOtherVersion(t *testing.T) {
	w := inScope(t, enforced)
	p := w.spawn("app")
	m, err := ebpf.LoadPinnedMap(filepath.Join(w.pins, bpf.RedirectMapConfigs), nil)
	must(t, err)
	defer m.Close()
	for i := range uint32(2) {
		var c bpf.RedirectConfig
		must(t, m.Lookup(i, &c))
		c.Layout++
		must(t, m.Put(i, c))
	}
	_, err = kernel.Load(kernel.Options{Cgroup: w.cgroup, PinDir: w.pins, Generation: 2})
	if err == nil || !strings.Contains(err.Error(), "sallyportd uninstall") {
		t.Errorf("loaded over the maps of another version: %v", err)
	}
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("after the failed start: %s", got)
	}
}

// TestDoctor: as root all is well and what is attached is named; without rights it says which are missing.
func TestDoctor(t *testing.T) {
	w := inScope(t, enforced)
	for _, c := range kernel.Doctor(w.pins) {
		if !c.OK {
			t.Errorf("%s: %s (%s)", c.Name, c.Detail, c.Mend)
		}
		if c.Name == "attached" && !strings.Contains(c.Detail, "connect4") {
			t.Errorf("attached: %s", c.Detail)
		}
	}
	p := w.spawn("app", func(c *exec.Cmd) { c.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534} })
	failed := map[string]kernel.Check{}
	for _, c := range p.do("doctor", w.pins).Checks {
		if !c.OK {
			failed[c.Name] = c
		}
	}
	if c := failed["privileges"]; !strings.Contains(c.Detail, "CAP_BPF") || !strings.Contains(c.Detail, "CAP_NET_ADMIN") {
		t.Errorf("privileges of nobody: %+v", c)
	}
	if c := failed["redirect connections"]; c.Mend == "" {
		t.Errorf("loading as nobody: %+v", failed)
	}
}
