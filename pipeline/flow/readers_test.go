// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// evil is a chunk whose call is refused, as one line.
func evil() string {
	return strings.TrimSuffix(delta(0, `{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"delete","arguments":"{\"path\":\"`+forbidden+`\"}"}}]}`, ""), "\n\n")
}

// TestOtherReaders: what only some clients take for an event reaches none of them.
func TestOtherReaders(t *testing.T) {
	for name, odd := range map[string]string{
		"line separator in a comment":      ": a\u2028" + evil(),
		"paragraph separator in a comment": ": a\u2029" + evil(),
		"next line in a comment":           ": a\u0085" + evil(),
		"form feed in a comment":           ": a\f" + evil(),
		"separator in a name":              "event: a\x1e" + evil(),
		"separator in an ID":               "id: a\u2028" + evil(),
		"separator in an unknown field":    "a\v" + evil(),
		"space before the field":           " " + evil(),
		"space behind the field":           strings.Replace(evil(), "data:", "data :", 1),
		"field in capitals":                strings.Replace(evil(), "data:", "Data:", 1),
		"byte order mark":                  "\uFEFF" + evil(),
		"not UTF-8":                        ": \xff" + evil(),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", text(0, "hi"), odd+"\n\n", delta(0, "{}", "stop")+done)
			r.opts.Decider = fakes.DenyTool("delete")
			err := r.serve()
			if got := string(r.client.Got); strings.Contains(got, forbidden) || err == nil || !strings.Contains(got, "sallyport_not_inspected") {
				t.Errorf("released %q, %v", got, err)
			}
		})
	}
	r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", "\uFEFF: OPENROUTER PROCESSING\tné\n\n"+text(0, "hi")+"id: 1\nretry: 10\n"+delta(0, "{}", "stop")+done)
	if got := r.must(); !strings.HasPrefix(got, "\uFEFF: OPENROUTER") || !strings.HasSuffix(got, done) {
		t.Errorf("released %q", got)
	}
}

