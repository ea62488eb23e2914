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
	return s.ExplainIn(Env{}, m, c, step)
}

// ExplainIn is Explain for DecideIn.
func (s *Set) ExplainIn(env Env, m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) Explanation {
	e := Explanation{Verdict: s.DecideIn(env, m, c, step), Policy: s.version}
	if m == nil || c == nil {
		return e
	}
	say := func(format string, args ...any) { e.Trace = append(e.Trace, fmt.Sprintf(format, args...)) }
	if step == nil || step.Kind == pipeline.StepToolCall || step.Kind == pipeline.StepToolOffer {
		s.explainRoles(&env, m, c, step, say)
	}
	if step != nil {
		matched := 0
		for _, k := range e.Verdict.Matched {
			name, isGuard := strings.CutPrefix(k.Rule, "guardrail/")
			action, note := k.Action.String(), ""
			if k.Action == pipeline.Transform {
				action = "mask"
			}
			if k.Observed {
				note = " (only observed)"
			}
			if isGuard {
				matched++
				say("guardrail %s matches: %s%s", name, action, note)
			} else {
				say("%s would refuse it%s", k.Rule, note)
			}
		}
		switch {
		case strings.HasPrefix(e.Verdict.Rule, "role/") && e.Verdict.Action == pipeline.Deny || strings.HasPrefix(e.Verdict.Rule, "builtin/"):
			say("guardrails are not asked about what no role grants")
		case matched == 0:
			say("none of %d guardrails matches this %s", len(s.guards), plain(step.Kind))
		}
	}
	return e
}

func (s *Set) explainRoles(env *Env, m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step, say func(string, ...any)) {
	for i := range s.bindings {
		if b := &s.bindings[i]; slices.ContainsFunc(b.subjects, func(x subject) bool { return x.holds(m) }) {
			note := ""
			if b.observe {
				note = ", which is only observed"
			}
			say("binding %s gives %s the role %s%s", b.name, who(m), b.role.name, note)
		}
	}
	bound := s.bound(m)
	roles := append(slices.Clone(bound.roles), bound.watched...)
	if len(roles) == 0 {
		say("none of %d bindings names %s (unit %s, uid %d)", len(s.bindings), who(m), plain(m.Workload.Unit), m.Workload.UID)
	}
	for _, g := range env.Grants {
		if r := s.roles[g.Role]; r != nil {
			say("elevation %s gives %s the role %s", g.ID, who(m), r.name)
			roles = append(roles, r)
		}
	}
	a := asking{env: env, m: m, c: c, step: step}
	for _, r := range roles {
		if len(r.rules) == 0 {
			say("role %s has no rules", r.name)
		}
		for i := range r.rules {
			u := &r.rules[i]
			if lacks := a.lacks(u); len(lacks) > 0 {
				say("role %s, rule %d does not grant %s", r.name, i+1, strings.Join(lacks, ", "))
				continue
			}
			say("role %s, rule %d grants it%s", r.name, i+1, u.within())
		}
	}
}

// within words the limits of a rule.
func (u *rule) within() string {
	var parts []string
	if u.limit.Requests > 0 {
		parts = append(parts, fmt.Sprintf("%d requests in %s", u.limit.Requests, span(u.limit.Per)))
	}
	if u.limit.Tokens > 0 {
		parts = append(parts, fmt.Sprintf("%d tokens in %s", u.limit.Tokens, span(u.limit.Per)))
	}
	if u.maxTokens > 0 {
		parts = append(parts, fmt.Sprintf("%d tokens a request", u.maxTokens))
	}
	if len(parts) == 0 {
		return ""
	}
	return ", within " + strings.Join(parts, " and ")
}

// lacks names what a rule does not grant.
func (a *asking) lacks(u *rule) (out []string) {
	m, c, step := a.m, a.c, a.step
	if !u.endpoint(&m.Endpoint) {
		out = append(out, "endpoint "+plain(m.Endpoint.Name))
	}
	if !matchAny(u.operations, c.Operation) {
		out = append(out, "operation "+plain(c.Operation))
	}
	if !matchAny(u.models, c.Model) {
		out = append(out, "model "+plain(c.Model))
	}
	if !u.tool(step) {
		out = append(out, "tool "+plain(step.Name))
	}
	if len(out) == 0 && !a.holds(u) && !u.observe {
		out = append(out, "it, as its condition does not hold")
	}
	if step == nil && !u.observe && u.exceeded(c) {
		out = append(out, fmt.Sprintf("%d tokens, at most %d", c.MaxTokens, u.maxTokens))
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
