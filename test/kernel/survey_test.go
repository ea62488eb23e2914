// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/kernel/survey"
	"github.com/sallyport-dev/sallyport/bpf"
)

// stranger attaches a program of somebody else, which lets everything through.
func (w *world) stranger(name, cgroup string) *ebpf.Program {
	w.t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}})
	must(w.t, err)
	l, err := link.AttachCgroup(link.CgroupOptions{Path: filepath.Join(w.cgroup, cgroup), Attach: ebpf.AttachCGroupInet4Connect, Program: p})
	must(w.t, err)
	w.t.Cleanup(func() { l.Close(); p.Close() })
	return p
}

// TestForeignPrograms: whoever else is on our hooks is named, with the order and what it may do to us; what somebody detached
// is too.
func TestForeignPrograms(t *testing.T) {
	w := inScope(t, enforced)
	root, err := kernel.CgroupRoot()
	must(t, err)
	look := func() string {
		var all []string
		for _, f := range survey.Hooks(w.pins, root, w.cgroup) {
			all = append(all, fmt.Sprint(f.State, " ", f.Detail))
		}
		return strings.Join(all, "\n")
	}
	if got := look(); !strings.HasPrefix(got, "0 none on our hooks, at "+w.cgroup+" and in 1 cgroups") {
		t.Errorf("alone: %s", got)
	}
	w.stranger("after", "")
	w.stranger("before", "app")
	got := look()
	for _, want := range []string{") on connect4 runs after ours: it may change where redirected connections go", ") on connect4 in /" + worldName() + "/app runs before ours"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	if strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "1 after (id ") || !strings.Contains(got, "\n1 before (id ") {
		t.Errorf("got\n%s", got)
	}
	attached := len(w.k.Attached())
	// Somebody detaches ours: its link is there, but of no use.
	l, err := link.LoadPinnedLink(filepath.Join(w.pins, "link_"+bpf.RedirectProgConnect6), nil)
	must(t, err)
	defer l.Close()
	must(t, l.Detach())
	if got := look(); !strings.Contains(got, "ours is pinned, but is not in force") {
		t.Errorf("detached: %s", got)
	}
	p := w.spawn("app")
	if got := p.connect("v6", origin6); got != "ORIGIN" {
		t.Errorf("detached: %s", got)
	}
	must(t, w.k.Attach()) // as the self-test has the daemon do
	if got := look(); strings.Contains(got, "not in force") {
		t.Errorf("attached again: %s", got)
	}
	if got := p.connect("v6", origin6); got != "PROXY" {
		t.Errorf("attached again: %s", got)
	}
	for name, err := range w.k.Refused() {
		t.Errorf("%s: %v", name, err)
	}
	if a := w.k.Attached(); len(a) != attached {
		t.Errorf("%d attached: %v", len(a), a)
	}
	must(t, os.Remove(filepath.Join(w.pins, "link_"+bpf.RedirectProgConnect4))) // the pin is all that holds it
	wait(t, "it to go without its pin", func() bool { return p.connect("v4", origin4) == "ORIGIN" })
	must(t, w.k.Attach())
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("pinned again: %s", got)
	}
}

// TestFeatures: all that the programs need is found by trying, and nobody who may not try is told that all is well.
func TestFeatures(t *testing.T) {
	for _, f := range survey.Features(survey.Lacking()) {
		if f.State != survey.OK {
			t.Errorf("%+v", f)
		}
	}
	w := newWorld(t)
	w.sub("app")
	p := w.spawn("app", func(c *exec.Cmd) { c.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534} })
	if got := p.do("features").Said; !strings.HasPrefix(got, "2 could not be probed") {
		t.Errorf("without rights: %s", got)
	}
}