// TestReplyReadTwice: a reply that says in two ways how it is to be read is not read.
func TestReplyReadTwice(t *testing.T) {
	stream := text(0, "hi") + evil() + "\n\n" + delta(0, "{}", "stop") + done
	for name, c := range map[string]struct {
		kind   string
		fields []pipeline.Field
		body   string
	}{
		"two codings":      {"text/event-stream", []pipeline.Field{{Name: "Content-Encoding", Value: "identity"}, {Name: "content-encoding", Value: "gzip"}}, encode(t, "gzip", stream)},
		"two types":        {"text/event-stream", []pipeline.Field{{Name: "Content-Type", Value: "text/event-stream; charset=utf-7"}}, stream},
		"UTF-7":            {"application/json; charset=utf-7", nil, completion("+ACI-")},
		"UTF-7, quoted":    {`application/json; Charset = "UTF-7"`, nil, completion("+ACI-")},
		"UTF-7, in pieces": {`application/json; charset*0=utf; charset*1=-7`, nil, completion("+ACI-")},
		"UTF-7 in a list":  {"application/json; charset=utf-8; charset=utf-7", nil, completion("+ACI-")},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, plain).reply(200, c.kind, c.body)
			r.up.Head.Fields = append(r.up.Head.Fields, c.fields...)
			r.opts.Decider = fakes.DenyTool("delete")
			if err := r.serve(); err != nil {
				t.Fatal(err)
			}
			r.wantFailure("sallyport_not_inspected")
		})
	}
	for _, kind := range []string{`application/json; charset="UTF-8"`, "application/json;charset=utf8", "application/json; version=2"} {
		if got := newRig(t, pipeline.ModeEnforce, plain).reply(200, kind, completion("hi")).must(); got != completion("hi") {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

// TestRefusedInLogprobs: log probabilities spell what the model wrote, calls of tools too.
func TestRefusedInLogprobs(t *testing.T) {
	const probs = `"logprobs":{"content":[{"token":"` + forbidden + `","logprob":-0.1,"bytes":null,"top_logprobs":[]}]}`
	call := func(name string) string {
		return `"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"` + name + `","arguments":"{\"path\":\"` + forbidden + `\"}"}}]`
	}
	chunk := func(delta, finish string) string {
		return `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{` + delta + `},` + probs + `,"finish_reason":` + finish + `}]}` + "\n\n"
	}
	for name, c := range map[string]struct {
		request, kind string
		answer        func(tool string) string
	}{
		"whole": {plain, "application/json", func(tool string) string {
			return `{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"ok",` + call(tool) + `},` + probs + `,"finish_reason":"tool_calls"}]}`
		}},
		"stream": {asked, "text/event-stream", func(tool string) string {
			return chunk(`"role":"assistant","content":"",`+call(tool), "null") + chunk("", `"tool_calls"`) + done
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, c.request).reply(200, c.kind, c.answer("delete"))
			r.opts.Decider = fakes.DenyTool("delete")
			if got := r.must(); strings.Contains(got, forbidden) || !strings.Contains(got, `"logprobs":{"content":[]}`) {
				t.Errorf("released %s", got)
			}
			if r = newRig(t, pipeline.ModeEnforce, c.request).reply(200, c.kind, c.answer("search")); r.must() != c.answer("search") {
				t.Errorf("released %s", r.client.Got)
			}
		})
	}
}

// TestBrokenArguments: arguments that are not quite JSON, which some clients take nevertheless, hide nothing in their escapes.
func TestBrokenArguments(t *testing.T) {
	escaped := "\\u0073" + secret[1:]
	for name, c := range map[string]struct{ args, code string }{
		"broken off":            {`{"path":"` + escaped, "sallyport_not_inspected"},
		"line end in a string":  {"{\"path\":\"a\nb " + escaped + `"}`, "sallyport_not_inspected"},
		"half an escape":        {`{"path":"\u0` + escaped, "sallyport_not_inspected"},
		"not a number":          {`{"path":"` + escaped + `","n":NaN}`, "sallyport_not_inspected"},
		"surrogate before":      {`{"path":"\ud83d` + escaped + `","n":NaN}`, "sallyport_not_inspected"},
		"nothing hidden":        {`{"path":"C:\\temp\u00e9\ud83d\ude00`, ""},
		"masked where it is":    {`{"path":"` + secret + `\n`, ""},
		"JSON, masked":          {`{"path":"` + escaped + `"}`, ""},
		"other text, back side": {`a\b\c \u12 \`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer := `{"id":"1","model":"m","choices":[{"index":0,"message":{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"search","arguments":` +
				quote(c.args) + `}}]},"finish_reason":"length"}]}`
			r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", answer)
			got := r.must()
			if c.code != "" {
				r.wantFailure(c.code)
			} else if strings.Contains(got, "sallyport") || strings.Contains(got, secret[1:]) {
				t.Errorf("released %s", got)
			}
		})
	}
}

// TestRequestReadTwice: a request that says in two ways how it is coded is not read.
func TestRequestReadTwice(t *testing.T) {
	r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("hi"))
	r.client.Request.Fields = append(r.client.Request.Fields, pipeline.Field{Name: "Content-Encoding", Value: "identity"}, pipeline.Field{Name: "content-encoding", Value: "deflate"})
	r.wantDenied("sallyport_not_inspected")
}

// TestRefusedAtTheEnd: the text that stands for a refused call is an event of its own, also behind one that lacks its end.
func TestRefusedAtTheEnd(t *testing.T) {
	call := strings.TrimPrefix(evil(), "data: ")
	call = strings.Replace(call, `"delta":{`, `"delta":{"role":"assistant",`, 1)
	for _, end := range []string{"", "\n", "\r\n"} {
		r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", text(0, "hi"), "data: "+call+end)
		r.opts.Decider = fakes.DenyTool("delete")
		got := r.must()
		var events []string
		for e := range strings.SplitSeq(strings.ReplaceAll(got, "\r\n", "\n"), "\n\n") {
			if e = strings.TrimSpace(e); e != "" {
				events = append(events, e)
			}
		}
		if len(events) != 3 || strings.Contains(got, forbidden) || !strings.HasPrefix(events[2], "data: {") || !strings.Contains(events[2], "[sallyport]") {
			t.Errorf("%q: released %q", end, got)
		}
	}
}

// TestEndlessStream: what is kept of a stream is bounded, however long it goes on.
func TestEndlessStream(t *testing.T) {
	many := make([]string, 5000)
	for i := range many {
		many[i] = delta(0, fmt.Sprintf(`{"k%d":"a text"}`, i), "")
	}
	long := make([]string, 20)
	for i := range long {
		long[i] = text(0, strings.Repeat("a text ", 10))
	}
	for name, pieces := range map[string][]string{"texts": many, "bytes": long} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", append(pieces, done)...)
			r.opts.ReplyLimit = 1000
			if name == "texts" {
				r.opts.ReplyLimit = 1 << 20
			}
			if err := r.serve(); err == nil || !strings.Contains(string(r.client.Got), "sallyport_not_inspected") {
				t.Errorf("%v, released %d bytes", err, len(r.client.Got))
			}
		})
	}
}

// TestTooManyTools: what is compared one with another is bounded, in requests and in replies.
func TestTooManyTools(t *testing.T) {
	offers := strings.Repeat(function("delete")+",", 5000)
	r := newRig(t, pipeline.ModeEnforce, `{"model":"m","messages":[],"tools":[`+offers[:len(offers)-1]+`]}`)
	r.wantDenied("sallyport_not_inspected")

	calls := strings.Repeat(`{"id":"c","type":"function","function":{"name":"search","arguments":"{}"},"a":"some text"},`, 9000)
	r = newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json",
		`{"id":"1","model":"m","choices":[{"index":0,"message":{"role":"assistant","tool_calls":[`+calls[:len(calls)-1]+`]},"finish_reason":"tool_calls"}]}`)
	if err := r.serve(); err != nil {
		t.Fatal(err)
	}
	r.wantFailure("sallyport_not_inspected")
}

// TestSecretInName: names of tools cannot be masked, so that a call that hides a secret there does not pass.
func TestSecretInName(t *testing.T) {
	call := `"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"search_` + secret + `","arguments":"{}"}}]`
	r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", `{"id":"1","model":"m","choices":[{"index":0,"message":{"role":"assistant",`+call+`},"finish_reason":"tool_calls"}]}`)
	if err := r.serve(); err != nil {
		t.Fatal(err)
	}
	r.wantFailure("sallyport_not_inspected")
	r.noSecret()
	r = newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", text(0, "hi"), delta(0, "{"+call+"}", ""), delta(0, "{}", "tool_calls"), done)
	if err := r.serve(); err == nil || !strings.Contains(string(r.client.Got), "sallyport_not_inspected") {
		t.Errorf("%v, released %s", err, r.client.Got)
	}
	r.noSecret()
}

// TestMaskedInContext: the context of Ollama's answers is the conversation once more, in token numbers.
func TestMaskedInContext(t *testing.T) {
	line := func(response, more string) string {
		return `{"model":"llama3","created_at":"2026-01-01T00:00:00Z","response":` + quote(response) + `,` + more + "}\n"
	}
	const end = `"done":true,"done_reason":"stop","context":[1,2,3],"eval_count":2`
	for name, c := range map[string]struct {
		kind   string
		pieces []string
	}{
		"stream":          {ndjson, []string{line("key ", `"done":false`), line(secret, `"done":false`), line("", end)}},
		"stream, at once": {ndjson, []string{line("key "+secret, end)}},
		"whole":           {"application/json", []string{line("key "+secret, end)}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, masked := range []bool{true, false} {
				r := ollamaRig(t, pipeline.ModeEnforce, c.pieces...)
				r.client.Request.Target = "/api/generate"
				r.client.Payload = []byte(`{"model":"llama3","prompt":"hi"}`)
				r.up.Head.Fields[0].Value = c.kind
				if !masked {
					r.opts.Masker = fakes.Masker{}
				}
				got := r.must()
				if strings.Contains(got, `"context":[1,2,3]`) == masked || strings.Contains(got, `"context":null`) != masked {
					t.Errorf("masked %v: released %s", masked, got)
				}
			}
		})
	}
}

// TestBrokenArgumentsBefore: such arguments in the conversation so far do not keep a request from passing, and are not recorded.
func TestBrokenArgumentsBefore(t *testing.T) {
	request := `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"c1","type":"custom","custom":{"name":"python","input":` + quote(`print("\u0073`+secret[1:]) +
		`}}]},{"role":"tool","tool_call_id":"c1","content":"done"}]}`
	r := newRig(t, pipeline.ModeEnforce, request).reply(200, "application/json", completion("hi"))
	if got := r.must(); got != completion("hi") || len(r.up.Sent) != 1 || string(r.up.Sent[0]) != request {
		t.Errorf("released %s, sent %s", got, r.up.Sent)
	}
	if in := r.intent(); len(in.Masks) != 1 || strings.Contains(string(in.Body), secret[1:]) || strings.Contains(string(in.Call.Steps[0].Args), secret[1:]) {
		t.Errorf("recorded %+v", in)
	}
}
