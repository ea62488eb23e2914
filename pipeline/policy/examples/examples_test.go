// SPDX-License-Identifier: Apache-2.0

package examples_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sallyport-dev/sallyport/pipeline/policy"
	"github.com/sallyport-dev/sallyport/pipeline/policy/examples"
	"github.com/sallyport-dev/sallyport/pipeline/policy/replay"
)

func load(f fs.FS) (replay.Decider, error) { return policy.LoadFS(f) }

const rules = `apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: no-rm}
spec: {on: [toolCall, prompt], match: {regex: 'rm -rf'}, action: deny}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: all}
spec: {on: [toolCall], action: deny}
---
apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: reader}
spec: {rules: [{endpoints: [openai], operations: [chat], models: [m], tools: [read]}]}
`

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name, tests string
		failures    []string // parts
		n           int
		err         string
	}{
		{name: "all as they should be, whatever the others do", n: 6, tests: `guardrail: no-rm
match:
  - {on: toolCall, tool: bash, args: {cmd: rm -rf /}}
  - {on: prompt, text: do rm -rf}
noMatch: [{on: toolCall, tool: bash, args: '{"cmd":"ls'}]
---
role: reader
allow: [{endpoint: openai, model: m, tool: read}]
deny: [{endpoint: openai, model: m, tool: write}, {endpoint: other, model: m}]
`},
		{name: "each that is not", n: 4, tests: `guardrail: no-rm
match: [{on: toolCall, args: {cmd: ls}}]
noMatch:
  - {on: prompt, text: rm -rf}
---
role: reader
allow: [{endpoint: openai, model: x}]
deny: [{endpoint: openai, model: m}]
`, failures: []string{"tests/a.yaml:2: guardrail no-rm should match this toolCall", "tests/a.yaml:4: guardrail no-rm should not match this prompt",
			"tests/a.yaml:7: role reader should allow this: chat with x at openai", "tests/a.yaml:8: role reader should refuse this: chat with m at openai"}},
		{name: "no such document", tests: "guardrail: none\n", failures: []string{"tests/a.yaml:1: there is no Guardrail none"}},
		{name: "a step that is none", tests: "guardrail: no-rm\nmatch: [{on: lunch}]\n", failures: []string{"mend on"}, n: 1},
		{name: "unknown field", tests: "guardrail: no-rm\nmatches: []\n", err: "field matches not found"},
		{name: "about nothing", tests: "match: []\n", err: "tests/a.yaml:1: name either"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := examples.Run(fstest.MapFS{"p.yaml": {Data: []byte(rules)}, "tests/a.yaml": {Data: []byte(c.tests)}}, load)
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("got %v, want %q", err, c.err)
			}
			if err == nil && (r.Examples != c.n || !slices.EqualFunc(r.Failures, c.failures, strings.Contains)) {
				t.Errorf("got %+v", r)
			}
			if err == nil && !slices.Contains(r.Without, "Guardrail all") {
				t.Errorf("without examples: %q", r.Without)
			}
		})
	}
}
