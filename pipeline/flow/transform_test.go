// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// lacking is a policy whose roles lack some tools, and that masks a word wherever it stands.
func lacking(word string, tools ...string) fakes.Decider {
	return func(_ *pipeline.Meta, c *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		if s == nil {
			return pipeline.Verdict{Rule: "role/fake"}
		}
		v := pipeline.Verdict{Stage: s.Kind}
		for _, t := range tools {
			if s.Kind == pipeline.StepToolOffer && s.Name == t {
				return pipeline.Verdict{Action: pipeline.Deny, Stage: s.Kind, Rule: "role/small", Reason: "the role lacks tool " + t}
			}
		}
		text, carrier := s.Text, "text"
		if len(s.Args) > 0 {
			text, carrier = string(s.Args), "args"
		}
		for at := 0; word != "" && s.Kind != pipeline.StepResponse && s.Kind != pipeline.StepToolOffer; {
			i := strings.Index(text[at:], word)
			if i < 0 {
				break
			}
			v.Action, v.Rule = pipeline.Transform, "guardrail/word"
			v.Masks = append(v.Masks, pipeline.Mask{Carrier: carrier, Type: "word", At: at + i, Len: len(word), With: "[WORD]"})
			at += i + len(word)
		}
		if len(v.Masks) > 0 {
			v.Matched = []pipeline.Matched{{Rule: v.Rule, Action: v.Action}}
		}
		return v
	}
}

func function(name string) string {
	return `{"type":"function","function":{"name":"` + name + `","parameters":{}}}`
}

func TestOffers(t *testing.T) {
	messages := `"messages":[{"role":"user","content":"Say hi"}]`
	for _, c := range []struct{ name, in, want string }{
		{"one of three", `{"model":"m","tools":[` + function("a") + ` , ` + function("bad") + `, ` + function("c") + `],` + messages + `}`,
			`{"model":"m","tools":[` + function("a") + `, ` + function("c") + `],` + messages + `}`},
		{"the first", `{"model":"m","tools":[` + function("bad") + `, ` + function("c") + `],` + messages + `}`,
			`{"model":"m","tools":[` + function("c") + `],` + messages + `}`},
		{"the last, and the choice stays", `{"model":"m","tool_choice":"auto","tools":[` + function("a") + `,` + function("bad") + `],` + messages + `}`,
			`{"model":"m","tool_choice":"auto","tools":[` + function("a") + `],` + messages + `}`},
		{"all, with the choice beside it", `{"tools":[` + function("bad") + `],"tool_choice":"required","model":"m",` + messages + `}`, `{"model":"m",` + messages + `}`},
		{"all, in the middle", `{"model":"m","tools":[` + function("bad") + `],"tool_choice":"auto",` + messages + `}`, `{"model":"m",` + messages + `}`},
		{"all, at the end", `{"model":"m",` + messages + `,"tools":[` + function("bad") + `,` + function("worse") + `],"parallel_tool_calls":false , "tool_choice" : "auto"}`, `{"model":"m",` + messages + `}`},
		{"all, spread", `{ "tool_choice":"auto", "model":"m", "tools":[` + function("bad") + `], ` + messages + ` }`, `{ "model":"m", ` + messages + ` }`},
		{"the older form", `{"model":"m",` + messages + `,"functions":[{"name":"bad","parameters":{}}],"function_call":"auto"}`, `{"model":"m",` + messages + `}`},
		{"a choice of another tool", `{"model":"m","tools":[` + function("a") + `,` + function("bad") + `],"tool_choice":{"type":"function","function":{"name":"a"}},` + messages + `}`,
			`{"model":"m","tools":[` + function("a") + `],"tool_choice":{"type":"function","function":{"name":"a"}},` + messages + `}`},
		{"none", `{"model":"m","tools":[` + function("a") + `],` + messages + `}`, `{"model":"m","tools":[` + function("a") + `],` + messages + `}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, c.in).reply(200, "application/json", completion("hello"))
			r.opts.Decider = lacking("", "bad", "worse")
			if got := r.must(); got != completion("hello") {
				t.Fatalf("got %s", got)
			}
			if got := string(r.up.Sent[0]); got != c.want {
				t.Errorf("sent %s\nwant %s", got, c.want)
			}
			in := r.intent()
			if string(in.Body) != compact(t, c.want) && string(in.Body) != c.want {
				t.Errorf("recorded %s", in.Body)
			}
			for _, s := range in.Call.Steps {
				if s.Name == "bad" || s.Name == "worse" {
					t.Errorf("the record has the offer of %s", s.Name)
				}
			}
			want := []string{"intent", "event", "outcome"}
			if c.name != "none" {
				want = []string{"intent", "decision", "event", "outcome"}
			}
			if got := r.log.Kinds(); !reflect.DeepEqual(got, want) {
				t.Fatalf("records %v", got)
			}
			if c.name == "none" {
				return
			}
			d := r.decisions()[0]
			if d.Verdict.Action != pipeline.Transform || !d.Enforced || d.Verdict.Rule != "role/small" || !strings.Contains(d.Verdict.Reason, "taken out of the offer: bad") {
				t.Errorf("decision %+v", d)
			}
			if o := r.outcome(); o.Verdict.Action != pipeline.Transform || o.Decision != d.ID {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func compact(t *testing.T, s string) string {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (r *rig) decisions() (out []pipeline.Decision) {
	r.t.Helper()
	for _, raw := range r.log.Of(pipeline.KindDecision) {
		var d pipeline.Decision
		if err := json.Unmarshal(raw, &d); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// TestOffersDenied: what cannot be taken out is refused.
func TestOffersDenied(t *testing.T) {
	for name, in := range map[string]string{
		"demanded": `{"model":"m","tools":[` + function("a") + `,` + function("bad") + `],"tool_choice":{"type":"function","function":{"name":"bad"}},"messages":[]}`,
		"no place": `{"model":"m","web_search_options":{},"messages":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, in).reply(200, "application/json", completion("hello"))
			r.opts.Decider = lacking("", "bad", "web_search")
			msg := r.wantDenied("sallyport_denied")
			if name == "demanded" && !strings.Contains(msg, "demands a tool that the role lacks") {
				t.Errorf("message %q", msg)
			}
		})
	}
}

