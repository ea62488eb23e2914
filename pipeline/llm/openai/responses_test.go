// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

const responsesPath = "/v1/responses"

func TestResponsesRequests(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       summary
	}{
		{"a text", `{"model":"m","input":"hi","instructions":"be brief","max_output_tokens":9,"stream":true}`,
			summary{"chat", "m", "", true, 9, []string{"prompt||||hi", "prompt||||be brief"}}},
		{"messages", `{"model":"m","input":[{"role":"user","content":"a"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"b","annotations":[]},{"type":"refusal","refusal":"c"}]},{"content":[{"text":"d","type":"input_text"}],"role":"developer"}]}`,
			summary{"chat", "m", "", false, 0, []string{"prompt||||a", "prompt||||b", "prompt||||c", "prompt||||d"}}},
		{"a call and its result", `{"model":"m","input":[{"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"done"},` +
			`{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"who asked?"}]}]}`,
			summary{"chat", "m", "", false, 0, []string{"toolCall|f|c1|{}|", "toolResult|f|c1||done", "toolResult||c2||who asked?"}}},
		{"a custom call", `{"model":"m","input":[{"type":"custom_tool_call","call_id":"c1","name":"f","input":"any text"},{"type":"custom_tool_call_output","call_id":"c1","output":"done"}]}`,
			summary{"chat", "m", "", false, 0, []string{"toolCall|f|c1|any text|", "toolResult|f|c1||done"}}},
		{"shells and patches", `{"model":"m","input":[{"type":"local_shell_call","id":"l1","call_id":"c1","action":{"type":"exec","command":["ls"]}},{"type":"local_shell_call_output","id":"c1","output":"{}"},` +
			`{"type":"shell_call","call_id":"c2","action":{"commands":["ls"]}},{"type":"shell_call_output","call_id":"c2","output":[{"stdout":"a listing","stderr":"","outcome":{"type":"exit","exit_code":0}}]},` +
			`{"type":"apply_patch_call","call_id":"c3","status":"completed","operation":{"type":"delete_file","path":"x"}},{"type":"apply_patch_call_output","call_id":"c3","status":"completed","output":"patched"}]}`,
			summary{"chat", "m", "", false, 0, []string{`toolCall|local_shell|c1|{"type":"exec","command":["ls"]}|`, "toolResult|local_shell|c1||{}",
				`toolCall|shell|c2|{"commands":["ls"]}|`, "toolResult|shell|c2||a listing", `toolCall|apply_patch|c3|{"type":"delete_file","path":"x"}|`, "toolResult|apply_patch|c3||patched"}}},
		{"what the provider's tools answered", `{"model":"m","input":[{"type":"mcp_call","id":"1","server_label":"wiki","name":"ask","arguments":"{}","output":"an answer"},` +
			`{"type":"web_search_call","id":"2","status":"completed","action":{"type":"search","query":"some kites"}},{"type":"file_search_call","id":"3","queries":["big kites"],"results":[{"text":"found it"}]}]}`,
			summary{"chat", "m", "", false, 0, []string{"provider's toolCall|mcp/wiki|1|{}|", "toolResult|mcp/wiki|1||an answer", "toolResult|web_search|2||search",
				"toolResult|web_search|2||some kites", "toolResult|file_search|3||big kites", "toolResult|file_search|3||found it"}}},
		{"thoughts", `{"model":"m","input":[{"type":"reasoning","id":"rs","encrypted_content":"AAAAAAAA","summary":[{"type":"summary_text","text":"hm"}],"content":[{"type":"reasoning_text","text":"hm hm"}]}]}`,
			summary{"chat", "m", "", false, 0, []string{"prompt||||hm", "prompt||||hm hm"}}},
		{"stored conversations, once", `{"model":"m","previous_response_id":"resp_0","input":[{"type":"item_reference","id":"msg_1"},{"type":"compaction","encrypted_content":"AAAA"}],"conversation":{"id":"conv_1"}}`,
			summary{"chat", "m", "", false, 0, []string{"provider's toolOffer|stored-conversation|||"}}},
		{"none stored", `{"model":"m","previous_response_id":null,"conversation":null,"background":false,"prompt":null,"input":"x","tools":null,"tool_choice":null}`,
			summary{"chat", "m", "", false, 0, []string{"prompt||||x"}}},
		{"images and documents", `{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:image/png;base64,AAAA","file_id":null},{"type":"input_file","file_url":"https://x.example"}]},` +
			`{"type":"computer_call","call_id":"c","action":{"type":"screenshot"}},{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","image_url":"data:image/png;base64,AAAA"}}]}`,
			summary{"chat", "m", "", false, 0, []string{"prompt||||a", "provider's toolOffer|image-input|||", "provider's toolOffer|document-input|||", `toolCall|computer|c|{"type":"screenshot"}|`}}},
		{"background", `{"model":"m","background":true,"input":"x"}`, summary{"chat", "m", "", false, 0, []string{"provider's toolOffer|background|||", "prompt||||x"}}},
		{"a template", `{"prompt":{"id":"pmpt_1","variables":{"a":"b"}}}`, summary{"chat", "", "", false, 0, []string{"provider's toolOffer|prompt-template|||"}}},
		{"tools", `{"model":"m","input":"x","tools":[{"type":"function","name":"f","description":"does f","parameters":{}},{"type":"custom","name":"c","description":"does c"},{"type":"web_search_2025_08_26"},` +
			`{"type":"file_search","vector_store_ids":["v"]},{"type":"code_interpreter","container":{"type":"auto"}},{"type":"image_generation"},{"type":"mcp","server_label":"mail","connector_id":"connector_gmail"},` +
			`{"type":"local_shell"},{"type":"shell","environment":{"type":"local"}},{"type":"shell","environment":{"type":"container_auto"}},{"type":"apply_patch"},{"type":"computer_use_preview","environment":null}],` +
			`"tool_choice":{"type":"mcp","server_label":"mail","name":"send"}}`,
			summary{"chat", "m", "mcp/mail", false, 0, []string{"prompt||||x", "toolOffer|f|||does f", "toolOffer|c|||does c", "provider's toolOffer|web_search|||", "provider's toolOffer|file_search|||",
				"provider's toolOffer|code_interpreter|||", "provider's toolOffer|image_generation|||", "provider's toolOffer|mcp/mail|||connector_gmail", "toolOffer|local_shell|||", "toolOffer|shell|||",
				"provider's toolOffer|shell|||", "toolOffer|apply_patch|||", "toolOffer|computer_use_preview|||"}}},
		{"a chosen function", `{"model":"m","input":"x","tool_choice":{"type":"function","name":"f"}}`, summary{"chat", "m", "f", false, 0, []string{"prompt||||x"}}},
		{"a chosen search", `{"model":"m","input":"x","tool_choice":{"type":"web_search_preview_2025_03_11"}}`, summary{"chat", "m", "web_search_preview", false, 0, []string{"prompt||||x"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r llm.Request
			if err := codec(t, responsesPath).Request([]byte(c.body), &r); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, summarise(&r)); diff != "" {
				t.Error(diff)
			}
			for _, text := range r.Texts {
				at := c.body[text.At.Start:text.At.End]
				if text.Raw && at != string(text.Value) || !text.Raw && (at[0] != '"' || at[len(at)-1] != '"') {
					t.Errorf("text %q at %q", text.Value, at)
				}
			}
		})
	}
}

