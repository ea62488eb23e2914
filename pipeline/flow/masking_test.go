// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// endsAll is the value that ends an exchange; breaks makes the masker fail.
const (
	endsAll = "k7Qx-hunter2-Zz9vW-31"
	breaks  = "BREAK-THE-MASKER"
)

// strict masks as its fake does, refuses one word and fails at another. With sent it also masks requests before they are sent.
type strict struct {
	fakes.Masker
	sent bool
}

type refusal struct{ carrier string }

func (e refusal) Error() string { return "refused by private-key" }
func (e refusal) Refused() pipeline.Mask {
	return pipeline.Mask{Carrier: e.carrier, Type: "PRIVATE_KEY", Rule: "private-key", Why: "a header", At: 3, Len: 4, With: "x"}
}

type strictWriter struct {
	flow.Rewriter
	carrier string
	record  bool
	refused bool
}

func (k strict) make(carrier string, record bool) flow.Rewriter {
	words := append([]string{endsAll, breaks}, k.Words...)
	return &strictWriter{fakes.Masker{Words: words, With: k.With}.Stream(carrier, nil, nil), carrier, record, false}
}

func (k strict) Stream(carrier string, _ *pipeline.Meta, _ []byte) flow.Rewriter {
	return k.make(carrier, false)
}

func (k strict) Request(carrier string, _ *pipeline.Meta, _ []byte, sent bool) flow.Rewriter {
	if sent && !k.sent {
		return nil
	}
	return k.make(carrier, !sent)
}

func (w *strictWriter) Masks() []pipeline.Mask {
	if w.refused {
		return nil
	}
	return w.Rewriter.Masks()
}

func (w *strictWriter) Write(dst, src []byte) ([]byte, error) {
	n, before := len(dst), len(w.Masks())
	dst, err := w.Rewriter.Write(dst, src)
	for _, m := range w.Masks()[before:] {
		switch {
		case m.Len == len(endsAll) && !w.record:
			w.refused = true
			return dst[:n], refusal{w.carrier}
		case m.Len == len(breaks) && !w.record:
			return dst[:n], errors.New("the masker broke")
		}
	}
	return dst, err
}

// bytewise cuts a stream into pieces of n bytes.
func bytewise(s string, n int) (out []string) {
	for ; len(s) > n; s = s[n:] {
		out = append(out, s[:n])
	}
	return append(out, s)
}

var (
	stopped = delta(0, "{}", "stop") + done
	called  = delta(0, "{}", "tool_calls") + done
)

func argsEvent(head bool, args string) string {
	name := ""
	if head {
		name = `"id":"call_1","type":"function",`
		args = `"name":"save","arguments":` + quote(args)
	} else {
		args = `"arguments":` + quote(args)
	}
	return delta(0, `{"tool_calls":[{"index":0,`+name+`"function":{`+args+`}}]}`, "")
}

// nothingOf checks that no piece of a value that is long enough to say something was released or recorded.
func (r *rig) nothingOf(value string) {
	r.t.Helper()
	for i := 0; i+6 <= len(value); i++ {
		if strings.Contains(string(r.client.Got), value[i:i+6]) {
			r.t.Fatalf("a part of the value was released: %s", r.client.Got)
		}
	}
	for _, e := range r.log.Entries {
		if strings.Contains(string(e.JSON), value) {
			r.t.Fatalf("the value is on record: %s", e.JSON)
		}
	}
	for _, n := range r.notes {
		if strings.Contains(n, value) {
			r.t.Fatalf("the value is in a notice: %s", n)
		}
	}
}

