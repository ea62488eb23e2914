// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Explanation is a verdict with the way to it, one line for each binding, rule and guardrail that had a say.
type Explanation struct {
	Verdict pipeline.Verdict `json:"verdict"`
	Policy  string           `json:"policy"`
	Trace   []string         `json:"trace"`
}

// Explain decides as Decide does and says why. It never shows a regular expression or the text that it met.
func (s *Set) Explain(m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) Explanation {
	e := Explanation{Verdict: s.Decide(m, c, step), Policy: s.version}
	if m == nil || c == nil {
		return e
	}
	say := func(format string, args ...any) { e.Trace = append(e.Trace, fmt.Sprintf(format, args...)) }
	if step == nil || step.Kind == pipeline.StepToolCall {
		for i := range s.bindings {
			if b := &s.bindings[i]; slices.ContainsFunc(b.subjects, func(x subject) bool { return x.holds(m) }) {
				say("binding %s gives %s the role %s", b.name, who(m), b.role.name)
			}
		}
		roles := s.bound(m)
		if len(roles) == 0 {
			say("none of %d bindings names %s (unit %s, uid %d)", len(s.bindings), who(m), plain(m.Workload.Unit), m.Workload.UID)
		}
		for _, r := range roles {
			if len(r.rules) == 0 {
				say("role %s has no rules", r.name)
			}
			for i := range r.rules {
				if lacks := r.rules[i].lacks(m, c, step); len(lacks) == 0 {
					say("role %s, rule %d grants it", r.name, i+1)
				} else {
					say("role %s, rule %d does not grant %s", r.name, i+1, strings.Join(lacks, ", "))
				}
			}
		}
	}
	if step != nil {
		in, matched := newInput(step), 0
		for i := range s.guards {
			if g := &s.guards[i]; g.about(step) && (g.re == nil || in.match(g)) {
				matched++
				say("guardrail %s matches: %s", g.name, g.action)
			}
		}
		if matched == 0 {
			say("none of %d guardrails matches this %s", len(s.guards), plain(step.Kind))
		}
	}
	return e
}

// lacks names what a rule does not grant.
func (u *rule) lacks(m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) (out []string) {
	if !u.endpoint(&m.Endpoint) {
		out = append(out, "endpoint "+plain(m.Endpoint.Name))
	}
	if !matchAny(u.operations, c.Operation) {
		out = append(out, "operation "+plain(c.Operation))
	}
	if !matchAny(u.models, c.Model) {
		out = append(out, "model "+plain(c.Model))
	}
	if step != nil && !matchAny(u.tools, step.Name) {
		out = append(out, "tool "+plain(step.Name))
	}
	return out
}

// String gives the explanation for a terminal.
func (e Explanation) String() string {
	var b strings.Builder
	b.WriteString(e.Verdict.Action.String())
	if e.Verdict.Rule != "" {
		b.WriteString(" by " + e.Verdict.Rule)
	}
	if e.Verdict.Reason != "" {
		b.WriteString(": " + e.Verdict.Reason)
	}
	fmt.Fprintf(&b, "\npolicy %s\n", e.Policy)
	for _, t := range e.Trace {
		b.WriteString("  " + t + "\n")
	}
	return b.String()
}
