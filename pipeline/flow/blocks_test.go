// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/llm/anthropic"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// blockRig is a rig whose provider answers in numbered blocks: Anthropic.
func blockRig(t testing.TB, stream bool) *rig {
	r := newRig(t, pipeline.ModeEnforce, fmt.Sprintf(`{"model":"claude-sonnet-4-5","max_tokens":100,"stream":%t,"messages":[{"role":"user","content":"Say hi"}]}`, stream))
	r.opts.Codecs = llm.Registry{"anthropic": anthropic.Provider{}}
	r.opts.Decider = fakes.DenyTool("delete")
	r.meta.Endpoint = pipeline.Endpoint{Name: "anthropic", Host: "api.anthropic.com", Protocol: "anthropic"}
	r.client.Request.Target = "/v1/messages"
	return r
}

func ev(kind, rest string) string {
	if rest != "" {
		rest = "," + rest
	}
	return fmt.Sprintf("event: %s\ndata: {\"type\":%q%s}\n\n", kind, kind, rest)
}

func start(n int, block string) string {
	return ev("content_block_start", fmt.Sprintf(`"index":%d,"content_block":%s`, n, block))
}

func piece(n int, kind, key, text string) string {
	return ev("content_block_delta", fmt.Sprintf(`"index":%d,"delta":{"type":%q,%q:%s}`, n, kind, key, quote(text)))
}

func stop(n int) string { return ev("content_block_stop", fmt.Sprintf(`"index":%d`, n)) }

func textBlock(n int, pieces ...string) (out []string) {
	out = append(out, start(n, `{"type":"text","text":""}`))
	for _, p := range pieces {
		out = append(out, piece(n, "text_delta", "text", p))
	}
	return append(out, stop(n))
}

func toolBlock(n int, name string, pieces ...string) (out []string) {
	out = append(out, start(n, fmt.Sprintf(`{"type":"tool_use","id":"toolu_%s%d","name":%q,"input":{}}`, name, n, name)))
	for _, p := range append([]string{""}, pieces...) {
		out = append(out, piece(n, "input_json_delta", "partial_json", p))
	}
	return append(out, stop(n))
}

func ends(reason string) string {
	return ev("message_delta", fmt.Sprintf(`"delta":{"stop_reason":%q,"stop_sequence":null},"usage":{"output_tokens":7}`, reason))
}

var (
	begins = ev("message_start", `"message":{"type":"message","id":"msg_1","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":1}}`)
	ping   = ev("ping", "")
	stops  = ev("message_stop", "")
)

// instead stands in place of all refused calls.
func instead(n int, names ...string) []string {
	var text []string
	for _, name := range names {
		text = append(text, "[sallyport] tool "+name+" was refused by rule guardrail/no-"+name+" (DEC)")
	}
	out := textBlock(n, strings.Join(text, "\n\n"))
	return out
}

func cat(parts ...any) (out []string) {
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			out = append(out, p)
		case []string:
			out = append(out, p...)
		}
	}
	return out
}

const bad = `{"path":"` + forbidden + `"}`

