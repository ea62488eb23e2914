// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		name string
		d    Decision
		want string // part; "" = none
	}{
		{"no binding", Decision{Action: "deny", Rule: "builtin/no-binding", Enforced: true}, "no RoleBinding names this caller"},
		{"role, and a way", Decision{Action: "deny", Rule: "role/bot", Enforced: true, Elevate: "sallyport elevate --for dec_1"}, "role bot does not grant it: widen the role, or use what it grants (sallyport policy explain shows what is missing); or ask for a role for a time: sallyport elevate --for dec_1"},
		{"budget", Decision{Action: "deny", Rule: "role/bot", Code: pipeline.CodeBudget, Enforced: true}, "the limit of bot is used up"},
		{"tools taken out", Decision{Action: "transform", Rule: "role/bot", Enforced: true, Removed: []pipeline.Step{{Name: "x"}}}, "went on without these tools"},
		{"guardrail", Decision{Action: "deny", Rule: "guardrail/no-rm", Enforced: true}, "guardrail no-rm refuses it"},
		{"masked", Decision{Action: "transform", Rule: "guardrail/cards", Enforced: true}, "was masked"},
		{"a value that ends exchanges", Decision{Action: "deny", Rule: "mask/private-key", Enforced: true}, "rule private-key finds"},
		{"held", Decision{Action: "hold", Rule: "guardrail/ask", Enforced: true, Approval: "apr_1"}, "approvals show apr_1"},
		{"observed", Decision{Action: "deny", Rule: "guardrail/no-rm"}, "nothing was refused, it is only observed. Before enforcing: guardrail no-rm"},
		{"a rule that observes", Decision{Action: "allow", Enforced: true, Matched: []pipeline.Matched{{Rule: "guardrail/new", Action: pipeline.Deny, Observed: true}}}, "guardrail/new only observes"},
		{"allowed", Decision{Action: "allow", Rule: "role/bot", Enforced: true}, ""},
		{"trust", Decision{Action: "deny", Stage: "trust", Rule: "builtin/trust-missing", Enforced: true}, ""},
	} {
		if got := c.d.Advice(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestOfExchange(t *testing.T) {
	p := Parts{Session: "ses_1", Exchange: "exc_1", Time: time.Unix(1, 0), Intent: &pipeline.Intent{Mode: pipeline.ModeEnforce, Scope: "agents", Workload: pipeline.Workload{UID: 7}},
		Outcome: &pipeline.Outcome{Enforced: true, Verdict: pipeline.Verdict{Rule: "role/bot", Elevation: "elv_1"}}}
	if d := OfExchange(p); d.Action != "allow" || d.Rule != "role/bot" || d.Elevation != "elv_1" || d.UID != 7 || !d.Enforced || d.Exchange != "exc_1" {
		t.Errorf("allowed: %+v", d)
	}
	text := pipeline.Step{Kind: pipeline.StepPrompt, Text: "private"}
	p.Decisions = []Timed[pipeline.Decision]{{Body: pipeline.Decision{ID: "dec_1", Step: &text, Verdict: pipeline.Verdict{Action: pipeline.Alert}}},
		{Body: pipeline.Decision{ID: "dec_2", Step: &text, Verdict: pipeline.Verdict{Action: pipeline.Deny}}}}
	d := OfExchange(p)
	if d.ID != "dec_2" || len(d.Others) != 1 || d.Others[0].ID != "dec_1" {
		t.Errorf("decided: %+v", d)
	}
	if d.Step != nil || d.Others[0].Step != nil {
		t.Error("why tells the text, and it answers whoever has the same uid")
	}
}
