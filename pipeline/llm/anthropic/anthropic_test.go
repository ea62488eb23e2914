// SPDX-License-Identifier: Apache-2.0

package anthropic

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

func head(method, target, kind string) *pipeline.Head {
	return &pipeline.Head{Method: method, Target: target, Fields: []pipeline.Field{{Name: "content-type", Value: kind}}}
}

func codec(t testing.TB, target string) llm.Codec {
	t.Helper()
	c, err := Provider{}.Codec(&pipeline.Endpoint{Name: "anthropic"}, head("POST", target, "application/json"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	messagesPath = "/v1/messages"
	countPath    = "/v1/messages/count_tokens"
)

// exchange is one of a capture.
type exchange struct {
	Request struct {
		Path string
		Body json.RawMessage
	}
	Reply struct {
		Type string `json:"content_type"`
		Body json.RawMessage
	} `json:"mock_response"`
}

// spoken is the part of a request that the standard library reads too.
type spoken struct {
	Model    string
	Stream   bool
	Max      int64 `json:"max_tokens"`
	System   any
	Messages []struct{ Content any }
	Tools    []struct{ Name string }
}

// TestWire decodes what real clients send, and compares with another reader of the same bytes.
func TestWire(t *testing.T) {
	files, err := filepath.Glob("testdata/wire/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var xs []exchange
			if err := json.Unmarshal(raw, &xs); err != nil {
				t.Fatal(err)
			}
			for _, x := range xs {
				var r llm.Request
				if err := codec(t, x.Request.Path).Request(x.Request.Body, &r); err != nil {
					t.Fatal(err)
				}
				if r.Call.Operation != pipeline.OpChat {
					t.Errorf("call %+v", r.Call)
				}
				compare(t, x.Request.Body, &r)
				answer(t, x)
			}
		})
	}
}

// compare holds what was decoded against encoding/json.
func compare(t *testing.T, body []byte, r *llm.Request) {
	t.Helper()
	var want spoken
	if err := json.Unmarshal(body, &want); err != nil {
		var number *json.UnmarshalTypeError // numbers and names that are none: another reader's own limits
		if errors.As(err, &number) {
			return
		}
		t.Fatalf("accepted, but no JSON: %v", err)
	}
	if r.Call.Model != want.Model || r.Call.Stream != want.Stream || r.MaxTokens != want.Max {
		t.Errorf("call %+v, want %+v", r.Call, want)
	}
	var offers, wantOffers, calls, wantCalls []string
	texts := map[string]bool{}
	for _, s := range r.Call.Steps {
		switch {
		case s.Kind == pipeline.StepToolOffer && !s.ByProvider:
			offers = append(offers, s.Name)
		case s.Kind == pipeline.StepToolCall && !s.ByProvider:
			calls = append(calls, s.Name+" "+string(s.Args))
		case s.Kind == pipeline.StepPrompt, s.Kind == pipeline.StepToolResult:
			texts[s.Text] = true
		}
	}
	for _, tool := range want.Tools {
		if !slices.Contains(providerTools, tool.Name) && tool.Name != "" {
			wantOffers = append(wantOffers, tool.Name)
		}
	}
	said := func(v any) {
		if s, ok := v.(string); ok && !texts[s] && s != "" && !strings.ContainsRune(s, utf8.RuneError) {
			t.Errorf("no step has the text %q", s)
		}
	}
	for _, m := range want.Messages {
		said(m.Content)
		blocks, _ := m.Content.([]any)
		for _, b := range blocks {
			block, _ := b.(map[string]any)
			switch block["type"] {
			case "text":
				said(block["text"])
			case "tool_result":
				said(block["content"])
			case "tool_use":
				input, _ := json.Marshal(block["input"])
				wantCalls = append(wantCalls, fmt.Sprint(block["name"], " ", string(input)))
			}
		}
	}
	for i, c := range calls {
		name, args, _ := strings.Cut(c, " ")
		var v any
		if json.Unmarshal([]byte(args), &v) == nil {
			b, _ := json.Marshal(v)
			calls[i] = name + " " + string(b)
		}
	}
	said(want.System)
	if len(want.Tools) == len(offers) && !slices.Equal(offers, wantOffers) || !slices.Equal(calls, wantCalls) {
		t.Errorf("offers %q calls %q, want %q and %q", offers, calls, wantOffers, wantCalls)
	}
	for _, text := range r.Texts {
		if text.Raw == (body[text.At.Start] == '"') {
			t.Errorf("text at %v of %s", text.At, body)
		}
	}
}

