// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/llm/openai"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

const (
	secret = "sk-proj-hunter2hunter2"
	with   = "[MASKED]"
	plain  = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hi"}]}`
	asked  = `{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Say hi"}]}`
)

// rig is an exchange with everything around it.
type rig struct {
	t      testing.TB
	opts   flow.Options
	meta   pipeline.Meta
	client fakes.Client
	up     fakes.Upstream
	log    *fakes.Log
	notes  []string
}

func newRig(t testing.TB, mode pipeline.Mode, request string) *rig {
	r := &rig{t: t, log: &fakes.Log{}}
	r.opts = flow.Options{
		Decider: fakes.Decider(nil), Masker: fakes.Masker{Words: []string{secret}, With: with}, Log: r.log,
		Sessions: fakes.Sessions("ses_1"), Codecs: llm.Registry{"openai": openai.Provider{}},
		Notice: func(stage string, err error) { r.notes = append(r.notes, stage+": "+err.Error()) },
	}
	r.meta = pipeline.Meta{Mode: mode, Scope: "agents", Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai"},
		Workload: pipeline.Workload{UID: 1000}}
	r.client = fakes.Client{Payload: []byte(request), Request: pipeline.Head{Method: "POST", Target: "/v1/chat/completions", Credential: "fp",
		Fields: []pipeline.Field{{Name: "host", Value: "api.openai.com"}, {Name: "content-type", Value: "application/json"}}}}
	return r
}

// reply scripts the answer; pieces of it are as given.
func (r *rig) reply(status int, kind string, pieces ...string) *rig {
	r.up.Head = pipeline.Head{Status: status, Reason: "OK", Fields: []pipeline.Field{{Name: "content-type", Value: kind}, {Name: "X-Odd", Value: "kept"}}}
	if kind == "text/event-stream" {
		r.up.Head.Fields = append(r.up.Head.Fields, pipeline.Field{Name: "transfer-encoding", Value: "chunked"})
	} else {
		n := 0
		for _, p := range pieces {
			n += len(p)
		}
		r.up.Head.Fields = append(r.up.Head.Fields, pipeline.Field{Name: "content-length", Value: fmt.Sprint(n)})
	}
	r.up.Pieces = nil
	for _, p := range pieces {
		r.up.Pieces = append(r.up.Pieces, []byte(p))
	}
	return r
}

