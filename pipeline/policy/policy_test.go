// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// testCase is one entry of a cases.yaml.
type testCase struct {
	Name, Unit, SPIFFE, User  string
	Groups                    []string
	PID, UID                  uint32
	Namespace, Host, Endpoint string
	ServiceAccount            string `yaml:"serviceAccount"`
	Labels                    map[string]string
	Operation, Model          string
	Step                      *struct{ Kind, Name, Args, Text string }
	Want, Rule, Reason        string
}

func (c *testCase) input() (*pipeline.Meta, *pipeline.Call, *pipeline.Step) {
	m := &pipeline.Meta{
		Workload:  pipeline.Workload{PID: c.PID, UID: c.UID, Unit: c.Unit, Namespace: c.Namespace, ServiceAccount: c.ServiceAccount, Labels: c.Labels},
		Principal: pipeline.Principal{SPIFFEID: c.SPIFFE, User: c.User, Groups: c.Groups},
		Endpoint:  pipeline.Endpoint{Name: cmp.Or(c.Endpoint, "openai"), Host: cmp.Or(c.Host, "api.openai.com"), Port: 443},
	}
	call := &pipeline.Call{Operation: cmp.Or(c.Operation, pipeline.OpChat), Model: c.Model}
	if c.Step == nil {
		return m, call, nil
	}
	return m, call, &pipeline.Step{Kind: c.Step.Kind, Name: c.Step.Name, Args: []byte(c.Step.Args), Text: c.Step.Text}
}

func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/cases.yaml")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range dirs {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		policy, err := os.ReadFile(filepath.Join(filepath.Dir(file), "policy.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		s := mustLoad(t, string(policy))
		var cases []testCase
		dec := yaml.NewDecoder(strings.NewReader(string(b)))
		dec.KnownFields(true)
		if err := dec.Decode(&cases); err != nil {
			t.Fatal(file, err)
		}
		for _, c := range cases {
			t.Run(filepath.Base(filepath.Dir(file))+"/"+c.Name, func(t *testing.T) {
				m, call, step := c.input()
				stage := "call"
				if step != nil {
					stage = step.Kind
				}
				want := pipeline.Verdict{Stage: stage, Rule: c.Rule, Reason: c.Reason}
				if err := want.Action.UnmarshalText([]byte(c.Want)); err != nil {
					t.Fatal(err)
				}
				for range 2 { // the second time from memory
					if got := s.Decide(m, call, step); !reflect.DeepEqual(got, want) {
						t.Errorf("got %+v, want %+v", got, want)
					}
				}
				e := s.Explain(m, call, step)
				if !reflect.DeepEqual(e.Verdict, want) || e.Policy != s.Version() || len(e.Trace) == 0 && stage != pipeline.StepResponse {
					t.Errorf("got explanation %+v", e)
				}
			})
		}
	}
}

func mustLoad(t testing.TB, text string) *Set {
	t.Helper()
	s, err := LoadFS(fstest.MapFS{"p.yaml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEmptyDenies(t *testing.T) {
	s, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m, c := &pipeline.Meta{Workload: pipeline.Workload{UID: 3}}, &pipeline.Call{Operation: "chat", Model: "m"}
	for name, s := range map[string]*Set{"empty folder": s, "zero set": {}} {
		if v := s.Decide(m, c, nil); v.Action != pipeline.Deny || v.Rule != "builtin/no-binding" {
			t.Errorf("%s: got %+v", name, v)
		}
	}
	if v := s.Decide(m, nil, nil); v.Action != pipeline.Deny {
		t.Errorf("without a call: got %+v", v)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing folder was accepted")
	}
}

func TestCallersAreNotMixedUp(t *testing.T) {
	s := mustLoad(t, `{apiVersion: sallyport.dev/v1alpha1, kind: Role, metadata: {name: r}, spec: {rules: [{endpoints: ["*"], operations: ["*"], models: ["*"]}]}}
---
{apiVersion: sallyport.dev/v1alpha1, kind: RoleBinding, metadata: {name: b}, spec: {role: r, subjects: [{user: ab}]}}
`)
	c := &pipeline.Call{Operation: "chat", Model: "m"}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range maxKnown {
				m := &pipeline.Meta{Principal: pipeline.Principal{User: "ab"}}
				if v := s.Decide(m, c, nil); v.Action != pipeline.Allow {
					t.Errorf("got %+v", v)
				}
				m = &pipeline.Meta{Principal: pipeline.Principal{SPIFFEID: "a", User: fmt.Sprint("b", g, i)}}
				if v := s.Decide(m, c, nil); v.Action != pipeline.Deny {
					t.Errorf("got %+v", v)
				}
			}
		})
	}
	wg.Wait()
	if len(s.known) > maxKnown {
		t.Errorf("%d callers are remembered", len(s.known))
	}
}

func TestExplainShowsNoPattern(t *testing.T) {
	b, err := os.ReadFile("testdata/guardrails/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	e := mustLoad(t, string(b)).Explain(&pipeline.Meta{Workload: pipeline.Workload{Unit: "u"}}, &pipeline.Call{Model: "m"},
		&pipeline.Step{Kind: pipeline.StepToolCall, Name: "bash", Args: []byte(`{"cmd":"rm -rf /home"}`)})
	want := `deny by guardrail/b-shell: no deleting
policy ` + e.Policy + `
  binding all gives u the role all
  role all, rule 1 grants it
  guardrail a-watch matches: alert
  guardrail b-shell matches: deny
  guardrail c-also matches: deny
`
	if e.String() != want {
		t.Errorf("got %s", e)
	}
}

