// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// hostile is what stands in place of a value here: it would be markup everywhere if it were not written as a string.
const hostile = "\",\"x\":{]}\n\ndata: [DONE]\n\n\\\u2028"

// shape is JSON without what its strings say: kinds, lengths and, but for those that were masked, keys. Numbers may be strings.
func shape(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var out []string
		for k, m := range v {
			if strings.Contains(k, hostile) || !plainWord(k) {
				k = "?"
			}
			out = append(out, k+":"+shape(m))
		}
		slices.Sort(out)
		return "{" + strings.Join(slices.Compact(out), ",") + "}"
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, shape(e))
		}
		return "[" + strings.Join(out, ",") + "]"
	case nil:
		return "null"
	case bool:
		return "bool"
	}
	return "word"
}

func plainWord(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// FuzzMasked: whatever a provider answers, in whatever protocol, what is masked in it never changes what it is but for its words, and no
// masked word comes through.
func FuzzMasked(f *testing.F) {
	for i, c := range carriers {
		if c.whole != "" {
			f.Add([]byte(c.fill(c.whole)), uint8(i), false, secret)
		}
		if c.stream != "" {
			f.Add([]byte(c.fill(c.stream)), uint8(i), true, secret)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, which uint8, stream bool, word string) {
		if len(word) < 6 || strings.Contains(hostile, word) || strings.ContainsAny(word, "\\\"") || strings.Trim(word, "0123456789.eE+-") == "" {
			return
		}
		c := carriers[int(which)%len(carriers)]
		c.request = ""
		kind := "application/json"
		if stream {
			kind = c.kind()
		}
		r := c.rig(t, stream).reply(200, kind, string(body))
		r.opts.Masker = fakes.Masker{Words: []string{word}, With: hostile}
		err := r.serve()
		for _, n := range r.notes {
			if strings.Contains(n, "panic") {
				t.Fatal(n)
			}
		}
		got := string(r.client.Got)
		if err != nil || strings.Contains(got, "sallyport_") || got == string(body) {
			return
		}
		if stream {
			before, after := datas(string(body), c.protocol), datas(got, c.protocol)
			if len(before) != len(after) {
				t.Fatalf("%d events became %d: %q became %q", len(before), len(after), body, got)
			}
			for i := range before {
				sameShape(t, before[i], after[i])
			}
			return
		}
		sameShape(t, string(body), got)
	})
}

// datas are the data of the events of a stream.
func datas(s, protocol string) (out []string) {
	for _, line := range strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		data, ok := strings.CutPrefix(line, "data:")
		if ok || protocol == "ollama" {
			out = append(out, strings.TrimSpace(data))
		}
	}
	return out
}

func sameShape(t *testing.T, before, after string) {
	t.Helper()
	var was, is any
	if json.Unmarshal([]byte(before), &was) != nil {
		if before != after {
			t.Fatalf("%q became %q", before, after)
		}
		return
	}
	if err := json.Unmarshal([]byte(after), &is); err != nil {
		t.Fatalf("%v: %q became %q", err, before, after)
	}
	if b, a := bare(shape(was)), bare(shape(is)); a != b {
		t.Fatalf("%s\nbecame %s\n%q\nbecame %q", b, a, before, after)
	}
}

// bare leaves out of a shape what goes with a masked token, or with a masked answer.
func bare(s string) string {
	for _, key := range []string{"bytes", "top_logprobs", "logprobs", "context", "content", "tokens"} {
		for from := 0; ; {
			i := strings.Index(s[from:], key+":")
			if i < 0 {
				break
			}
			i += from + len(key) + 1
			end, depth := i, 0
			for end < len(s) && (depth > 0 || !strings.ContainsRune(",}]", rune(s[end]))) {
				switch s[end] {
				case '{', '[':
					depth++
				case '}', ']':
					depth--
				}
				end++
			}
			s = s[:i] + "*" + s[end:]
			from = i
		}
	}
	return s
}

// FuzzMaskedArguments: whatever the arguments of a call say, they are JSON afterwards if they were, of the same shape, whole and streamed
// alike.
func FuzzMaskedArguments(f *testing.F) {
	for _, s := range []string{`{"a":"` + secret + `"}`, `{"a":["\u0073k-proj-hunter2hunter2",1,{"` + secret + `":2}]}`, `{"a":"` + secret, secret, `{"n":1234567}`, `"` + secret + `\ud83d"`} {
		f.Add([]byte(s), secret, uint8(3))
		f.Add([]byte(s), "1234567", uint8(9))
	}
	f.Fuzz(func(t *testing.T, args []byte, word string, step uint8) {
		if len(word) < 4 || strings.Contains(hostile, word) || json.Valid([]byte(word)) && strings.Trim(word, "0123456789") != "" {
			return
		}
		masker := fakes.Masker{Words: []string{word}, With: hostile}
		whole := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", chatMessage(`"tool_calls":[{"id":"c1","type":"function","function":{"name":"find","arguments":`+jsonOf(string(args))+`}}]`))
		whole.opts.Masker = masker
		if err := whole.serve(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(whole.client.Got), "sallyport_") {
			return
		}
		var v any
		if err := json.Unmarshal(whole.client.Got, &v); err != nil {
			t.Fatalf("%v: %s", err, whole.client.Got)
		}
		now := at(v, "choices", 0, "message", "tool_calls", 0, "function", "arguments").(string)
		if json.Valid(args) {
			var was, is any
			_ = json.Unmarshal(args, &was)
			if err := json.Unmarshal([]byte(now), &is); err != nil || shape(was) != shape(is) {
				t.Fatalf("%v: %q became %q", err, args, now)
			}
		}
		said := jsonOf(string(args))
		var text string
		if json.Unmarshal([]byte(said), &text) != nil {
			return
		}
		events := []string{call(0, 0, "c1", "find", "")}
		for from, n := 0, int(step%13)+1; from < len(text); {
			to := min(len(text), from+n)
			for to < len(text) && text[to]&0xC0 == 0x80 {
				to++
			}
			events = append(events, fmt.Sprintf(`data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":%s}}]},"finish_reason":null}]}`+"\n\n", jsonOf(text[from:to])))
			from = to
		}
		r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", append(events, delta(0, "{}", "tool_calls"), done)...)
		r.opts.Masker = masker
		got := ""
		for _, e := range datas(r.must(), "openai") {
			var v any
			if e == "[DONE]" || json.Unmarshal([]byte(e), &v) != nil {
				continue
			}
			if calls, ok := at(v, "choices", 0, "delta").(map[string]any)["tool_calls"]; ok {
				got += at(calls, 0, "function", "arguments").(string)
			}
		}
		if got != now {
			t.Fatalf("whole %q\nstreamed %q", now, got)
		}
	})
}