func TestResponsesRefused(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 300) + "1" + strings.Repeat("}", 300)
	item := func(s string) string { return `{"model":"m","input":[` + s + `]}` }
	for name, body := range map[string]string{
		"duplicate input":         `{"model":"m","input":"a","input":"b"}`,
		"input in another case":   `{"model":"m","input":"a","Input":"b"}`,
		"trailing data":           `{"model":"m","input":"a"}]`,
		"invalid UTF-8":           "{\"model\":\"m\",\"input\":\"\xff\"}",
		"deep":                    item(deep),
		"no model":                `{"input":"a"}`,
		"messages":                `{"model":"m","messages":[]}`,
		"unknown item":            item(`{"type":"time_travel"}`),
		"item of no type":         item(`{"content":"x"}`),
		"two types":               item(`{"type":"message","type":"function_call","role":"user","content":"x"}`),
		"type in another case":    item(`{"type":"message","Type":"function_call","role":"user","content":"x"}`),
		"unknown role":            item(`{"role":"root","content":"x"}`),
		"audio of a user":         item(`{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA"}}]}`),
		"uploaded image":          item(`{"role":"user","content":[{"type":"input_image","file_id":"x"}]}`),
		"uploaded file":           item(`{"role":"user","content":[{"type":"input_file","file_id":"x"}]}`),
		"text with an image":      item(`{"role":"user","content":[{"type":"input_text","text":"x","image_url":"https://x"}]}`),
		"generated image":         item(`{"type":"image_generation_call","id":"1","result":"AAAA"}`),
		"call without a name":     item(`{"type":"function_call","call_id":"1","arguments":"{}"}`),
		"call without arguments":  item(`{"type":"function_call","call_id":"1","name":"f"}`),
		"call in a namespace":     item(`{"type":"function_call","call_id":"1","name":"f","arguments":"{}","namespace":"n"}`),
		"call with two arguments": item(`{"type":"shell_call","call_id":"1","action":{},"operation":{}}`),
		"nested tool":             `{"model":"m","input":"a","tools":[{"type":"function","function":{"name":"f"}}]}`,
		"namespace of tools":      `{"model":"m","input":"a","tools":[{"type":"namespace","name":"n","tools":[]}]}`,
		"tool search":             `{"model":"m","input":"a","tools":[{"type":"tool_search"}]}`,
		"unknown shell":           `{"model":"m","input":"a","tools":[{"type":"shell","environment":{"type":"moon"}}]}`,
		"server without address":  `{"model":"m","input":"a","tools":[{"type":"mcp","server_label":"x"}]}`,
		"function on a server":    `{"model":"m","input":"a","tools":[{"type":"function","name":"x","server_url":"https://x"}]}`,
		"audio":                   `{"model":"m","input":"a","modalities":["audio"]}`,
		"later additions":         item(`{"type":"additional_tools","role":"developer","tools":[]}`),
	} {
		var r llm.Request
		if err := codec(t, responsesPath).Request([]byte(body), &r); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s: %v %+v", name, err, r.Call)
		}
	}
	for _, h := range []*pipeline.Head{{Method: "GET", Target: responsesPath + "/resp_1"}, {Method: "DELETE", Target: responsesPath + "/resp_1"},
		{Method: "GET", Target: responsesPath + "/resp_1/input_items"}, post(responsesPath + "/resp_1/cancel"), post("/v1/conversations"), post(responsesPath + "/"),
		{Method: "GET", Target: responsesPath}, post(responsesPath + "/compact"), post(responsesPath + "/input_tokens")} {
		if _, err := (Provider{}).Codec(&pipeline.Endpoint{}, h); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s %s: %v", h.Method, h.Target, err)
		}
	}
}

