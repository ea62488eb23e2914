// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Spare looks for processes that the host cannot do without and that came into a scope after New had found none: a kubelet
// that was started in a unit that a scope names. A cgroup in which nobody else runs is taken out of the scopes that name it
// by cgroup or unit, until such a process runs there no more. Where others run too, nothing is let go: an enforcing scope
// keeps what it promises. Either is told in a line each, as long as it lasts.
func (e *Enrol) Spare() (alerts []string, err error) {
	type there struct {
		mask  uint64
		names []string
		n     int
	}
	found := map[string]*there{}
	err = e.eachVital(func(p vitalProcess) error {
		if mask := e.governing(p.subject); mask != 0 {
			t := found[p.cgroup]
			if t == nil {
				t = &there{}
				found[p.cgroup] = t
			}
			t.mask, t.names = t.mask|mask, append(t.names, p.name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	spared := map[string]uint64{}
	for cgroup, t := range found {
		if t.n, err = e.population(cgroup); err != nil {
			continue // it went meanwhile
		}
		for i := range e.scopes {
			m := &e.scopes[i].Match
			if t.mask>>i&1 == 0 {
				continue
			}
			what := "is not let go: narrow the scope"
			if (m.Cgroup != "" || m.Unit != "") && t.n == len(t.names) {
				spared[cgroup] |= 1 << i
				what = "its cgroup is left alone: narrow the scope"
			}
			alerts = append(alerts, fmt.Sprintf("scope %s matches %s, which the host cannot do without, in %s; %s", e.scopes[i].Name, strings.Join(t.names, ", "), cgroup, what))
		}
	}
	slices.Sort(alerts)
	return alerts, e.spare(spared)
}

// spare puts exceptions in force and takes back those that are none any more.
func (e *Enrol) spare(now map[string]uint64) error {
	e.write.Lock()
	defer e.write.Unlock()
	e.mu.Lock()
	before := e.spared
	e.spared = now
	changed := map[uint64]string{}
	for id, path := range e.paths {
		if before[path] != now[path] {
			changed[id] = path
		}
	}
	e.mu.Unlock()
	for id, path := range changed {
		if err := e.resolve(id, path); err != nil {
			return err
		}
	}
	return nil
}

// isSpared says whether a cgroup is taken out of a scope.
func (e *Enrol) isSpared(row int, cgroup string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.spared[cgroup]>>row&1 != 0
}

// population is how many processes are in a cgroup itself.
func (e *Enrol) population(cgroup string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(e.o.CgroupRoot, cgroup, "cgroup.procs"))
	return len(strings.Fields(string(raw))), err
}

// chosen is selects, but for cgroups that are spared.
func (e *Enrol) chosen(row int, s *subject) answer {
	if s.cgroupKnown && e.isSpared(row, s.cgroup) {
		return no
	}
	return e.selects(row, s)
}
