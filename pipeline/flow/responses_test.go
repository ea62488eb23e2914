// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// rev is an event of a stream of responses; its type stands first or last.
func rev(kind, members string) string {
	return "event: " + kind + "\ndata: {" + members + `,"sequence_number":7,"type":` + quote(kind) + "}\n\n"
}

// items are the items of an answer that is told in events.
type items struct {
	b    strings.Builder
	done []string
}

func newItems() *items {
	var s items
	s.b.WriteString(rev("response.created", `"response":{"id":"resp_1","object":"response","status":"in_progress","model":"gpt-4o-mini","output":[],"instructions":"Be brief.","tools":[]}`))
	return &s
}

func (s *items) add(kind, members string) *items {
	s.b.WriteString(rev("response."+kind, fmt.Sprintf(`"output_index":%d,%s`, len(s.done), members)))
	return s
}

func (s *items) finish(item string) *items {
	s.add("output_item.done", `"item":`+item)
	s.done = append(s.done, item)
	return s
}

func (s *items) message(pieces ...string) *items {
	id := fmt.Sprintf(`"item_id":"msg_%d","content_index":0`, len(s.done))
	part := func(text string) string { return `{"type":"output_text","annotations":[],"text":` + quote(text) + `}` }
	item := func(status, content string) string {
		return fmt.Sprintf(`{"id":"msg_%d","type":"message","role":"assistant","status":%q,"content":[%s]}`, len(s.done), status, content)
	}
	s.add("output_item.added", `"item":`+item("in_progress", "")).add("content_part.added", id+`,"part":`+part(""))
	for _, p := range pieces {
		s.add("output_text.delta", id+`,"logprobs":[],"delta":`+quote(p))
	}
	text := strings.Join(pieces, "")
	s.add("output_text.done", id+`,"logprobs":[],"text":`+quote(text)).add("content_part.done", id+`,"part":`+part(text))
	return s.finish(item("completed", part(text)))
}

func (s *items) call(name string, pieces ...string) *items {
	item := func(status, args string) string {
		return fmt.Sprintf(`{"id":"fc_%d","type":"function_call","status":%q,"arguments":%s,"call_id":"call_%[1]d","name":%[4]q}`, len(s.done), status, quote(args), name)
	}
	id := fmt.Sprintf(`"item_id":"fc_%d"`, len(s.done))
	s.add("output_item.added", `"item":`+item("in_progress", ""))
	for _, p := range pieces {
		s.add("function_call_arguments.delta", id+`,"delta":`+quote(p))
	}
	args := strings.Join(pieces, "")
	return s.add("function_call_arguments.done", id+`,"arguments":`+quote(args)).finish(item("completed", args))
}

func (s *items) end() string {
	return s.b.String() + rev("response.completed", `"response":{"id":"resp_1","object":"response","status":"completed","model":"gpt-4o-mini","output":[`+strings.Join(s.done, ",")+
		`],"usage":{"input_tokens":5,"output_tokens":4,"input_tokens_details":{"cached_tokens":1}}}`)
}

func responsesRig(t testing.TB, pieces ...string) *rig {
	r := newRig(t, pipeline.ModeEnforce, `{"model":"gpt-4o-mini","stream":true,"input":"Say hi"}`).reply(200, "text/event-stream", pieces...)
	r.client.Request.Target = "/v1/responses"
	r.opts.Decider = fakes.DenyTool("delete")
	return r
}

