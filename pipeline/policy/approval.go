// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"strings"
	"time"
)

// The scopes that a decision about something held may have.
const (
	ScopeOnce    = "once"    // for what is held, as it is
	ScopeSession = "session" // for the like in the same session
)

// ApprovalSettings say who decides about what a guardrail holds, and how. Zero values leave it to the daemon's settings.
type ApprovalSettings struct {
	Name       string        `json:"name"` // of the guardrail
	Groups     []string      `json:"groups,omitempty"`
	Approvers  int           `json:"approvers"` // how many people must agree, at least 1
	Timeout    time.Duration `json:"timeout,omitempty"`
	Escalation []Escalation  `json:"escalation,omitempty"` // by time
	Scopes     []string      `json:"scopes"`               // what a decision may be for
}

// Escalation asks further groups after a time.
type Escalation struct {
	After  time.Duration `json:"after"`
	Groups []string      `json:"groups"`
}

// Approval finds the settings of a guardrail that holds, by Verdict.Hold or Verdict.Rule.
func (s *Set) Approval(rule string) (ApprovalSettings, bool) {
	name := strings.TrimPrefix(rule, "guardrail/")
	for i := range s.guards {
		if g := &s.guards[i]; g.name == name && g.approval.Name != "" {
			return g.approval, true
		}
	}
	return ApprovalSettings{}, false
}

// approval checks the settings of a guardrail.
func (l *loader) approval(d *doc[guardSpec], name string) ApprovalSettings {
	out := ApprovalSettings{Name: name, Approvers: 1, Scopes: []string{ScopeOnce}}
	in := d.Spec.Approval
	if in == nil {
		return out
	}
	groups := func(list []text) (out []string) {
		for _, g := range list {
			if strings.TrimSpace(g.s) == "" {
				l.add(d.file, g.line, "Guardrail %s: a group of approvers is empty: name it or remove it", name)
			}
			out = append(out, g.s)
		}
		return out
	}
	out.Groups = groups(in.Groups)
	if in.Approvers != nil {
		if out.Approvers = int(min(*in.Approvers, 1<<20)); out.Approvers < 1 || out.Approvers > 16 {
			l.add(d.file, d.line, "Guardrail %s: %d approvers make no sense: give 1 to 16", name, *in.Approvers)
		}
	}
	if in.Timeout != nil {
		out.Timeout = l.duration(d.file, *in.Timeout, time.Second, 30*24*time.Hour)
	}
	for _, e := range in.Escalation {
		after := l.duration(d.file, e.After, time.Second, 30*24*time.Hour)
		line := cmp.Or(e.After.line, d.line)
		switch n := len(out.Escalation); {
		case after == 0:
		case n > 0 && after <= out.Escalation[n-1].After:
			l.add(d.file, line, "Guardrail %s: escalations come in the order of time: put the one after %s earlier", name, span(after))
		case out.Timeout > 0 && after >= out.Timeout:
			l.add(d.file, line, "Guardrail %s: an escalation after %s comes too late, the hold ends after %s", name, span(after), span(out.Timeout))
		}
		if len(e.Groups) == 0 {
			l.add(d.file, line, "Guardrail %s: an escalation asks nobody: name groups", name)
		}
		out.Escalation = append(out.Escalation, Escalation{after, groups(e.Groups)})
	}
	if in.Scope != nil {
		out.Scopes = nil
		if len(*in.Scope) == 0 {
			l.add(d.file, d.line, "Guardrail %s: an empty scope allows no decision: use once, session or both", name)
		}
		for _, s := range *in.Scope {
			if s.s != ScopeOnce && s.s != ScopeSession {
				l.add(d.file, s.line, "Guardrail %s: scope %q is not known: use once or session", name, s.s)
			}
			out.Scopes = append(out.Scopes, s.s)
		}
	}
	return out
}