// answer decodes the answer of a capture, whole or event by event.
func answer(t *testing.T, x exchange) {
	t.Helper()
	c := codec(t, x.Request.Path)
	var chunk llm.Chunk
	if !strings.HasPrefix(x.Reply.Type, "text/event-stream") {
		if err := c.Reply(x.Reply.Body, &chunk); err != nil {
			t.Fatal(err)
		}
		if len(chunk.Choices) != 1 || chunk.Choices[0].Finish == "" || !chunk.HasUsage || len(chunk.Pieces)+len(chunk.Tools) == 0 {
			t.Errorf("reply %+v", chunk)
		}
		return
	}
	var text string
	if err := json.Unmarshal(x.Reply.Body, &text); err != nil {
		t.Fatal(err)
	}
	s := stream.NewSSE(0)
	s.Write([]byte(text))
	s.End()
	said, done, finish := "", false, ""
	for {
		ev, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if !ev.HasData {
			continue
		}
		if err := c.Event(ev.Name, ev.Data, &chunk); err != nil {
			t.Fatalf("%s: %v", ev.Data, err)
		}
		for _, p := range chunk.Pieces {
			said += string(p.Text)
			if p.Lane != "text 0" || !p.Answer {
				t.Errorf("piece %+v", p)
			}
		}
		for _, ch := range chunk.Choices {
			finish += ch.Finish
		}
		done = done || chunk.Done
	}
	if said != "hello from mock" || !done || finish != "end_turn" {
		t.Errorf("said %q, done %t, finish %q", said, done, finish)
	}
}

// ask is a request with more members.
func ask(more string) string {
	return `{"model":"claude-sonnet-4-5","max_tokens":10,` + more + `}`
}

func blocks(more string) string {
	return ask(`"messages":[{"role":"user","content":[` + more + `]}]`)
}

