// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// Who can choose what a field of a record says, by its path in the types. Of what the application or the provider can choose, secrets are masked, and the
// test plants one in it; the rest is said by the host, the configuration, or this program.
var fieldsOf = map[string]string{
	"Intent.Flow": "ours", "Intent.Scope": "config", "Intent.Method": "masked", "Intent.Target": "masked", "Intent.UserAgent": "masked",
	"Intent.Credential": "ours: a keyed fingerprint", "Intent.Body": "masked", "Intent.BodySHA256": "ours", "Intent.Policy": "ours", "Intent.Uninspected": "masked",
	"Intent.Parent": "ours", "Intent.Original": "sealed to auditors, as it came", "Intent.SealedOriginal": "sealed to auditors, as it came",
	"Intent.Call.Operation": "ours", "Intent.Call.Model": "masked", "Intent.Call.Previous": "masked", "Intent.Call.Thread": "masked",

	"Workload.Comm": "host", "Workload.Exe": "host", "Workload.Cgroup": "host", "Workload.Unit": "host", "Workload.Container": "host", "Workload.Pod": "host",
	"Workload.Namespace": "host", "Workload.ServiceAccount": "host", "Workload.Labels": "host", "Workload.Found": "ours",
	"Principal.SPIFFEID": "config", "Principal.Source": "ours", "Principal.User": "host", "Principal.Groups": "host",
	"Endpoint.Name": "config", "Endpoint.Host": "config", "Endpoint.Protocol": "config", "Endpoint.BasePath": "config",

	"Step.Kind": "ours", "Step.Name": "masked", "Step.ID": "masked", "Step.Args": "masked", "Step.Text": "masked", "Step.Beside": "not recorded",
	"Mask.Carrier": "ours", "Mask.Type": "config", "Mask.Rule": "config", "Mask.Why": "ours", "Mask.Action": "ours", "Mask.Fingerprint": "ours", "Mask.With": "masked",

	"Verdict.Stage": "ours", "Verdict.Rule": "config", "Verdict.Reason": "masked", "Verdict.Hold": "config", "Verdict.Credential": "config", "Verdict.Code": "ours",
	"Verdict.Elevation": "ours", "Verdict.Approval": "ours", "Verdict.Digest": "ours", "Matched.Rule": "config",

	"Decision.ID": "ours", "Decision.Policy": "ours", "Decision.Scope": "config", "Decision.Model": "masked", "Decision.Endpoint": "config", "Decision.SPIFFEID": "config",
	"Event.Data":             "masked",
	"Intent.OriginalMissing": "ours: an error of this program's", "Kept.Missing": "ours: an error of this program's", "Kept.Cut": "ours",
	"Outcome.Decision": "ours", "Outcome.Cut": "ours", "Outcome.CutReason": "masked", "Outcome.ResponseID": "masked", "Outcome.ResponseModel": "masked",
	"Outcome.Finish": "masked", "Outcome.Text": "masked", "Outcome.ReplyOf": "ours",
}

// pathsOf names the fields of a type that hold strings or bytes; those of a type in fields of several others once.
func pathsOf(t reflect.Type, path string, into map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		if t.Elem().Kind() == reflect.Uint8 {
			into[path] = true
			return
		}
		pathsOf(t.Elem(), path, into)
	case reflect.String:
		into[path] = true
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && f.Type.PkgPath() != "time" {
				pathsOf(f.Type, below(t, path, f), into)
			}
		}
	}
}

// below is the path of a field.
func below(t reflect.Type, path string, f reflect.StructField) string {
	if t.Name() != "Call" {
		path = t.Name()
	}
	if f.Type.Name() == "Call" {
		return path + ".Call"
	}
	return path + "." + f.Name
}

// walk calls f for each string of a value.
func walk(v reflect.Value, path string, f func(path, s string)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walk(v.Elem(), path, f)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.Kind() == reflect.Slice {
				f(path, string(v.Bytes()))
			}
			return
		}
		for i := range v.Len() {
			walk(v.Index(i), path, f)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			walk(v.MapIndex(k), path, f)
		}
	case reflect.String:
		f(path, v.String())
	case reflect.Struct:
		for i := range v.NumField() {
			if sf := v.Type().Field(i); sf.IsExported() && sf.Type.PkgPath() != "time" {
				walk(v.Field(i), below(v.Type(), path, sf), f)
			}
		}
	}
}

