// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/policy"
	"github.com/sallyport-dev/sallyport/pipeline/policy/replay"
)

// inForce is the policy under which the exchanges of the test are recorded; candidate differs from it in what is planted.
const inForce = `apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: bot}
spec:
  rules:
    - {endpoints: [openai], operations: [chat], models: ["gpt-4o-mini", "gpt-4o"], tools: [search, "read_*", bash]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: bot}
spec: {role: bot, subjects: [{unit: "bot-*.service"}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: no-rm}
spec: {on: [toolCall], match: {tools: [bash], regex: 'rm\s+-rf'}, action: deny}
`

// candidate: gpt-4o is not allowed any more, o3 is; read_secrets is refused; rm is not; the word confidential in a prompt is
// refused, and in a tool's result told; a search for the payroll is held, a card's number masked, and sql stays in the offer.
var candidate = strings.NewReplacer(`"gpt-4o"]`, `"o3"]`, `"read_*"`, "read_file, sql", `rm\s+-rf`, `mkfs`).Replace(inForce) + `---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: confidential}
spec: {on: [prompt], match: {regex: '(?i)confidential'}, action: deny}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: told}
spec: {on: [toolResult], match: {regex: 'confidential'}, action: alert}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: ask}
spec: {on: [toolCall], match: {tools: [search], regex: 'payroll'}, action: hold}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: cards}
spec: {on: [toolResult], match: {regex: 'card [0-9]{4}'}, action: mask}
`

// planted is one exchange and the differences that it must show.
type planted struct {
	id    string
	diffs []string // STAGE TOOL FROM→TO
}

