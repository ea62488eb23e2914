// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// maxCallers bounds how many callers of a rule are told apart.
const maxCallers = 1000

// Rollout implements admin.Rollout.
func (c console) Rollout(ctx context.Context, since time.Time) (adminapi.Rollout, error) {
	t := newTally(c.d.cfg.Protect)
	err := c.d.index.Decisions(since, func(at time.Time, d *pipeline.Decision) error {
		t.add(at, d)
		return ctx.Err()
	})
	out := adminapi.Rollout{Since: since, Until: time.Now(), Scopes: t.scopes()}
	for i := range out.Scopes {
		if s := &out.Scopes[i]; c.d.enrol != nil {
			s.Enforced, s.Observed = c.d.enrol.Instances(s.Name)
		}
	}
	return out, err
}

// percent writes a share in hundredths of a percent; "" for a scope without one.
func percent(share int) string {
	if share == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(share)/100, 'f', -1, 64) + "%"
}

// tally counts verdicts by scope and rule.
type tally struct {
	protect []config.Scope
	of      map[string]map[tallied]*counted
}

type tallied struct {
	rule     string
	action   pipeline.Action
	enforced bool
}

type counted struct {
	adminapi.RolloutRule
	who map[string]bool
}

func newTally(protect []config.Scope) *tally {
	return &tally{protect: protect, of: map[string]map[tallied]*counted{}}
}

// add counts a verdict that keeps something from passing as it is, or would, and the rules among those that only observe.
func (t *tally) add(at time.Time, d *pipeline.Decision) {
	v := &d.Verdict
	if v.Action >= pipeline.Transform && !strings.HasPrefix(v.Rule, "builtin/unavailable") {
		t.count(at, d, tallied{v.Rule, v.Action, d.Enforced})
	}
	for _, k := range v.Matched {
		if k.Observed && k.Action >= pipeline.Transform {
			t.count(at, d, tallied{k.Rule, k.Action, false})
		}
	}
}

func (t *tally) count(at time.Time, d *pipeline.Decision, k tallied) {
	m := t.of[d.Scope]
	if m == nil {
		m = map[tallied]*counted{}
		t.of[d.Scope] = m
	}
	n := m[k]
	if n == nil {
		n = &counted{RolloutRule: adminapi.RolloutRule{Rule: k.rule, Action: k.action.String()}, who: map[string]bool{}}
		m[k] = n
	}
	n.Count++
	if !at.Before(n.Last) {
		n.Last, n.Example = at, d.ID
	}
	who := d.SPIFFEID
	if who == "" {
		who = fmt.Sprint("uid ", d.UID)
	}
	if len(n.who) < maxCallers {
		n.who[who] = true
	}
	n.Callers = len(n.who)
}

// scopes lists the configured scopes in their order, then those that only the record knows.
func (t *tally) scopes() []adminapi.RolloutScope {
	var out []adminapi.RolloutScope
	for _, s := range t.protect {
		out = append(out, adminapi.RolloutScope{Name: s.Name, Mode: s.Mode, Canary: percent(s.Canary)})
	}
	for _, name := range slices.Sorted(maps.Keys(t.of)) {
		if !slices.ContainsFunc(out, func(s adminapi.RolloutScope) bool { return s.Name == name }) {
			out = append(out, adminapi.RolloutScope{Name: name, Mode: "not configured now"})
		}
	}
	for i := range out {
		s := &out[i]
		for k, n := range t.of[s.Name] {
			if k.enforced {
				s.Did = append(s.Did, n.RolloutRule)
			} else {
				s.Would = append(s.Would, n.RolloutRule)
			}
		}
		for _, list := range [][]adminapi.RolloutRule{s.Would, s.Did} {
			slices.SortFunc(list, func(a, b adminapi.RolloutRule) int {
				return cmp.Or(b.Count-a.Count, cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Action, b.Action))
			})
		}
	}
	return out
}
