// SPDX-License-Identifier: Apache-2.0

package cond

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func env(t testing.TB) *Env {
	t.Helper()
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func input() *Input {
	return &Input{
		Meta: &pipeline.Meta{Principal: pipeline.Principal{User: "ann", Groups: []string{"dev", "ops"}},
			Workload: pipeline.Workload{Unit: "a.service", UID: 7, Labels: map[string]string{"team": "x"}},
			Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Port: 443}},
		Call:  &pipeline.Call{Operation: "chat", Model: "gpt-4o", Stream: true, MaxTokens: 100},
		Step:  &pipeline.Step{Kind: pipeline.StepToolCall, Name: "pay", Args: []byte(`{"amount":250,"to":"bob","rate":1.5,"items":[{"n":1},{"n":2}]}`)},
		Now:   time.Date(2026, 3, 2, 22, 30, 0, 0, time.UTC),
		Texts: func() ([]string, error) { return []string{"raw", "decoded words"}, nil },
	}
}

func TestEval(t *testing.T) {
	e := env(t)
	for expr, want := range map[string]string{
		`principal.user == "ann" && "ops" in principal.groups`:           "true",
		`workload.labels["team"] == "x" && workload.uid == 7`:            "true",
		`workload.labels.team == "y"`:                                    "false",
		`endpoint.host.endsWith(".openai.com") && endpoint.port == 443`:  "true",
		`call.stream && call.maxTokens <= 100 && call.model != "x"`:      "true",
		`step.name == "pay" && step.args.amount > 200`:                   "true",
		`step.args.rate < 2 && step.args.items.exists(i, i.n == 2)`:      "true",
		`has(step.args.missing)`:                                         "false",
		`step.args.missing == 1`:                                         "error",
		`step.texts.exists(s, s.contains("decoded"))`:                    "true",
		`now.getHours() >= 22`:                                           "true",
		`now.getHours("Europe/Berlin") == 23 && now.getDayOfWeek() == 1`: "true",
		`step.args.to.matches("^b")`:                                     "true",
	} {
		p, err := e.Compile(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		yes, err := p.Eval(input())
		got := "false"
		if err != nil {
			got = "error"
		} else if yes {
			got = "true"
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", expr, got, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	e := env(t)
	for expr, says := range map[string]string{
		``:                           "Syntax error",
		`principal.usr == ""`:        "undeclared reference",
		`principal.user`:             "not yes or no",
		`step.text.matches("(")`:     "invalid matches argument",
		`[1,2].map(x, x).size() > 1`: "undeclared reference to 'map'",
		`step.args.a.all(x, step.args.b.all(y, step.args.c.all(z, x == y && y == z)))`:                 "",
		`step.args.a.exists(x, step.args.b.exists(y, step.text.contains(x) && step.text.contains(y)))`: "too much",
		strings.Repeat("(", 60) + "true" + strings.Repeat(")", 60):                                     "",
		`"` + strings.Repeat("x", maxLength) + `" == ""`:                                               "longer than",
		`step.texts.exists(a, step.texts.exists(b, step.texts.exists(c, a == b && b == c)))`:           "",
		`step.texts.all(a, step.texts.all(b, a.contains(b)))`:                                          "too much",
		`step.text.matches("((((a{20}){20}){20}){2}){2}")`:                                             "",
		`principal.user == 1`: "no matching overload",
	} {
		if _, err := e.Compile(expr); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80s: %v", expr, err)
		}
	}
}

// TestRunLimit: a text longer than the estimate takes for granted is an error, not minutes.
func TestRunLimit(t *testing.T) {
	p, err := env(t).Compile(`step.text.contains("needle")`)
	if err != nil {
		t.Fatal(err)
	}
	in := input()
	in.Step = &pipeline.Step{Kind: pipeline.StepPrompt, Text: strings.Repeat("x", 32<<20)}
	if yes, err := p.Eval(in); err == nil || yes {
		t.Errorf("got %t, %v", yes, err)
	}
}

// TestTextsThatCannotBeTold: where not every reading could be had, nobody says that a word is in none.
func TestTextsThatCannotBeTold(t *testing.T) {
	p, err := env(t).Compile(`step.texts.exists(s, s.contains("x"))`)
	if err != nil {
		t.Fatal(err)
	}
	in := input()
	in.Texts = func() ([]string, error) { return nil, errors.New("too many") }
	if yes, err := p.Eval(in); err == nil || yes {
		t.Errorf("got %t, %v", yes, err)
	}
}

func TestArgs(t *testing.T) {
	p, err := env(t).Compile(`step.args.a == 1`)
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		`{"a":1}`: "true", `{"a":2}`: "false", `{"a":1,"a":1}`: "error", `{"a":1,"A":2}`: "error", `{"a":1}x`: "error", ``: "error", `broken`: "error",
		`{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`: "error", `{"a":1.0}`: "true", `{"a":1,"b":"` + strings.Repeat("x", maxArgs) + `"}`: "error",
	} {
		in := input()
		in.Step = &pipeline.Step{Kind: pipeline.StepToolCall, Args: []byte(args)}
		yes, err := p.Eval(in)
		got := map[bool]string{true: "true", false: "false"}[yes]
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%.40s: %s, want %s", args, got, want)
		}
	}
}

// FuzzCompile: whatever is written, it compiles or is refused, and what compiles ends.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`true`, `step.args.a.exists(x, x == 1)`, `now > timestamp("2026-01-01T00:00:00Z")`, `step.text.matches("a+")`, `"a" in principal.groups`} {
		f.Add(s, `{"a":[1,2]}`)
	}
	e := env(f)
	f.Fuzz(func(t *testing.T, expr, args string) {
		p, err := e.Compile(expr)
		if err != nil {
			return
		}
		in := input()
		in.Step.Args = []byte(args)
		_, _ = p.Eval(in)
	})
}