func writePolicy(t testing.TB, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// writeRecord writes n exchanges as flow would under the policy in force, in observe where mode says so, and returns what must
// differ. Most exchanges hold nothing that the candidate decides otherwise.
func writeRecord(t testing.TB, dir string, n int) []planted {
	t.Helper()
	set, err := policy.Load(writePolicy(t, inForce))
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{Dir: dir, BootID: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var out []planted
	var last <-chan error
	for i := range n {
		x := replay.Exchange{ID: fmt.Sprintf("exc_%05d", i), Session: fmt.Sprintf("ses_%03d", i/100), Time: start.Add(time.Duration(i) * time.Second)}
		mode, model := pipeline.ModeEnforce, "gpt-4o-mini"
		prompt, result, tool, args := fmt.Sprintf("Question %d about [EMAIL] and the weather", i), "sunny", "search", `{"q":"weather"}`
		var diffs []string
		var removed []pipeline.Step
		switch {
		case i%97 == 1:
			model, diffs = "gpt-4o", []string{"call  allow→deny"}
		case i%101 == 2:
			model, diffs = "o3", []string{"call  deny→allow"}
		case i%103 == 3:
			tool, diffs = "read_secrets", []string{"toolOffer read_secrets allow→remove", "toolCall read_secrets allow→deny"}
		case i%107 == 4:
			tool, args, diffs = "bash", `{"cmd":"rm -rf /srv"}`, []string{"toolCall bash deny→allow"}
		case i%109 == 5:
			prompt, diffs = "This is Confidential", []string{"prompt  allow→deny"}
		case i%113 == 6:
			result, diffs = "a confidential page", []string{"toolResult search allow→alert"}
		case i%127 == 7: // everything at once, in observe
			mode, prompt, result, tool = pipeline.ModeObserve, "confidential", "confidential", "read_secrets"
			diffs = []string{"prompt  allow→deny", "toolResult search allow→alert", "toolOffer read_secrets allow→remove", "toolCall read_secrets allow→deny"}
		case i%137 == 9:
			removed, diffs = []pipeline.Step{{Kind: pipeline.StepToolOffer, Name: "sql", Index: 2}}, []string{"toolOffer sql remove→allow"}
		case i%139 == 10:
			args, diffs = `{"q":"payroll"}`, []string{"toolCall search allow→hold"}
		case i%149 == 11:
			result, diffs = "card 4711", []string{"toolResult search allow→mask"}
		case i%131 == 8: // refused by both
			model = "gpt-3"
		}
		in := pipeline.Intent{Scope: "agents", Mode: mode, Workload: pipeline.Workload{PID: 7, UID: 1000, Unit: fmt.Sprintf("bot-%d.service", i%5)},
			Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443}, Method: "POST", Target: "/v1/chat/completions",
			Masks: []pipeline.Mask{{Carrier: "text", Type: "email", With: "[EMAIL]"}}, Policy: set.Version(), Call: pipeline.Call{Operation: pipeline.OpChat, Model: model, Steps: []pipeline.Step{
				{Kind: pipeline.StepPrompt, Text: "You are a helpful assistant."}, {Kind: pipeline.StepPrompt, Index: 1, Text: prompt},
				{Kind: pipeline.StepToolCall, Name: "search", ID: "c0", Args: json.RawMessage(`{"q":"x"}`)}, {Kind: pipeline.StepToolResult, Name: "search", ID: "c0", Index: 2, Text: result},
				{Kind: pipeline.StepToolOffer, Name: "search"}, {Kind: pipeline.StepToolOffer, Name: tool, Index: 1}}}}
		m := pipeline.Meta{Mode: mode, Workload: in.Workload, Endpoint: in.Endpoint}
		write := func(kind string, body any) {
			_, last = j.Append(pipeline.Record{Kind: kind, Time: x.Time, Session: x.Session, Exchange: x.ID, Body: body})
		}
		write(pipeline.KindIntent, &in)
		var worst pipeline.Verdict
		refused := false
		decide := func(step *pipeline.Step) {
			v := set.Decide(&m, &in.Call, step)
			if v.Action == pipeline.Allow || refused {
				return
			}
			worst = v
			write(pipeline.KindDecision, &pipeline.Decision{ID: fmt.Sprintf("dec_%05d", i), Verdict: v, Mode: mode, Enforced: mode == pipeline.ModeEnforce, Step: step, Policy: set.Version()})
			refused = mode == pipeline.ModeEnforce && v.Action == pipeline.Deny && (step == nil || step.Kind != pipeline.StepToolCall)
		}
		decide(nil)
		if removed != nil {
			v := pipeline.Verdict{Action: pipeline.Transform, Stage: pipeline.StepToolOffer, Rule: "role/bot", Removed: removed}
			write(pipeline.KindDecision, &pipeline.Decision{ID: fmt.Sprintf("dec_%05d", i), Verdict: v, Mode: mode, Enforced: true, Policy: set.Version()})
		}
		for k := range in.Call.Steps {
			if in.Call.Steps[k].Kind != pipeline.StepToolCall {
				decide(&in.Call.Steps[k])
			}
		}
		o := pipeline.Outcome{Status: 200}
		if refused {
			o.Status = 403
		} else {
			o.Tools = []pipeline.Step{{Kind: pipeline.StepToolCall, Name: tool, ID: "c1", Args: json.RawMessage(args)}}
			decide(&o.Tools[0])
		}
		o.Verdict = worst
		write(pipeline.KindOutcome, &o)
		if len(diffs) > 0 {
			out = append(out, planted{x.ID, diffs})
		}
	}
	if err := cmp.Or(<-last, j.Close()); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPolicyTestFindsExactly: of 10,000 recorded exchanges, policy test reports the planted ones, all of them, and no other.
func TestPolicyTestFindsExactly(t *testing.T) {
	const n = 10_000
	dir := filepath.Join(t.TempDir(), "journal")
	want := writeRecord(t, dir, n)
	if len(want) < 500 {
		t.Fatalf("only %d are planted", len(want))
	}
	fresh := writePolicy(t, candidate)
	began := time.Now()
	var out, complaints bytes.Buffer
	a := &app{out: &out, err: &complaints, getenv: func(string) string { return "" }}
	if code := a.run(context.Background(), []string{"policy", "test", fresh, "--journal", dir, "--examples", "0", "--fail-on-change", "-o", "json"}); code != 1 {
		t.Fatalf("exit status %d: %s", code, &complaints)
	}
	t.Logf("%d exchanges, %d of which differ, in %s", n, len(want), time.Since(began).Round(time.Millisecond))
	var r replay.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, c := range r.Changes {
		got[c.Exchange] = append(got[c.Exchange], fmt.Sprintf("%s %s %s→%s", c.Stage, c.Tool, c.Was.Effect, c.Would.Effect))
	}
	diffs := 0
	for _, p := range want {
		diffs += len(p.diffs)
		if !slices.Equal(got[p.id], p.diffs) {
			t.Errorf("%s: got %q, want %q", p.id, got[p.id], p.diffs)
		}
		delete(got, p.id)
	}
	for id, d := range got {
		t.Errorf("%s: %q was not planted", id, d)
	}
	if r.Exchanges != n || r.Changed != len(want) || len(r.Changes) != diffs || r.MaskedSteps == 0 {
		t.Errorf("%d exchanges, %d changed, want %d; %d differences, want %d; %d on masked text", r.Exchanges, r.Changed, len(want), len(r.Changes), diffs, r.MaskedSteps)
	}
	// The policy under which they were recorded differs in nothing.
	out.Reset()
	if code := a.run(context.Background(), []string{"policy", "test", writePolicy(t, inForce), "--journal", dir, "--fail-on-change"}); code != 0 || !strings.Contains(out.String(), "nothing differs, of 10000 exchanges") {
		t.Errorf("exit status %d: %s%s", code, &out, &complaints)
	}
}

// TestLearnFromJournal: what is learned from a journal allows, tested against it, every call and tool that was not refused.
func TestLearnFromJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	writeRecord(t, dir, 600)
	var out, complaints bytes.Buffer
	a := &app{out: &out, err: &complaints, getenv: func(string) string { return "" }}
	policies := t.TempDir()
	file := filepath.Join(policies, "learned.yaml")
	if code := a.run(context.Background(), []string{"policy", "learn", "--journal", dir, "--out", file}); code != 0 {
		t.Fatalf("exit status %d: %s", code, &complaints)
	}
	if code := a.run(context.Background(), []string{"policy", "learn", "--journal", dir, "--out", file}); code != 1 {
		t.Errorf("a file that exists was written again: exit status %d", code)
	}
	if code := a.run(context.Background(), []string{"policy", "test", policies, "--journal", dir, "--examples", "0", "-o", "json"}); code != 0 {
		t.Fatalf("exit status %d: %s", code, &complaints)
	}
	var r replay.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Changes { // what the guardrail refused, which is not learned, is allowed without it
		if c.Would.Effect != replay.Allow {
			t.Errorf("%+v", c)
		}
	}
	if r.Exchanges != 600 || r.Steps < 2000 {
		t.Errorf("%+v", r)
	}
}

// TestStarterPolicies holds the policies that ship to their examples: none without, and no warning.
func TestStarterPolicies(t *testing.T) {
	var out, complaints bytes.Buffer
	a := &app{out: &out, err: &complaints, getenv: func(string) string { return "" }}
	if code := a.run(context.Background(), []string{"policy", "check", "../../deploy/policies", "--examples", "--strict", "-o", "json"}); code != 0 {
		t.Fatalf("exit status %d: %s%s", code, &out, &complaints)
	}
	var c checked
	if err := json.Unmarshal(out.Bytes(), &c); err != nil || c.Examples == nil || c.Examples.Examples < 150 || len(c.Examples.Without) > 0 || len(c.Findings) > 0 {
		t.Errorf("%v: %s", err, &out)
	}
}
