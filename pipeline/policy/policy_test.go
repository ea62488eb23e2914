// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

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
	MaxTokens                 int64  `yaml:"maxTokens"`
	At                        string // time, RFC 3339
	Grants                    []struct{ ID, Role, Until string }
	Step                      *struct {
		Kind, Name, Args, Text string
		ByProvider             bool `yaml:"byProvider"`
	}
	Want, Rule, Reason string
	Matched            []string // "guardrail/x alert", "role/y deny (observed)"; absent: not compared
	Hold, Code         string
	Elevation          string
	Masked             string // the text or arguments afterwards
}

func (c *testCase) env(t *testing.T) (env Env) {
	at := func(s string) time.Time {
		if s == "" {
			return time.Time{}
		}
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	env.Now = at(c.At)
	for _, g := range c.Grants {
		env.Grants = append(env.Grants, pipeline.Grant{ID: g.ID, Role: g.Role, Until: at(g.Until)})
	}
	return env
}

// masked carries out the masks of a verdict as a reader of the contract would.
func masked(step *pipeline.Step, v pipeline.Verdict) string {
	s := step.Text
	if len(step.Args) > 0 {
		s = string(step.Args)
	}
	for _, m := range slices.Backward(v.Masks) {
		s = s[:m.At] + m.With + s[m.At+m.Len:]
	}
	return s
}

func (c *testCase) input() (*pipeline.Meta, *pipeline.Call, *pipeline.Step) {
	m := &pipeline.Meta{
		Workload:  pipeline.Workload{PID: c.PID, UID: c.UID, Unit: c.Unit, Namespace: c.Namespace, ServiceAccount: c.ServiceAccount, Labels: c.Labels},
		Principal: pipeline.Principal{SPIFFEID: c.SPIFFE, User: c.User, Groups: c.Groups},
		Endpoint:  pipeline.Endpoint{Name: cmp.Or(c.Endpoint, "openai"), Host: cmp.Or(c.Host, "api.openai.com"), Port: 443},
	}
	call := &pipeline.Call{Operation: cmp.Or(c.Operation, pipeline.OpChat), Model: c.Model, MaxTokens: c.MaxTokens}
	if c.Step == nil {
		return m, call, nil
	}
	return m, call, &pipeline.Step{Kind: c.Step.Kind, Name: c.Step.Name, Args: []byte(c.Step.Args), Text: c.Step.Text, ByProvider: c.Step.ByProvider}
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
				want := pipeline.Verdict{Stage: stage, Rule: c.Rule, Reason: c.Reason, Hold: c.Hold, Code: c.Code, Elevation: c.Elevation}
				if err := want.Action.UnmarshalText([]byte(c.Want)); err != nil {
					t.Fatal(err)
				}
				for range 2 { // the second time from memory
					got := s.DecideIn(c.env(t), m, call, step)
					if (got.Digest != "") != (got.Hold != "") || (len(got.Masks) > 0) != (c.Masked != "") {
						t.Errorf("digest %q, masks %v", got.Digest, got.Masks)
					}
					if c.Masked != "" {
						if after := masked(step, got); after != c.Masked {
							t.Errorf("masked: %s, want %s", after, c.Masked)
						}
					}
					var all []string
					for _, k := range got.Matched {
						line := k.Rule + " " + k.Action.String()
						if k.Observed {
							line += " (observed)"
						}
						all = append(all, line)
					}
					if c.Matched != nil && !slices.Equal(all, c.Matched) {
						t.Errorf("matched %q, want %q", all, c.Matched)
					}
					got.Digest, got.Masks, got.Matched = "", nil, nil
					if !reflect.DeepEqual(got, want) {
						t.Errorf("got %+v, want %+v", got, want)
					}
				}
				e := s.ExplainIn(c.env(t), m, call, step)
				if e.Verdict.Action != want.Action || e.Verdict.Rule != want.Rule || e.Policy != s.Version() || len(e.Trace) == 0 {
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

// TestStarter keeps the shipped policy loadable. What its guardrails and roles do is held to deploy/policies/tests.
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
}
