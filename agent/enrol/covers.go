// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// Covers finds the scope that a workload's connections would be in if it made them now, by its index or
// agent.ScopeDefault; false if none would.
func (e *Enrol) Covers(w *pipeline.Workload, marked bool) (uint32, agent.Scope, bool) {
	if !e.attached(w.Cgroup) {
		return 0, agent.Scope{}, false
	}
	if i, ok := e.Matches(w, marked); ok {
		return uint32(i), *e.effective(&e.o.Scopes[i], w), true
	}
	if marked {
		return agent.ScopeDefault, *e.unnamed(), true
	}
	return 0, agent.Scope{}, false
}

// WouldSelect says whether a scope that asks for the LangChain mark, and for something else besides, selects a workload once
// it carries the mark.
func (e *Enrol) WouldSelect(scope int, w *pipeline.Workload) bool {
	m := &e.scopes[scope].Match
	if !m.LangChain || m.Cgroup == "" && m.Unit == "" && m.UID == nil && m.Exe == "" || !e.attached(w.Cgroup) {
		return false
	}
	s := subject{cgroup: w.Cgroup, cgroupKnown: w.Cgroup != "", uid: w.UID, exe: e.runs(w.PID), marked: yes}
	return e.selects(scope, &s) == yes
}