var responsesStreams = map[string]string{
	"text":               newItems().message("hel", "lo é 😀").end(),
	"text and end":       newItems().message("hello").end() + "data: [DONE]\n\n",
	"secret":             newItems().message("a sk-proj-", "hunter2", "hunter2 b sk-pro", "x").end(),
	"two texts":          newItems().message("one "+secret).message("two ", "three").end(),
	"call":               newItems().call("search", `{"q":"k`, `ites"}`).end(),
	"secret in a call":   newItems().call("search", `{"q":"sk-proj-`, `hunter2hunter2"}`).end(),
	"call denied":        newItems().call("delete", `{"path":"/srv/`, `forbidden"}`).end(),
	"first of two":       newItems().call("delete", `{"path":"`+forbidden+`"}`).call("search", `{"q":"x"}`).end(),
	"second of two":      newItems().call("search", `{"q":"x"}`).call("delete", `{"path":"`+forbidden+`"}`).end(),
	"text, then denied":  newItems().message("I will do it.").call("delete", `{"path":"`+forbidden+`"}`).end(),
	"denied, then text":  newItems().call("delete", `{"path":"`+forbidden+`"}`).message("Did it, ", secret).end(),
	"denied without end": strings.TrimSuffix(newItems().call("delete", `{"path":"`+forbidden+`"}`).end(), "\n"),
	"reasoning": func() string {
		s := newItems()
		id := `"item_id":"rs_0","summary_index":0`
		s.add("output_item.added", `"item":{"id":"rs_0","type":"reasoning","summary":[]}`).add("reasoning_summary_part.added", id+`,"part":{"type":"summary_text","text":""}`)
		s.add("reasoning_summary_text.delta", id+`,"delta":"hm sk-proj-"`).add("reasoning_summary_text.delta", id+`,"delta":"hunter2hunter2."`)
		s.add("reasoning_summary_text.done", id+`,"text":"hm `+secret+`."`).add("reasoning_summary_part.done", id+`,"part":{"type":"summary_text","text":"hm `+secret+`."}`)
		s.finish(`{"id":"rs_0","type":"reasoning","encrypted_content":"AAAA","summary":[{"type":"summary_text","text":"hm ` + secret + `."}]}`)
		return s.message("done").end()
	}(),
	"thoughts in parts": func() string {
		s := newItems()
		id := `"item_id":"rs_0","content_index":0`
		s.add("output_item.added", `"item":{"id":"rs_0","type":"reasoning","summary":[],"content":[]}`).add("reasoning_part.added", id+`,"part":{"type":"reasoning_text","text":""}`)
		s.add("reasoning_text.delta", id+`,"delta":"hm"`).add("reasoning_text.done", id+`,"text":"hm"`).add("reasoning_part.done", id+`,"part":{"type":"reasoning_text","text":"hm"}`)
		return s.finish(`{"id":"rs_0","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}`).message("done").end()
	}(),
	"refusal": func() string {
		s := newItems()
		id := `"item_id":"msg_0","content_index":0`
		s.add("output_item.added", `"item":{"id":"msg_0","type":"message","role":"assistant","content":[]}`).add("content_part.added", id+`,"part":{"type":"refusal","refusal":""}`)
		s.add("refusal.delta", id+`,"delta":"No "`).add("refusal.delta", id+`,"delta":"way"`).add("refusal.done", id+`,"refusal":"No way"`)
		s.add("content_part.done", id+`,"part":{"type":"refusal","refusal":"No way"}`)
		return s.finish(`{"id":"msg_0","type":"message","role":"assistant","content":[{"type":"refusal","refusal":"No way"}]}`).end()
	}(),
	"tools of the provider": func() string {
		s := newItems()
		s.add("output_item.added", `"item":{"id":"ws_0","type":"web_search_call","status":"in_progress"}`).add("web_search_call.in_progress", `"item_id":"ws_0"`)
		s.add("web_search_call.searching", `"item_id":"ws_0"`).add("web_search_call.completed", `"item_id":"ws_0"`)
		s.finish(`{"id":"ws_0","type":"web_search_call","status":"completed","action":{"type":"search","query":"kites"}}`)
		s.add("output_item.added", `"item":{"id":"ci_1","type":"code_interpreter_call","status":"in_progress","code":"","container_id":"c","outputs":null}`)
		s.add("code_interpreter_call_code.delta", `"item_id":"ci_1","delta":"print("`).add("code_interpreter_call_code.delta", `"item_id":"ci_1","delta":"1)"`)
		s.add("code_interpreter_call_code.done", `"item_id":"ci_1","code":"print(1)"`).add("code_interpreter_call.completed", `"item_id":"ci_1"`)
		s.finish(`{"id":"ci_1","type":"code_interpreter_call","status":"completed","code":"print(1)","container_id":"c","outputs":[{"type":"logs","logs":"the key ` + secret + `"}]}`)
		s.add("output_item.added", `"item":{"id":"mcp_2","type":"mcp_call","name":"ask","server_label":"wiki","arguments":""}`)
		s.add("mcp_call_arguments.delta", `"item_id":"mcp_2","delta":"{}"`).add("mcp_call_arguments.done", `"item_id":"mcp_2","arguments":"{}"`).add("mcp_call.completed", `"item_id":"mcp_2"`)
		s.finish(`{"id":"mcp_2","type":"mcp_call","name":"ask","server_label":"wiki","arguments":"{}","output":"an answer"}`)
		return s.message("found it").end()
	}(),
	"calls told at once": func() string {
		s := newItems()
		s.finish(`{"id":"fc_0","type":"function_call","call_id":"call_0","name":"search","arguments":"{}"}`)
		return s.finish(`{"id":"fc_1","type":"custom_tool_call","call_id":"call_1","name":"delete","input":"` + forbidden + `"}`).end()
	}(),
	"custom call denied": func() string {
		s := newItems()
		s.add("output_item.added", `"item":{"id":"ct_0","type":"custom_tool_call","call_id":"call_0","name":"delete","input":""}`)
		s.add("custom_tool_call_input.delta", `"item_id":"ct_0","delta":"rm /srv/"`).add("custom_tool_call_input.delta", `"item_id":"ct_0","delta":"forbidden"`)
		s.add("custom_tool_call_input.done", `"item_id":"ct_0","input":"rm `+forbidden+`"`)
		return s.finish(`{"id":"ct_0","type":"custom_tool_call","call_id":"call_0","name":"delete","input":"rm ` + forbidden + `"}`).end()
	}(),
}