// A value that ends the exchange: the application gets an error in the provider's form, nothing of the value, and all is on record.
func TestMaskRefuses(t *testing.T) {
	half := len(endsAll) / 2
	for _, c := range []struct {
		name  string
		kind  string
		reply string
		stage string
		got   string // part of what the application gets
	}{
		{"stream, in one event", "text/event-stream", text(0, "Hello ") + text(0, "it is "+endsAll+" there") + stopped, pipeline.StepResponse, "Hello "},
		{"stream, over events", "text/event-stream", text(0, "Hello "+endsAll[:half]) + text(0, endsAll[half:]+" there") + stopped, pipeline.StepResponse, "sallyport_denied"},
		{"stream, first of all", "text/event-stream", text(0, endsAll) + stopped, pipeline.StepResponse, "sallyport_denied"},
		{"stream, arguments", "text/event-stream", argsEvent(true, `{"a":"`+endsAll[:half]) + argsEvent(false, endsAll[half:]+`"}`) + called, pipeline.StepToolCall, "sallyport_denied"},
		{"whole", "application/json", completion("it is " + endsAll), pipeline.StepResponse, "sallyport_denied"},
		{"whole, arguments", "application/json", completionOfCall(`{"a":"` + endsAll + `"}`), pipeline.StepToolCall, "sallyport_denied"},
		{"error", "application/json", `{"error":{"message":"no ` + endsAll + `"}}`, pipeline.StepResponse, "sallyport_denied"},
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d", c.name, n), func(t *testing.T) {
				request := plain
				if c.kind == "text/event-stream" {
					request = asked
				}
				status := 200
				if c.name == "error" {
					status = 400
				}
				r := newRig(t, pipeline.ModeEnforce, request).reply(status, c.kind, bytewise(c.reply, n)...)
				r.opts.Masker = strict{Masker: fakes.Masker{Words: []string{secret}, With: with}}
				err := r.serve()
				if c.kind == "text/event-stream" && err == nil || c.kind != "text/event-stream" && (err != nil || r.client.Reply.Status != 403) {
					t.Fatalf("%v, status %d", err, r.client.Reply.Status)
				}
				r.nothingOf(endsAll)
				if got := string(r.client.Got); !strings.Contains(got, c.got) || !strings.Contains(got, "sallyport_denied") || !strings.Contains(got, "PRIVATE_KEY") || strings.Contains(got, "[DONE]") {
					t.Errorf("got %s", got)
				}
				d := r.decisions()
				if len(d) != 1 || d[0].Verdict.Action != pipeline.Deny || d[0].Verdict.Rule != "mask/private-key" || d[0].Verdict.Stage != c.stage || !d[0].Enforced {
					t.Errorf("decided %+v", d)
				}
				o := r.outcome()
				if o.Verdict.Rule != "mask/private-key" || o.Decision != d[0].ID || len(o.Masks) == 0 {
					t.Fatalf("outcome %+v", o)
				}
				if len(o.Masks) != 1 || !hasRefusal(o.Masks) {
					t.Errorf("masks %+v", o.Masks)
				}
				if c.kind == "text/event-stream" && o.Cut != "agent" {
					t.Errorf("cut by %q", o.Cut)
				}
			})
		}
	}
}

func hasRefusal(ms []pipeline.Mask) bool {
	for _, m := range ms {
		if m.Action == "deny" && m.Type == "PRIVATE_KEY" && m.Rule == "private-key" && m.At == 0 && m.Len == 0 {
			return true
		}
	}
	return false
}

func completionOfCall(args string) string {
	b, _ := json.Marshal(args)
	return `{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1",` +
		`"type":"function","function":{"name":"save","arguments":` + string(b) + `}}]},"finish_reason":"tool_calls"}]}`
}

