// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

const okRole = "apiVersion: sallyport.dev/v1alpha1\nkind: Role\nmetadata: {name: r}\nspec: {rules: []}\n"

func TestLoadErrors(t *testing.T) {
	doc := func(kind, name, spec string) string {
		return "apiVersion: sallyport.dev/v1alpha1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec:\n  " + spec + "\n"
	}
	bind := func(spec string) string { return okRole + "---\n" + doc("RoleBinding", "b", spec) } // its spec is on line 10
	guard := func(spec string) string { return doc("Guardrail", "g", spec) }
	for _, c := range []struct{ name, text, want string }{
		{"unknown field", doc("Role", "r", "rule: []"), `p.yaml:5: unknown field "rule": remove it`},
		{"unknown field at the top", okRole + "status: {}\n", `p.yaml:5: unknown field "status"`},
		{"unknown field in metadata", strings.Replace(okRole, "name: r", "name: r, labels: {}", 1), `p.yaml:3: unknown field "labels"`},
		{"unknown field of a rule", doc("Role", "r", "rules: [{limit: []}]"), `p.yaml:5: unknown field "limit"`},
		{"unknown field of limits", doc("Role", "r", "rules: [{limits: {calls: 1}}]"), `p.yaml:5: unknown field "calls"`},
		{"limits of nothing", doc("Role", "r", "rules: [{limits: {per: 1h}}]"), "p.yaml:5: Role r has limits that limit nothing"},
		{"limits without per", doc("Role", "r", "rules: [{limits: {tokens: 5}}]"), "Role r has limits without per"},
		{"limits of nought", doc("Role", "r", "rules: [{limits: {tokens: 0, per: 1h}}]"), "Role r: limits.tokens of 0 lets nothing through"},
		{"limits by a word", doc("Role", "r", "rules: [{limits: {tokens: many, per: 1h}}]"), `"many" does not fit here: give a whole number`},
		{"limits in no time", doc("Role", "r", "rules: [{limits: {tokens: 1, per: day}}]"), `p.yaml:5: "day" is no time span from 1s to 744h: write it like`},
		{"limits in too long a time", doc("Role", "r", "rules: [{limits: {tokens: 1, per: 9000h}}]"), `"9000h" is no time span`},
		{"maxTokens of nought", doc("Role", "r", "rules: [{maxTokens: -1}]"), "maxTokens of -1 lets nothing through"},
		{"bad condition", doc("Role", "r", "rules: [{when: 'principal.usr == 1'}]"), "p.yaml:5: bad condition (undeclared reference to 'principal"},
		{"condition without an answer", doc("Role", "r", "rules: [{when: '1'}]"), "it gives int, not yes or no (bool)"},
		{"condition that may cost too much", guard("{on: [prompt], match: {cel: 'step.texts.all(a, step.texts.all(b, a.contains(b)))'}, action: deny}"), "may cost too much"},
		{"enforcement", bind("{role: r, subjects: [{unit: a}], enforcement: dry}"), `p.yaml:10: enforcement "dry" is not known: use observe or enforce`},
		{"nothing to observe", doc("Role", "r", "rules: [{enforcement: observe}]"), "p.yaml:5: Role r has a rule that is only observed and has neither limits nor when"},
		{"unknown field of a subject", bind("{role: r, subjects: [{unti: a}]}"), `p.yaml:10: unknown field "unti"`},
		{"doubled field", okRole + "kind: Role\n", "p.yaml:5: field kind stands here a second time"},
		{"unknown kind", "apiVersion: sallyport.dev/v1alpha1\nkind: Roll\n", `p.yaml:1: kind "Roll" is not known: use Role`},
		{"no kind", "a: 1", `p.yaml:1: kind "" is not known`},
		{"scalar document", "hello", `p.yaml:1: kind "" is not known`},
		{"api version", strings.Replace(okRole, "v1alpha1", "v2", 1), `p.yaml:1: apiVersion "sallyport.dev/v2" is not known: use sallyport.dev/v1alpha1`},
		{"no name", strings.Replace(okRole, "name: r", "", 1), `p.yaml:1: metadata.name "" cannot be used`},
		{"same name", okRole + "---\n" + okRole, "p.yaml:8: Role r is already at p.yaml:1"},
		{"syntax", "a: [", "p.yaml:1: not valid YAML"},
		{"syntax in the second document", okRole + "---\na: [\n", "not valid YAML"},
		{"text for a list", doc("Role", "r", "rules: [{models: gpt}]"), `p.yaml:5: "gpt" does not fit here: give a list`},
		{"list for text", bind("{role: [r], subjects: [{unit: a}]}"), "p.yaml:10: a list or map does not fit here: give text"},
		{"no value", bind("{role: r, subjects: [{unit: , uid: 5}]}"), "p.yaml:10: a key or list entry has no value"},
		{"missing role", bind("{role: nobody, subjects: [{unit: a}]}"), `p.yaml:10: RoleBinding b names role "nobody", which there is not: add`},
		{"no subjects", bind("{role: r}"), "p.yaml:6: RoleBinding b has no subjects"},
		{"empty subject", bind("{role: r, subjects: [{}]}"), "RoleBinding b has a subject that names nobody"},
		{"empty labels", bind("{role: r, subjects: [{podLabels: {}}]}"), "has a subject that names nobody"},
		{"empty value", bind("{role: r, subjects: [{unit: '', uid: 1}]}"), "p.yaml:10: unit of a subject is empty"},
		{"empty user", bind("{role: r, subjects: [{user: ''}]}"), "p.yaml:10: user of a subject is empty"},
		{"bad uid", bind("{role: r, subjects: [{uid: -1}]}"), `p.yaml:10: "-1" does not fit here: give a number`},
		{"service account alone", bind("{role: r, subjects: [{serviceAccount: a}]}"), "p.yaml:10: a service account is named within its namespace"},
		{"bad glob", doc("Role", "r", "rules: [{models: ['gpt-[34]']}]"), `p.yaml:5: pattern "gpt-[34]": only * is a wildcard`},
		{"empty glob", doc("Role", "r", "rules: [{models: ['']}]"), "p.yaml:5: an empty pattern"},
		{"bad glob of a guardrail", guard("{on: [toolCall], match: {tools: ['a?']}, action: deny}"), `p.yaml:5: pattern "a?"`},
		{"bad regex", guard("{on: [prompt], match: {regex: '('}, action: deny}"), "p.yaml:5: Guardrail g has a bad regex (missing closing ): `(`): mend it"},
		{"empty regex", guard("{on: [prompt], match: {regex: ''}, action: deny}"), "p.yaml:5: Guardrail g has an empty regex"},
		{"empty tools", guard("{on: [toolCall], match: {tools: []}, action: deny}"), "Guardrail g has an empty list of tools"},
		{"tools of a prompt", guard("{on: [prompt], match: {tools: [a]}, action: deny}"), "Guardrail g: a prompt has no tool"},
		{"no on", guard("{action: deny}"), "Guardrail g has no on"},
		{"unknown on", guard("{on: [toolcall], action: deny}"), `p.yaml:5: Guardrail g is on "toolcall", which is no step`},
		{"on twice", guard("{on: [prompt, prompt], action: deny}"), "names prompt twice"},
		{"tools of a response", guard("{on: [response], match: {tools: [a]}, action: deny}"), "Guardrail g: a response has no tool"},
		{"exec", guard("{on: [exec], action: deny}"), "p.yaml:5: Guardrail g: on exec is not supported yet, as nothing on this host is tied to a tool call"},
		{"mask of everything", guard("{on: [prompt], action: mask}"), "p.yaml:5: Guardrail g masks but has no regex"},
		{"mask of a response without bound", guard("{on: [response], match: {regex: 'a+'}, action: mask}"), "p.yaml:5: Guardrail g cannot mask a response, which is released as it comes: a repeat has no maximum"},
		{"mask of a long response", guard("{on: [response], match: {regex: '[a-z]{600}[a-z]{600}'}, action: mask}"), "a match may have 1200 bytes"},
		{"mask of a response at its start", guard("{on: [response], match: {regex: ^a}, action: mask}"), "anchors and word boundaries are not for patterns"},
		{"mask of a response under a condition", guard("{on: [response], match: {regex: a, cel: 'true'}, action: mask}"), "remove cel, or use deny, hold or alert"},
		{"mask of an offer", guard("{on: [toolOffer], match: {regex: a}, action: mask}"), "an offered tool cannot be masked: use deny"},
		{"mask with a quotation mark", guard(`{on: [prompt], match: {regex: a}, action: mask, with: 'x"'}`), "with may hold printable ASCII"},
		{"mask that matches itself", guard(`{on: [prompt], match: {regex: b+}, action: mask, with: xbx}`), "its regex matches what it puts in place"},
		{"mask with nothing", guard(`{on: [prompt], match: {regex: a}, action: mask, with: ''}`), "with is empty"},
		{"with of another action", guard(`{on: [prompt], match: {regex: b+}, action: deny, with: xbx}`), "with is for action mask"},
		{"approval of another action", guard(`{on: [prompt], action: deny, approval: {approvers: 2}}`), "approval is for action hold"},
		{"no approvers", guard(`{on: [prompt], action: hold, approval: {approvers: 0}}`), "0 approvers make no sense"},
		{"empty group", guard(`{on: [prompt], action: hold, approval: {groups: [' ']}}`), "a group of approvers is empty"},
		{"timeout", guard(`{on: [prompt], action: hold, approval: {timeout: soon}}`), `"soon" is no time span`},
		{"escalation out of order", guard(`{on: [prompt], action: hold, approval: {escalation: [{after: 5m, groups: [a]}, {after: 1m, groups: [b]}]}}`), "escalations come in the order of time"},
		{"escalation too late", guard(`{on: [prompt], action: hold, approval: {timeout: 1m, escalation: [{after: 5m, groups: [a]}]}}`), "an escalation after 5m comes too late, the hold ends after 1m"},
		{"escalation to nobody", guard(`{on: [prompt], action: hold, approval: {escalation: [{after: 5m}]}}`), "an escalation asks nobody"},
		{"scope", guard(`{on: [prompt], action: hold, approval: {scope: [ever]}}`), `scope "ever" is not known: use once or session`},
		{"no scope", guard(`{on: [prompt], action: hold, approval: {scope: []}}`), "an empty scope allows no decision"},
		{"unknown field of an approval", guard(`{on: [prompt], action: hold, approval: {group: [a]}}`), `unknown field "group"`},
		{"unknown action", guard("{on: [prompt], action: drop}"), `action "drop" is not known`},
		{"no action", guard("{on: [prompt]}"), `action "" is not known`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := LoadFS(fstest.MapFS{"ok.yml": {Data: []byte("# nothing\n")}, "p.yaml": {Data: []byte(c.text)}})
			if err == nil || s != nil {
				t.Fatalf("was accepted, want %q", c.want)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q", err, c.want)
			}
		})
	}
}

