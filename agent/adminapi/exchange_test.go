// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
)

var update = flag.Bool("update", false, "write the golden files")

func at(s int) time.Time { return time.Date(2026, 1, 2, 3, 4, s, 0, time.UTC) }

func ptr[T any](v T) *T { return &v }

func parts() Parts {
	refused := pipeline.Step{Kind: pipeline.StepToolCall, Name: "bash", ID: "call_2", Index: 1, Args: json.RawMessage(`{"cmd":"rm -rf /`)}
	return Parts{
		Session: "ses_1", Exchange: "exc_1", Time: at(0),
		Intent: &pipeline.Intent{
			Scope: "agents", Mode: pipeline.ModeEnforce, Method: "POST", Target: "/v1/chat/completions",
			Workload:  pipeline.Workload{PID: 7, Start: 1, Comm: "python", Exe: "/usr/bin/python3", Cgroup: "/a.service", Unit: "a.service", UID: 1000},
			Principal: pipeline.Principal{SPIFFEID: "spiffe://example.org/unit/a", User: "ada"},
			Endpoint:  pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443},
			Call: pipeline.Call{Operation: pipeline.OpChat, Model: "gpt-4o-mini", Stream: true,
				Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "mail [EMAIL]"}, {Kind: pipeline.StepToolCall, Name: "bash", Index: 1, Args: json.RawMessage(`{"cmd":`)}}},
			Body: json.RawMessage(`{"model":"gpt-4o-mini"}`), BodyBytes: 23, BodySHA256: "00",
			Masks: []pipeline.Mask{{Carrier: "text", Type: "EMAIL", At: 5, Len: 9, With: "[EMAIL]"}},
		},
		Decisions: []Timed[pipeline.Decision]{{at(1), pipeline.Decision{
			ID: "dec_1", Mode: pipeline.ModeEnforce, Enforced: true, Step: &refused, Policy: "p1", UID: 1000, Scope: "agents",
			Model: "gpt-4o-mini", Endpoint: "openai", SPIFFEID: "spiffe://example.org/unit/a",
			Verdict: pipeline.Verdict{Action: pipeline.Deny, Stage: pipeline.StepToolCall, Rule: "guardrail/no-shell", Reason: "no shell"},
		}}},
		Outcome: &pipeline.Outcome{
			Status: 200, Decision: "dec_1", Enforced: true, ResponseID: "chatcmpl-1", ResponseModel: "gpt-4o-mini-2024", Finish: []string{"tool_calls"},
			Verdict: pipeline.Verdict{Action: pipeline.Deny, Stage: pipeline.StepToolCall, Rule: "guardrail/no-shell", Reason: "no shell"},
			Text:    "I shall look.", Tools: []pipeline.Step{{Kind: pipeline.StepToolCall, Name: "search", ID: "call_1", Args: json.RawMessage(`{"q":"x"}`)}, refused},
			Usage: pipeline.Usage{InputTokens: ptr(int64(10)), OutputTokens: ptr(int64(5))}, BytesReleased: 900, DurationMS: 250, FirstReleaseMS: 40, OverheadUS: 300,
		},
	}
}

// The names are stable: a change of this golden file is a change of the interface.
func TestExchangeGolden(t *testing.T) {
	unknown := parts()
	unknown.Intent = &pipeline.Intent{Mode: pipeline.ModeObserve, Uninspected: "unknown path"}
	unknown.Decisions, unknown.Outcome = nil, nil
	cut := parts()
	cut.Outcome = nil
	for name, x := range map[string]any{
		"exchange": NewExchange(parts()), "unknown": NewExchange(unknown), "open": NewExchange(cut),
		"session":  NewSession([]Exchange{NewExchange(parts())}),
		"decision": NewDecision(at(1), "ses_1", "exc_1", parts().Decisions[0].Body),
		"status":   Status{Ready: true, Version: "v1", Kernel: Kernel{Attached: []string{"connect4"}}, Scopes: []Scope{{Name: "agents", Mode: "enforce", Fail: "closed", Untrusted: "deny"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(x, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("%s (-want +got):\n%s", file, d)
			}
			if bytes.Contains(got, []byte(": null")) {
				t.Error("null in JSON: lists are lists and strings strings, also when empty")
			}
		})
	}
}

func TestExchangeKeys(t *testing.T) {
	raw, err := json.Marshal(NewExchange(parts()))
	if err != nil {
		t.Fatal(err)
	}
	var x map[string]any
	if err := json.Unmarshal(raw, &x); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"session_id", "exchange_id", "time", "principal", "workload", "endpoint", "protocol", "operation", "model", "stream", "request",
		"response", "tools", "steps", "verdict", "masked", "usage", "duration_ms", "overhead_us"} {
		if _, ok := x[k]; !ok {
			t.Errorf("%s is missing", k)
		}
	}
	for object, keys := range map[string][]string{"principal": {"spiffe_id", "user"}, "workload": {"pid", "cgroup", "unit", "container", "pod"},
		"verdict": {"action", "stage", "rule", "reason", "mode", "enforced"}} {
		for _, k := range keys {
			if _, ok := x[object].(map[string]any)[k]; !ok {
				t.Errorf("%s.%s is missing", object, k)
			}
		}
	}
}

func TestNewSession(t *testing.T) {
	a, b := NewExchange(parts()), NewExchange(parts())
	a.Time, a.ExchangeID, a.Model = at(9), "exc_2", "gpt-4o"
	a.Verdict.Action = "allow"
	s := NewSession([]Exchange{a, b})
	if s.ID != "ses_1" || !s.Started.Equal(at(0)) || !s.Last.Equal(at(9)) || s.Count != 2 || s.Denied != 1 || s.Masked != 2 {
		t.Errorf("got %+v", s)
	}
	if d := cmp.Diff([]string{"gpt-4o-mini", "gpt-4o"}, s.Models); d != "" {
		t.Error(d)
	}
	if s.Exchanges[0].ExchangeID != "exc_1" {
		t.Error("exchanges are not in order")
	}
	if s := NewSession(nil); s.ID != "" {
		t.Errorf("no exchanges: %+v", s)
	}
}

func TestDecisive(t *testing.T) {
	p := parts()
	if d, ok := Decisive(p); !ok || d.ID != "dec_1" || d.Tool != "bash" {
		t.Errorf("got %+v, %v", d, ok)
	}
	p.Decisions = append([]Timed[pipeline.Decision]{{at(0), pipeline.Decision{ID: "dec_0", Verdict: pipeline.Verdict{Action: pipeline.Alert}}}}, p.Decisions...)
	p.Decisions = append(p.Decisions, Timed[pipeline.Decision]{at(2), pipeline.Decision{ID: "dec_2", Verdict: pipeline.Verdict{Action: pipeline.Deny}}})
	if d, _ := Decisive(p); d.ID != "dec_1" {
		t.Errorf("got %s, want the first of the most severe", d.ID)
	}
	if _, ok := Decisive(Parts{Intent: &pipeline.Intent{}}); ok {
		t.Error("a decision out of nothing")
	}
}
