// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

func codec(t testing.TB, target string) llm.Codec {
	t.Helper()
	c, err := Provider{}.Codec(&pipeline.Endpoint{}, post(target))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func post(target string) *pipeline.Head {
	return &pipeline.Head{Method: "POST", Target: target, Fields: []pipeline.Field{{Name: "Content-Type", Value: "application/json"}}}
}

const chatPath = "/v1/chat/completions"

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
	Messages []struct {
		Role      string
		Content   any
		ToolCalls []struct {
			ID       string
			Function struct{ Name, Arguments string }
		} `json:"tool_calls"`
	}
	Tools []struct{ Function struct{ Name string } }
}

// TestWire decodes what real clients send, and compares with another reader of the same bytes.
func TestWire(t *testing.T) {
	files, err := wireFiles()
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
				compare(t, x.Request.Body, &r)
				reply(t, x)
			}
		})
	}
}

// compare holds what was decoded against encoding/json.
func compare(t *testing.T, body []byte, r *llm.Request) {
	t.Helper()
	var want spoken
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatalf("accepted, but no JSON: %v", err)
	}
	if r.Call.Model != want.Model || r.Call.Stream != want.Stream || r.Call.Operation != pipeline.OpChat {
		t.Errorf("call %+v, want model %q", r.Call, want.Model)
	}
	var offers, calls []string
	texts := map[string]bool{}
	for _, s := range r.Call.Steps {
		switch s.Kind {
		case pipeline.StepToolOffer:
			offers = append(offers, s.Name)
		case pipeline.StepToolCall:
			calls = append(calls, s.Name)
		default:
			texts[s.Text] = true
		}
	}
	var wantOffers, wantCalls []string
	for _, tool := range want.Tools {
		wantOffers = append(wantOffers, tool.Function.Name)
	}
	for _, m := range want.Messages {
		for _, c := range m.ToolCalls {
			wantCalls = append(wantCalls, c.Function.Name)
		}
		if text, ok := m.Content.(string); ok && !texts[text] && !(text == "" || strings.ContainsRune(text, utf8.RuneError)) {
			t.Errorf("no step has the text of a %s message", m.Role)
		}
	}
	if strings.Join(offers, " ") != strings.Join(wantOffers, " ") || strings.Join(calls, " ") != strings.Join(wantCalls, " ") {
		t.Errorf("offers %q calls %q, want %q and %q", offers, calls, wantOffers, wantCalls)
	}
}

// reply decodes the answer of a capture, whole or event by event.
func reply(t *testing.T, x exchange) {
	t.Helper()
	c := codec(t, x.Request.Path)
	var chunk llm.Chunk
	if !strings.HasPrefix(x.Reply.Type, "text/event-stream") {
		chunk.Reset()
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
	said, done := "", false
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
		chunk.Reset()
		if err := c.Event(ev.Name, ev.Data, &chunk); err != nil {
			t.Fatalf("%s: %v", ev.Data, err)
		}
		for _, p := range chunk.Pieces {
			said += string(p.Text)
		}
		done = done || chunk.Done
	}
	if said != "hello from mock" || !done {
		t.Errorf("said %q, done %t", said, done)
	}
}