func TestLoadFiles(t *testing.T) {
	fsys := fstest.MapFS{"a.yaml": {Data: []byte(okRole)}, "b.yml": {Data: []byte(strings.Replace(okRole, "name: r", "name: s", 1))},
		"README.md": {Data: []byte("no: [policy")}, ".hidden.yaml": {Data: []byte("no: [policy")}, "sub/c.yaml": {Data: []byte("no: [policy")}}
	s, err := LoadFS(fsys)
	if err != nil || len(s.roles) != 2 || !strings.HasPrefix(s.Version(), "sha256:") || len(s.Version()) != 71 {
		t.Fatalf("got %+v, %v", s, err)
	}
	again, err := LoadFS(fsys)
	if err != nil || again.Version() != s.Version() {
		t.Errorf("the version changed by itself: %v", err)
	}
	fsys["b.yml"].Data = append(fsys["b.yml"].Data, '\n')
	if again, err = LoadFS(fsys); err != nil || again.Version() == s.Version() {
		t.Errorf("the version did not change: %v", err)
	}
	fsys["c.yaml"] = &fstest.MapFile{Data: []byte(okRole)}
	if _, err = LoadFS(fsys); err == nil || !strings.Contains(err.Error(), "c.yaml:3: Role r is already at a.yaml:1") {
		t.Errorf("got %v", err)
	}
	fsys["c.yaml"] = &fstest.MapFile{Data: make([]byte, maxFile+1)}
	if _, err = LoadFS(fsys); err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestManyErrorsAreBounded(t *testing.T) {
	_, err := LoadFS(fstest.MapFS{"p.yaml": {Data: []byte(strings.Repeat("kind: Roll\n---\n", 30))}})
	if err == nil {
		t.Fatal("was accepted")
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != maxErrors || lines[9] != "policy: 21 more problems: mend these first" {
		t.Errorf("got %q", lines)
	}
}

func FuzzLoad(f *testing.F) {
	for _, name := range []string{"testdata/roles/policy.yaml", "testdata/guardrails/policy.yaml", "testdata/actions/policy.yaml", "testdata/limits/policy.yaml", "../../deploy/policies/starter.yaml"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := LoadFS(fstest.MapFS{"p.yaml": {Data: b}})
		if (s == nil) != (err != nil) {
			t.Fatal("want a policy or an error")
		}
		if err != nil {
			for _, l := range strings.Split(err.Error(), "\n") {
				if !strings.HasPrefix(l, "p.yaml:") && !strings.HasPrefix(l, "policy: ") {
					t.Errorf("error without a place: %q", l)
				}
			}
		}
	})
}
