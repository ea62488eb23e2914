// SPDX-License-Identifier: Apache-2.0

package policy

import (
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