func (r *rig) serve() error {
	f, err := flow.New(r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	defer r.client.Release() // nobody may look at the request any more
	return f.Serve(context.Background(), &r.meta, &r.client, &r.up)
}

func (r *rig) must() string {
	r.t.Helper()
	if err := r.serve(); err != nil {
		r.t.Fatalf("serve: %v (notes %v)", err, r.notes)
	}
	return string(r.client.Got)
}

func (r *rig) outcome() pipeline.Outcome {
	r.t.Helper()
	all := r.log.Of(pipeline.KindOutcome)
	if len(all) != 1 {
		r.t.Fatalf("%d outcomes", len(all))
	}
	var o pipeline.Outcome
	if err := json.Unmarshal(all[0], &o); err != nil {
		r.t.Fatal(err)
	}
	return o
}

func (r *rig) intent() pipeline.Intent {
	r.t.Helper()
	all := r.log.Of(pipeline.KindIntent)
	if len(all) != 1 {
		r.t.Fatalf("%d intents", len(all))
	}
	var o pipeline.Intent
	if err := json.Unmarshal(all[0], &o); err != nil {
		r.t.Fatal(err)
	}
	return o
}

// wantDenied checks a denial and that nothing reached the provider.
func (r *rig) wantDenied(code string) string {
	r.t.Helper()
	if err := r.serve(); err != nil {
		r.t.Fatalf("serve: %v", err)
	}
	if len(r.up.Sent) != 0 {
		r.t.Fatalf("%d requests reached the provider", len(r.up.Sent))
	}
	return r.wantFailure(code)
}

func (r *rig) wantFailure(code string) string {
	r.t.Helper()
	h := r.client.Reply
	if h.Status != 403 || h.Get("x-should-retry") != "false" || h.Get("content-type") != "application/json" ||
		h.Get("content-length") != fmt.Sprint(len(r.client.Got)) {
		r.t.Fatalf("denial head %+v for %d bytes", h, len(r.client.Got))
	}
	var e struct {
		Error struct {
			Message, Type, Code string
			Param               *string
		}
	}
	if err := json.Unmarshal(r.client.Got, &e); err != nil || e.Error.Type != "sallyport_denied" || e.Error.Code != code {
		r.t.Fatalf("denial %s: %v", r.client.Got, err)
	}
	if !strings.Contains(e.Error.Message, "sallyport why dec_") {
		r.t.Fatalf("message %q", e.Error.Message)
	}
	return e.Error.Message
}

func completion(content string) string {
	return `{"id":"chatcmpl-1", "object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":` +
		quote(content) + `},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}}`
}

func quote(s string) string { return string(llm.AppendString(nil, []byte(s))) }

func delta(choice int, delta, finish string) string {
	if finish == "" {
		finish = "null"
	} else {
		finish = quote(finish)
	}
	return fmt.Sprintf(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini","choices":[{"index":%d,"delta":%s,"finish_reason":%s}]}`+"\n\n",
		choice, delta, finish)
}

func text(choice int, s string) string { return delta(choice, `{"content":`+quote(s)+`}`, "") }

const done = "data: [DONE]\n\n"

func TestPlain(t *testing.T) {
	r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("hello")[:30], completion("hello")[30:])
	r.client.OnWrite = func() {
		if n := len(r.log.Of(pipeline.KindOutcome)); n != 1 {
			t.Errorf("bytes were released with %d outcomes on record", n)
		}
	}
	if got := r.must(); got != completion("hello") {
		t.Errorf("got %s", got)
	}
	if !reflect.DeepEqual(r.client.Reply, r.up.Head) {
		t.Errorf("head changed: %+v", r.client.Reply)
	}
	if string(r.up.Sent[0]) != plain || !r.up.Closed {
		t.Errorf("sent %s, closed %t", r.up.Sent[0], r.up.Closed)
	}
	if got := r.log.Kinds(); !reflect.DeepEqual(got, []string{"intent", "event", "outcome"}) {
		t.Errorf("records %v", got)
	}
	in, out := r.intent(), r.outcome()
	if in.Call.Operation != "chat" || in.Call.Model != "gpt-4o-mini" || in.Call.Steps[0].Text != "Say hi" || string(in.Body) != plain || in.Digest() == "" {
		t.Errorf("intent %+v", in)
	}
	if out.Status != 200 || out.Text != "hello" || out.ResponseID != "chatcmpl-1" || *out.Usage.InputTokens != 5 || *out.Usage.CachedTokens != 2 ||
		out.Verdict.Rule != "role/fake" || !out.Enforced || out.Finish[0] != "stop" || out.Cut != "" {
		t.Errorf("outcome %+v", out)
	}
}

func TestPlainMasked(t *testing.T) {
	r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("key "+secret+"\n\"ok\""))
	want := completion("key " + with + "\n\"ok\"")
	if got := r.must(); got != want {
		t.Errorf("got %s", got)
	}
	if r.client.Reply.Get("content-length") != fmt.Sprint(len(want)) || r.client.Reply.Get("X-Odd") != "kept" {
		t.Errorf("head %+v", r.client.Reply)
	}
	o := r.outcome()
	if len(o.Masks) != 1 || o.Verdict.Action != pipeline.Transform || o.Text != "key "+with+"\n\"ok\"" {
		t.Errorf("outcome %+v", o)
	}
	r.noSecret()
}

// noSecret checks that no record holds the secret.
func (r *rig) noSecret() {
	r.t.Helper()
	for _, e := range r.log.Entries {
		if strings.Contains(string(e.JSON), secret) {
			r.t.Errorf("%s holds the secret: %s", e.Kind, e.JSON)
		}
	}
}

func TestStream(t *testing.T) {
	first := delta(0, `{"role":"assistant","content":""}`, "")
	events := []string{": hi\n\n", first, text(0, "he"), text(0, "llo"), delta(0, "{}", "stop"),
		`data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}` + "\n\n", done}
	r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", events...)
	writes := 0
	r.client.OnWrite = func() {
		writes++
		if n := len(r.log.Of(pipeline.KindEvent)); n != writes {
			t.Errorf("write %d with %d events on record", writes, n)
		}
		if last := writes == len(events); last != (len(r.log.Of(pipeline.KindOutcome)) == 1) {
			t.Errorf("write %d: outcome on record: %t", writes, !last)
		}
	}
	if got, want := r.must(), strings.Join(events, ""); got != want {
		t.Errorf("got %s", got)
	}
	if !reflect.DeepEqual(r.client.Reply, r.up.Head) || len(r.client.Writes) != len(events) {
		t.Errorf("head %+v, writes %v", r.client.Reply, r.client.Writes)
	}
	o := r.outcome()
	if o.Text != "hello" || *o.Usage.OutputTokens != 2 || len(o.Pace) != len(events) || o.Finish[0] != "stop" {
		t.Errorf("outcome %+v", o)
	}
}