// blockStreams are what a provider sends and what the application gets.
var blockStreams = map[string]struct {
	in, out []string // no out: unchanged
}{
	"text": {in: cat(begins, ping, textBlock(0, "hel", "lo é 😀"), ends("end_turn"), stops)},
	"secret": {
		in:  cat(begins, textBlock(0, "a sk-proj-", "hunter2hunter2", " b"), ends("end_turn"), stops),
		out: cat(begins, textBlock(0, "a ", with, " b"), ends("end_turn"), stops),
	},
	"not a secret, at the end of a block": {in: cat(begins, textBlock(0, "a sk-proj-"), textBlock(1, "hunter2hunter2"), ends("end_turn"), stops)},
	"thinking": {
		in: cat(begins, start(0, `{"type":"thinking","thinking":"","signature":""}`), piece(0, "thinking_delta", "thinking", "hm "+secret),
			piece(0, "signature_delta", "signature", "c2lnbmF0dXJl"), stop(0), textBlock(1, "yes"), ends("end_turn"), stops),
		out: cat(begins, start(0, `{"type":"thinking","thinking":"","signature":""}`), piece(0, "thinking_delta", "thinking", "hm "+with),
			piece(0, "signature_delta", "signature", "c2lnbmF0dXJl"), stop(0), textBlock(1, "yes"), ends("end_turn"), stops),
	},
	"call allowed":       {in: cat(begins, textBlock(0, "Let me see."), toolBlock(1, "search", `{"q":`, `"kites"}`), ends("tool_use"), stops)},
	"call without input": {in: cat(begins, toolBlock(0, "list"), ends("tool_use"), stops)},
	"secret in a call": {
		in:  cat(begins, toolBlock(0, "search", `{"q":"sk-proj-`, `hunter2hunter2"}`), ends("tool_use"), stops),
		out: cat(begins, toolBlock(0, "search", ``, `{"q":"`+with+`"}`), ends("tool_use"), stops),
	},
	"call denied": {
		in:  cat(begins, toolBlock(0, "delete", `{"path":"/srv/`, `forbidden"}`), ends("tool_use"), stops),
		out: cat(begins, instead(0, "delete"), ends("end_turn"), stops),
	},
	"text, then denied": {
		in:  cat(begins, textBlock(0, "I will ", "do it."), toolBlock(1, "delete", bad), ping, ends("tool_use"), stops),
		out: cat(begins, textBlock(0, "I will ", "do it."), ping, instead(1, "delete"), ends("end_turn"), stops),
	},
	"first of three": {
		in:  cat(begins, toolBlock(0, "delete", bad), toolBlock(1, "search", `{"q":"x"}`), textBlock(2, "so"), toolBlock(3, "search", `{"q":"y"}`), ends("tool_use"), stops),
		out: cat(begins, toolAt(0, 1, "search", `{"q":"x"}`), textBlock(1, "so"), toolAt(2, 3, "search", `{"q":"y"}`), ends("tool_use"), stops),
	},
	"all of two, text between": {
		in:  cat(begins, toolBlock(0, "delete", bad), textBlock(1, "and"), toolBlock(2, "delete", bad), ends("tool_use"), stops),
		out: cat(begins, textBlock(0, "and"), instead(1, "delete", "delete"), ends("end_turn"), stops),
	},
	"denied, and the stream ends without a stop": {
		in:  cat(begins, toolBlock(0, "delete", bad)),
		out: cat(begins, instead(0, "delete")),
	},
	"a secret in escapes that are cut": {
		in:  cat(begins, toolBlock(0, "search", `{"q":"sk-proj-\u0`, `068unter2hunter2"}`), ends("tool_use"), stops),
		out: cat(begins, toolBlock(0, "search", ``, `{"q":"`+with+`"}`), ends("tool_use"), stops),
	},
	"a pair of surrogates that is cut": {in: cat(begins, start(0, `{"type":"text","text":""}`),
		ev("content_block_delta", `"index":0,"delta":{"type":"text_delta","text":"a \ud83d"}`), ev("content_block_delta", `"index":0,"delta":{"type":"text_delta","text":"\ude00 b"}`),
		stop(0), ends("end_turn"), stops)},
	"data in several fields": {
		in: cat(begins, toolBlock(0, "delete", bad), "event: content_block_start\r\ndata: {\"type\":\"content_block_start\",\r\ndata: \"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\r\n\r\n",
			textBlock(1, "x")[1:], ends("tool_use"), stops),
		out: cat(begins, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\ndata: \"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
			textBlock(0, "x")[1:], instead(1, "delete"), ends("end_turn"), stops),
	},
	"lines that end in CR": {in: cat(begins, strings.ReplaceAll(strings.Join(textBlock(0, "x"), ""), "\n", "\r"), ends("end_turn"), stops)},
	"the provider searched": {
		in: cat(begins, start(0, `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}`), piece(0, "input_json_delta", "partial_json", `{"query":"kites"}`), stop(0),
			start(1, `{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","title":"a `+secret+`","url":"https://x.example","encrypted_content":"zzz"}]}`), stop(1),
			textBlock(2, "Kites"), ends("end_turn"), stops),
		out: cat(begins, start(0, `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}`), piece(0, "input_json_delta", "partial_json", `{"query":"kites"}`), stop(0),
			start(1, `{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","title":"a `+with+`","url":"https://x.example","encrypted_content":"zzz"}]}`), stop(1),
			textBlock(2, "Kites"), ends("end_turn"), stops),
	},
}

