// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"path/filepath"
	"testing"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

func TestCovers(t *testing.T) {
	h := newHost(t)
	o := h.options(
		agent.Scope{Name: "unit", Match: agent.Match{Unit: "app.service"}, Mode: agent.ModeEnforce},
		agent.Scope{Name: "mark", Match: agent.Match{Unit: "job.service", LangChain: true}, Mode: agent.ModeObserve})
	o.DefaultMode = agent.ModeEnforce
	h.cgroup("/seen/app.service")
	o.Attach = filepath.Join(o.CgroupRoot, "seen")
	e := h.enrol(o)
	for _, c := range []struct {
		name, cgroup string
		marked       bool
		scope        string // "" = none
		index        uint32
	}{
		{name: "by unit", cgroup: "/seen/app.service", scope: "unit"},
		{name: "outside of what the programs see", cgroup: "/app.service"},
		{name: "without the mark that the scope wants", cgroup: "/seen/job.service"},
		{name: "with it", cgroup: "/seen/job.service", marked: true, scope: "mark", index: 1},
		{name: "marked, no scope", cgroup: "/seen/x.service", marked: true, scope: DefaultScope, index: agent.ScopeDefault},
		{name: "nothing", cgroup: "/seen/x.service"},
	} {
		index, scope, ok := e.Covers(&pipeline.Workload{Cgroup: c.cgroup}, c.marked)
		if ok != (c.scope != "") || scope.Name != c.scope || index != c.index {
			t.Errorf("%s: got %d %q %v", c.name, index, scope.Name, ok)
		}
	}
}
