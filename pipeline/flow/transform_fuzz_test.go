// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/llm/anthropic"
	"github.com/sallyport-dev/sallyport/pipeline/llm/openai"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// TestElevationIsLinked: the exchange that a grant allowed names it, whatever else was decided.
func TestElevationIsLinked(t *testing.T) {
	r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("hello"))
	r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		if s == nil {
			return pipeline.Verdict{Rule: "role/large", Elevation: "elv_1"}
		}
		return pipeline.Verdict{Action: pipeline.Alert, Rule: "guardrail/a"}
	})
	r.must()
	if o := r.outcome(); o.Verdict.Elevation != "elv_1" || o.Verdict.Action != pipeline.Alert {
		t.Errorf("outcome %+v", o)
	}
}

// TestCallsMasked: a guardrail masks the arguments of a tool call of a reply, in both forms.
func TestCallsMasked(t *testing.T) {
	call := `{"id":"c1","type":"function","function":{"name":"find","arguments":"{\"q\":\"badger ` + secret + `\"}"}}`
	whole := `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[` + call + `]},"finish_reason":"tool_calls"}]}`
	r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", whole)
	r.opts.Decider = lacking("badger")
	want := strings.Replace(strings.Replace(whole, "badger", "[WORD]", 1), secret, with, 1)
	if got := r.must(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if o := r.outcome(); string(o.Tools[0].Args) != `{"q":"[WORD] `+with+`"}` {
		t.Errorf("outcome %+v", o)
	}

	r = newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream",
		delta(0, `{"role":"assistant","tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"find","arguments":"{\"q\":\"bad"}}]}`, ""),
		delta(0, `{"tool_calls":[{"index":0,"function":{"arguments":"ger\"}"}}]}`, ""), delta(0, "{}", "tool_calls"), done)
	r.opts.Decider = lacking("badger")
	got := r.must()
	if strings.Contains(got, "badger") || strings.Contains(got, `"bad`) || !strings.Contains(got, "[WORD]") {
		t.Errorf("got %s", got)
	}
}

func TestAnthropicOffers(t *testing.T) {
	in := `{"model":"claude","max_tokens":100,"tools":[{"name":"bad","input_schema":{"type":"object"}},{"name":"a","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto"},"messages":[{"role":"user","content":"the badger"}]}`
	want := `{"model":"claude","max_tokens":100,"tools":[{"name":"a","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto"},"messages":[{"role":"user","content":"the [WORD]"}]}`
	r := newRig(t, pipeline.ModeEnforce, in)
	r.opts.Codecs = llm.Registry{"anthropic": anthropic.Provider{}}
	r.meta.Endpoint.Protocol, r.client.Request.Target = "anthropic", "/v1/messages"
	r.client.Request.Fields = append(r.client.Request.Fields, pipeline.Field{Name: "anthropic-version", Value: "2023-06-01"})
	r.reply(200, "application/json", `{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}`)
	r.opts.Decider = lacking("badger", "bad")
	r.must()
	if len(r.up.Sent) != 1 || string(r.up.Sent[0]) != want {
		t.Errorf("sent %s", r.up.Sent)
	}
	if in := r.intent(); in.Call.MaxTokens != 100 {
		t.Errorf("intent %+v", in.Call)
	}
}

// FuzzTransform: whatever a request says and policy masks or takes out, what is sent is understood, has no more in it than before,
// and neither the word nor the tool.
func FuzzTransform(f *testing.F) {
	for _, s := range []string{plain, asked, `{"tools":[` + function("bad") + `],"tool_choice":"auto","model":"m","messages":[{"role":"user","content":"a badger\"}],\"x\":[{"}]}`,
		`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"x","arguments":"{\"a\":\"badger\"}"}}]}],"functions":[{"name":"bad"},{"name":"a"}]}`} {
		f.Add([]byte(s), "badger")
	}
	codec, err := openai.Provider{}.Codec(&pipeline.Endpoint{Name: "openai", Protocol: "openai"}, &pipeline.Head{Method: "POST", Target: "/v1/chat/completions", Fields: []pipeline.Field{{Name: "content-type", Value: "application/json"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, word string) {
		if len(word) < 3 || strings.Contains("[WORD]", word) {
			return
		}
		var before llm.Request
		if codec.Request(bytes.Clone(body), &before) != nil {
			return
		}
		r := newRig(t, pipeline.ModeEnforce, string(body)).reply(200, "application/json", completion("hello"))
		r.opts.Decider = lacking(word, "bad")
		if err := r.serve(); err != nil {
			t.Fatal(err)
		}
		if len(r.up.Sent) == 0 {
			return // refused
		}
		var after llm.Request
		if err := codec.Request(bytes.Clone(r.up.Sent[0]), &after); err != nil {
			t.Fatalf("sent %q: %v", r.up.Sent[0], err)
		}
		if !json.Valid(r.up.Sent[0]) || len(after.Call.Steps) > len(before.Call.Steps) || after.Call.Model != before.Call.Model {
			t.Fatalf("%q became %q", body, r.up.Sent[0])
		}
		i := 0
		for _, s := range before.Call.Steps {
			if s.Kind == pipeline.StepToolOffer && s.Name == "bad" {
				continue
			}
			if i == len(after.Call.Steps) {
				t.Fatalf("%q became %q: a step is gone", body, r.up.Sent[0])
			}
			a := after.Call.Steps[i]
			i++
			if a.Kind != s.Kind || a.Name != s.Name || a.Kind != pipeline.StepToolOffer && a.Text != strings.ReplaceAll(s.Text, word, "[WORD]") {
				t.Fatalf("%q became %q: step %+v became %+v", body, r.up.Sent[0], s, a)
			}
		}
	})
}