// checkResponses holds the events that an application gets against each other: what is said in pieces is what is said at the end, and
// items have numbers without a gap.
func checkResponses(t *testing.T, got string) {
	t.Helper()
	s := stream.NewSSE(0)
	s.Write([]byte(got))
	s.End()
	texts, args := map[int]string{}, map[int]string{}
	next, final := 0, false
	for {
		e, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if !e.HasData || string(e.Data) == "[DONE]" {
			continue
		}
		var v struct {
			Type        string
			OutputIndex *int `json:"output_index"`
			Delta       string
			Response    struct {
				Output []struct {
					Type, Arguments, Input string
					Content                []struct{ Text, Refusal string }
				}
			}
		}
		if err := json.Unmarshal(e.Data, &v); err != nil {
			t.Fatalf("%s: %v", e.Data, err)
		}
		switch {
		case v.Type == "response.output_item.added":
			if *v.OutputIndex != next {
				t.Fatalf("item %d where %d is next: %s", *v.OutputIndex, next, got)
			}
			next++
		case v.Type == "response.output_text.delta" || v.Type == "response.refusal.delta":
			texts[*v.OutputIndex] += v.Delta
		case v.Type == "response.function_call_arguments.delta" || v.Type == "response.custom_tool_call_input.delta":
			args[*v.OutputIndex] += v.Delta
		case v.Type == "response.completed":
			final = true
			for i, item := range v.Response.Output {
				said := ""
				for _, c := range item.Content {
					said += c.Text + c.Refusal
				}
				if item.Type == "message" && texts[i] != said || args[i] != "" && args[i] != item.Arguments+item.Input {
					t.Fatalf("item %d ends as %+v, but was told as %q and %q", i, item, texts[i], args[i])
				}
			}
			if next > 0 && len(v.Response.Output) < next {
				t.Fatalf("%d items at the end, %d before", len(v.Response.Output), next)
			}
		}
	}
	if !final {
		t.Fatalf("no end: %s", got)
	}
}