// toolAt is a tool block that was number was, and is n now.
func toolAt(n, was int, name string, pieces ...string) []string {
	out := toolBlock(was, name, pieces...)
	for i := range out {
		out[i] = strings.Replace(out[i], fmt.Sprintf(`"index":%d`, was), fmt.Sprintf(`"index":%d`, n), 1)
	}
	return out
}

func runBlocks(t testing.TB, pieces []string) result {
	t.Helper()
	r := blockRig(t, true).reply(200, "text/event-stream", pieces...)
	got := r.must()
	r.noSecret()
	o := r.outcome()
	o.Pace, o.DurationMS, o.OverheadUS, o.FirstReleaseMS, o.Decision = nil, 0, 0, 0, ""
	o.Text = unnamed(o.Text)
	return result{unnamed(got), o}
}

// TestBlocks: what an application gets of an answer in blocks, and that it does not depend on how the bytes arrive.
func TestBlocks(t *testing.T) {
	for name, c := range blockStreams {
		t.Run(name, func(t *testing.T) {
			if c.out == nil {
				c.out = c.in
			}
			want := runBlocks(t, c.in)
			if got := want.Got; got != strings.Join(c.out, "") {
				t.Fatalf("got\n%s\nwant\n%s", got, strings.Join(c.out, ""))
			}
			everySplit(c.in, func(pieces []string) {
				t.Helper()
				if got := runBlocks(t, pieces); !reflect.DeepEqual(got, want) {
					t.Fatalf("%d pieces:\n got %+v\nwant %+v", len(pieces), got, want)
				}
			})
		})
	}
}

// TestBlocksOutcome: what the record keeps of an answer in blocks.
func TestBlocksOutcome(t *testing.T) {
	o := runBlocks(t, blockStreams["first of three"].in).Outcome
	if o.Text != "so" || len(o.Tools) != 3 || *o.Usage.InputTokens != 5 || *o.Usage.OutputTokens != 7 || o.ResponseID != "msg_1" ||
		!slices.Equal(o.Finish, []string{"tool_use"}) {
		t.Errorf("outcome %+v", o)
	}
	o = runBlocks(t, blockStreams["text, then denied"].in).Outcome
	if o.Text != "[sallyport] tool delete was refused by rule guardrail/no-delete (DEC)\n\nI will do it." && o.Text != "I will do it.\n\n[sallyport] tool delete was refused by rule guardrail/no-delete (DEC)" {
		t.Errorf("text %q", o.Text)
	}
	o = runBlocks(t, blockStreams["the provider searched"].in).Outcome
	if len(o.Tools) != 1 || !o.Tools[0].ByProvider || string(o.Tools[0].Args) != `{"query":"kites"}` {
		t.Errorf("tools %+v", o.Tools)
	}
}

// TestBlocksObserved: every byte passes as it came, and the record says what would have been done.
func TestBlocksObserved(t *testing.T) {
	in := cat(begins, textBlock(0, "a "+secret), toolBlock(1, "delete", bad), ends("tool_use"), stops)
	r := blockRig(t, true).reply(200, "text/event-stream", in...)
	r.meta.Mode = pipeline.ModeObserve
	if got := r.must(); got != strings.Join(in, "") {
		t.Errorf("got %s", got)
	}
	r.noSecret()
	if o := r.outcome(); o.Enforced || o.Verdict.Action != pipeline.Deny || o.Text != "a "+with || len(o.Tools) != 1 {
		t.Errorf("outcome %+v", o)
	}
}