func TestGuardrailMasks(t *testing.T) {
	in := `{"model":"m", "messages":[{"role":"user","content":"the badger\n\"badger\""},` +
		`{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"find","arguments":"{\"q\":\"badger\"}"}}]},` +
		`{"role":"tool","tool_call_id":"c1","content":"no badger and ` + secret + `"}]}`
	want := `{"model":"m", "messages":[{"role":"user","content":"the [WORD]\n\"[WORD]\""},` +
		`{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"find","arguments":"{\"q\":\"[WORD]\"}"}}]},` +
		`{"role":"tool","tool_call_id":"c1","content":"no [WORD] and ` + secret + `"}]}`
	r := newRig(t, pipeline.ModeEnforce, in).reply(200, "application/json", completion("hello"))
	r.opts.Decider = lacking("badger")
	r.must()
	if got := string(r.up.Sent[0]); got != want {
		t.Errorf("sent %s\nwant %s", got, want)
	}
	r.noSecret()
	for _, e := range r.log.Entries {
		if strings.Contains(string(e.JSON), "badger") {
			t.Errorf("%s has the word: %s", e.Kind, e.JSON)
		}
	}
	if d := r.decisions(); len(d) != 3 || d[0].Verdict.Action != pipeline.Transform || d[0].Step.Text != "the [WORD]\n\"[WORD]\"" || string(d[1].Step.Args) != `{"q":"[WORD]"}` {
		t.Errorf("decisions %+v", d)
	}
	if r.client.Reply.Status != 200 {
		t.Errorf("status %d", r.client.Reply.Status)
	}
}