// TestResponsesAnySplit: however the provider's bytes are cut, the application gets the same bytes and the record is the same;
// nothing of a secret or of a refused call is among them, and what needs no change stays as it was.
func TestResponsesAnySplit(t *testing.T) {
	run := func(pieces []string) result {
		r := responsesRig(t, pieces...)
		got := r.must()
		r.noSecret()
		o := r.outcome()
		o.Pace, o.DurationMS, o.OverheadUS, o.FirstReleaseMS, o.Decision = nil, 0, 0, 0, ""
		o.Text = unnamed(o.Text)
		if strings.HasSuffix(got, "[DONE]\n\n") { // what follows the end may come too late for the outcome
			o.BytesReleased = 0
		}
		return result{unnamed(got), o}
	}
	for name, whole := range responsesStreams {
		t.Run(name, func(t *testing.T) {
			want := run([]string{whole})
			for _, bad := range []string{"hunter2", "/srv/", `"delete"`} {
				if strings.Contains(want.Got, bad) {
					t.Fatalf("released %s", want.Got)
				}
			}
			if clean := !strings.Contains(whole, "hunter2") && !strings.Contains(whole, "/srv/"); clean && want.Got != whole {
				t.Fatalf("changed into %s", want.Got)
			}
			if strings.Contains(name, "call denied") && strings.Count(want.Got, "[sallyport] tool delete was refused by rule guardrail/no-delete") != 5 {
				t.Fatalf("the application is not told: %s", want.Got)
			}
			checkResponses(t, want.Got)
			check := func(pieces []string) {
				t.Helper()
				if got := run(pieces); !reflect.DeepEqual(got, want) {
					t.Fatalf("%d pieces:\n got %+v\nwant %+v", len(pieces), got, want)
				}
			}
			for i := 1; i < len(whole); i += 7 {
				check([]string{whole[:i], whole[i:]})
			}
			check(strings.Split(whole, ""))
			for seed := range uint64(5) {
				check(atRandom(whole, seed))
			}
		})
	}
}

// TestResponsesBroken: what cannot be read surely ends the stream with an error, and what it is about is not released.
func TestResponsesBroken(t *testing.T) {
	first := newItems().b.String()
	for name, in := range map[string]string{
		"unknown event":       first + rev("response.time_travel", `"output_index":0`),
		"unknown item":        first + rev("response.output_item.added", `"output_index":0,"item":{"type":"time_travel","id":"x"}`),
		"two types":           first + "event: response.created\ndata: {\"type\":\"response.in_progress\",\"response\":{}}\n\n",
		"duplicate key":       first + rev("response.output_text.delta", `"output_index":0,"content_index":0,"delta":"a","delta":"b"`),
		"key in another case": first + rev("response.output_text.delta", `"output_index":0,"content_index":0,"delta":"a","Delta":"b"`),
		"text where none is":  first + rev("response.output_text.delta", `"output_index":0,"content_index":0,"delta":"a","arguments":"b"`),
		"no number":           first + rev("response.output_text.delta", `"content_index":0,"delta":"a"`),
		"other words at the end": func() string {
			s := newItems().message("hello")
			s.done[0] = strings.Replace(s.done[0], "hello", "altered", 1)
			return s.end()
		}(),
		"other arguments at the end": func() string {
			s := newItems().call("search", `{"q":"x"}`)
			s.done[0] = strings.Replace(s.done[0], "search", "delete", 1)
			return s.end()
		}(),
		"more arguments after the end": newItems().call("search", `{"q":"x"}`).b.String() + rev("response.function_call_arguments.delta", `"output_index":0,"item_id":"fc_0","delta":"x"`),
		"a text in a call":             newItems().call("search", `{}`).b.String() + rev("response.output_text.delta", `"output_index":0,"content_index":0,"delta":"x"`),
		"answers before they begin":    rev("response.created", `"response":{"id":"r","status":"in_progress","output":[{"type":"function_call","call_id":"c","name":"delete","arguments":"{}"}]}`),
		"events after the end":         newItems().message("hello").end() + rev("response.output_text.delta", `"output_index":0,"content_index":0,"delta":"more"`),
		"a second end":                 newItems().message("hello").end() + newItems().message("hello").end(),
		"shell in a stream":            first + rev("response.output_item.added", `"output_index":0,"item":{"type":"local_shell_call","id":"x","call_id":"y","action":{"type":"exec","command":["rm"]}}`),
		"invalid UTF-8":                first + rev("response.output_text.delta", "\"output_index\":0,\"content_index\":0,\"delta\":\"\xff\""),
		"deep":                         first + rev("response.in_progress", `"response":{"x":`+strings.Repeat("[", 300)+strings.Repeat("]", 300)+`}`),
	} {
		t.Run(name, func(t *testing.T) {
			r := responsesRig(t, in)
			if err := r.serve(); err == nil {
				t.Fatalf("took %s", r.client.Got)
			}
			got := string(r.client.Got)
			at := strings.LastIndex(got, "event: error\ndata: ")
			var e struct {
				Type, Code, Message string
				Error               struct{ Message, Code string }
			}
			if at < 0 || json.Unmarshal([]byte(got[at+len("event: error\ndata: "):]), &e) != nil || e.Type != "error" || e.Code != "sallyport_not_inspected" || e.Error.Message != e.Message {
				t.Errorf("ends in %s", got)
			}
			if strings.Contains(got, `"delete"`) || strings.Contains(got, "altered") || strings.Contains(got, "rm") && strings.Contains(in, `["rm"]`) && strings.Contains(got, "exec") {
				t.Errorf("released %s", got)
			}
		})
	}
}

