// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func limits(t testing.TB) *Set {
	t.Helper()
	b, err := os.ReadFile("testdata/limits/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return mustLoad(t, string(b))
}

// caller of these tests asks for a model as a user.
func ask(e *Engine, user, model string, n int) pipeline.Verdict {
	return e.Decide(meta(user, n), &pipeline.Call{Operation: pipeline.OpChat, Model: model}, nil)
}

func meta(user string, n int) *pipeline.Meta {
	return &pipeline.Meta{Exchange: fmt.Sprint("exc_", user, n), Principal: pipeline.Principal{User: user}, Workload: pipeline.Workload{UID: 5},
		Endpoint: pipeline.Endpoint{Name: "openai"}}
}

func TestBudgetOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEngine(limits(t), EngineOptions{})
		for i := range 2 {
			if v := ask(e, "lim", "m", i); v.Action != pipeline.Allow || v.Rule != "role/limited" {
				t.Fatal(v)
			}
		}
		v := ask(e, "lim", "m", 3)
		if v.Action != pipeline.Deny || v.Code != pipeline.CodeBudget || v.Rule != "role/limited" ||
			!strings.HasPrefix(v.Reason, "uid 5 has used the 2 requests that the role allows in 1m; there is room again at 2000-01-01 00:01:0") {
			t.Errorf("%+v", v)
		}
		e.Swap(limits(t)) // a reload forgets nothing
		if v := ask(e, "lim", "m", 4); v.Code != pipeline.CodeBudget {
			t.Errorf("%+v", v)
		}
		if v := ask(e, "eve", "m", 5); v.Action != pipeline.Allow {
			t.Errorf("somebody else: %+v", v)
		}
		if x := e.Explain(meta("lim", 9), &pipeline.Call{Operation: pipeline.OpChat, Model: "m"}, nil); x.Verdict.Action != pipeline.Allow ||
			!strings.Contains(x.String(), "grants it, within 2 requests in 1m") {
			t.Errorf("%s", x)
		}
		time.Sleep(70 * time.Second)
		if v := ask(e, "lim", "m", 6); v.Action != pipeline.Allow {
			t.Errorf("later: %+v", v)
		}
	})
}

func TestBudgetOfTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEngine(limits(t), EngineOptions{})
		in, out := int64(60), int64(39)
		for i := range 2 {
			if v := ask(e, "lim", "t", i); v.Action != pipeline.Allow {
				t.Fatal(v)
			}
			e.Account(meta("lim", i), &pipeline.Call{}, pipeline.Verdict{}, pipeline.Usage{InputTokens: &in, OutputTokens: &out})
		}
		if v := ask(e, "lim", "t", 3); v.Code != pipeline.CodeBudget || !strings.Contains(v.Reason, "the 100 tokens that the role allows in 1h") {
			t.Errorf("%+v", v)
		}
		// Without the clock or a place in memory, what was counted is found in the journal.
		again := NewEngine(limits(t), EngineOptions{})
		for i := range 2 {
			m := meta("lim", i)
			intent := &pipeline.Intent{Workload: m.Workload, Principal: m.Principal, Endpoint: m.Endpoint, Call: pipeline.Call{Operation: pipeline.OpChat, Model: "t"}, BodyBytes: 100}
			outcome := &pipeline.Outcome{Status: 200, Text: strings.Repeat("word", 20)} // no usage: 25 and 20 tokens
			if i == 1 {
				outcome.Usage = pipeline.Usage{InputTokens: &in}
			}
			again.Restore(intent, time.Now().Add(-time.Minute), outcome)
			again.Restore(intent, time.Now(), &pipeline.Outcome{Status: 403, BytesReleased: 9, Verdict: pipeline.Verdict{Action: pipeline.Deny, Stage: "call"}})
		}
		if v := ask(again, "lim", "t", 4); v.Code != pipeline.CodeBudget {
			t.Errorf("restored: %+v", v)
		}
	})
}

// grants is a Grants that can be revoked.
type grants struct{ list []pipeline.Grant }

func (g *grants) For(*pipeline.Meta) []pipeline.Grant { return g.list }

