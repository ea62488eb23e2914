// SPDX-License-Identifier: Apache-2.0

package learn_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy"
	"github.com/sallyport-dev/sallyport/pipeline/policy/learn"
	"github.com/sallyport-dev/sallyport/pipeline/policy/replay"
)

func exchange(id int, unit, op, model string, offered, called []string) *replay.Exchange {
	x := &replay.Exchange{ID: fmt.Sprintf("exc_%d", id), Time: time.Unix(int64(id), 0), Outcome: &pipeline.Outcome{Status: 200}, Intent: &pipeline.Intent{
		Mode: pipeline.ModeObserve, Workload: pipeline.Workload{PID: 7, Unit: unit, UID: 1000}, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com"},
		Call: pipeline.Call{Operation: op, Model: model, Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "hi"}}}}}
	for i, t := range offered {
		x.Intent.Call.Steps = append(x.Intent.Call.Steps, pipeline.Step{Kind: pipeline.StepToolOffer, Name: t, Index: i})
	}
	for i, t := range called {
		x.Outcome.Tools = append(x.Outcome.Tools, pipeline.Step{Kind: pipeline.StepToolCall, Name: t, Index: i, Args: []byte(`{}`)})
	}
	return x
}

func load(t *testing.T, text string) *policy.Set {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "learned.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := policy.Load(dir)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return set
}

func corpus() []*replay.Exchange {
	other := exchange(6, "", pipeline.OpChat, "gpt-4o", nil, nil)
	other.Intent.Workload.UID = 77
	return []*replay.Exchange{
		other, exchange(1, "a.service", pipeline.OpChat, "gpt-4o-mini", []string{"search", "bash"}, []string{"search"}),
		exchange(2, "a.service", pipeline.OpChat, "gpt-4o", nil, nil),
		exchange(3, "a.service", pipeline.OpEmbeddings, "text-embedding-3-small", nil, nil),
		exchange(4, "b c.service", pipeline.OpChat, "yes", []string{"null", "0x1", "a: b"}, []string{"a: b"}),
		exchange(5, "list.service", pipeline.OpModels, "", nil, nil),
	}
}

// TestRoundTrip: what was learned allows all of what it was learned from.
func TestRoundTrip(t *testing.T) {
	l := learn.New(learn.Options{})
	for _, x := range corpus() {
		l.Add(x)
	}
	text, err := l.YAML("a test")
	if err != nil {
		t.Fatal(err)
	}
	c := replay.New(load(t, string(text)), replay.Options{})
	for _, x := range corpus() {
		c.Add(x)
	}
	if r := c.Report(); len(r.Changes) > 0 || r.Exchanges != 6 || r.Beyond > 0 {
		t.Errorf("%+v from\n%s", r, text)
	}
	if !strings.Contains(string(text), `# Offered, never called; take out what is not needed: "bash".`) {
		t.Errorf("no word about tools that nobody called:\n%s", text)
	}
}

