// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// TestLineBreaks: what waits when the line to the provider breaks is not released, whatever it might have become.
func TestLineBreaks(t *testing.T) {
	for name, c := range map[string]struct {
		pieces []string
		want   string
	}{
		"within a value":           {[]string{text(0, "one "), text(0, "two sk-proj-"), text(0, "hun")}, text(0, "one ")},
		"within what might be one": {[]string{text(0, "one "), text(0, "sk-pro")}, text(0, "one ")},
		"behind a value":           {[]string{text(0, "one "), text(0, secret), text(0, " t")}, text(0, "one ") + text(0, with) + text(0, " t")},
		"within an event":          {[]string{text(0, "one "), text(0, secret)[:90]}, text(0, "one ")},
		"within arguments":         {[]string{text(0, "one "), call(0, 0, "c1", "find", `{"q":"`+secret)}, text(0, "one ")},
		"another choice waits":     {[]string{text(1, "one "), text(0, "sk-"), text(1, "two")}, text(1, "one ")},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", c.pieces...)
			r.up.End = errors.New("connection reset by peer")
			if err := r.serve(); err == nil {
				t.Error("no error")
			}
			if got := string(r.client.Got); !strings.HasPrefix(got, c.want) || strings.Contains(got, "sk-") || strings.Contains(got, "two\"") {
				t.Errorf("released %q", got)
			}
			r.noFragment()
			if o := r.outcome(); o.Cut == "" {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

// TestEndsOtherwise: texts end with the stream too, whatever says that it ends.
func TestEndsOtherwise(t *testing.T) {
	usage := `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":4}}` + "\n\n"
	for name, c := range map[string]struct{ in, want string }{
		"no [DONE]":            {text(0, "a sk-") + delta(0, "{}", "stop"), text(0, "a sk-") + delta(0, "{}", "stop")},
		"no finish":            {text(0, "a sk-") + done, text(0, "a sk-") + done},
		"nothing":              {text(0, "a sk-"), text(0, "a sk-")},
		"a value and nothing":  {text(0, "a "+secret), text(0, "a "+with)},
		"usage behind the end": {text(0, "a "+secret[:9]) + text(0, secret[9:]) + delta(0, "{}", "stop") + usage + done, text(0, "a ") + text(0, with) + delta(0, "{}", "stop") + usage + done},
		"usage in between":     {text(0, "a "+secret[:9]) + usage + text(0, secret[9:]) + done, text(0, "a ") + usage + text(0, with) + done},
		"finish with a text":   {text(0, "a "+secret[:9]) + delta(0, `{"content":`+quote(secret[9:])+`}`, "stop") + done, text(0, "a ") + delta(0, `{"content":`+quote(with)+`}`, "stop") + done},
	} {
		t.Run(name, func(t *testing.T) {
			everySplit([]string{c.in}, func(pieces []string) {
				if got := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", pieces...).must(); got != c.want {
					t.Fatalf("%d pieces: %s\nwant %s", len(pieces), got, c.want)
				}
			})
			r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", encode(t, "gzip", c.in))
			r.up.Head.Set("Content-Encoding", "gzip")
			if got := r.must(); got != c.want {
				t.Fatalf("gzip: %s", got)
			}
		})
	}
}

// TestEverywhere: one value in all places of an exchange is in none of them afterwards, neither released nor on record.
func TestEverywhere(t *testing.T) {
	request := `{"model":"m","user":"` + secret + `","stream":STREAM,"stop":["` + secret + `"],"metadata":{"` + secret + `":"` + secret + `"},"messages":[{"role":"system","content":"` + secret + `"},` +
		`{"role":"user","name":"` + secret + `","content":"x"},{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"find","arguments":"{\"` + secret + `\":\"` + secret + `\"}"}}]},{"role":"tool","tool_call_id":"c","content":"` + secret + `"}]}`
	c := carrying{protocol: "openai", operation: "chat"}
	places := func(message string) string {
		return c.fill(`"` + message + `":{"role":"assistant","content":"so: {V}, see","reasoning_content":"{V}","refusal":"{V}","annotations":[{"type":"url_citation","url_citation":{"url":"https://x/{V}","title":"{V}"}}],` +
			`"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"find","arguments":"{\"{V}\":\"{V}\"}"}}],"note":{"{V}":"{V}"}},"logprobs":{"content":` + tokens + `,"refusal":null},"odd":"{V}"`)
	}
	more := c.fill(`,"citations":["{V}"],"system_fingerprint":"{V} {V}","service_tier":{"a":[{"{V}":1},"{V}"]},"{V}":{"{V}":2},"usage":{"prompt_tokens":1,"completion_tokens":2,"note":"so {V}"}`)
	for name, run := range map[string]func() *rig{
		"whole": func() *rig {
			return newRig(t, pipeline.ModeEnforce, strings.Replace(request, "STREAM", "false", 1)).reply(200, "application/json", strings.NewReplacer(`"id":"1"`, `"id":"so `+secret+`"`, `"model":"m"`, `"model":"it is `+secret+`"`).Replace(chatReply(places("message"), more)))
		},
		"stream": func() *rig {
			return newRig(t, pipeline.ModeEnforce, strings.Replace(request, "STREAM", "true", 1)).reply(200, "text/event-stream", strings.TrimSuffix(chatEvents(places("delta")), done), "data: "+c.fill(chatError(""))+"\n\n")
		},
		"error": func() *rig {
			return newRig(t, pipeline.ModeEnforce, strings.Replace(request, "STREAM", "true", 1)).reply(429, "application/json", c.fill(chatError(`,"{V}":["{V}"]`)))
		},
		"error in words": func() *rig {
			return newRig(t, pipeline.ModeEnforce, strings.Replace(request, "STREAM", "true", 1)).reply(502, "text/plain", "no "+secret)
		},
		"not understood": func() *rig {
			return newRig(t, pipeline.ModeEnforce, strings.Replace(request, "STREAM", "false", 1)).reply(200, "application/json", chatReply(places("message"), `,"model":"m"`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := run()
			_ = r.serve()
			r.noFragment()
			if got := string(r.client.Got); len(r.log.Of(pipeline.KindOutcome)) != 1 || strings.Contains(got, "sallyport_") != (name == "not understood") || !strings.Contains(got, with) && name != "not understood" {
				t.Fatalf("released %s", got)
			}
			for _, m := range append(r.intent().Masks, r.outcome().Masks...) {
				if m.Carrier == "" || m.With != with || !slices.Contains(pipeline.Carriers(), m.Carrier) {
					t.Errorf("mask %+v", m)
				}
			}
		})
	}
}

// TestReasonsQuoteNothing: what we say about what we do not understand may quote it, but no value in it.
func TestReasonsQuoteNothing(t *testing.T) {
	for name, c := range map[string]struct{ operation, request, whole, stream string }{
		"type of an item":   {"responses", "", `{"output":[{"type":"{V}"}]}`, ""},
		"type of an event":  {"responses", "", "", rev("response.{V}", `"output_index":0`)},
		"type of a request": {"chat", `{"model":"m","messages":[{"role":"{V}","content":"a"}]}`, `{}`, ""},
		"key of a request":  {"chat", `{"model":"m","messages":[],"extra_body":{"{V}":1}}`, `{}`, ""},
		"name of an event":  {"chat", "", "", "event: {V}\n" + text(0, "hi") + done},
	} {
		t.Run(name, func(t *testing.T) {
			c := carrying{protocol: "openai", operation: c.operation, request: c.request, whole: c.whole, stream: c.stream}
			r := c.rig(t, c.stream != "")
			if c.stream != "" {
				r.reply(200, "text/event-stream", c.pieces()...)
			} else {
				r.reply(200, "application/json", c.fill(c.whole))
			}
			_ = r.serve()
			r.noFragment()
			if got := string(r.client.Got); !strings.Contains(got, "sallyport_not_inspected") {
				t.Errorf("released %s", got)
			}
		})
	}
}

// TestLinesBeside: lines of a stream that are no data, and hold something, are left out.
func TestLinesBeside(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"comment":           {": {V}\n\n" + text(0, "hi") + done, "\n" + text(0, "hi") + done},
		"comment in event":  {": {V}\r\n" + text(0, "hi") + done, text(0, "hi") + done},
		"behind the data":   {strings.TrimSuffix(text(0, "hi"), "\n") + "id: {V}\n\n" + done, text(0, "hi") + done},
		"before and masked": {"id: {V}\nretry: 10\n: {V} {V}\n" + text(0, "hi {V}") + done, "retry: 10\n" + text(0, "hi "+with) + done},
		"another field":     {"database: {V}\n" + text(0, "hi") + done, text(0, "hi") + done},
		"several lines":     {"id: {V}\ndata:\n" + text(0, "hi") + done, "data:\n" + text(0, "hi") + done},
		"nothing":           {": OPENROUTER PROCESSING\n\nid: 1234567\n" + text(0, "hi") + done, ": OPENROUTER PROCESSING\n\nid: 1234567\n" + text(0, "hi") + done},
	} {
		t.Run(name, func(t *testing.T) {
			c := carrying{}
			everySplit([]string{c.fill(tc.in)}, func(pieces []string) {
				r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", pieces...)
				if got := r.must(); got != tc.want {
					t.Fatalf("got  %q\nwant %q", got, tc.want)
				}
				r.noFragment()
			})
		})
	}
}

// keyed is a masker that masks a value only behind its key, and another only where it stands in surroundings.
type keyed struct{ fakes.Masker }

func (k keyed) Stream(carrier string, m *pipeline.Meta, before []byte) flow.Rewriter {
	if strings.HasSuffix(string(before), `"password": `) {
		k.Words = append([]string{"tiger", "12345"}, k.Words...)
	}
	return k.Masker.Stream(carrier, m, before)
}

// TestArguments: how values in arguments are found, and what becomes of the JSON.
func TestArguments(t *testing.T) {
	for name, c := range map[string]struct{ args, want string }{
		"a string":             {`{"q": "a ` + secret + ` b"}`, `{"q": "a [MASKED] b"}`},
		"escapes":              {`{"q":"\u0073k-proj-hunter2\u0068unter2\n\"é\ud83d\ude00"}`, `{"q":"[MASKED]\n\"é😀"}`},
		"a key":                {`{"` + secret + `":1}`, `{"[MASKED]":1}`},
		"found by its key":     {`{"user":"tiger","password":"tiger"}`, `{"user":"tiger","password":"[MASKED]"}`},
		"in a list behind it":  {`{"password":["tiger","a"],"x":["tiger"]}`, `{"password":["[MASKED]","a"],"x":["tiger"]}`},
		"a number":             {`{"password": 12345, "n": 12345}`, `{"password": "[MASKED]", "n": 12345}`},
		"in its surroundings":  {`{"a":"x","b": "around","c":1}`, `{"a":"x","b": "[MASKED]","c":1}`},
		"over two values":      {`{"a":["over","two"],"c":1}`, `{"a":["[MASKED]","[MASKED]"],"c":1}`},
		"a number around":      {`{"n":  777777}`, `{"n":  "[MASKED]"}`},
		"no JSON":              {`q = ` + secret, `q = [MASKED]`},
		"broken off":           {`{"q":"` + secret, `{"q":"[MASKED]`},
		"JSON in a string":     {`{"q":"{\"k\":\"` + secret + `\"}"}`, `{"q":"{\"k\":\"[MASKED]\"}"}`},
		"nothing":              {`{"q" : "a\u0062", "n": 1e5 }`, `{"q" : "a\u0062", "n": 1e5 }`},
		"deep":                 {strings.Repeat(`[`, 60) + `"` + secret + `"` + strings.Repeat(`]`, 60), strings.Repeat(`[`, 60) + `"[MASKED]"` + strings.Repeat(`]`, 60)},
		"a line separator":     {`{"q":"` + secret + `\u2028"}`, `{"q":"[MASKED]\u2028"}`},
		"half a pair":          {`{"q":"` + secret + `\ud83d"}`, `{"q":"[MASKED]\ud83d"}`},
		"the same value twice": {`{"a":"` + secret + `","b":"` + secret + `"}`, `{"a":"[MASKED]","b":"[MASKED]"}`},
	} {
		t.Run(name, func(t *testing.T) {
			masker := keyed{fakes.Masker{Words: []string{secret, `"b": "around"`, `"over","two"`, `:  777777`}, With: with}}
			r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", chatMessage(`"tool_calls":[{"id":"c1","type":"function","function":{"name":"find","arguments":`+quote(c.args)+`}}]`))
			r.opts.Masker = masker
			var v struct {
				Choices []struct {
					Message struct {
						Calls []struct{ Function struct{ Arguments string } } `json:"tool_calls"`
					}
				}
			}
			if err := json.Unmarshal([]byte(r.must()), &v); err != nil || v.Choices[0].Message.Calls[0].Function.Arguments != c.want {
				t.Errorf("%v: got  %s\nwant %s", err, r.client.Got, c.want)
			}
			everySplit([]string{call(0, 0, "c1", "find", c.args[:len(c.args)/2]), call(0, 0, "", "", c.args[len(c.args)/2:]), delta(0, "{}", "tool_calls"), done}, func(pieces []string) {
				r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", pieces...)
				r.opts.Masker = masker
				got := ""
				for _, e := range strings.Split(r.must(), "\n\n") {
					if _, rest, ok := strings.Cut(e, `"arguments":`); ok {
						var s string
						if err := json.NewDecoder(strings.NewReader(rest)).Decode(&s); err != nil {
							t.Fatal(err)
						}
						got += s
					}
				}
				if got != c.want {
					t.Fatalf("streamed %s\nwant %s", got, c.want)
				}
			})
		})
	}
}

// TestLogprobs: tokens lose what is masked in them, and the arrays stay as long as they were.
func TestLogprobs(t *testing.T) {
	c := carrying{}
	chat := func(content, list string) string {
		return c.fill(chatReply(`"message":{"role":"assistant","content":"`+content+`"},"logprobs":{"content":`+list+`,"refusal":null}`, ""))
	}
	for name, tc := range map[string]struct{ in, want string }{
		"tokens in a value": {chat("so: {V}, see", tokens),
			chat("so: [MASKED], see", `[{"token":"so: ","logprob":-1,"bytes":null,"top_logprobs":[{"token":"to","logprob":-2,"bytes":[116]}]},{"token":"","logprob":-1,"bytes":null,"top_logprobs":[]},`+
				`{"token":"[MASKED]","logprob":-1,"bytes":null,"top_logprobs":[]},{"token":", see","logprob":-1}]`)},
		"nothing masked": {chat("hi", `[{"token":"hi","logprob":-1,"bytes":[104,105],"top_logprobs":[]}]`), chat("hi", `[{"token":"hi","logprob":-1,"bytes":[104,105],"top_logprobs":[]}]`)},
		"half characters": {chat("é{V}", `[{"token":"\\xc3","logprob":-1,"bytes":[195]},{"token":"\ufffd","logprob":-1,"bytes":[169,`+numbers("sk-proj-")+`]},{"token":"hunter2hunter2","logprob":-1}]`),
			chat("é[MASKED]", `[{"token":"\\xc3","logprob":-1,"bytes":[195]},{"token":"�","logprob":-1,"bytes":null},{"token":"[MASKED]","logprob":-1}]`)},
		"tokens say less than the text": {chat("{V}", `[{"token":"sk-","logprob":-1},{"token":"?","logprob":-1}]`), chat("[MASKED]", `[]`)},
		"bytes say something else":      {chat("hi", `[{"token":"hi","logprob":-1,"bytes":[{B1}]}]`), chat("hi", `[{"token":"hi","logprob":-1,"bytes":null}]`)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", tc.in).must(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestLogprobsApart: tokens need not come with their text.
func TestLogprobsApart(t *testing.T) {
	c := carrying{}
	said := func(content, tokens string) string {
		return `"delta":{"content":"` + content + `"},"logprobs":{"content":[` + tokens + `],"refusal":null}`
	}
	one, two := `{"token":"{1}","logprob":-1,"bytes":[{B1}]}`, `{"token":"{2}","logprob":-1}`
	gone, left := `{"token":"","logprob":-1,"bytes":null}`, `{"token":"[MASKED]","logprob":-1}`
	for name, tc := range map[string]struct{ in, want string }{
		"before it": {chatEvents(said("", one), said("{V}", two)), chatEvents(said("", gone), said("[MASKED]", left))},
		"behind it": {chatEvents(said("{V}", ""), said("", one+","+two)), chatEvents(said("[MASKED]", ""), said("", gone+","+left))},
		"never":     {chatEvents(said("{V}", `{"token":"a","logprob":-1}`)), chatEvents(said("[MASKED]", ""))},
	} {
		t.Run(name, func(t *testing.T) {
			everySplit([]string{c.fill(tc.in)}, func(pieces []string) {
				r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", pieces...)
				if got := r.must(); got != tc.want {
					t.Fatalf("got  %s\nwant %s", got, tc.want)
				}
				r.noFragment()
			})
		})
	}
}
