// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// summary is what is compared of a request.
type summary struct {
	Op, Model, Chosen string
	Stream            bool
	Max               int64
	Steps             []string
}

func summarise(r *llm.Request) summary {
	s := summary{Op: r.Call.Operation, Model: r.Call.Model, Chosen: r.Chosen, Stream: r.Call.Stream, Max: r.MaxTokens}
	for _, st := range r.Call.Steps {
		by := ""
		if st.ByProvider {
			by = "provider's "
		}
		s.Steps = append(s.Steps, by+strings.Join([]string{st.Kind, st.Name, st.ID, string(st.Args), st.Text}, "|"))
	}
	return s
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name, path, body string
		want             summary
	}{
		{"limits", chatPath, `{"model":"m","messages":[],"max_tokens":10,"max_completion_tokens":20,"n":3}`, summary{"chat", "m", "", false, 60, nil}},
		{"no limits", chatPath, `{"n":3,"model":"m","messages":[],"max_tokens":null,"stream":null}`, summary{"chat", "m", "", false, 0, nil}},
		{"no limit, in words", chatPath, `{"max_completion_tokens":10,"max_tokens":-1,"n":2,"model":"m","messages":[]}`, summary{"chat", "m", "", false, 0, nil}},
		{"no limit, then one", chatPath, `{"max_tokens":-1,"max_completion_tokens":10,"n":2,"model":"m","messages":[]}`, summary{"chat", "m", "", false, 0, nil}},
		{"tools of all kinds", chatPath,
			`{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f","description":"does f","strict":true}},` +
				`{"type":"custom","custom":{"name":"c","description":"does c","format":{"type":"text"}}},{"type":"web_search_preview_2025_03_11"},` +
				`{"description":"a server","type":"mcp","server_label":"wiki","server_url":"https://wiki.example/mcp"}],"web_search_options":{"search_context_size":"low"}}`,
			summary{"chat", "m", "", false, 0, []string{"toolOffer|f|||does f", "toolOffer|c|||does c", "provider's toolOffer|web_search_preview|||",
				"provider's toolOffer|mcp/wiki|||https://wiki.example/mcp", "provider's toolOffer|web_search|||"}}},
		{"older tools", chatPath, `{"model":"m","messages":[],"functions":[{"name":"f","description":"does f"}],"function_call":{"name":"f"}}`,
			summary{"chat", "m", "f", false, 0, []string{"toolOffer|f|||does f"}}},
		{"a chosen tool", chatPath, `{"model":"m","tool_choice":{"type":"function","function":{"name":"f"}},"messages":[]}`, summary{"chat", "m", "f", false, 0, nil}},
		{"allowed tools", chatPath, `{"model":"m","tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}},"messages":[]}`,
			summary{"chat", "m", "", false, 0, nil}},
		{"prompts beside the messages", chatPath, `{"model":"m","messages":[],"chat_template":"{{ messages }}","documents":[{"title":"a title","text":"a text"}]}`,
			summary{"chat", "m", "", false, 0, []string{"prompt||||{{ messages }}", "prompt||||a title", "prompt||||a text"}}},
		{"custom calls", chatPath,
			`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"custom","custom":{"name":"c","input":"any text"}}]},{"role":"tool","tool_call_id":"1","content":"done"}]}`,
			summary{"chat", "m", "", false, 0, []string{"toolCall|c|1|any text|any text", "toolResult|c|1||done"}}},
		{"images and documents", chatPath, `{"model":"m","messages":[{"role":"tool","tool_call_id":"1","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"text","text":"a"},` +
			`{"type":"image_url","image_url":{"url":"https://x.example/i.png"}},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"}}]}]}`,
			summary{"chat", "m", "", false, 0, []string{"provider's toolOffer|image-input|||", "toolResult||1||a", "provider's toolOffer|document-input|||"}}},
		{"completion", "/v1/completions", `{"model":"m","prompt":"a","suffix":"b","stream":true,"max_tokens":5,"n":2,"best_of":4}`,
			summary{"completions", "m", "", true, 20, []string{"prompt||||a", "prompt||||b"}}},
		{"completions", "/v1/completions", `{"model":"m","max_tokens":5,"prompt":["a","b","c"],"echo":true}`,
			summary{"completions", "m", "", false, 15, []string{"prompt||||a", "prompt||||b", "prompt||||c"}}},
		{"tokens", "/v1/completions", `{"model":"m","max_tokens":5,"prompt":[[1],[2]]}`, summary{"completions", "m", "", false, 10, []string{"provider's toolOffer|token-input|||"}}},
		{"a limit that is none", "/v1/completions", `{"model":"m","max_tokens":999999999999999,"n":999999999999999}`, summary{"completions", "m", "", false, 1 << 50, nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r llm.Request
			if err := codec(t, c.path).Request([]byte(c.body), &r); err != nil {
				t.Fatal(err)
			}
			for i, st := range c.want.Steps { // the text of a call is that of its arguments
				if strings.HasPrefix(st, "toolCall|") {
					c.want.Steps[i] = st[:strings.LastIndex(st, "|")+1]
				}
			}
			if diff := cmp.Diff(c.want, summarise(&r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCut: offers, lists and the choice can be cut out of a body in any combination.
func TestCut(t *testing.T) {
	for _, body := range []string{
		`{"model":"m","tools":[{"type":"function","function":{"name":"a"}},{"type":"web_search"}],"tool_choice":{"type":"function","function":{"name":"a"}},"messages":[]}`,
		`{"tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":"auto","functions":[{"name":"b"}],"messages":[],"model":"m"}`,
		`{"messages":[],"model":"m","tool_choice":"required","tools":[{"type":"custom","custom":{"name":"a"}}]}`,
	} {
		var r llm.Request
		if err := codec(t, chatPath).Request([]byte(body), &r); err != nil {
			t.Fatal(err)
		}
		for _, o := range r.Offers {
			if !json.Valid([]byte(body[o.At.Start:o.At.End])) || r.Lists[o.List].Of.Start >= o.At.Start || r.Lists[o.List].Of.End <= o.At.End {
				t.Errorf("offer %+v of %s", o, body)
			}
		}
		for mask := range 1 << (len(r.Lists) + 1) {
			var edits []llm.Edit
			for i, l := range r.Lists {
				if mask&(1<<i) != 0 {
					edits = append(edits, llm.Edit{Span: l.At})
				}
			}
			if mask&(1<<len(r.Lists)) != 0 {
				edits = append(edits, llm.Edit{Span: r.Choice})
			}
			now, err := llm.Splice(nil, []byte(body), edits)
			var again llm.Request
			if err == nil {
				err = codec(t, chatPath).Request(now, &again)
			}
			if err != nil || len(again.Lists) != len(r.Lists)-len(edits)+(mask>>len(r.Lists)) || again.Choice.Empty() != (mask>>len(r.Lists) == 1) {
				t.Errorf("%s became %s: %v", body, now, err)
			}
		}
	}
}

func TestBasePath(t *testing.T) {
	for _, c := range []struct{ base, target, model string }{
		{"", "/v1/chat/completions", "m"},
		{"/openai/v1", "/openai/v1/chat/completions?api-version=preview", "m"},
		{"/v1beta/openai/", "/v1beta/openai/chat/completions", "m"},
		{"/compatible-mode/v1", "/compatible-mode/v1/chat/completions", "m"},
		{"/openai/deployments/{model}", "/openai/deployments/gpt-4o.eu/chat/completions?api-version=2024-10-21", "gpt-4o.eu"},
		{"/", "/chat/completions", "m"},
	} {
		codec, err := Provider{}.Codec(&pipeline.Endpoint{BasePath: c.base}, post(c.target))
		if err != nil {
			t.Errorf("%s below %s: %v", c.target, c.base, err)
			continue
		}
		var r llm.Request
		if err := codec.Request([]byte(`{"model":"m","messages":[]}`), &r); err != nil || r.Call.Model != c.model {
			t.Errorf("%s below %s: model %q, %v", c.target, c.base, r.Call.Model, err)
		}
		if c.model == "m" {
			continue
		}
		if err := codec.Request([]byte(`{"messages":[]}`), &r); err != nil || r.Call.Model != c.model {
			t.Errorf("no model in the body: %q, %v", r.Call.Model, err)
		}
	}
	for _, target := range []string{"/openai/deployments//chat/completions", "/openai/deployments/../chat/completions", "/openai/deployments/a%2fb/chat/completions",
		"/openai/deployments/a/b/chat/completions", "/v1/chat/completions"} {
		if _, err := (Provider{}).Codec(&pipeline.Endpoint{BasePath: "/openai/deployments/{model}"}, post(target)); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestModels(t *testing.T) {
	for target, model := range map[string]string{"/v1/models": "", "/v1/models/gpt-4o": "gpt-4o", "/v1/models/ft:gpt-4o:org::x": "ft:gpt-4o:org::x",
		"/v1/models/meta%2FLlama-3": "meta/Llama-3", "/v1/models/meta/Llama-3": "meta/Llama-3", "/v1/models?limit=3": ""} {
		c, err := Provider{}.Codec(&pipeline.Endpoint{}, &pipeline.Head{Method: "GET", Target: target})
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		var r llm.Request
		if err := c.Request(nil, &r); err != nil || r.Call.Operation != pipeline.OpModels || r.Call.Model != model {
			t.Errorf("%s: %+v, %v", target, r.Call, err)
		}
		if err := c.Request([]byte("{}"), &r); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("a body: %v", err)
		}
		var chunk llm.Chunk
		if err := c.Reply([]byte(`{"object":"list","data":[{"id":"gpt-4o","owned_by":"system"}]}`), &chunk); err != nil || len(chunk.Pieces) != 3 {
			t.Errorf("%v %+v", err, chunk.Pieces)
		}
	}
}

func TestCompletions(t *testing.T) {
	c := codec(t, "/v1/completions")
	var chunk llm.Chunk
	err := c.Reply([]byte(`{"id":"1","object":"text_completion","model":"m","choices":[{"text":"a","index":1,"logprobs":{"tokens":["a"]},"finish_reason":"stop"},{"text":"b","index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`), &chunk)
	if err != nil || len(chunk.Pieces) != 2 || chunk.Pieces[0].Choice != 1 || !chunk.Pieces[0].Answer || len(chunk.Lists) != 1 || chunk.Lists[0].Choice != 1 || chunk.Choices[1].Finish != "length" || !chunk.HasUsage {
		t.Errorf("%v %+v", err, chunk)
	}
	if err := c.Event(nil, []byte(`[DONE]`), &chunk); err != nil || !chunk.Done {
		t.Errorf("%v %+v", err, chunk)
	}
	for name, body := range map[string]string{
		"two prompts":            `{"model":"m","prompt":"a","prompt":"b"}`,
		"stream in another case": `{"model":"m","prompt":"a","Stream":true}`, "no model": `{"prompt":"a"}`,
	} {
		var r llm.Request
		if err := c.Request([]byte(body), &r); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, event := range map[string]string{
		"no index": `{"choices":[{"text":"a"}]}`, "twice": `{"choices":[{"text":"a","index":0},{"text":"b","index":0}]}`, "parts": `{"choices":[{"text":["a"],"index":0}]}`,
	} {
		if err := c.Event(nil, []byte(event), &chunk); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s: %v", name, err)
		}
	}
	own := c.AppendText(nil, []byte(`{"id":"x","created":3,"model":"m"}`), 12, 0, "a\"b")
	if string(own) != `data: {"id":"x","object":"text_completion","created":3,"model":"m","choices":[{"index":12,"text":"a\"b","logprobs":null,"finish_reason":null}]}`+"\n\n" {
		t.Errorf("%s", own)
	}
}

// TestCustomCalls: calls with free text, and no call that is a function to one reader and a custom tool to another.
func TestCustomCalls(t *testing.T) {
	c := codec(t, chatPath)
	var chunk llm.Chunk
	err := c.Reply([]byte(`{"choices":[{"index":0,"message":{"tool_calls":[{"id":"1","type":"custom","custom":{"name":"c","input":"any text"}}]},"finish_reason":"tool_calls"}]}`), &chunk)
	if err != nil || len(chunk.Tools) != 1 || chunk.Tools[0].Name != "c" || string(chunk.Tools[0].Args) != "any text" || chunk.Tools[0].Index != 0 {
		t.Errorf("%v %+v", err, chunk.Tools)
	}
	if err := c.Event(nil, []byte(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"custom":{"input":"x"}},{"index":0,"function":{"arguments":"y"}}]}}]}`), &chunk); err != nil ||
		chunk.Tools[0].Index == chunk.Tools[1].Index {
		t.Errorf("pieces of two kinds are one call: %v %+v", err, chunk.Tools)
	}
	for _, call := range []string{`{"index":0,"type":"function","custom":{"name":"c","input":"x"}}`, `{"index":0,"custom":{"name":"c","arguments":"x"}}`,
		`{"index":0,"function":{"name":"c","input":"x"}}`, `{"index":0,"type":"other","custom":{"name":"c"}}`, `{"index":0,"custom":{"name":"c"},"function":{"name":"f"}}`} {
		if err := c.Event(nil, []byte(`{"choices":[{"index":0,"delta":{"tool_calls":[`+call+`]}}]}`), &chunk); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s: %v", call, err)
		}
	}
}