func TestResponsesRepliesRefused(t *testing.T) {
	for name, body := range map[string]string{
		"duplicate output":     `{"output":[],"output":[]}`,
		"output in other case": `{"output":[],"Output":[{"type":"function_call"}]}`,
		"unknown item":         `{"output":[{"type":"time_travel"}]}`,
		"call with no name":    `{"output":[{"type":"function_call","call_id":"1","arguments":"{}"}]}`,
		"call with no args":    `{"output":[{"type":"function_call","call_id":"1","name":"f"}]}`,
		"reference":            `{"output":[{"type":"item_reference","id":"1"}]}`,
		"unknown part":         `{"output":[{"type":"message","role":"assistant","content":[{"type":"output_audio","data":"AAAA"}]}]}`,
		"another's words":      `{"output":[{"type":"message","role":"user","content":[]}]}`,
		"two type":             `{"output":[{"type":"message","type":"function_call","name":"f","arguments":""}]}`,
		"text of parts":        `{"output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":["a"]}]}]}`,
		"server with no label": `{"output":[{"type":"mcp_call","name":"x","arguments":"{}"}]}`,
		"trailing":             `{"output":[]}{}`,
	} {
		var c llm.Chunk
		if err := codec(t, responsesPath).Reply([]byte(body), &c); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s: %v %+v", name, err, c)
		}
	}
}

// TestStored: what a request goes on from is known by its ID.
func TestStored(t *testing.T) {
	for _, c := range []struct{ name, body, previous, thread string }{
		{"a reply", `{"model":"m","input":"x","previous_response_id":"resp_0"}`, "resp_0", ""},
		{"a conversation", `{"model":"m","input":"x","conversation":"conv_1"}`, "", "conv_1"},
		{"a conversation as an object", `{"model":"m","input":"x","conversation":{"id":"conv_1"}}`, "", "conv_1"},
		{"none", `{"model":"m","input":"x","conversation":null,"previous_response_id":null}`, "", ""},
		{"an empty object", `{"model":"m","input":"x","conversation":{}}`, "", ""},
	} {
		var r llm.Request
		if err := (responses{}).Request([]byte(c.body), &r); err != nil || r.Call.Previous != c.previous || r.Call.Thread != c.thread {
			t.Errorf("%s: previous %q, thread %q, %v", c.name, r.Call.Previous, r.Call.Thread, err)
		}
	}
}

