// SPDX-License-Identifier: Apache-2.0

package ollama

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

func head(method, target string) *pipeline.Head {
	return &pipeline.Head{Method: method, Target: target, Fields: []pipeline.Field{{Name: "Content-Type", Value: "application/json"}}}
}

func codec(t testing.TB, target string) llm.Codec {
	t.Helper()
	method := "POST"
	switch target {
	case "/api/tags", "/api/ps", "/api/version":
		method = "GET"
	}
	c, err := Provider{}.Codec(&pipeline.Endpoint{}, head(method, target))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// summary is what is compared of a request.
type summary struct {
	Op, Model string
	Stream    bool
	Max       int64
	Steps     []string
}

func summarise(r *llm.Request) summary {
	s := summary{Op: r.Call.Operation, Model: r.Call.Model, Stream: r.Call.Stream, Max: r.MaxTokens}
	for _, st := range r.Call.Steps {
		s.Steps = append(s.Steps, strings.Join([]string{st.Kind, st.Name, st.ID, string(st.Args), st.Text}, "|"))
	}
	return s
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name, path, body string
		want             summary
	}{
		{"chat streams unless it says otherwise", "/api/chat", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`,
			summary{"chat", "m", true, 0, []string{"prompt||||hi"}}},
		{"chat that does not stream", "/api/chat", `{"model":"m","stream":false,"messages":[],"options":{"num_predict":50,"stop":["x"]}}`,
			summary{"chat", "m", false, 50, nil}},
		{"no limit", "/api/chat", `{"model":"m","messages":[],"options":{"num_predict":-1}}`, summary{"chat", "m", true, 0, nil}},
		{"results belong to calls in order", "/api/chat",
			`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":{"x":1}}},{"function":{"name":"b","arguments":{}}}]},` +
				`{"role":"tool","content":"1"},{"role":"tool","content":"2","tool_name":"b"}]}`,
			summary{"chat", "m", true, 0, []string{`toolCall|a||{"x":1}|`, "toolCall|b||{}|", "toolResult|a|||1", "toolResult|b|||2"}}},
		{"results belong to calls by name", "/api/chat",
			`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":{}}},{"function":{"name":"b","arguments":{}}}]},` +
				`{"tool_name":"b","role":"tool","content":"2"},{"role":"tool","content":"1","tool_name":"other"}]}`,
			summary{"chat", "m", true, 0, []string{"toolCall|a||{}|", "toolCall|b||{}|", "toolResult|b|||2", "toolResult|a|||1"}}},
		{"results belong to calls by ID", "/api/chat",
			`{"model":"m","messages":[{"role":"assistant","content":"","thinking":"hm","tool_calls":[{"id":"1","function":{"index":0,"name":"a","arguments":{}}},{"id":"2","function":{"name":"b","arguments":{}}}]},` +
				`{"role":"tool","content":"two","tool_call_id":"2","tool_name":"a"}]}`,
			summary{"chat", "m", true, 0, []string{"prompt||||", "prompt||||hm", "toolCall|a|1|{}|", "toolCall|b|2|{}|", "toolResult|b|2||two"}}},
		{"generate", "/api/generate", `{"model":"m","prompt":"p","suffix":"s","system":"y","template":"t","images":[],"context":null,"options":{"num_predict":7}}`,
			summary{"completions", "m", true, 7, []string{"prompt||||p", "prompt||||s", "prompt||||y", "prompt||||t"}}},
		{"images", "/api/chat", `{"model":"m","messages":[{"role":"user","content":"x","images":["aGk=","aGk="]},{"role":"tool","content":"y","images":["aGk="]}]}`,
			summary{"chat", "m", true, 0, []string{"prompt||||x", "toolOffer|image-input|||", "toolResult||||y"}}},
		{"generate with images", "/api/generate", `{"model":"m","prompt":"x","images":["aGk="]}`, summary{"completions", "m", true, 0, []string{"prompt||||x", "toolOffer|image-input|||"}}},
		{"generate with a context", "/api/generate", `{"model":"m","prompt":"x","context":[1,2]}`, summary{"completions", "m", true, 0, []string{"prompt||||x", "toolOffer|token-input|||"}}},
		{"embed", "/api/embed", `{"model":"m","input":["a","b"]}`, summary{"embeddings", "m", false, 0, []string{"prompt||||a", "prompt||||b"}}},
		{"embed one", "/api/embed", `{"model":"m","input":"a"}`, summary{"embeddings", "m", false, 0, []string{"prompt||||a"}}},
		{"embeddings", "/api/embeddings", `{"model":"m","prompt":"a"}`, summary{"embeddings", "m", false, 0, []string{"prompt||||a"}}},
		{"show", "/api/show", `{"name":"m"}`, summary{"models", "m", false, 0, nil}},
		{"show with both names", "/api/show", `{"model":"m","name":"m","verbose":true}`, summary{"models", "m", false, 0, nil}},
		{"tags", "/api/tags", "", summary{"models", "", false, 0, nil}},
		{"version", "/api/version", "", summary{"models", "", false, 0, nil}},
		{"ps", "/api/ps", "", summary{"models", "", false, 0, nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r llm.Request
			if err := codec(t, c.path).Request([]byte(c.body), &r); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, summarise(&r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOffers: each offer can be cut out of the body, and with the last one the whole list.
func TestOffers(t *testing.T) {
	body := []byte(`{"model":"m","tools":[{"type":"function","function":{"name":"a","description":"does a"}},{"function":{"name":"b"}}],"messages":[]}`)
	var r llm.Request
	if err := codec(t, "/api/chat").Request(body, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Offers) != 2 || len(r.Lists) != 1 || string(body[r.Offers[1].At.Start:r.Offers[1].At.End]) != `{"function":{"name":"b"}}` ||
		r.Call.Steps[r.Offers[0].Step].Name != "a" || r.Call.Steps[r.Offers[0].Step].Text != "does a" {
		t.Fatalf("%+v %+v", r.Offers, r.Call.Steps)
	}
	now, err := llm.Splice(nil, body, []llm.Edit{{Span: r.Lists[0].At}})
	if err != nil || string(now) != `{"model":"m","messages":[]}` {
		t.Errorf("%s, %v", now, err)
	}
}

// TestRefused: what two readers could understand differently, or nobody here understands, is not inspected.
func TestRefused(t *testing.T) {
	deep := strings.Repeat("[", 300) + strings.Repeat("]", 300)
	for name, c := range map[string]struct{ path, body string }{
		"duplicate model":       {"/api/chat", `{"model":"a","model":"b","messages":[]}`},
		"model in another case": {"/api/chat", `{"model":"a","MODEL":"b","messages":[]}`},
		"a K that is no K":      {"/api/chat", "{\"model\":\"a\",\"messages\":[],\"too\u017fls\":[],\"tool\u017f\":[]}"},
		"duplicate arguments":   {"/api/chat", `{"model":"a","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":{},"arguments":{}}}]}]}`},
		"trailing data":         {"/api/chat", `{"model":"a","messages":[]}{}`},
		"invalid UTF-8":         {"/api/chat", "{\"model\":\"a\xff\",\"messages\":[]}"},
		"lone surrogate":        {"/api/chat", `{"model":"a","messages":[{"role":"user","content":"\ud800"}]}`},
		"deep nesting":          {"/api/chat", `{"model":"a","messages":[],"x":` + deep + `}`},
		"no model":              {"/api/chat", `{"messages":[]}`},
		"unknown role":          {"/api/chat", `{"model":"a","messages":[{"role":"root","content":"x"}]}`},
		"parts":                 {"/api/chat", `{"model":"a","messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`},
		"unknown tool type":     {"/api/chat", `{"model":"a","messages":[],"tools":[{"type":"web_search","function":{"name":"x"}}]}`},
		"two tools in one":      {"/api/chat", `{"model":"a","messages":[],"tools":[{"function":{"name":"x"},"function":{"name":"y"}}]}`},
		"arguments in a string": {"/api/chat", `{"model":"a","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":"{}"}}]}]}`},
		"call without a name":   {"/api/chat", `{"model":"a","messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":{}}}]}]}`},
		"a call in a result":    {"/api/chat", `{"model":"a","messages":[{"role":"tool","content":"x","tool_calls":[{"function":{"name":"a","arguments":{}}}]}]}`},
		"too many calls":        {"/api/chat", `{"model":"a","messages":[{"role":"assistant","tool_calls":[` + strings.Repeat(`{"function":{"name":"a"}},`, 256) + `{"function":{"name":"a"}}]}]}`},
		"token numbers":         {"/api/embed", `{"model":"a","input":[1]}`},
		"two models":            {"/api/show", `{"model":"a","name":"b"}`},
		"a body":                {"/api/tags", `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			var r llm.Request
			if err := codec(t, c.path).Request([]byte(c.body), &r); !errors.Is(err, llm.ErrNotInspected) {
				t.Errorf("got %v, %+v", err, r.Call)
			}
		})
	}
	for name, h := range map[string]*pipeline.Head{
		"pull": head("POST", "/api/pull"), "push": head("POST", "/api/push"), "create": head("POST", "/api/create"), "copy": head("POST", "/api/copy"),
		"delete": head("DELETE", "/api/delete"), "blobs": head("POST", "/api/blobs/sha256:1"), "root": head("GET", "/"), "method": head("GET", "/api/chat"),
		"post of tags": head("POST", "/api/tags"), "double slash": head("POST", "//api/chat"), "dots": head("POST", "/x/../api/chat"),
		"escaped": head("POST", "/api/ch%61t"), "compatible": head("POST", "/v1/chat/completions"), "no type": {Method: "POST", Target: "/api/chat"},
	} {
		if _, err := (Provider{}).Codec(&pipeline.Endpoint{}, h); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// stand is a provider that takes note of what it is asked.
type stand struct {
	Provider
	base *string
}

func (s stand) Codec(e *pipeline.Endpoint, _ *pipeline.Head) (llm.Codec, error) {
	*s.base = e.BasePath
	return chat{}, nil
}

func TestBasePath(t *testing.T) {
	e := &pipeline.Endpoint{BasePath: "/models/ollama/"}
	if _, err := (Provider{}).Codec(e, head("POST", "/models/ollama/api/chat")); err != nil {
		t.Error(err)
	}
	if _, err := (Provider{}).Codec(e, head("POST", "/api/chat")); !errors.Is(err, llm.ErrNotInspected) {
		t.Error(err)
	}
	var base string
	if _, err := (Provider{Compatible: stand{base: &base}}).Codec(e, head("POST", "/models/ollama/v1/chat/completions")); err != nil || base != "/models/ollama/v1" {
		t.Errorf("asked for %q, %v", base, err)
	}
}

func TestWire(t *testing.T) {
	raw, err := os.ReadFile("testdata/wire/py-ollama-tools.json")
	if err != nil {
		t.Fatal(err)
	}
	var xs []struct {
		Request struct {
			Path string
			Body json.RawMessage
		}
		Reply struct{ Body string } `json:"mock_response"`
	}
	if err := json.Unmarshal(raw, &xs); err != nil || len(xs) != 2 {
		t.Fatal(err)
	}
	var got [][]string
	for _, x := range xs {
		c := codec(t, x.Request.Path)
		var r llm.Request
		if err := c.Request(x.Request.Body, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Offers) != 1 || !r.Call.Stream || r.Call.Model != "llama3" {
			t.Errorf("%+v", r)
		}
		said := summarise(&r).Steps
		s := stream.NewNDJSON(0)
		s.Write([]byte(x.Reply.Body))
		s.End()
		for {
			e, ok, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			var chunk llm.Chunk
			if err := c.Event(nil, e.Data, &chunk); err != nil {
				t.Fatal(err)
			}
			for _, p := range chunk.Pieces {
				said = append(said, p.Lane+" "+string(p.Text))
			}
			for _, p := range chunk.Tools {
				said = append(said, "call "+p.Name+" "+string(p.Args)+" at "+string(e.Data[p.ArgsAt.Start:p.ArgsAt.End]))
			}
			if chunk.Done {
				said = append(said, "done "+chunk.Choices[0].Finish)
				if !chunk.HasUsage || *chunk.Usage.InputTokens != 5 || *chunk.Usage.OutputTokens != 4 {
					t.Errorf("usage %+v", chunk.Usage)
				}
			}
		}
		got = append(got, said)
	}
	if len(got[0]) != 4 || got[0][2] != `call get_weather {"city":"Paris"} at {"city":"Paris"}` || got[0][3] != "done stop" {
		t.Errorf("first exchange: %q", got[0])
	}
	if len(got[1]) != 6 || got[1][2] != "toolResult|get_weather|||sunny in Paris" || got[1][4] != "content hello from mock" {
		t.Errorf("second exchange: %q", got[1])
	}
}

func TestRepliesRefused(t *testing.T) {
	for name, line := range map[string]string{
		"carriage return":       "{\"message\":\r{\"content\":\"x\"}}",
		"two values":            `{"done":false}{"done":true}`,
		"duplicate message":     `{"message":{"content":"a"},"message":{"content":"b"}}`,
		"message in other case": `{"message":{"content":"a"},"Message":{"content":"b"}}`,
		"calls in other case":   `{"message":{"content":"a","Tool_Calls":[]}}`,
		"arguments in a string": `{"message":{"tool_calls":[{"function":{"name":"a","arguments":"{}"}}]}}`,
		"call with no function": `{"message":{"tool_calls":[{"id":"1"}]}}`,
		"unknown function key":  `{"message":{"tool_calls":[{"function":{"name":"a","arguments":{},"run":"x"}}]}}`,
		"an image":              `{"image":"aGk=","done":false}`,
		"images":                `{"message":{"content":"","images":["aGk="]}}`,
		"ends and goes on":      `{"message":{"content":""},"done":false,"done_reason":"stop"}`,
		"content of parts":      `{"message":{"content":["a"]}}`,
		"call beside a message": `{"response":"a","tool_calls":[{"function":{"name":"a","arguments":{}}}]}`,
	} {
		var c llm.Chunk
		if err := codec(t, "/api/chat").Event(nil, []byte(line), &c); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s: %v %+v", name, err, c)
		}
	}
}

// TestOwnWords: what we add to a stream is what clients read, and we read it too.
func TestOwnWords(t *testing.T) {
	like := []byte(`{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"content":"x"},"done":false}`)
	for path, want := range map[string]string{
		"/api/chat":     `{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"a\n\"b\""},"done":false}` + "\n",
		"/api/generate": `{"model":"m","created_at":"2026-01-01T00:00:00Z","response":"a\n\"b\"","done":false}` + "\n",
	} {
		c := codec(t, path)
		got := string(c.AppendText(nil, like, 0, 0, "a\n\"b\""))
		var chunk llm.Chunk
		if err := c.Event(nil, []byte(strings.TrimSpace(got)), &chunk); err != nil || got != want || string(chunk.Pieces[0].Text) != "a\n\"b\"" {
			t.Errorf("%s: %v, %s", path, err, got)
		}
		if err := c.Event(nil, []byte(strings.TrimSpace(string(c.AppendPing(nil, nil)))), &chunk); err != nil || len(chunk.Pieces) != 0 || chunk.Done {
			t.Errorf("%s: ping %v %+v", path, err, chunk)
		}
		if got := string(c.AppendFailureEvent(nil, llm.Failure{Code: "sallyport_denied", Message: "no"})); got != `{"error":"no","code":"sallyport_denied"}`+"\n" {
			t.Errorf("failure %s", got)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":"caf\u00e9"},{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":{"x":1}}}]},{"role":"tool","content":"1"}],"tools":[{"function":{"name":"a"}}]}`))
	f.Add([]byte(`{"model":"m","prompt":"p","context":[],"options":{"num_predict":1}}`))
	f.Add([]byte(`{"model":"m","input":["a"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{"/api/chat", "/api/generate", "/api/embed", "/api/show"} {
			var r llm.Request
			if codec(t, path).Request(body, &r) != nil {
				continue
			}
			// The server is written in Go: what is taken here means the same to encoding/json, which takes keys in any case.
			var want struct {
				Model, Name string
				Stream      *bool
				Tools       []struct{ Function struct{ Name string } }
			}
			if err := json.Unmarshal(body, &want); err != nil {
				continue // a value of a kind that the server refuses
			}
			if want.Model == "" && path == "/api/show" {
				want.Model = want.Name
			}
			if r.Call.Model != want.Model {
				t.Fatalf("model %q, the server reads %q", r.Call.Model, want.Model)
			}
			if path == "/api/chat" {
				if r.Call.Stream != (want.Stream == nil || *want.Stream) || len(r.Offers) != len(want.Tools) {
					t.Fatalf("stream %t, %d offers; the server reads %v, %d", r.Call.Stream, len(r.Offers), want.Stream, len(want.Tools))
				}
				for i, o := range r.Offers {
					if r.Call.Steps[o.Step].Name != want.Tools[i].Function.Name {
						t.Fatal("another tool")
					}
				}
			}
		}
	})
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"model":"m","message":{"role":"assistant","content":"hi","tool_calls":[{"function":{"name":"a","arguments":{"x":[1]}}}]},"done":false}`))
	f.Add([]byte(`{"model":"m","response":"hi","done":true,"done_reason":"stop","eval_count":1}`))
	f.Add([]byte(`{"error":"no such model"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, path := range []string{"/api/chat", "/api/generate"} {
			var c llm.Chunk
			if codec(t, path).Event(nil, line, &c) != nil {
				continue
			}
			if !json.Valid(line) || !utf8.Valid(line) {
				t.Fatal("accepted, but no JSON")
			}
			for _, p := range c.Pieces {
				if p.At.Start < 0 || p.At.End > len(line) || line[p.At.Start] != '"' || line[p.At.End-1] != '"' {
					t.Fatalf("text at %v of %d bytes", p.At, len(line))
				}
			}
			var got struct {
				Message struct {
					Content   string
					ToolCalls []struct {
						Function struct {
							Name      string
							Arguments map[string]any
						}
					} `json:"tool_calls"`
				}
			}
			if err := json.Unmarshal(line, &got); err == nil && len(got.Message.ToolCalls) != len(c.Tools) {
				t.Fatalf("%d tool calls, a client sees %d", len(c.Tools), len(got.Message.ToolCalls))
			} else if err == nil {
				for i, call := range got.Message.ToolCalls {
					if call.Function.Name != c.Tools[i].Name {
						t.Fatal("another tool")
					}
				}
			}
		}
	})
}
