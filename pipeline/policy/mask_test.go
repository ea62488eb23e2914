// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestMaskBesideADecoy: what is masked in one string lets nothing off that only all of the arguments tell.
func TestMaskBesideADecoy(t *testing.T) {
	s := mustLoad(t, everythingFor("ann")+`
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: ssn}
spec: {on: [toolCall], match: {regex: '"ssn":\s*"\d+"'}, action: mask, with: X}
`)
	for args, want := range map[string]string{
		`{"ssn":"1"}`:                                           `{"X":"X"}`,
		`{"\u0073sn":"456","a":"b"}`:                            `{"X":"X","a":"b"}`,
		`{"\u0073sn":"456","x":"\"ssn\":\"123\""}`:              `{"X":"X","x":"X"}`,
		`{"a":"\u00e9\ud83d\ude00\n","\u0073sn":"456","c":"d"}`: `{"a":"\u00e9\ud83d\ude00\n","X":"X","c":"d"}`,
	} {
		step := &pipeline.Step{Kind: pipeline.StepToolCall, Name: "x", Args: []byte(args)}
		v := s.Decide(meta("ann", 1), &pipeline.Call{Operation: pipeline.OpChat, Model: "m"}, step)
		if got := masked(step, v); v.Action != pipeline.Transform || got != want {
			t.Errorf("%s: %s, %v, want %s", args, got, v.Action, want)
		}
	}
}

// TestMaskOfMany: many strings cost no more than each by itself, and too many are denied.
func TestMaskOfMany(t *testing.T) {
	s := mustLoad(t, everythingFor("ann")+`
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: a}
spec: {on: [toolCall], match: {regex: 'a'}, action: mask, with: X}
`)
	for n, want := range map[int]pipeline.Action{10_000: pipeline.Transform, 100_000: pipeline.Deny} {
		step := &pipeline.Step{Kind: pipeline.StepToolCall, Name: "x", Args: []byte(`["` + strings.Repeat(`a","`, n-1) + `a"]`)}
		v := s.Decide(meta("ann", 1), &pipeline.Call{Operation: pipeline.OpChat, Model: "m"}, step)
		if v.Action != want || want == pipeline.Transform && strings.Contains(masked(step, v), "a") {
			t.Errorf("%d: %v, %s", n, v.Action, v.Reason)
		}
	}
}

func everythingFor(user string) string {
	return `
apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: all}
spec: {rules: [{endpoints: ["*"], operations: ["*"], models: ["*"], tools: ["*"]}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: all}
spec: {role: all, subjects: [{user: ` + user + `}]}
`
}

// TestOpenQuotation: RE2 lets a quotation run to the end of an expression.
func TestOpenQuotation(t *testing.T) {
	s := mustLoad(t, "apiVersion: sallyport.dev/v1alpha1\nkind: Guardrail\nmetadata: {name: g}\nspec: {on: [prompt], match: {regex: '\\Qrun(a)'}, action: deny}\n")
	for text, want := range map[string]pipeline.Action{"run(a)": pipeline.Deny, "now run(a)": pipeline.Deny, "runa": pipeline.Allow} {
		if v := s.Decide(&pipeline.Meta{}, &pipeline.Call{}, &pipeline.Step{Kind: pipeline.StepPrompt, Text: text}); v.Action != want {
			t.Errorf("%s: %v", text, v.Action)
		}
	}
}
