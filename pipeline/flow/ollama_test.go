// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/llm/ollama"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

const ndjson = "application/x-ndjson"

// line is a line of a reply of Ollama's; members are those of its message.
func line(members, more string) string {
	return fmt.Sprintf(`{"model":"llama3","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant",%s}%s}`+"\n", members, more)
}

func spoke(text string) string { return line(`"content":`+quote(text), `,"done":false`) }

// calls is a line with tool calls: names and arguments in turn.
func calls(of ...string) string {
	var b strings.Builder
	for i := 0; i < len(of); i += 2 {
		fmt.Fprintf(&b, `,{"function":{"name":%s,"arguments":%s}}`, quote(of[i]), of[i+1])
	}
	return line(`"content":"","tool_calls":[`+b.String()[1:]+`]`, `,"done":false`)
}

var last = line(`"content":""`, `,"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":4`)

func ollamaRig(t testing.TB, mode pipeline.Mode, pieces ...string) *rig {
	r := newRig(t, mode, `{"model":"llama3","messages":[{"role":"user","content":"Say hi"}]}`).reply(200, ndjson, pieces...)
	r.opts.Codecs = llm.Registry{"ollama": ollama.Provider{}}
	r.meta.Endpoint = pipeline.Endpoint{Name: "local", Host: "127.0.0.1", Protocol: "ollama"}
	r.client.Request.Target = "/api/chat"
	r.opts.Decider = fakes.DenyTool("delete")
	r.up.Head = pipeline.Head{Status: 200, Reason: "OK", Fields: []pipeline.Field{{Name: "Content-Type", Value: ndjson}, {Name: "Transfer-Encoding", Value: "chunked"}}}
	return r
}

var ollamaStreams = map[string][]string{
	"text":                 {spoke("hel"), spoke("lo é 😀"), last},
	"secret":               {spoke("a sk-proj-"), spoke("hunter2"), spoke("hunter2 b"), last},
	"CRLF and blank lines": {strings.Replace(spoke("hello"), "\n", "\r\n", 1), "\n\r\n", last},
	"no line end":          {spoke("hello"), strings.TrimSpace(last)},
	"call":                 {calls("search", `{"q": "kites"}`), last},
	"calls in two lines":   {calls("search", `{"q":"a"}`), calls("search", `{"q":"b"}`), last},
	"secret in a call":     {calls("search", `{"q":"`+secret+`"}`), last},
	"call denied":          {calls("delete", `{"path":"`+forbidden+`"}`), last},
	"first of two":         {calls("delete", `{"path":"`+forbidden+`"}`, "search", `{"q":"x"}`), last},
	"second line denied":   {calls("search", `{"q":"x"}`), calls("delete", `{"path":"`+forbidden+`"}`), last},
	"text, then denied":    {spoke("I will do it."), calls("delete", `{"path":"`+forbidden+`"}`), last},
	"denied in the last":   {line(`"content":"","tool_calls":[{"function":{"name":"delete","arguments":{"path":"`+forbidden+`"}}}]`, `,"done":true,"done_reason":"stop"`)},
	"error":                {spoke("hello"), `{"error":"model runner has stopped"}` + "\n"},
	"secret in an error":   {`{"error":"no key ` + secret + `"}` + "\n"},
	"thinking":             {line(`"content":"","thinking":"hm `+secret+`"`, `,"done":false`), spoke("hello"), last},
}

// TestOllamaAnySplit: however the provider's bytes are cut, the application gets the same bytes and the record is the same;
// nothing of a secret or of a refused call's arguments is among them, and what needs no change stays as it was.
func TestOllamaAnySplit(t *testing.T) {
	run := func(pieces []string) result {
		r := ollamaRig(t, pipeline.ModeEnforce, pieces...)
		got := r.must()
		r.noSecret()
		o := r.outcome()
		o.Pace, o.DurationMS, o.OverheadUS, o.FirstReleaseMS, o.Decision = nil, 0, 0, 0, ""
		o.Text = unnamed(o.Text)
		return result{unnamed(got), o}
	}
	for name, events := range ollamaStreams {
		t.Run(name, func(t *testing.T) {
			whole := strings.Join(events, "")
			want := run([]string{whole})
			if strings.Contains(want.Got, "hunter2") || strings.Contains(want.Got, "/srv/") {
				t.Fatalf("released %s", want.Got)
			}
			if clean := !strings.Contains(whole, secret) && !strings.Contains(whole, forbidden) && name != "secret"; clean && want.Got != whole {
				t.Fatalf("changed into %s", want.Got)
			}
			for l := range strings.Lines(want.Got) {
				if strings.TrimSpace(l) != "" && !json.Valid([]byte(l)) {
					t.Fatalf("no JSON: %s", l)
				}
			}
			if strings.Contains(name, "denied") && name != "second line denied" && !strings.Contains(want.Got, "[sallyport] tool delete was refused by rule guardrail/no-delete") {
				t.Fatalf("the application is not told: %s", want.Got)
			}
			if n := strings.Count(want.Got, `"search"`); n != strings.Count(whole, `"search"`) {
				t.Fatalf("%d calls are left: %s", n, want.Got)
			}
			check := func(pieces []string) {
				t.Helper()
				if got := run(pieces); !reflect.DeepEqual(got, want) {
					t.Fatalf("%d pieces:\n got %+v\nwant %+v", len(pieces), got, want)
				}
			}
			everySplit(events, check)
		})
	}
}