// Whatever else goes wrong with a masker ends the exchange as well, and nothing that it did not release goes out.
func TestMaskerBreaks(t *testing.T) {
	for _, c := range []struct{ name, kind, reply string }{
		{"stream", "text/event-stream", text(0, "Hello ") + text(0, "secret tail "+breaks+" rest") + text(0, "more of it") + stopped},
		{"arguments", "text/event-stream", argsEvent(true, `{"a":"secret tail `+breaks+` rest"}`) + called},
		{"whole", "application/json", completion("secret tail " + breaks + " rest")},
		{"whole, arguments", "application/json", completionOfCall(`{"a":"secret tail ` + breaks + ` rest"}`)},
	} {
		for _, n := range []int{1, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d", c.name, n), func(t *testing.T) {
				request := plain
				if c.kind == "text/event-stream" {
					request = asked
				}
				r := newRig(t, pipeline.ModeEnforce, request).reply(200, c.kind, bytewise(c.reply, n)...)
				r.opts.Masker = strict{Masker: fakes.Masker{With: with}}
				err := r.serve()
				if c.kind == "text/event-stream" && err == nil || c.kind != "text/event-stream" && (err != nil || r.client.Reply.Status != 403) {
					t.Fatalf("%v, status %d", err, r.client.Reply.Status)
				}
				got := string(r.client.Got)
				if strings.Contains(got, "secret tail") || strings.Contains(got, "rest") || strings.Contains(got, "more of it") || strings.Contains(got, "[DONE]") || !strings.Contains(got, "sallyport_unavailable") {
					t.Errorf("got %s", got)
				}
				if d := r.decisions(); len(d) != 1 || d[0].Verdict.Rule != "builtin/unavailable" {
					t.Errorf("decided %+v", d)
				}
				if o := r.outcome(); c.kind == "text/event-stream" && o.Cut != "error" {
					t.Errorf("cut by %q", o.Cut)
				}
			})
		}
	}
}

func TestMaskSent(t *testing.T) {
	talk := `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"key ` + secret + ` \u00fc"},` +
		`{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"save","arguments":"{\"k\":\"` + secret + `\"}"}}]},` +
		`{"role":"tool","tool_call_id":"c1","content":"saved ` + secret + `"}],"temperature":0.5}`
	masked := strings.ReplaceAll(strings.ReplaceAll(talk, secret, with), `\u00fc`, "ü")
	r := newRig(t, pipeline.ModeEnforce, talk).reply(200, "application/json", completion("hi"))
	r.opts.Masker = strict{Masker: fakes.Masker{Words: []string{secret}, With: with}, sent: true}
	var seen []string
	r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		if s != nil {
			seen = append(seen, s.Text+string(s.Args))
		}
		return pipeline.Verdict{}
	})
	r.must()
	if len(r.up.Sent) != 1 || string(r.up.Sent[0]) != masked {
		t.Fatalf("sent %s", r.up.Sent)
	}
	if strings.Contains(strings.Join(seen, "\n"), secret) {
		t.Error("policy saw what is not sent")
	}
	in := r.intent()
	if string(in.Body) != masked || len(in.Masks) != 3 || int(in.BodyBytes) != len(masked) {
		t.Errorf("intent %+v", in)
	}
	for _, m := range in.Masks {
		if !m.Upstream {
			t.Errorf("%+v", m)
		}
	}
	if d := r.decisions(); len(d) != 1 || d[0].Verdict.Action != pipeline.Transform || d[0].Verdict.Stage != pipeline.StepPrompt || d[0].Verdict.Rule != "builtin/mask" {
		t.Errorf("decided %+v", d)
	}
	if o := r.outcome(); o.Verdict.Action != pipeline.Transform {
		t.Errorf("outcome %+v", o.Verdict)
	}

	// Not asked for: the record alone is masked.
	r = newRig(t, pipeline.ModeEnforce, talk).reply(200, "application/json", completion("hi"))
	r.opts.Masker = strict{Masker: fakes.Masker{Words: []string{secret}, With: with}}
	r.must()
	if in := r.intent(); string(r.up.Sent[0]) != talk || strings.Contains(string(in.Body), secret) || len(in.Masks) != 3 || in.Masks[0].Upstream {
		t.Errorf("sent %s, recorded %+v", r.up.Sent, in)
	}
	// Nothing is changed where nothing is enforced.
	r = newRig(t, pipeline.ModeObserve, talk).reply(200, "application/json", completion("hi"))
	r.opts.Masker = strict{Masker: fakes.Masker{Words: []string{secret}, With: with}, sent: true}
	r.must()
	if in := r.intent(); string(r.up.Sent[0]) != talk || strings.Contains(string(in.Body), secret) {
		t.Errorf("sent %s, recorded %+v", r.up.Sent, in)
	}
}