// TestStarter keeps the shipped policy loadable and its guardrail right.
func TestStarter(t *testing.T) {
	s, err := Load("../../deploy/policies")
	if err != nil {
		t.Fatal(err)
	}
	m := &pipeline.Meta{Workload: pipeline.Workload{Unit: "langchain-support.service"}, Endpoint: pipeline.Endpoint{Name: "openai"}}
	c := &pipeline.Call{Operation: pipeline.OpChat, Model: "gpt-4o-mini"}
	if v := s.Decide(m, c, nil); v.Action != pipeline.Allow {
		t.Errorf("the starter role: got %+v", v)
	}
	for cmd, deny := range map[string]bool{
		"rm -rf /": true, "rm -r x": true, "rm  -fr x": true, "sudo rm -Rf /var": true, "cd / && rm --recursive --force x": true,
		"true;rm -f x": true, "rm x -rf": true, "/bin/rm -rf x": true, "mkfs.ext4 /dev/sda1": true, "dd if=/dev/zero of=/dev/sda": true, "echo x > /dev/sda": true,
		"ls -r": false, "rm x.txt": false, "farm -r x": false, "grep -rf pattern": false, "echo form -r": false, "docker run --rm -it x": false,
		"dd if=a of=b": false, "echo x > /dev/null": false, "git rm x": false, "man mkfs": false,
	} {
		v := s.Decide(m, c, &pipeline.Step{Kind: pipeline.StepToolCall, Name: "bash", Args: fmt.Appendf(nil, `{"command":%q}`, cmd)})
		if (v.Action == pipeline.Deny) != deny || deny && v.Rule != "guardrail/no-destructive-shell" {
			t.Errorf("%s: got %+v", cmd, v)
		}
	}
}

// TestNeedNeverHides compares the shortcut with the expressions that it saves.
func TestNeedNeverHides(t *testing.T) {
	for _, c := range []struct{ re, text string }{
		{`rm\s+-[a-z]*r`, "x rm  -fr"}, {`(?i)kiosk`, "\u212aIOſ\u212a"}, {`(?i)STRASSE|straße`, "STRAſſE"}, {`[Aa][Bb]c`, "ABc"},
		{`(ab|cd)+ef`, "cdef"}, {`(ab|)ef`, "ef"}, {`(ab)?cd`, "cd"}, {`(ab){0,2}cd`, "cd"}, {`(ab){2}`, "abab"}, {`a\x{FFFD}b`, "a\xffb"},
		{`über`, "über"}, {`(?i)Über`, "üBER"}, {`^$`, ""}, {`\bword\b`, "a word"}, {`(?s)a.b`, "a\nb"}, {`a*?bc`, "bc"}, {`(?i:ab)cd`, "ABcd"},
	} {
		parsed, err := syntax.Parse(c.re, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if g := (&guard{re: regexp.MustCompile(c.re), need: needOf(parsed)}); !g.re.MatchString(c.text) || !newInput(&pipeline.Step{Text: c.text}).match(g) {
			t.Errorf("%s hides %q", c.re, c.text)
		}
	}
}

// FuzzNeed looks for a match that the shortcut would hide.
func FuzzNeed(f *testing.F) {
	f.Add(`(?i)ignore (all|previous)`, "Ignore ALL")
	f.Fuzz(func(t *testing.T, expr, text string) {
		re, err := regexp.Compile(expr)
		if err != nil {
			return
		}
		parsed, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if re.MatchString(text) && !needOf(parsed).met(&newInput(&pipeline.Step{Text: text}).pairs) {
			t.Errorf("%q hides %q", expr, text)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	var text strings.Builder
	head := "---\napiVersion: sallyport.dev/v1alpha1\n"
	for i := range 100 {
		fmt.Fprintf(&text, "%skind: Role\nmetadata: {name: r%d}\nspec: {rules: [{endpoints: [openai], operations: [chat], models: [\"gpt-%d-*\"], tools: [\"t%d_*\"]}]}\n", head, i, i, i)
	}
	for i := range 1000 {
		fmt.Fprintf(&text, "%skind: RoleBinding\nmetadata: {name: b%d}\nspec: {role: r%d, subjects: [{unit: \"unit-%d-*.service\"}]}\n", head, i, i%100, i)
	}
	for i := range 200 {
		fmt.Fprintf(&text, "%skind: Guardrail\nmetadata: {name: g%d}\nspec: {on: [prompt, toolCall], match: {regex: '(?i)zq%dx\\s+secret|qz-[0-9]{%d}wx'}, action: deny}\n", head, i, i, i+1)
	}
	s := mustLoad(b, text.String())
	m := &pipeline.Meta{Workload: pipeline.Workload{PID: 1, UID: 1, Unit: "unit-999-a.service"}, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com"}}
	c := &pipeline.Call{Operation: pipeline.OpChat, Model: "gpt-99-x"}
	prompt := strings.Repeat("Please summarise the minutes of the last meeting and list what is to be done. ", 106)[:8192]
	for name, step := range map[string]*pipeline.Step{
		"call": nil, "prompt": {Kind: pipeline.StepPrompt, Text: prompt},
		"toolCall": {Kind: pipeline.StepToolCall, Name: "t99_x", Args: []byte(`{"path":"/tmp/file","text":"some words"}`)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := s.Decide(m, c, step); v.Action != pipeline.Allow {
					b.Fatal(v)
				}
			}
		})
	}
}
