// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"fmt"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// OfExchange explains an exchange: its most severe decision with the others beside it or, if nothing was decided but yes, that.
func OfExchange(p Parts) Decision {
	d := decisive(p.Decisions)
	if d == nil {
		in := p.Intent
		out := Decision{Time: p.Time, Session: p.Session, Exchange: p.Exchange, Action: pipeline.Allow.String(), Stage: "call", Mode: in.Mode.String(),
			Enforced: in.Mode == pipeline.ModeEnforce, Scope: in.Scope, Endpoint: in.Endpoint.Name, Model: in.Call.Model, SPIFFEID: in.Principal.SPIFFEID, UID: in.Workload.UID,
			Policy: in.Policy}
		if p.Outcome != nil {
			v := p.Outcome.Verdict
			out.Action, out.Rule, out.Reason, out.Elevation, out.Enforced = v.Action.String(), v.Rule, v.Reason, v.Elevation, p.Outcome.Enforced
			if v.Stage != "" {
				out.Stage = v.Stage
			}
		}
		return out
	}
	out := NewDecision(d.Time, p.Session, p.Exchange, d.Body)
	for i := range p.Decisions {
		if o := &p.Decisions[i]; o != d {
			out.Others = append(out.Others, NewDecision(o.Time, p.Session, p.Exchange, o.Body))
		}
	}
	if out.Elevation == "" && p.Outcome != nil {
		out.Elevation = p.Outcome.Verdict.Elevation
	}
	return out
}

// Advice says what to do about a decision. Elevate is asked for first if it is to be named.
func (d *Decision) Advice() string {
	kind, name, _ := strings.Cut(d.Rule, "/")
	what := func() string {
		switch {
		case d.Rule == "builtin/no-binding":
			return "no RoleBinding names this caller: add its SPIFFE ID, unit, user or uid to one (sallyport policy learn writes one from what was recorded)"
		case d.Rule == "builtin/not-inspected":
			return "it could not be read, and what cannot be read is refused: have the program use an API that is decoded, or leave the endpoint out of the configuration"
		case d.Rule == "builtin/unavailable":
			return "it could not be decided or recorded: see the daemon's log and sallyport status"
		case d.Rule == "builtin/flood":
			return "too many calls of this caller were refused: look at those before it"
		case d.Code == pipeline.CodeBudget:
			return "the limit of " + name + " is used up: wait until its window has passed, or have limits raised in the role"
		case len(d.Removed) > 0:
			return "the call went on without these tools: grant them in a role of the caller, or have the program not offer them"
		case kind == "role":
			return "role " + name + " does not grant it: widen the role, or use what it grants (sallyport policy explain shows what is missing)"
		case kind == "guardrail" && d.Action == pipeline.Hold.String():
			return "people decide on it: sallyport approvals list"
		case kind == "guardrail" && d.Action == pipeline.Transform.String():
			return "what guardrail " + name + " matched was masked, the rest went on"
		case kind == "mask" && d.Action == pipeline.Deny.String():
			return "a value that rule " + name + " finds ends an exchange here: see to it that it is not asked for, or change its row of mask.actions (sallyport mask --explain shows what the rule finds)"
		case kind == "guardrail":
			return "guardrail " + name + " refuses it: if that is wrong, mend its match and try the change with sallyport policy test"
		}
		return ""
	}
	switch {
	case d.Stage == "trust":
		return "" // its reason says it
	case d.Action == pipeline.Allow.String() || d.Action == pipeline.Alert.String():
		for _, m := range d.Matched {
			if m.Observed {
				return "nothing was refused: " + m.Rule + " only observes; sallyport rollout status counts what it would refuse"
			}
		}
		return ""
	case !d.Enforced:
		if w := what(); w != "" {
			return "nothing was refused, it is only observed. Before enforcing: " + w
		}
		return "nothing was refused, it is only observed: sallyport rollout status counts what would be"
	}
	w := what()
	if d.Approval != "" && d.Action == pipeline.Hold.String() {
		w = fmt.Sprintf("people decide on it: sallyport approvals show %s", d.Approval)
	}
	if d.Elevate != "" {
		w += "; or ask for a role for a time: " + d.Elevate
	}
	return strings.TrimPrefix(w, "; or ")
}
