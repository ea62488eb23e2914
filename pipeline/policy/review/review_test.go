// SPDX-License-Identifier: Apache-2.0

package review

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, text string) []Document {
	t.Helper()
	docs, err := Read(fstest.MapFS{"p.yaml": {Data: []byte(text)}, "note.txt": {Data: []byte("{")}})
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func doc(kind, name, spec string) string {
	return fmt.Sprintf("apiVersion: sallyport.dev/v1alpha1\nkind: %s\nmetadata: {name: %s}\nspec: %s\n---\n", kind, name, spec)
}

func TestLint(t *testing.T) {
	role := func(rules string) string {
		return doc("Role", "r", "{rules: ["+rules+"]}") + doc("RoleBinding", "b", "{role: r, subjects: [{unit: a}]}")
	}
	const fine = "{endpoints: [openai], operations: [chat], models: [\"*\"], tools: [bash, \"read_*\"]}"
	guard := func(spec string) string { return role(fine) + doc("Guardrail", "g", spec) }
	for _, c := range []struct {
		name, text string
		want       []string // parts of the messages, in order
	}{
		{"fine", role(fine), nil},
		{"bound to nobody", doc("Role", "r", "{rules: ["+fine+"]}"), []string{"warning 1 Role r: no RoleBinding"}},
		{"no rules", role(""), []string{"has no rules"}},
		{"grants nothing", role("{endpoints: [openai], operations: [chat]}"), []string{"rule 1 has no models"}},
		{"covered rule", role(fine + ", {endpoints: [openai], operations: [chat], models: [\"gpt-4o*\"], tools: [read_file]}"), []string{"rule 2 grants nothing that rule 1"}},
		{"like rules", role(fine + ", " + fine), []string{"rule 2 grants nothing that rule 1"}},
		{"a rule with a condition covers nothing", role("{endpoints: [openai], operations: [chat], models: [\"*\"], when: x}, {endpoints: [openai], operations: [chat], models: [a]}"), nil},
		{"covered pattern", role("{endpoints: [\"*\", openai], operations: [chat], models: [m]}"), []string{`note 4 Role r: pattern "openai" says nothing beside "*"`}},
		{"bound twice", role(fine) + doc("RoleBinding", "c", "{role: r, subjects: [{unit: a}, {unit: b}]}"), []string{"{unit: a} has the role r already by RoleBinding b"}},
		{"a regex that matches nothing", guard(`{on: [toolCall], match: {regex: "a[^\\x00-\\x{10FFFF}]"}, action: deny}`), []string{"matches no text"}},
		{"a regex beyond the end", guard(`{on: [toolCall], match: {regex: "a$b"}, action: deny}`), []string{"matches no text"}},
		{"a regex that matches all", guard(`{on: [toolCall], match: {regex: "x*"}, action: deny}`), []string{"matches every text"}},
		{"an ordinary regex", guard(`{on: [toolCall], match: {regex: "^(a|b)\\b.*$"}, action: deny}`), nil},
		{"a tool that nobody has", guard(`{on: [toolCall], match: {tools: [sql]}, action: deny}`), []string{"note 14 Guardrail g: no role that anybody has"}},
		{"a pattern that may be one", guard(`{on: [toolCall], match: {tools: ["*_file"]}, action: deny}`), nil},
		{"like guardrails", guard(`{on: [toolCall], match: {tools: [bash]}, action: deny}`) + doc("Guardrail", "h", `{message: m, on: [toolCall], match: {tools: [bash]}, action: deny}`),
			[]string{"it does what Guardrail g does"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, f := range Lint(read(t, c.text)) {
				got = append(got, fmt.Sprintf("%s %d %s", f.Level, f.Line, f.Message))
			}
			if !slices.EqualFunc(got, c.want, strings.Contains) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	old := doc("Role", "r", "{rules: [{models: [a, b]}, {models: [c]}]}") + doc("Guardrail", "g", "{on: [prompt], match: {regex: x}, action: deny}") +
		doc("Role", "gone", "{rules: []}") + doc("Role", "moved", "{rules: [{models: [m, n]}]}")
	fresh := doc("Role", "moved", "{rules: [{models: [n, m]}]}") + doc("Role", "r", "{rules: [{models: [c]}, {models: [b, a], when: w}]}") +
		doc("Guardrail", "g", "{action: hold, on: [prompt], match: {regex: x}}") + doc("RoleBinding", "new", "{role: r, subjects: [{uid: 1}]}")
	want := []Difference{
		{Kind: "Guardrail", Name: "g", What: Changed, File: "p.yaml", Gone: []Detail{{"action", "deny"}}, Fresh: []Detail{{"action", "hold"}}},
		{Kind: "Role", Name: "gone", What: Removed, File: "p.yaml", Gone: []Detail{{"rules", "[]"}}},
		{Kind: "Role", Name: "r", What: Changed, File: "p.yaml", Gone: []Detail{{"rules", "{models: [a, b]}"}}, Fresh: []Detail{{"rules", "{models: [a, b], when: w}"}}},
		{Kind: "RoleBinding", Name: "new", What: Added, File: "p.yaml", Fresh: []Detail{{"role", "r"}, {"subjects", "{uid: 1}"}}},
	}
	if diff := cmp.Diff(want, Diff(read(t, old), read(t, fresh))); diff != "" {
		t.Error(diff)
	}
	if d := Diff(read(t, old), read(t, old)); len(d) != 0 {
		t.Errorf("a folder differs from itself: %+v", d)
	}
}

func TestMeet(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"bash", "bash", true}, {"bash", "sh", false}, {"*sh", "bash", true}, {"read_*", "*_file", true}, {"read_*", "write_*", false}, {"a*b", "b*b", false}, {"*", "", true},
		{"ab", "a*b", true}, {"a", "a*a", false}, {"*x", "*y", false}} {
		if meet(c.a, c.b) != c.want || meet(c.b, c.a) != c.want {
			t.Errorf("%q and %q: not %t", c.a, c.b, c.want)
		}
	}
}