// bodies keeps the strings of all records, by path.
type bodies struct {
	fakes.Log
	said map[string][]string
}

func (b *bodies) Append(r pipeline.Record) (pipeline.Position, <-chan error) {
	walk(reflect.ValueOf(r.Body), "", func(path, s string) {
		if path != "Intent.Original" {
			b.said[path] = append(b.said[path], strings.Clone(s))
		}
	})
	return b.Log.Append(r)
}

// talkative is a policy that repeats what it is asked about, refuses a tool, and takes another out of the offer.
func talkative(_ *pipeline.Meta, c *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
	v := pipeline.Verdict{Action: pipeline.Alert, Rule: "guardrail/talk", Reason: "model " + c.Model}
	if s != nil {
		v.Reason = "tool " + s.Name + " with model " + c.Model
		if s.Kind == pipeline.StepToolOffer && strings.HasPrefix(s.Name, "gone") {
			v.Action, v.Matched = pipeline.Deny, []pipeline.Matched{{Rule: "guardrail/gone", Action: pipeline.Deny}}
		}
	}
	return v
}

// patient notes what people would be asked.
type patient struct{ held []pipeline.Held }

func (p *patient) Wait(_ context.Context, h *pipeline.Held) (pipeline.Verdict, error) {
	seen := *h
	call := *h.Call
	call.Steps = nil // contract: not looked at
	seen.Call, seen.Raw, seen.Target = &call, nil, ""
	p.held = append(p.held, seen)
	return pipeline.Verdict{Action: pipeline.Deny, Rule: "guardrail/held"}, nil
}

// canary makes secrets that are all different, each of which looks like a word of the protocols.
type canary struct{ n int }

func (c *canary) next() string {
	c.n++
	return "ghp_" + fmt.Sprintf("%04d", c.n) + strings.Repeat("a1B2c3Q4", 4)
}

const tag = "GITHUB_TOKEN"