// TestBlocksRefused: streams that two readers could take differently end with an error, and nothing of a refused call is out.
func TestBlocksRefused(t *testing.T) {
	for name, in := range map[string][]string{
		"name is not the type":            cat(begins, "event: ping\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"),
		"no name":                         cat(begins, strings.TrimPrefix(stops, "event: message_stop\n")),
		"unknown event":                   cat(begins, ev("content_block_patch", `"index":0`)),
		"unknown block":                   cat(begins, start(0, `{"type":"fallback"}`)),
		"unknown delta":                   cat(begins, start(0, `{"type":"text","text":""}`), piece(0, "compaction_delta", "content", "x")),
		"data after the end":              cat(begins, textBlock(0, "a"), ends("end_turn"), stops, ping),
		"duplicate key":                   cat(begins, ev("content_block_stop", `"index":0,"index":1`)),
		"another case":                    cat(begins, ev("content_block_stop", `"index":0,"Index":1`)),
		"trailing data":                   cat(begins, "event: ping\ndata: {\"type\":\"ping\"} {}\n\n"),
		"invalid UTF-8":                   cat(begins, piece(0, "text_delta", "text", "x")[:60]+"\xff\"}}\n\n"),
		"begins with blocks":              cat(strings.Replace(begins, `"content":[]`, `"content":[{"type":"text","text":"x"}]`, 1)),
		"begins with input":               cat(begins, start(0, `{"type":"tool_use","id":"x","name":"delete","input":{"path":"`+forbidden+`"}}`)),
		"input that nobody asked for":     cat(begins, piece(0, "input_json_delta", "partial_json", bad), stop(0)),
		"input in a text":                 cat(begins, start(0, `{"type":"text","text":""}`), piece(0, "input_json_delta", "partial_json", bad), stop(0)),
		"text in a call":                  cat(begins, toolBlock(0, "delete", bad)[:2], piece(0, "text_delta", "text", "x")),
		"call goes on after its end":      cat(begins, toolBlock(0, "search", `{}`), piece(0, "input_json_delta", "partial_json", bad)),
		"a number before":                 cat(begins, textBlock(1, "x"), toolBlock(0, "delete", bad)),
		"number too large":                cat(begins, textBlock(5000, "x")),
		"toolset":                         cat(begins, start(0, `{"type":"tool_use","id":"x","name":"left_click","toolset_name":"computer","input":{}}`)),
		"the provider ran what is denied": cat(begins, start(0, `{"type":"mcp_tool_use","id":"x","server_name":"files","name":"x","input":{}}`), piece(0, "input_json_delta", "partial_json", bad), stop(0), textBlock(1, "done")),
	} {
		t.Run(name, func(t *testing.T) {
			r := blockRig(t, true).reply(200, "text/event-stream", cat(in, ends("end_turn"), stops)...)
			r.opts.Decider = fakes.Decider(func(m *pipeline.Meta, c *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
				if s != nil && s.Name == "mcp/files" {
					return pipeline.Verdict{Action: pipeline.Deny, Rule: "guardrail/g"}
				}
				return fakes.DenyTool("delete")(m, c, s)
			})
			err := r.serve()
			got := string(r.client.Got)
			if err == nil || !strings.Contains(got, "event: error\ndata: {\"type\":\"error\"") {
				t.Errorf("%v: got %s", err, got)
			}
			if strings.Contains(got, forbidden) {
				t.Errorf("released %s", got)
			}
		})
	}
}

func blockReply(stop string, blocks ...string) string {
	return `{"type":"message","id":"msg_1","role":"assistant","model":"claude-sonnet-4-5","content":[` + strings.Join(blocks, ", ") +
		`],"stop_reason":` + quote(stop) + `,"stop_sequence":null,"usage":{"input_tokens":5,"cache_read_input_tokens":3,"output_tokens":4}}`
}

func use(name, input string) string {
	return fmt.Sprintf(`{"type":"tool_use","id":"toolu_%s","name":%q,"input":%s}`, name, name, input)
}

func says(text string) string { return `{"type":"text","text":` + quote(text) + `}` }