func TestStreamMasked(t *testing.T) {
	in := []string{text(0, "a "), text(0, "sk-proj-"), text(0, "hunter2"), text(0, "hunter2 b"), text(0, " sk-p"), text(0, "x"), delta(0, "{}", "stop"), done}
	want := []string{text(0, "a "), text(0, ""), text(0, ""), text(0, with+" b"), text(0, " sk-p"), text(0, "x"), delta(0, "{}", "stop"), done}
	r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", in...)
	if got := r.must(); got != strings.Join(want, "") {
		t.Errorf("got %s", got)
	}
	if o := r.outcome(); o.Text != "a "+with+" b sk-px" || len(o.Masks) != 1 || o.Masks[0].At != 2 {
		t.Errorf("outcome %+v", o)
	}
	r.noSecret()
}

func TestDeniedCall(t *testing.T) {
	r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("hello"))
	r.opts.HelpURL = "https://help.example/access"
	r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, c *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		return pipeline.Verdict{Action: pipeline.Deny, Rule: "builtin/no-role", Reason: "no role grants model " + c.Model}
	})
	msg := r.wantDenied("sallyport_denied")
	for _, want := range []string{"builtin/no-role", "no role grants model gpt-4o-mini", "https://help.example/access"} {
		if !strings.Contains(msg, want) {
			t.Errorf("message %q lacks %q", msg, want)
		}
	}
	if got := r.log.Kinds(); !reflect.DeepEqual(got, []string{"intent", "decision", "outcome"}) {
		t.Errorf("records %v", got)
	}
	if o := r.outcome(); o.Status != 403 || o.Verdict.Action != pipeline.Deny || o.Decision == "" || !strings.Contains(msg, o.Decision) {
		t.Errorf("outcome %+v", o)
	}
}