// TestResponsesShell: a shell in a container of the provider's has run already, one of the application's has not.
func TestResponsesShell(t *testing.T) {
	for environment, byProvider := range map[string]bool{`null`: false, `{"type":"local"}`: false, `{"type":"container_reference","container_id":"c"}`: true} {
		var c llm.Chunk
		err := codec(t, responsesPath).Reply([]byte(`{"output":[{"type":"shell_call","id":"s","call_id":"1","status":"completed","action":{"commands":["ls"]},"environment":`+environment+`}]}`), &c)
		if err != nil || len(c.Tools) != 1 || c.Tools[0].Name != "shell" || c.Tools[0].ByProvider != byProvider || !c.Tools[0].Raw {
			t.Errorf("%s: %v %+v", environment, err, c.Tools)
		}
	}
}

// TestResponsesWire decodes what real clients send, and the answers of a fake.
func TestResponsesWire(t *testing.T) {
	files, err := filepath.Glob("testdata/wire/*openai_resp*.json")
	if err != nil || len(files) < 3 {
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
			for i, x := range xs {
				c := codec(t, x.Request.Path)
				var r llm.Request
				if err := c.Request(x.Request.Body, &r); err != nil {
					t.Fatal(err)
				}
				steps := summarise(&r).Steps
				want := []string{"prompt||||weather in Paris?", "toolOffer|get_weather|||Get the weather for a city."}
				switch {
				case strings.Contains(file, "stream"):
					want = []string{"prompt||||Say hi"}
				case i == 1:
					want = slices.Insert(want, 1, `toolCall|get_weather|call_mock1|{"city":"Paris"}|`, "toolResult|get_weather|call_mock1||sunny in Paris")
				}
				if diff := cmp.Diff(want, steps); diff != "" || r.Call.Model != "gpt-4o-mini" || r.Call.Operation != pipeline.OpChat {
					t.Errorf("%+v %s", r.Call, diff)
				}
				said, calls := answered(t, c, x)
				if i == 0 && len(xs) == 2 {
					if len(calls) != 1 || calls[0].Name != "get_weather" || string(calls[0].Args) != `{"city":"Paris"}` || calls[0].ID != "call_mock1" {
						t.Errorf("calls %+v", calls)
					}
				} else if said != "hello from mock" || len(calls) != 0 {
					t.Errorf("said %q, calls %+v", said, calls)
				}
			}
		})
	}
}

// answered decodes the answer of a capture. Repeats are held against what was said before.
func answered(t *testing.T, c llm.Codec, x exchange) (said string, calls []llm.ToolPiece) {
	t.Helper()
	var chunk llm.Chunk
	if !strings.HasPrefix(x.Reply.Type, "text/event-stream") {
		if err := c.Reply(x.Reply.Body, &chunk); err != nil {
			t.Fatal(err)
		}
		if len(chunk.Choices) != 1 || chunk.Choices[0].Finish != "completed" || !chunk.HasUsage || *chunk.Usage.InputTokens != 5 || chunk.ID != "resp_mock1" {
			t.Errorf("reply %+v", chunk)
		}
		for _, p := range chunk.Pieces {
			if p.Answer {
				said += string(p.Text)
			}
		}
		return said, chunk.Tools
	}
	var text string
	if err := json.Unmarshal(x.Reply.Body, &text); err != nil {
		t.Fatal(err)
	}
	s := stream.NewSSE(0)
	s.Write([]byte(text))
	s.End()
	done, repeats := false, 0
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
		for _, p := range chunk.Pieces {
			switch {
			case !p.Answer:
			case p.Repeat && string(p.Text) != said:
				t.Errorf("repeats %q", p.Text)
			case p.Repeat:
				repeats++
			default:
				said += string(p.Text)
			}
		}
		done = done || chunk.Done
	}
	if !done || repeats != 3 {
		t.Errorf("done %t, %d repeats", done, repeats)
	}
	return said, nil
}