// TestResponsesWhole: the same for replies that do not stream.
func TestResponsesWhole(t *testing.T) {
	fc := func(name, args string) string {
		return `{"type":"function_call","id":"fc","call_id":"c","name":` + quote(name) + `,"arguments":` + quote(args) + `,"status":"completed"}`
	}
	msg := func(text string) string {
		return `{"type":"message","id":"msg","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"text":` + quote(text) + `}]}`
	}
	refused := `{"id":"msg_sallyport","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"[sallyport] tool delete was refused by rule guardrail/no-delete (DEC)"}]}`
	for name, c := range map[string]struct{ output, want string }{
		"text":             {msg("hello"), msg("hello")},
		"secret":           {msg("the key " + secret), msg("the key [MASKED]")},
		"call":             {fc("search", `{"q":"x"}`), fc("search", `{"q":"x"}`)},
		"secret in a call": {fc("search", `{"q":"`+secret+`"}`), fc("search", `{"q":"[MASKED]"}`)},
		"denied":           {fc("delete", `{}`), refused},
		"one of two":       {fc("delete", `{}`) + "," + fc("search", `{}`), fc("search", `{}`)},
		"text and denied":  {msg("I will.") + "," + fc("delete", `{}`), msg("I will.") + "," + refused},
		"shell":            {`{"type":"local_shell_call","id":"x","call_id":"y","status":"completed","action":{"type":"exec","command":["ls"],"env":{}}}`, `{"type":"local_shell_call","id":"x","call_id":"y","status":"completed","action":{"type":"exec","command":["ls"],"env":{}}}`},
		"searched":         {`{"type":"web_search_call","id":"x","status":"completed","action":{"type":"search","query":"kites"}},` + msg("found"), `{"type":"web_search_call","id":"x","status":"completed","action":{"type":"search","query":"kites"}},` + msg("found")},
	} {
		t.Run(name, func(t *testing.T) {
			body := func(output string) string {
				return `{"id":"resp_1","object":"response","status":"completed","model":"m","output":[` + output + `],"instructions":"Be brief.","usage":{"input_tokens":1,"output_tokens":2}}`
			}
			r := responsesRig(t)
			r.client.Payload = []byte(`{"model":"m","input":"hi"}`)
			r.reply(200, "application/json", body(c.output))
			if got := unnamed(r.must()); got != body(c.want) {
				t.Errorf("got  %s\nwant %s", got, body(c.want))
			}
			r.noSecret()
		})
	}
}

// TestResponsesStored: what the request does not hold is an offer that cannot be removed: denied, nothing is sent.
func TestResponsesStored(t *testing.T) {
	for name, member := range map[string]string{
		"stored-conversation": `"previous_response_id":"resp_0"`, "background": `"background":true`, "prompt-template": `"prompt":{"id":"p"}`,
	} {
		r := responsesRig(t)
		r.client.Payload = []byte(`{"model":"m","input":"hi",` + member + `}`)
		r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
			if s != nil && s.Kind == pipeline.StepToolOffer && s.ByProvider && s.Name == name {
				return pipeline.Verdict{Action: pipeline.Deny, Rule: "role/x"}
			}
			return pipeline.Verdict{}
		})
		r.wantDenied("sallyport_denied")
	}
}