// TestLeast: nothing beside what was used is allowed, not even by combining what was used apart.
func TestLeast(t *testing.T) {
	l := learn.New(learn.Options{})
	for _, x := range corpus() {
		l.Add(x)
	}
	text, err := l.YAML("a test")
	if err != nil {
		t.Fatal(err)
	}
	set := load(t, string(text))
	for _, c := range []struct {
		name string
		x    *replay.Exchange
	}{
		{"another unit", exchange(1, "c.service", pipeline.OpChat, "gpt-4o", nil, nil)},
		{"another model", exchange(1, "a.service", pipeline.OpChat, "gpt-4o-mini-2", nil, nil)},
		{"a model of another operation", exchange(1, "a.service", pipeline.OpChat, "text-embedding-3-small", nil, nil)},
		{"another operation", exchange(1, "a.service", pipeline.OpModels, "", nil, nil)},
		{"a tool of another model", exchange(1, "a.service", pipeline.OpChat, "gpt-4o", nil, []string{"search"})},
		{"another's model", exchange(1, "a.service", pipeline.OpChat, "yes", nil, nil)},
	} {
		r := replay.New(set, replay.Options{})
		r.Add(c.x)
		if got := r.Report(); len(got.Changes) != 1 || got.Changes[0].Would.Effect != replay.Deny {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestHostileNames: names that a policy would read as patterns, or as YAML, teach nothing.
func TestHostileNames(t *testing.T) {
	l := learn.New(learn.Options{})
	l.Add(exchange(0, `odd\x2dname.service`, pipeline.OpChat, "gpt-4o", nil, nil)) // its uid would let in others
	l.Add(exchange(1, "a.service", pipeline.OpChat, "*", nil, nil))
	l.Add(exchange(2, "a.service", pipeline.OpChat, "gpt*", nil, nil))
	l.Add(exchange(3, "a.service", pipeline.OpChat, "x\n---\nkind: Role", nil, nil))
	l.Add(exchange(4, "a.service", pipeline.OpChat, "gpt-4o", []string{"*", "ok", "b\n# c"}, nil))
	text, err := l.YAML("x\ny")
	if err != nil {
		t.Fatal(err)
	}
	set := load(t, string(text))
	for _, model := range []string{"*", "gpt", "gpt-5", "x"} {
		if v := decide(set, model, ""); v.Action != pipeline.Deny {
			t.Errorf("%q is allowed by\n%s", model, text)
		}
	}
	if v := decide(set, "gpt-4o", "other"); v.Action != pipeline.Deny {
		t.Errorf("any tool is allowed by\n%s", text)
	}
	if v := decide(set, "gpt-4o", "ok"); v.Action != pipeline.Allow {
		t.Errorf("%+v", v)
	}
	if n := strings.Count(string(text), "Left out"); n != 6 || strings.Contains(string(text), "uid") {
		t.Errorf("%d notes in\n%s", n, text)
	}
}

func decide(set *policy.Set, model, tool string) pipeline.Verdict {
	m := pipeline.Meta{Workload: pipeline.Workload{PID: 1, Unit: "a.service", UID: 1}, Endpoint: pipeline.Endpoint{Name: "openai"}}
	c := pipeline.Call{Operation: pipeline.OpChat, Model: model}
	if tool == "" {
		return set.Decide(&m, &c, nil)
	}
	return set.Decide(&m, &c, &pipeline.Step{Kind: pipeline.StepToolCall, Name: tool})
}

// TestRefused: what was refused is not learned unless that is asked for.
func TestRefused(t *testing.T) {
	x := exchange(1, "a.service", pipeline.OpChat, "gpt-4o", nil, []string{"bash", "search"})
	x.Intent.Mode = pipeline.ModeEnforce
	x.Decisions = []pipeline.Decision{{Enforced: true, Verdict: pipeline.Verdict{Action: pipeline.Deny}, Step: &x.Outcome.Tools[0]}}
	no := exchange(2, "a.service", pipeline.OpChat, "o3", nil, nil)
	no.Intent.Mode = pipeline.ModeEnforce
	no.Decisions = []pipeline.Decision{{Enforced: true, Verdict: pipeline.Verdict{Action: pipeline.Deny}}}
	for _, denied := range []bool{false, true} {
		l := learn.New(learn.Options{Denied: denied})
		l.Add(x)
		l.Add(no)
		text, err := l.YAML("t")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(text), "bash") && strings.Contains(string(text), "o3"); got != denied {
			t.Errorf("denied %t:\n%s", denied, text)
		}
	}
}

// TestPassing: what was allowed for a time, and the scope of a login, which is another's the next day, make no lasting role.
func TestPassing(t *testing.T) {
	raised := exchange(1, "a.service", pipeline.OpChat, "o3", nil, nil)
	raised.Outcome.Verdict.Elevation = "elv_1"
	tool := exchange(2, "a.service", pipeline.OpChat, "o4", []string{"bash"}, nil)
	tool.Decisions = []pipeline.Decision{{Enforced: true, Verdict: pipeline.Verdict{Elevation: "elv_1"}, Step: &tool.Intent.Call.Steps[1]}}
	known := exchange(3, "session-4.scope", pipeline.OpChat, "gpt-4o", nil, nil)
	known.Intent.Principal = pipeline.Principal{SPIFFEID: "spiffe://example.org/session-4.scope", User: "ann"}
	number := exchange(4, "session-5.scope", pipeline.OpChat, "gpt-4o", nil, nil)
	l := learn.New(learn.Options{})
	for _, x := range []*replay.Exchange{raised, tool, known, number} {
		l.Add(x)
	}
	text, err := l.YAML("t")
	if err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"o3", "o4", "bash", ".scope"} {
		if strings.Contains(string(text), no) {
			t.Errorf("%s in\n%s", no, text)
		}
	}
	for _, yes := range []string{"user: ann", "uid: 1000", "Left out: 2 exchanges that only a role for a time"} {
		if !strings.Contains(string(text), yes) {
			t.Errorf("no %s in\n%s", yes, text)
		}
	}
}