// TestObservedChangesNothing: in observe mode, and where rules only observe, every byte passes as it came.
func TestObservedChangesNothing(t *testing.T) {
	in := `{"model":"m","tools":[` + function("bad") + `],"messages":[{"role":"user","content":"the badger"}]}`
	r := newRig(t, pipeline.ModeObserve, in).reply(200, "application/json", completion("hello"))
	r.opts.Decider = lacking("badger", "bad")
	r.must()
	if got := string(r.up.Sent[0]); got != in {
		t.Errorf("sent %s", got)
	}
	if d := r.decisions(); len(d) != 2 || d[0].Enforced || d[1].Enforced || d[0].Verdict.Action != pipeline.Transform {
		t.Errorf("decisions %+v", d)
	}

	r = newRig(t, pipeline.ModeEnforce, in).reply(200, "application/json", completion("hello"))
	r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		if s == nil || s.Kind != pipeline.StepPrompt {
			return pipeline.Verdict{Rule: "role/fake"}
		}
		return pipeline.Verdict{Matched: []pipeline.Matched{{Rule: "guardrail/new", Action: pipeline.Deny, Observed: true}}}
	})
	r.must()
	d := r.decisions()
	if string(r.up.Sent[0]) != in || len(d) != 1 || d[0].Enforced || d[0].Verdict.Action != pipeline.Allow || len(d[0].Verdict.Matched) != 1 {
		t.Errorf("sent %s, decisions %+v", r.up.Sent[0], d)
	}
	if o := r.outcome(); o.Verdict.Rule != "role/fake" || o.Decision != "" {
		t.Errorf("outcome %+v", o)
	}
}

// TestWatchedOffers: what rules that only observe would do to an offer is one decision, however many tools there are.
func TestWatchedOffers(t *testing.T) {
	in := `{"model":"m","tools":[` + function("a") + `,` + function("b") + `],"messages":[{"role":"user","content":"hi"}]}`
	r := newRig(t, pipeline.ModeEnforce, in).reply(200, "application/json", completion("hello"))
	r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		if s != nil && s.Kind == pipeline.StepToolOffer {
			return pipeline.Verdict{Matched: []pipeline.Matched{{Rule: "role/new", Action: pipeline.Deny, Observed: true}}}
		}
		return pipeline.Verdict{}
	})
	r.must()
	d := r.decisions()
	if string(r.up.Sent[0]) != in || len(d) != 1 || d[0].Enforced || len(d[0].Verdict.Matched) != 1 || !strings.HasSuffix(d[0].Verdict.Reason, "the offer of a, b") {
		t.Errorf("decisions %+v", d)
	}
}

// TestTransformFails: a mask that cannot be carried out is no reason to send the rest.
func TestTransformFails(t *testing.T) {
	for name, m := range map[string]pipeline.Mask{
		"beyond the end": {Carrier: "text", At: 2, Len: 100, With: "x"}, "before the start": {Carrier: "text", At: -1, Len: 1},
		"of another carrier": {Carrier: "args", At: 0, Len: 1}, "backwards": {Carrier: "text", At: 3, Len: -1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("hello"))
			r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
				if s != nil && s.Kind == pipeline.StepPrompt {
					return pipeline.Verdict{Action: pipeline.Transform, Rule: "guardrail/x", Masks: []pipeline.Mask{m}}
				}
				return pipeline.Verdict{}
			})
			r.wantDenied("sallyport_unavailable")
		})
	}
}