// TestNoSecretOnRecord plants a secret in each field of requests and replies that somebody outside can choose: whatever is recorded of it, and people are asked
// about, is masked. A new field of a record fails the test until it says who can choose it.
func TestNoSecretOnRecord(t *testing.T) {
	known := map[string]bool{}
	for _, r := range []any{pipeline.Intent{}, pipeline.Decision{}, pipeline.Event{}, pipeline.Outcome{}} {
		pathsOf(reflect.TypeOf(r), "", known)
	}
	for path := range known {
		if fieldsOf[path] == "" {
			t.Errorf("%s is recorded: say in fieldsOf who can choose what it says, and mask it if that is the application or the provider", path)
		}
	}
	for path := range fieldsOf {
		if !known[path] {
			t.Errorf("there is no field %s", path)
		}
	}

	d := maskDaemon(t, maskPolicy, func(*config.Mask) {})
	var k canary
	s := k.next
	chat := func(more string) string {
		return `{"model":"m","stream":%v,"user":"` + s() + `","metadata":{"` + s() + `":"` + s() + `"},"safety_identifier":"` + s() + `","tools":[{"type":"function","function":{"name":"` + s() +
			`","description":"` + s() + `","parameters":{"` + s() + `":"` + s() + `"}}},{"type":"function","function":{"name":"gone_` + s() + `"}},{"type":"function","function":{"name":"stays"}}],"messages":[{"role":"user","name":"` + s() +
			`","content":"` + s() + `"},{"role":"assistant","content":null,"tool_calls":[{"id":"` + s() + `","type":"function","function":{"name":"` + s() + `","arguments":"{\"` + s() + `\":\"` + s() +
			`\"}"}}]},{"role":"tool","tool_call_id":"` + s() + `","content":"` + s() + `"}]` + more + `}`
	}
	plain := `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	whole := func(call string) string {
		return `{"id":"` + s() + `","object":"chat.completion","created":1,"model":"` + s() + `","system_fingerprint":"` + s() + `","service_tier":"` + s() +
			`","choices":[{"index":0,"message":{"role":"assistant","content":"` + s() + `"` + call + `},"finish_reason":"` + s() + `","` + s() + `":"` + s() + `"}]}`
	}
	calls := func(id, name string) string {
		return `,"tool_calls":[{"id":"` + id + `","type":"function","function":{"name":"` + name + `","arguments":"{\"a\":\"` + s() + `\"}"}}]`
	}
	chunk := func() string {
		return `data: {"id":"` + s() + `","object":"chat.completion.chunk","created":1,"model":"` + s() + `","system_fingerprint":"` + s() + `","choices":[{"index":0,"delta":{"content":"` + s() + `"},"finish_reason":null}]}` + "\n\n"
	}
	responses := `{"model":"m","input":"` + s() + `","previous_response_id":"` + s() + `","user":"` + s() + `"}`
	thread := `{"model":"m","input":"` + s() + `","conversation":{"id":"` + s() + `"},"prompt_cache_key":"` + s() + `"}`
	anthropic := `{"model":"m","max_tokens":9,"metadata":{"user_id":"` + s() + `"},"tools":[{"name":"` + s() + `","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"hi"},` +
		`{"role":"assistant","content":[{"type":"tool_use","id":"` + s() + `","name":"` + s() + `","input":{"a":"` + s() + `"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"` + s() + `","content":"` + s() + `"}]}]}`
	answer := `{"id":"` + s() + `","type":"message","role":"assistant","model":"` + s() + `","content":[{"type":"text","text":"` + s() + `"}],"stop_reason":"` + s() + `","stop_sequence":"` + s() + `","usage":{"input_tokens":1,"output_tokens":1}}`
	failure := `{"error":{"message":"` + s() + `","type":"` + s() + `","code":"` + s() + `","param":"` + s() + `"}}`

	const sse, json = "text/event-stream", "application/json"
	type try struct {
		name, path, protocol, ask, kind string
		status                          int
		reply                           []string
		end                             error
	}
	tries := []try{
		{name: "chat", ask: fmt.Sprintf(chat(""), false), reply: []string{whole("")}},
		{name: "a call of a tool", ask: plain, reply: []string{whole(calls("call_1", "stays"))}},
		{name: "a call with an ID that is one", ask: plain, reply: []string{whole(calls(s(), "stays"))}},
		{name: "a call with a name that is one", ask: plain, reply: []string{whole(calls("call_1", s()))}},
		{name: "a stream", ask: fmt.Sprintf(chat(""), true), kind: sse, reply: []string{"id: " + s() + "\n\n", ": " + s() + "\n\n", chunk(), chunk(), `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"` + s() + `"}]}` + "\n\n", "data: [DONE]\n\n"}},
		{name: "a stream of a call", ask: `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`, kind: sse, reply: []string{
			`data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"` + s() + `","type":"function","function":{"name":"stays","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}` + "\n\n", "data: [DONE]\n\n"}},
		{name: "cut off", ask: plain, reply: []string{`{"id":`}, end: errors.New("read: " + s())},
		{name: "model", ask: `{"model":"` + s() + `","messages":[{"role":"user","content":"hi"}]}`, reply: []string{whole("")}},
		{name: "not inspected", ask: `{"model":"m","messages":[{"role":"` + s() + `","content":"hi"}]}`, reply: []string{whole("")}},
		{name: "no path", path: "/v1/" + s() + "?a=" + s() + "&" + s(), ask: plain, reply: []string{whole("")}},
		{name: "responses", path: "/v1/responses", ask: responses, reply: []string{`{"id":"` + s() + `","object":"response","model":"` + s() + `","status":"completed","output":[]}`}},
		{name: "a conversation", path: "/v1/responses", ask: thread, reply: []string{`{"id":"` + s() + `","object":"response","model":"` + s() + `","status":"completed","output":[]}`}},
		{name: "anthropic", path: "/v1/messages", protocol: "anthropic", ask: anthropic, reply: []string{answer}},
		{name: "an error", ask: plain, status: 400, reply: []string{failure}},
		{name: "an error in a stream", ask: plain, kind: sse, reply: []string{"data: " + failure + "\n\n"}},
	}
	said := map[string][]string{}
	for _, mode := range []pipeline.Mode{pipeline.ModeEnforce, pipeline.ModeObserve} {
		for _, c := range tries {
			for _, holds := range []bool{false, true} {
				log, desk := &bodies{said: said}, &patient{}
				decide := fakes.Decider(talkative)
				if holds {
					decide = func(m *pipeline.Meta, c *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
						v := talkative(m, c, s)
						v.Action = pipeline.Hold
						return v
					}
				}
				f, err := flow.New(flow.Options{Decider: decide, Masker: d.masking, Log: log, Holder: desk, Sessions: fakes.Sessions("ses_1"), Codecs: protocols(),
					Notice: func(stage string, err error) {
						if strings.Contains(err.Error(), "ghp_0") {
							t.Errorf("%s: a notice says %v", c.name, err)
						}
					}})
				if err != nil {
					t.Fatal(err)
				}
				path, protocol, kind, status := c.path, c.protocol, c.kind, c.status
				if path == "" {
					path = "/v1/chat/completions"
				}
				if protocol == "" {
					protocol = "openai"
				}
				if kind == "" {
					kind = json
				}
				if status == 0 {
					status = 200
				}
				client := &fakes.Client{Payload: []byte(c.ask), Request: pipeline.Head{Method: "POST", Target: path, Fields: []pipeline.Field{{Name: "content-type", Value: json}, {Name: "User-Agent", Value: "app " + s()}, {Name: "anthropic-version", Value: "2023-06-01"}}}}
				if c.name == "no path" {
					client.Request.Method = s()
				}
				up := &fakes.Upstream{Head: pipeline.Head{Status: status, Fields: []pipeline.Field{{Name: "content-type", Value: kind}}}, End: c.end}
				for _, p := range c.reply {
					up.Pieces = append(up.Pieces, []byte(p))
				}
				m := &pipeline.Meta{Mode: mode, Scope: "agents", Workload: pipeline.Workload{PID: 1, Unit: "app.service"}, Endpoint: pipeline.Endpoint{Name: "e", Host: "h", Protocol: protocol}}
				_ = f.Serve(context.Background(), m, client, up)
				for _, e := range log.Entries {
					if strings.Contains(string(e.JSON), "ghp_0") {
						t.Errorf("%s, %s, held %v: on record is …%s", c.name, mode, holds, around(string(e.JSON)))
					}
				}
				if mode == pipeline.ModeEnforce && len(up.Sent) > 0 && strings.Contains(string(client.Got), "ghp_0") {
					t.Errorf("%s: released was …%s", c.name, around(string(client.Got)))
				}
				for i := range desk.held {
					h := desk.held[i]
					walk(reflect.ValueOf(h), "", func(path, s string) {
						if strings.Contains(s, "ghp_0") {
							t.Errorf("%s: people are asked about %s %s", c.name, path, s)
						}
					})
				}
			}
		}
	}
	for _, path := range slices.Sorted(func(yield func(string) bool) {
		for p := range known {
			if !yield(p) {
				return
			}
		}
	}) {
		if fieldsOf[path] == "masked" && !slices.ContainsFunc(said[path], func(v string) bool {
			return strings.Contains(v, tag) || strings.Contains(v, "holds what is to be masked")
		}) {
			t.Errorf("no secret was planted in %s: %.3q", path, said[path])
		}
	}
}

// around is what stands around the first secret in a text.
func around(s string) string {
	i := strings.Index(s, "ghp_0")
	return s[max(0, i-80):min(len(s), i+60)]
}

// TestNoSecretInFlows: the host that a connection asks for is what an application says.
func TestNoSecretInFlows(t *testing.T) {
	d := maskDaemon(t, maskPolicy, func(c *config.Mask) {
		c.Actions = []config.MaskAction{{Types: []string{"GITHUB_TOKEN"}, Action: "deny"}}
	})
	var k canary
	got := d.masking.flow(pipeline.Flow{ID: "flw_1", SNI: k.next() + ".example.com", Reason: "no endpoint " + k.next(), Dest: "10.0.0.1:443"}).(pipeline.Flow)
	if want := (pipeline.Flow{ID: "flw_1", SNI: "[GITHUB_TOKEN].example.com", Reason: "no endpoint [GITHUB_TOKEN]", Dest: "10.0.0.1:443"}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := d.masking.flow(pipeline.Flow{SNI: "api.openai.com"}).(pipeline.Flow); got.SNI != "api.openai.com" {
		t.Errorf("%+v", got)
	}
	if got := d.masking.flow("another"); got != "another" {
		t.Errorf("%v", got)
	}
}