// TestBlocksWhole: the same for replies that are not streams.
func TestBlocksWhole(t *testing.T) {
	refusal := says("[sallyport] tool delete was refused by rule guardrail/no-delete (DEC)")
	for name, c := range map[string]struct{ in, out string }{
		"text":             {in: blockReply("end_turn", says("hello"))},
		"no blocks":        {in: blockReply("end_turn")},
		"secret":           {blockReply("end_turn", says("a "+secret)), blockReply("end_turn", says("a "+with))},
		"call allowed":     {in: blockReply("tool_use", says("hm"), use("search", `{"q": "x", "n": 1}`))},
		"secret in a call": {blockReply("tool_use", use("search", `{"q": "`+secret+`", "n": 1}`)), blockReply("tool_use", use("search", `{"q": "`+with+`", "n": 1}`))},
		"call denied":      {blockReply("tool_use", use("delete", bad)), blockReply("end_turn", refusal)},
		"text, then denied": {blockReply("tool_use", says("I will"), use("delete", bad)),
			strings.Replace(blockReply("end_turn", says("I will"), refusal), "}, {", "},{", 1)},
		"first of two":  {blockReply("tool_use", use("delete", bad), use("search", `{}`)), blockReply("tool_use", use("search", `{}`))},
		"second of two": {blockReply("tool_use", use("search", `{}`), use("delete", bad)), blockReply("tool_use", use("search", `{}`))},
		"middle of three": {blockReply("tool_use", use("search", `{}`), use("delete", bad), says("x")),
			blockReply("tool_use", use("search", `{}`), says("x"))},
	} {
		t.Run(name, func(t *testing.T) {
			r := blockRig(t, false).reply(200, "application/json", c.in)
			if c.out == "" {
				c.out = c.in
			}
			if got := unnamed(r.must()); got != c.out {
				t.Errorf("got  %s\nwant %s", got, c.out)
			}
			if !json.Valid(r.client.Got) {
				t.Error("no JSON")
			}
			r.noSecret()
			if o := r.outcome(); *o.Usage.InputTokens != 8 || *o.Usage.OutputTokens != 4 || *o.Usage.CachedTokens != 3 {
				t.Errorf("usage %+v", o.Usage)
			}
		})
	}
}

// FuzzBlocks: however the bytes of a stream with a refused call are cut, and whatever bytes come between, nothing of the call's
// arguments reaches the application.
func FuzzBlocks(f *testing.F) {
	f.Add("I will", "", "", uint16(3), uint8(9))
	f.Add("", ping, stop(0), uint16(700), uint8(1))
	f.Add("x", start(1, `{"type":"tool_use","id":"a","name":"search","input":{}}`), piece(1, "input_json_delta", "partial_json", "{"), uint16(40), uint8(200))
	f.Add("x", "event: content_block_delta\n", "data: {}\n\n", uint16(900), uint8(30))
	f.Fuzz(func(t *testing.T, text, before, after string, at uint16, step uint8) {
		if strings.Contains(text+before+after, "forb") {
			return
		}
		whole := strings.Join(cat(begins, textBlock(0, text), before, toolBlock(1, "delete", `{"path":"/srv/for`, `bidden"}`), after, ends("tool_use"), stops), "")
		cut := int(at) % len(whole)
		pieces := append([]string{whole[:cut]}, inSteps(whole[cut:], step)...)
		r := blockRig(t, true).reply(200, "text/event-stream", pieces...)
		err := r.serve()
		if got := string(r.client.Got); strings.Contains(got, "/srv/for") || strings.Contains(got, "bidden") {
			t.Fatalf("released %s (%v)", got, err)
		}
		for _, n := range r.notes {
			if strings.Contains(n, "panic") {
				t.Fatal(n)
			}
		}
	})
}

// TestHeldTooLong: arguments without end are not kept without end.
func TestHeldTooLong(t *testing.T) {
	args := piece(0, "input_json_delta", "partial_json", strings.Repeat("x", 1<<20))
	r := blockRig(t, true).reply(200, "text/event-stream", cat(begins, toolBlock(0, "search", `{"q":"`)[:3], slices.Repeat([]string{args}, 100))...)
	r.up.Pieces = append(r.up.Pieces, []byte(stop(0)+stops))
	err := r.serve()
	if got := string(r.client.Got); err == nil || strings.Contains(got, "xxx") || !strings.Contains(got, "event: error") {
		t.Errorf("%v: got %d bytes", err, len(got))
	}
}