func TestRevokedBetweenSteps(t *testing.T) {
	g := &grants{[]pipeline.Grant{{ID: "elv_1", Role: "large"}}}
	e := NewEngine(limits(t), EngineOptions{Grants: g})
	c, step := &pipeline.Call{Operation: pipeline.OpChat, Model: "large"}, &pipeline.Step{Kind: pipeline.StepToolCall, Name: "shell"}
	if v := e.Decide(meta("x", 1), c, step); v.Action != pipeline.Allow || v.Elevation != "elv_1" {
		t.Fatalf("%+v", v)
	}
	g.list = nil
	if v := e.Decide(meta("x", 1), c, step); v.Action != pipeline.Deny || v.Elevation != "" {
		t.Fatalf("revoked: %+v", v)
	}
}

func TestApproval(t *testing.T) {
	b, err := os.ReadFile("testdata/actions/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := mustLoad(t, string(b))
	for _, rule := range []string{"pay", "guardrail/pay"} {
		a, ok := s.Approval(rule)
		if want := (Escalation{10 * time.Minute, []string{"board"}}); !ok || a.Name != "pay" || a.Approvers != 2 || a.Timeout != 30*time.Minute ||
			a.Groups[0] != "finance" || len(a.Escalation) != 1 || a.Escalation[0].After != want.After || len(a.Scopes) != 2 {
			t.Errorf("%+v, %t", a, ok)
		}
	}
	for _, rule := range []string{"project", "guardrail/none", ""} {
		if _, ok := s.Approval(rule); ok {
			t.Errorf("%s has settings", rule)
		}
	}
}

// TestDigest: an approval is for the guardrail as it reads, whatever its layout.
func TestDigest(t *testing.T) {
	digest := func(text string) string {
		s := mustLoad(t, text)
		return s.DecideIn(Env{}, &pipeline.Meta{}, &pipeline.Call{}, &pipeline.Step{Kind: pipeline.StepPrompt, Text: "x"}).Digest
	}
	const head = "apiVersion: sallyport.dev/v1alpha1\nkind: Guardrail\nmetadata: {name: g}\n"
	one := digest(head + "spec: {on: [prompt], action: hold, approval: {approvers: 2}}\n")
	if one == "" || one != digest("# a word\n"+head+"spec:\n  action: hold\n  on:\n  - prompt\n  approval:\n    approvers: 2\n") {
		t.Error("the layout changes the digest")
	}
	if one == digest(head+"spec: {on: [prompt], action: hold, approval: {approvers: 1}}\n") {
		t.Error("another approval has the same digest")
	}
	// What another guardrail holds too is not approved by a decision about the first.
	const other = "---\napiVersion: sallyport.dev/v1alpha1\nkind: Guardrail\nmetadata: {name: h}\n"
	g := head + "spec: {on: [prompt], action: hold, approval: {approvers: 2}}\n"
	two := digest(g + other + "spec: {on: [prompt], action: hold}\n")
	if two == one || two == "" || two == digest(g+other+"spec: {on: [prompt], action: hold, approval: {approvers: 3}}\n") {
		t.Error("another guardrail that holds, or that reads otherwise, changes no digest")
	}
	if one != digest(g+other+"spec: {on: [prompt], action: hold, enforcement: observe}\n") {
		t.Error("one that is only watched changes the digest")
	}
}

// TestBeside: what stands beside the text of a step is matched like it; it cannot be masked, so the step is denied.
func TestBeside(t *testing.T) {
	const head = "apiVersion: sallyport.dev/v1alpha1\nkind: Guardrail\nmetadata: {name: g}\n"
	for _, action := range []string{"deny", "mask"} {
		s := mustLoad(t, head+"spec: {on: [prompt], match: {regex: 'code ?name'}, action: "+action+"}\n")
		for beside, want := range map[string]pipeline.Action{"": pipeline.Allow, "an answer\n": pipeline.Allow, "an answer\nthe code\u200bname\n": pipeline.Deny} {
			v := s.DecideIn(Env{}, &pipeline.Meta{}, &pipeline.Call{}, &pipeline.Step{Kind: pipeline.StepPrompt, Text: "hello", Beside: beside})
			if v.Action != want || len(v.Masks) != 0 {
				t.Errorf("%s of %q: %+v", action, beside, v)
			}
		}
		v := s.DecideIn(Env{}, &pipeline.Meta{}, &pipeline.Call{}, &pipeline.Step{Kind: pipeline.StepPrompt, Text: "codename", Beside: "codename\n"})
		if v.Action != pipeline.Deny {
			t.Errorf("%s of both: %+v", action, v)
		}
	}
}
