// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

const boundAnn = `
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: b}
spec: {role: r, subjects: [{user: ann}]}
`

func roleR(rules string) string {
	return "apiVersion: sallyport.dev/v1alpha1\nkind: Role\nmetadata: {name: r}\nspec:\n  rules:\n" + rules + boundAnn
}

// TestRestoredAsCounted: after a restart each request counts where it counted before.
func TestRestoredAsCounted(t *testing.T) {
	const rule = `    - {endpoints: ["*"], operations: [chat], models: ["*"], `
	for _, c := range []struct {
		name, rules string
		used        int // requests before the restart, as many as there is room for
		outcome     pipeline.Outcome
	}{
		{"the second of two limits", rule + "limits: {requests: 2, per: 1h}}\n" + rule + "limits: {requests: 2, per: 1h}}\n", 4, pipeline.Outcome{Status: 200}},
		{"a rule without limit that grants less", rule + "maxTokens: 10}\n" + rule + "limits: {requests: 2, per: 1h}}\n", 2, pipeline.Outcome{Status: 200}},
		{"a reply that could not be read", rule + "limits: {requests: 2, per: 1h}}\n", 2,
			pipeline.Outcome{Status: 200, Verdict: pipeline.Verdict{Action: pipeline.Deny, Stage: "call", Rule: "builtin/not-inspected"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := mustLoad(t, roleR(c.rules))
			call := pipeline.Call{Operation: pipeline.OpChat, Model: "m", MaxTokens: 100}
			before, after := NewEngine(set, EngineOptions{}), NewEngine(set, EngineOptions{})
			for i := range c.used {
				m := meta("ann", i)
				if v := before.Decide(m, &call, nil); v.Action != pipeline.Allow {
					t.Fatalf("request %d: %+v", i, v)
				}
				after.Restore(&pipeline.Intent{Workload: m.Workload, Principal: m.Principal, Endpoint: m.Endpoint, Call: call}, time.Now(), &c.outcome)
			}
			for name, e := range map[string]*Engine{"before": before, "after": after} {
				if v := e.Decide(meta("ann", 99), &call, nil); v.Code != pipeline.CodeBudget {
					t.Errorf("%s the restart: %+v", name, v)
				}
			}
		})
	}
}

// TestLoginIsNoBudget: whoever logs in once more, or leaves it to his own manager, goes on where he was.
func TestLoginIsNoBudget(t *testing.T) {
	e := NewEngine(mustLoad(t, roleR(`    - {endpoints: ["*"], operations: [chat], models: ["*"], limits: {requests: 2, per: 1h}}`+"\n")), EngineOptions{})
	call := pipeline.Call{Operation: pipeline.OpChat, Model: "m"}
	for i, unit := range []string{"session-4.scope", "session-5.scope", "user@1000.service"} {
		m := meta("ann", i)
		m.Workload = pipeline.Workload{PID: 9, UID: 1000, Unit: unit}
		m.Principal.SPIFFEID = "spiffe://example.org/" + unit
		if v := e.Decide(m, &call, nil); (v.Code == pipeline.CodeBudget) != (i == 2) {
			t.Errorf("%s: %+v", unit, v)
		}
	}
}

// TestTextsOfRoles: a rule that grants unless a word is in the arguments sees the words.
func TestTextsOfRoles(t *testing.T) {
	s := mustLoad(t, roleR(`    - {endpoints: ["*"], operations: [chat], models: ["*"], tools: ["*"], when: '!step.texts.exists(t, t.contains("secret"))'}`+"\n"))
	call := pipeline.Call{Operation: pipeline.OpChat, Model: "m"}
	for args, want := range map[string]pipeline.Action{`{"q":"x"}`: pipeline.Allow, `{"q":"secret"}`: pipeline.Deny, `{"q":"s\u0065cret"}`: pipeline.Deny} {
		if v := s.Decide(meta("ann", 1), &call, &pipeline.Step{Kind: pipeline.StepToolCall, Name: "x", Args: []byte(args)}); v.Action != want {
			t.Errorf("%s: %+v", args, v)
		}
	}
	if v := s.Decide(meta("ann", 1), &call, nil); v.Action != pipeline.Allow {
		t.Error(fmt.Sprint(v))
	}
}