// TestDenialBeforeHold: nobody is asked about a request that is refused anyway.
func TestDenialBeforeHold(t *testing.T) {
	r := newRig(t, pipeline.ModeEnforce, `{"model":"m","messages":[{"role":"user","content":"hold this"},{"role":"user","content":"deny this"}]}`)
	r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		switch {
		case s != nil && strings.HasPrefix(s.Text, "hold"):
			return pipeline.Verdict{Action: pipeline.Hold, Rule: "guardrail/h"}
		case s != nil && strings.HasPrefix(s.Text, "deny"):
			return pipeline.Verdict{Action: pipeline.Deny, Rule: "guardrail/d"}
		}
		return pipeline.Verdict{}
	})
	asked := 0
	r.opts.Holder = holderFunc(func(*pipeline.Held) (pipeline.Verdict, error) { asked++; return pipeline.Verdict{}, nil })
	if msg := r.wantDenied("sallyport_denied"); asked != 0 || !strings.Contains(msg, "guardrail/d") {
		t.Errorf("asked %d times: %s", asked, msg)
	}
}

// TestHoldShowsWhatIsSent: people see the masked request, and that is what goes.
func TestHoldShowsWhatIsSent(t *testing.T) {
	r := newRig(t, pipeline.ModeEnforce, `{"model":"m","messages":[{"role":"user","content":"pay the badger"}]}`).reply(200, "application/json", completion("hello"))
	masks := lacking("badger")
	r.opts.Decider = fakes.Decider(func(m *pipeline.Meta, c *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		v := masks(m, c, s)
		if len(v.Masks) > 0 {
			v.Action = pipeline.Hold
		}
		return v
	})
	var shown, raw string
	r.opts.Holder = holderFunc(func(h *pipeline.Held) (pipeline.Verdict, error) {
		shown, raw = h.Step.Text, string(h.Raw)
		return pipeline.Verdict{}, nil
	})
	r.must()
	if shown != "pay the [WORD]" || string(r.up.Sent[0]) != raw || strings.Contains(raw, "badger") {
		t.Errorf("shown %q, raw %s, sent %s", shown, raw, r.up.Sent[0])
	}
}

type holderFunc func(*pipeline.Held) (pipeline.Verdict, error)

func (f holderFunc) Wait(_ context.Context, h *pipeline.Held) (pipeline.Verdict, error) { return f(h) }

func TestBudgetCode(t *testing.T) {
	r := newRig(t, pipeline.ModeEnforce, plain)
	r.opts.Decider = fakes.Decider(func(*pipeline.Meta, *pipeline.Call, *pipeline.Step) pipeline.Verdict {
		return pipeline.Verdict{Action: pipeline.Deny, Code: pipeline.CodeBudget, Rule: "role/small", Reason: "used up"}
	})
	r.wantDenied("sallyport_budget")
}

// accountant is a policy that counts.
type accountant struct {
	fakes.Decider
	got []pipeline.Usage
}

func (a *accountant) Account(_ *pipeline.Meta, _ *pipeline.Call, _ pipeline.Verdict, u pipeline.Usage) {
	a.got = append(a.got, u)
}

func TestAccount(t *testing.T) {
	for name, c := range map[string]struct {
		set     func(*rig)
		in, out int64 // -1: not accounted
	}{
		"said": {func(r *rig) { r.reply(200, "application/json", completion("hello")) }, 5, 4},
		"estimated": {func(r *rig) {
			r.reply(200, "text/event-stream", text(0, strings.Repeat("word", 10)), delta(0, "{}", "stop"), done)
		}, int64(len(plain)) / 4, 10},
		"denied": {func(r *rig) { r.client.Request.Target = "/v1/nothing" }, -1, -1},
		"cut":    {func(r *rig) { r.reply(200, "text/event-stream", text(0, "wordword"), "data: {") }, int64(len(plain)) / 4, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, plain)
			a := &accountant{}
			r.opts.Decider = a
			c.set(r)
			_ = r.serve()
			switch {
			case c.in < 0:
				if len(a.got) != 0 {
					t.Errorf("accounted %v", a.got)
				}
			case len(a.got) != 1 || *a.got[0].InputTokens != c.in || *a.got[0].OutputTokens != c.out:
				t.Errorf("accounted %+v", a.got)
			}
		})
	}
}

var _ flow.Accountant = &accountant{}