// TestOllamaWhole: the same for replies that do not stream.
func TestOllamaWhole(t *testing.T) {
	for name, c := range map[string]struct{ message, want string }{
		"text":   {`"content":"hello"`, `"content":"hello"`},
		"secret": {`"content":"the key is ` + secret + `."`, `"content":"the key is [MASKED]."`},
		"denied": {`"content":"","tool_calls":[{"function":{"name":"delete","arguments":{"path":"` + forbidden + `"}}}]`,
			`"content":"[sallyport] tool delete was refused by rule guardrail/no-delete (DEC)"`},
		"one of two": {`"content":"","tool_calls":[{"function":{"name":"delete","arguments":{}}},{"function":{"name":"search","arguments":{"q":"` + secret + `"}}}]`,
			`"content":"","tool_calls":[{"function":{"name":"search","arguments":{"q":"[MASKED]"}}}]`},
	} {
		t.Run(name, func(t *testing.T) {
			done := `,"done":true,"done_reason":"stop"`
			r := ollamaRig(t, pipeline.ModeEnforce, line(c.message, done))
			r.reply(200, "application/json", line(c.message, done))
			if got := unnamed(r.must()); got != line(c.want, done) {
				t.Errorf("got %s", got)
			}
			r.noSecret()
		})
	}
}

// TestOllamaBroken: what cannot be read surely ends the stream with an error that clients raise.
func TestOllamaBroken(t *testing.T) {
	for name, c := range map[string]string{
		"two values in a line": spoke("a") + `{"done":false}{"done":true}` + "\n",
		"carriage return":      spoke("a") + "{\"message\":\r{\"content\":\"x\"}}\n",
		"after the end":        last + spoke("more"),
		"duplicate":            `{"message":{"content":"a"},"message":{"content":"b"}}` + "\n",
		"half a value":         spoke("a") + `{"message":{"cont`,
		"invalid UTF-8":        "{\"message\":{\"content\":\"\xff\"}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := ollamaRig(t, pipeline.ModeEnforce, c)
			if err := r.serve(); err == nil {
				t.Fatalf("took %s", r.client.Got)
			}
			lines := strings.Split(strings.TrimSpace(string(r.client.Got)), "\n")
			var e struct{ Error, Code string }
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil || e.Error == "" || e.Code != "sallyport_not_inspected" {
				t.Errorf("ends in %s", lines[len(lines)-1])
			}
		})
	}
}

// TestOllamaRecord: a secret in the arguments of a call that a request repeats is not on record, and the record is JSON as the request was.
func TestOllamaRecord(t *testing.T) {
	r := ollamaRig(t, pipeline.ModeEnforce, last)
	r.client.Payload = []byte(`{"model":"llama3","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"search","arguments":{"q":"` + secret + `"}}}]},{"role":"tool","content":"ok"}]}`)
	r.must()
	r.noSecret()
	if in := r.intent(); !strings.Contains(string(in.Body), `"arguments":{"q":"[MASKED]"}`) || string(in.Call.Steps[0].Args) != `{"q":"[MASKED]"}` {
		t.Errorf("on record: %s %s", in.Body, in.Call.Steps[0].Args)
	}
}

// FuzzOllamaStream: no stream makes us panic or run on.
func FuzzOllamaStream(f *testing.F) {
	for _, events := range ollamaStreams {
		f.Add([]byte(strings.Join(events, "")), uint8(9))
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		r := ollamaRig(t, pipeline.ModeEnforce, inSteps(string(in), step)...)
		err := r.serve()
		for _, n := range r.notes {
			if strings.Contains(n, "panic") {
				t.Fatal(n)
			}
		}
		if err == nil && len(r.log.Of(pipeline.KindOutcome)) != 1 {
			t.Fatalf("%d outcomes", len(r.log.Of(pipeline.KindOutcome)))
		}
	})
}