// What must not be sent is not sent, and not recorded.
func TestMaskSentRefuses(t *testing.T) {
	ask := func(text string) string {
		return `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"key ` + text + `"}]}`
	}
	r := newRig(t, pipeline.ModeEnforce, ask(endsAll)).reply(200, "application/json", completion("hi"))
	r.opts.Masker = strict{Masker: fakes.Masker{With: with}, sent: true}
	r.wantDenied("sallyport_denied")
	r.nothingOf(endsAll)
	if d := r.decisions(); len(d) != 1 || d[0].Verdict.Rule != "mask/private-key" || d[0].Verdict.Stage != pipeline.StepPrompt {
		t.Errorf("decided %+v", d)
	}
	if o := r.outcome(); !hasRefusal(o.Masks) || !o.Masks[0].Upstream {
		t.Errorf("masks %+v", o.Masks)
	}
	r = newRig(t, pipeline.ModeEnforce, ask(breaks)).reply(200, "application/json", completion("hi"))
	r.opts.Masker = strict{Masker: fakes.Masker{With: with}, sent: true}
	r.wantDenied("sallyport_unavailable")
	// A value that would end a reply does not keep a request from being recorded, and sent where that is not forbidden.
	r = newRig(t, pipeline.ModeEnforce, ask(endsAll)).reply(200, "application/json", completion("hi"))
	r.opts.Masker = strict{Masker: fakes.Masker{With: with}}
	r.must()
	if in := r.intent(); len(r.up.Sent) != 1 || strings.Contains(string(in.Body), endsAll) {
		t.Errorf("recorded %s", in.Body)
	}
}

// A guardrail that masks replies is on record as if it had been asked.
func TestGuardrailMasksReply(t *testing.T) {
	for _, mode := range []pipeline.Mode{pipeline.ModeEnforce, pipeline.ModeObserve} {
		for kind, reply := range map[string]string{"text/event-stream": text(0, "a "+secret[:9]) + text(0, secret[9:]+" b") + stopped, "application/json": completion("a " + secret)} {
			request := plain
			if kind == "text/event-stream" {
				request = asked
			}
			r := newRig(t, mode, request).reply(200, kind, reply)
			r.opts.Masker = named{fakes.Masker{Words: []string{secret}, With: with}, "guardrail/project"}
			r.must()
			if got := string(r.client.Got); strings.Contains(got, secret) != (mode == pipeline.ModeObserve) && !strings.Contains(got, secret[9:]) {
				t.Errorf("%v %s: %s", mode, kind, got)
			}
			d := r.decisions()
			if len(d) != 1 || d[0].Verdict.Action != pipeline.Transform || d[0].Verdict.Rule != "guardrail/project" || d[0].Verdict.Stage != pipeline.StepResponse ||
				len(d[0].Verdict.Matched) != 1 || d[0].Enforced != (mode == pipeline.ModeEnforce) {
				t.Fatalf("%v %s: %+v", mode, kind, d)
			}
			if o := r.outcome(); o.Verdict.Rule != "guardrail/project" || o.Decision != d[0].ID || len(o.Masks) != 1 || o.Masks[0].Rule != "guardrail/project" {
				t.Errorf("%v %s: %+v", mode, kind, o)
			}
		}
	}
}

// named says which rule masked.
type named struct {
	fakes.Masker
	rule string
}

func (k named) Stream(carrier string, m *pipeline.Meta, before []byte) flow.Rewriter {
	return namedWriter{k.Masker.Stream(carrier, m, before), k.rule}
}

type namedWriter struct {
	flow.Rewriter
	rule string
}

func (w namedWriter) Masks() []pipeline.Mask {
	out := append([]pipeline.Mask(nil), w.Rewriter.Masks()...)
	for i := range out {
		out[i].Rule = w.rule
	}
	return out
}