// TestRefused: what two readers could understand differently, or nobody here understands, is not inspected.
func TestRefused(t *testing.T) {
	deep := strings.Repeat("[", 300) + strings.Repeat("]", 300)
	for name, body := range map[string]string{
		"duplicate model":        `{"model":"a","model":"b","messages":[]}`,
		"model in another case":  `{"model":"a","Model":"b","messages":[]}`,
		"only in another case":   `{"Model":"a","messages":[]}`,
		"escaped duplicate key":  `{"model":"a","mod\u0065l":"b","messages":[]}`,
		"trailing data":          `{"model":"a","messages":[]} {}`,
		"invalid UTF-8":          "{\"model\":\"a\xff\",\"messages\":[]}",
		"not an object":          `["model"]`,
		"no model":               `{"messages":[]}`,
		"deep nesting":           `{"model":"a","messages":[],"x":` + deep + `}`,
		"unknown tool type":      `{"model":"a","messages":[],"tools":[{"type":"time_travel"}]}`,
		"server without a label": `{"model":"a","messages":[],"tools":[{"type":"mcp","server_url":"https://x"}]}`,
		"server with two places": `{"model":"a","messages":[],"tools":[{"type":"mcp","server_label":"x","server_url":"https://x","connector_id":"y"}]}`,
		"search that is a tool":  `{"model":"a","messages":[],"tools":[{"type":"web_search","function":{"name":"x"}}]}`,
		"flat function":          `{"model":"a","messages":[],"tools":[{"type":"function","name":"x"}]}`,
		"function with two":      `{"model":"a","messages":[],"tools":[{"type":"function","function":{"name":"x"},"custom":{"name":"y"}}]}`,
		"two choices":            `{"model":"a","messages":[],"tool_choice":"auto","function_call":"auto"}`,
		"choice of two":          `{"model":"a","messages":[],"tool_choice":{"type":"function","function":{"name":"a"},"custom":{"name":"b"}}}`,
		"two calls in one":       `{"model":"a","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"a","arguments":""},"custom":{"name":"b","input":""}}]}]}`,
		"uploaded file":          `{"model":"a","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"x"}}]}]}`,
		"audio of a user":        `{"model":"a","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA"}}]}]}`,
		"text with an image":     `{"model":"a","messages":[{"role":"user","content":[{"type":"text","text":"x","image_url":{"url":"https://x"}}]}]}`,
		"fraction of a token":    `{"model":"a","messages":[],"max_tokens":1.5}`,
		"audio":                  `{"model":"a","messages":[],"modalities":["text","audio"],"audio":{"voice":"x","format":"wav"}}`,
		"half":                   `{"model":"a","messages":[`,
		"duplicate tool name":    `{"model":"a","messages":[],"tools":[{"type":"function","function":{"name":"x","name":"y"}}]}`,
		"duplicate message text": `{"model":"a","messages":[{"role":"user","content":"x","content":"y"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			var r llm.Request
			if err := codec(t, chatPath).Request([]byte(body), &r); !errors.Is(err, llm.ErrNotInspected) {
				t.Errorf("got %v, %+v", err, r.Call)
			}
		})
	}
	for name, h := range map[string]pipeline.Head{
		"path":         {Method: "POST", Target: "/v1/files"},
		"double slash": *post("/v1//chat/completions"),
		"dots":         *post("/v1/x/../chat/completions"),
		"escaped":      *post("/v1/chat%2fcompletions"),
		"other case":   *post("/v1/Chat/completions"),
		"base path":    *post("/chat/completions"),
		"other prefix": *post("/x/v1/chat/completions"),
		"delete model": {Method: "DELETE", Target: "/v1/models/x"},
		"model ..":     {Method: "GET", Target: "/v1/models/.."},
		"model hidden": {Method: "GET", Target: "/v1/models/%2e%2e%2ffiles"},
		"model twice":  {Method: "GET", Target: "/v1/models/%252e%252e"},
		"method":       {Method: "DELETE", Target: chatPath},
		"no type":      {Method: "POST", Target: chatPath},
		"another type": {Method: "POST", Target: chatPath, Fields: []pipeline.Field{{Name: "Content-Type", Value: "text/plain"}}},
	} {
		if _, err := (Provider{}).Codec(&pipeline.Endpoint{}, &h); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEmbeddings(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		ok   bool
	}{
		"one text":   {`{"model":"text-embedding-3-small","input":"hello"}`, true},
		"two texts":  {`{"model":"text-embedding-3-small","input":["a","b"],"encoding_format":"base64"}`, true},
		"tokens":     {`{"model":"text-embedding-3-small","input":[1,2]}`, true},
		"objects":    {`{"model":"m","input":[{"text":"a"}]}`, false},
		"two inputs": {`{"model":"m","input":"a","input":"b"}`, false},
	} {
		var r llm.Request
		err := codec(t, "/v1/embeddings").Request([]byte(c.body), &r)
		if (err == nil) != c.ok || c.ok && (r.Call.Operation != pipeline.OpEmbeddings || len(r.Call.Steps) == 0) {
			t.Errorf("%s: %v %+v", name, err, r.Call)
		}
	}
}

// FuzzRequest: what is accepted means the same to encoding/json, and nothing panics.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"caf\u00e9"},{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"x"}]}]}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var r llm.Request
		if codec(t, chatPath).Request(body, &r) == nil {
			compare(t, body, &r)
		}
	})
}

// FuzzReply: no reply or event panics, and an accepted one gives texts that are in it.
func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"id":"x","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`))
	f.Add([]byte(`{"id":"x","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{"}}]},"finish_reason":null}]}`))
	f.Add([]byte(`[DONE]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := codec(t, chatPath)
		var chunk llm.Chunk
		chunk.Reset()
		if c.Reply(body, &chunk) == nil {
			for _, p := range chunk.Pieces {
				if p.At.Start < 0 || p.At.End > len(body) || body[p.At.Start] != '"' || body[p.At.End-1] != '"' {
					t.Fatalf("text at %v of %d bytes", p.At, len(body))
				}
			}
			if !json.Valid(body) {
				t.Fatal("accepted, but no JSON")
			}
		}
		chunk.Reset()
		if c.Event(nil, body, &chunk) == nil && !chunk.Done && !json.Valid(body) {
			t.Fatal("accepted event, but no JSON")
		}
	})
}

// wireFiles are the captures of chat completions.
func wireFiles() (out []string, err error) {
	all, err := filepath.Glob("testdata/wire/*.json")
	for _, f := range all {
		if !strings.Contains(f, "openai_resp") {
			out = append(out, f)
		}
	}
	return out, err
}