// TestRequest: what a request of every kind of block and tool becomes.
func TestRequest(t *testing.T) {
	body := `{"model":"claude-sonnet-4-5","system":[{"type":"text","text":"Be kind.","cache_control":{"type":"ephemeral"}}],
 "mcp_servers":[{"type":"url","url":"https://mcp.example/sse","name":"files"}],
 "tools":[{"name":"search","description":"Finds things","input_schema":{"type":"object"}},{"type":"web_search_20250305","name":"web_search","max_uses":3},
  {"type":"bash_20250124","name":"bash"},{"type":"mcp_toolset","mcp_server_name":"files"},{"type":"custom","name":"x","input_schema":{}}],
 "max_tokens":77,"messages":[
 {"role":"user","content":[{"type":"text","text":"Look"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}},
  {"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"plain words"}},
  {"type":"search_result","source":"https://s.example","title":"S","content":[{"text":"found words","type":"text"}]}]},
 {"role":"assistant","content":[{"type":"thinking","thinking":"hmm","signature":"c2ln"},{"type":"redacted_thinking","data":"ZGF0YQ=="},
  {"type":"tool_use","id":"t1","name":"search","input":{"q":"kites"}},{"type":"server_tool_use","id":"s1","name":"bash_code_execution","input":{"command":"ls"}},
  {"type":"bash_code_execution_tool_result","tool_use_id":"s1","content":{"type":"bash_code_execution_result","stdout":"a b","stderr":"","return_code":0,"content":[]}},
  {"type":"mcp_tool_use","id":"m1","server_name":"files","name":"read","input":{}},{"type":"mcp_tool_result","tool_use_id":"m1","is_error":false,"content":[{"type":"text","text":"from mcp"}]}]},
 {"role":"user","content":[{"content":[{"type":"text","text":"sunny"}],"tool_use_id":"t1","type":"tool_result"},{"type":"tool_result","tool_use_id":"t9","content":"who"}]}],
 "tool_choice":{"type":"tool","name":"search"},"stream":true}`
	var r llm.Request
	if err := codec(t, messagesPath+"?beta=true").Request([]byte(body), &r); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range r.Call.Steps {
		line := fmt.Sprintf("%s %s|%s%s", s.Kind, s.Name, s.Text, s.Args)
		if s.ByProvider {
			line += " (provider)"
		}
		got = append(got, line)
	}
	want := []string{"prompt |Be kind.", "toolOffer mcp/files|https://mcp.example/sse (provider)", "toolOffer search|Finds things", "toolOffer web_search| (provider)",
		"toolOffer bash|", "toolOffer mcp/files| (provider)", "toolOffer x|", "prompt |Look", "toolOffer image-input| (provider)", "prompt |T", "prompt |plain words",
		"prompt |https://s.example", "prompt |S", "prompt |found words", "prompt |hmm", `toolCall search|{"q":"kites"}`,
		`toolCall code_execution|{"command":"ls"} (provider)`, "toolResult code_execution|a b (provider)", "toolResult code_execution| (provider)",
		"toolCall mcp/files|{} (provider)", "toolResult mcp/files|from mcp (provider)", "toolResult search|sunny", "toolResult |who"}
	if !slices.Equal(got, want) {
		t.Errorf("steps\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.Chosen != "search" || r.MaxTokens != 77 || !r.Call.Stream || len(r.Offers) != 6 || len(r.Lists) != 2 {
		t.Errorf("request %+v", r)
	}
	for i := 1; i < len(r.Texts); i++ {
		if r.Texts[i].At.Start < r.Texts[i-1].At.End {
			t.Errorf("texts out of order: %v after %v", r.Texts[i].At, r.Texts[i-1].At)
		}
	}
	cut, err := llm.Splice(nil, []byte(body), []llm.Edit{{Span: r.Lists[0].At}, {Span: r.Lists[1].At}, {Span: r.Choice}})
	if err != nil || !json.Valid(cut) || strings.Contains(string(cut), `"tools"`) || strings.Contains(string(cut), "mcp_servers") || strings.Contains(string(cut), "tool_choice") {
		t.Errorf("without lists and choice: %s, %v", cut, err)
	}
	if err := codec(t, countPath).Request([]byte(body), &r); err != nil || r.Call.Operation != pipeline.OpCountTokens {
		t.Errorf("count: %v %+v", err, r.Call)
	}
}

func TestCount(t *testing.T) {
	var c llm.Chunk
	if err := codec(t, countPath).Reply([]byte(`{"input_tokens":2095}`), &c); err != nil || *c.Usage.InputTokens != 2095 || len(c.Choices) != 0 {
		t.Errorf("%v %+v", err, c)
	}
}

// TestAppended: what we say ourselves is what the decoder understands.
func TestAppended(t *testing.T) {
	c := codec(t, messagesPath)
	events := c.AppendPing(c.AppendText(nil, nil, 0, 12, "a \"b\"\n\ndata: x"), nil)
	events = c.AppendFailureEvent(events, llm.Failure{Code: "sallyport_denied", Message: "no"})
	s := stream.NewSSE(0)
	s.Write(events)
	var names []string
	var chunk llm.Chunk
	said := ""
	for {
		ev, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if err := c.Event(ev.Name, ev.Data, &chunk); err != nil {
			t.Fatalf("%s: %v", ev.Data, err)
		}
		names = append(names, string(ev.Name))
		for _, p := range chunk.Pieces {
			if p.Answer {
				said += string(p.Text)
			}
		}
		for _, p := range chunk.Places {
			if p.Number != 12 {
				t.Errorf("place %+v", p)
			}
		}
	}
	if strings.Join(names, " ") != "content_block_start content_block_delta content_block_stop ping error" || said != "a \"b\"\n\ndata: x" {
		t.Errorf("%q says %q", names, said)
	}
	if !json.Valid(c.AppendBlock(nil, 0, "x\"y")) || !json.Valid(c.AppendFailure(nil, llm.Failure{Message: "\"\n"})) {
		t.Error("no JSON")
	}
}

// FuzzRequest: what is accepted means the same to encoding/json, and nothing panics.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(ask(`"stream":true,"system":"caf\u00e9","messages":[{"role":"user","content":[{"text":"x","type":"text"},{"type":"tool_result","tool_use_id":"t","content":"y"}]}]`)))
	f.Add([]byte(ask(`"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":[1,"b"]}}]}],"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"any"}`)))
	f.Add([]byte(blocks(`{"type":"document","source":{"type":"content","content":[{"type":"text","text":"x"}]},"context":"c"}`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		var r llm.Request
		if codec(t, messagesPath).Request(body, &r) == nil {
			compare(t, body, &r)
		}
	})
}

// FuzzReply: no reply or event panics, and an accepted one gives texts and calls that are in it.
func FuzzReply(f *testing.F) {
	f.Add([]byte(""), []byte(`{"type":"message","role":"assistant","id":"m","model":"x","content":[{"type":"text","text":"hi"},{"type":"tool_use","id":"t","name":"f","input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":1}}`))
	f.Add([]byte("content_block_delta"), []byte(`{"delta":{"partial_json":"{\"a\"","type":"input_json_delta"},"index":3,"type":"content_block_delta"}`))
	f.Add([]byte("content_block_start"), []byte(`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{ }}}`))
	f.Add([]byte("message_delta"), []byte(`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}`))
	f.Fuzz(func(t *testing.T, name, body []byte) {
		c := codec(t, messagesPath)
		var chunk llm.Chunk
		check := func() {
			for _, p := range chunk.Pieces {
				if p.At.Start < 0 || p.At.End > len(body) || body[p.At.Start] != '"' || body[p.At.End-1] != '"' {
					t.Fatalf("text at %v of %d bytes", p.At, len(body))
				}
			}
			for _, tp := range chunk.Tools {
				if !tp.ArgsAt.Empty() && !json.Valid(body[tp.ArgsAt.Start:tp.ArgsAt.End]) {
					t.Fatalf("arguments at %v", tp.ArgsAt)
				}
			}
			if !json.Valid(body) {
				t.Fatal("accepted, but no JSON")
			}
		}
		if c.Reply(body, &chunk) == nil {
			check()
		}
		if c.Event(name, body, &chunk) == nil {
			check()
		}
	})
}