// TestResponsesOwnWords: what we add to a stream is read like what the provider says.
func TestResponsesOwnWords(t *testing.T) {
	c := codec(t, responsesPath)
	s := stream.NewSSE(0)
	s.Write(c.AppendText(nil, []byte(`{"sequence_number":3}`), 0, 2, "a\n\"b\""))
	s.Write(c.AppendPing(nil, nil))
	var kinds []string
	var said string
	for {
		ev, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		var chunk llm.Chunk
		if err := c.Event(ev.Name, ev.Data, &chunk); err != nil {
			t.Fatalf("%s: %v", ev.Data, err)
		}
		kinds = append(kinds, strings.TrimPrefix(string(ev.Name), "response."))
		if len(chunk.Places) > 0 && chunk.Places[0].Number != 2 {
			t.Errorf("item %d", chunk.Places[0].Number)
		}
		for _, p := range chunk.Pieces {
			if p.Answer && !p.Repeat {
				said += string(p.Text)
			}
		}
	}
	if strings.Join(kinds, " ") != "output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done keepalive" || said != "a\n\"b\"" {
		t.Errorf("%s say %q", kinds, said)
	}
	var chunk llm.Chunk
	if err := c.Reply([]byte(`{"output":[`+string(c.AppendBlock(nil, 0, "hi"))+`]}`), &chunk); err != nil || len(chunk.Pieces) != 1 || string(chunk.Pieces[0].Text) != "hi" {
		t.Errorf("%v %+v", err, chunk.Pieces)
	}
}

func FuzzResponsesRequest(f *testing.F) {
	f.Add([]byte(`{"model":"m","stream":true,"input":[{"role":"user","content":[{"type":"input_text","text":"caf\u00e9"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"x"}],"tools":[{"type":"function","name":"f"},{"type":"mcp","server_label":"l","server_url":"u"}]}`))
	f.Add([]byte(`{"model":"m","input":"x","previous_response_id":"r","tool_choice":{"type":"custom","name":"x"}}`))
	f.Add([]byte(`{"model":"m","input":[{"type":"shell_call","call_id":"c","action":{"commands":[]}},{"type":"reasoning","summary":[]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var r llm.Request
		if codec(t, responsesPath).Request(body, &r) != nil {
			return
		}
		var want struct {
			Model    string
			Stream   bool
			Previous string `json:"previous_response_id"`
			Tools    []struct{ Type, Name string }
		}
		if err := json.Unmarshal(body, &want); err != nil {
			if !json.Valid(body) {
				t.Fatalf("accepted, but no JSON: %v", err)
			}
			return
		}
		if r.Call.Model != want.Model || r.Call.Stream != want.Stream || len(r.Offers) != len(want.Tools) {
			t.Fatalf("%+v, want %+v", r.Call, want)
		}
		for i, o := range r.Offers {
			if name := r.Call.Steps[o.Step].Name; want.Tools[i].Type == "function" && name != want.Tools[i].Name || name == "" {
				t.Fatalf("tool %q, want %+v", name, want.Tools[i])
			}
		}
		if want.Previous != "" && !slices.ContainsFunc(r.Call.Steps, func(s pipeline.Step) bool { return s.Name == storedConversation && s.ByProvider }) {
			t.Fatal("a stored conversation that is not offered")
		}
	})
}

func FuzzResponsesReply(f *testing.F) {
	f.Add([]byte(`{"id":"r","status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]}`))
	f.Add([]byte(`{"type":"response.output_item.done","output_index":1,"item":{"type":"custom_tool_call","call_id":"c","name":"f","input":"x"}}`))
	f.Add([]byte(`{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"x","logprobs":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := codec(t, responsesPath)
		check := func(chunk *llm.Chunk) {
			if !json.Valid(body) {
				t.Fatal("accepted, but no JSON")
			}
			for _, p := range chunk.Pieces {
				if p.At.Start < 0 || p.At.End > len(body) || body[p.At.Start] != '"' || body[p.At.End-1] != '"' {
					t.Fatalf("text at %v of %d bytes", p.At, len(body))
				}
			}
		}
		var chunk llm.Chunk
		if c.Reply(body, &chunk) == nil {
			check(&chunk)
			var want struct{ Output []struct{ Type string } }
			calls := 0
			if json.Unmarshal(body, &want) == nil {
				for _, item := range want.Output {
					if item.Type == "function_call" || item.Type == "custom_tool_call" {
						calls++
					}
				}
				if len(chunk.Tools) < calls {
					t.Fatalf("%d calls, a client sees %d", len(chunk.Tools), calls)
				}
			}
		}
		if c.Event(nil, body, &chunk) == nil && !isDone(body) {
			check(&chunk)
		}
	})
}