func TestFailClosed(t *testing.T) {
	boom := errors.New("boom")
	cases := []struct {
		name   string
		change func(*rig)
		code   string
		sent   int
	}{
		{"unknown path", func(r *rig) { r.client.Request.Target = "/v1/responses" }, "sallyport_not_inspected", 0},
		{"unknown method", func(r *rig) { r.client.Request.Method = "PUT" }, "sallyport_not_inspected", 0},
		{"unknown protocol", func(r *rig) { r.opts.Codecs = protocolOnly{}; r.meta.Endpoint.Protocol = "x" }, "sallyport_not_inspected", 0},
		{"content coding", func(r *rig) {
			r.client.Request.Fields = append(r.client.Request.Fields, pipeline.Field{Name: "Content-Encoding", Value: "gzip"})
		}, "sallyport_not_inspected", 0},
		{"duplicate key", func(r *rig) { r.client.Payload = []byte(`{"model":"a","model":"b","messages":[]}`) }, "sallyport_not_inspected", 0},
		{"model without end", func(r *rig) { r.client.Payload = []byte(`{"model":"` + strings.Repeat("m", 2000) + `","messages":[]}`) }, "sallyport_not_inspected", 0},
		{"too large", func(r *rig) { r.opts.BodyLimit = 10 }, "sallyport_not_inspected", 0},
		{"masker fails", func(r *rig) { r.opts.Masker = fakes.Masker{Err: boom} }, "sallyport_unavailable", 0},
		{"masker panics", func(r *rig) { r.opts.Masker = fakes.Masker{Panic: true} }, "sallyport_unavailable", 0},
		{"policy panics", func(r *rig) {
			r.opts.Decider = fakes.Decider(func(*pipeline.Meta, *pipeline.Call, *pipeline.Step) pipeline.Verdict { panic("x") })
		}, "sallyport_unavailable", 0},
		{"codec panics", func(r *rig) { r.opts.Codecs = panicCodecs{} }, "sallyport_not_inspected", 0},
		{"intent not durable", func(r *rig) { r.log.Fail = func(pipeline.Record) error { return boom } }, "sallyport_unavailable", 0},
		{"only the intent not durable", func(r *rig) { r.log.Fail = failOn(pipeline.KindIntent, boom) }, "sallyport_unavailable", 0},
		{"hold without a holder", func(r *rig) { r.opts.Decider = actOn(pipeline.StepPrompt, pipeline.Hold) }, "sallyport_held", 0},
		{"holder fails", func(r *rig) {
			r.opts.Decider = actOn(pipeline.StepPrompt, pipeline.Hold)
			r.opts.Holder = holder{err: boom}
		}, "sallyport_unavailable", 0},
		{"holder denies", func(r *rig) {
			r.opts.Decider = actOn(pipeline.StepPrompt, pipeline.Hold)
			r.opts.Holder = holder{v: pipeline.Verdict{Action: pipeline.Deny}}
		}, "sallyport_denied", 0},
		{"prompt denied", func(r *rig) { r.opts.Decider = actOn(pipeline.StepPrompt, pipeline.Deny) }, "sallyport_denied", 0},
		{"verdict that nobody can carry out", func(r *rig) { r.opts.Decider = actOn(pipeline.StepPrompt, pipeline.Transform) }, "sallyport_denied", 0},
		{"answer denied", func(r *rig) { r.opts.Decider = actOn(pipeline.StepResponse, pipeline.Deny) }, "sallyport_denied", 1},
		{"reply is no JSON", func(r *rig) { r.reply(200, "application/json", completion("x")+"x") }, "sallyport_not_inspected", 1},
		{"reply of unknown type", func(r *rig) { r.reply(200, "application/x-ndjson", completion("x")) }, "sallyport_not_inspected", 1},
		{"redirect", func(r *rig) { r.reply(302, "application/json", completion("x")) }, "sallyport_not_inspected", 1},
		{"reply in unknown coding", func(r *rig) {
			r.up.Head.Fields = append(r.up.Head.Fields, pipeline.Field{Name: "Content-Encoding", Value: "lzw"})
		}, "sallyport_not_inspected", 1},
		{"reply not gzip", func(r *rig) {
			r.up.Head.Fields = append(r.up.Head.Fields, pipeline.Field{Name: "Content-Encoding", Value: "gzip"})
		}, "sallyport_not_inspected", 1},
		{"reply too large", func(r *rig) { r.opts.ReplyLimit = 10 }, "sallyport_not_inspected", 1},
		{"event not written", func(r *rig) { r.log.Fail = failOn(pipeline.KindEvent, boom) }, "sallyport_unavailable", 1},
		{"outcome not durable", func(r *rig) { r.log.Fail = failOn(pipeline.KindOutcome, boom) }, "sallyport_unavailable", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("the answer"))
			c.change(r)
			if err := r.serve(); err != nil {
				t.Fatalf("serve: %v", err)
			}
			if len(r.up.Sent) != c.sent {
				t.Errorf("%d requests reached the provider, want %d", len(r.up.Sent), c.sent)
			}
			r.wantFailure(c.code)
			if strings.Contains(string(r.client.Got), "the answer") {
				t.Errorf("released %s", r.client.Got)
			}
		})
	}
}

// protocolOnly is a registry that knows the error form but no codec.
type protocolOnly struct{}

func (protocolOnly) For(*pipeline.Endpoint, *pipeline.Head) (llm.Codec, error) {
	return nil, llm.NotInspected("nothing known")
}
func (protocolOnly) Failer(*pipeline.Endpoint) llm.Failer { return openai.Provider{} }

type panicCodecs struct{ protocolOnly }

func (panicCodecs) For(*pipeline.Endpoint, *pipeline.Head) (llm.Codec, error) { panic("codec") }

func actOn(kind string, a pipeline.Action) fakes.Decider {
	return func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		if s != nil && s.Kind == kind {
			return pipeline.Verdict{Action: a, Rule: "guardrail/g"}
		}
		return pipeline.Verdict{Rule: "role/fake"}
	}
}

func failOn(kind string, err error) func(pipeline.Record) error {
	return func(r pipeline.Record) error {
		if r.Kind == kind {
			return err
		}
		return nil
	}
}

type holder struct {
	v    pipeline.Verdict
	err  error
	kept **pipeline.Step // if not nil, what is held is kept here
}

func (h holder) Wait(_ context.Context, held *pipeline.Held) (pipeline.Verdict, error) {
	if h.kept != nil {
		*h.kept = held.Step
	}
	return h.v, h.err
}
