// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"path/filepath"
	"testing"

	"github.com/sallyport-dev/sallyport/agent"
)

func TestEscapedNames(t *testing.T) {
	const unitName, folder = `my\x2dapp.service`, `/lab/a\x2db`
	for _, c := range []struct {
		name, path string
		match      agent.Match
		want       bool
	}{
		{"unit as systemctl shows it", "/system.slice/" + unitName, agent.Match{Unit: unitName}, true},
		{"unit with a glob", "/system.slice/" + unitName, agent.Match{Unit: `my\x2d*`}, true},
		{"unit with the backslash escaped", "/system.slice/" + unitName, agent.Match{Unit: `my\\x2dapp.service`}, true},
		{"the unescaped name is another unit", "/system.slice/my-app.service", agent.Match{Unit: unitName}, false},
		{"cgroup", folder, agent.Match{Cgroup: folder}, true},
		{"below the cgroup", folder + "/c", agent.Match{Cgroup: folder}, true},
		{"a globbing letter escaped", "/system.slice/a*.service", agent.Match{Unit: `a\*.service`}, true},
		{"an escaped glob is none", "/system.slice/ab.service", agent.Match{Unit: `a\*.service`}, false},
		{"an x that is no escape of systemd", "/system.slice/axe.service", agent.Match{Unit: `a\xe.service`}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			id := h.cgroup(c.path)
			h.enrol(h.options(agent.Scope{Name: "s", Match: c.match, Mode: agent.ModeObserve}))
			if got := h.kernel.cgroups[id] == 1; got != c.want {
				t.Errorf("matched: %v, want %v", got, c.want)
			}
		})
	}
}

// A program that is installed after we started is found when its service starts, also if no other was found before.
func TestLateExecutable(t *testing.T) {
	h := newHost(t)
	e := h.enrol(h.options(agent.Scope{Name: "s", Match: agent.Match{Exe: filepath.Join(h.dir, "bin/late")}, Mode: agent.ModeObserve}))
	late := h.program("late")
	e.Cgroup(agent.CgroupEvent{ID: h.cgroup("/app.service"), Path: "/app.service"})
	if got := h.kernel.exes[file(t, late)]; got != 1 {
		t.Errorf("mask %b: %s", got, &h.log)
	}
}

// A folder to attach to that is not there is an error, and nothing that the kernel knows is forgotten for it.
func TestNoAttach(t *testing.T) {
	h := newHost(t)
	e := h.enrol(h.options(agent.Scope{Name: "s", Match: agent.Match{Unit: "app.service"}, Mode: agent.ModeObserve}))
	known := len(h.kernel.cgroups)
	e.o.Attach = filepath.Join(h.dir, "cg/missing")
	if err := e.Rescan(); err == nil {
		t.Error("no error")
	}
	if got := len(h.kernel.cgroups); got != known || known == 0 {
		t.Errorf("%d cgroups known, then %d", known, got)
	}
}
