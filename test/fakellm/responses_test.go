// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

const flatTools = `"tools":[{"type":"function","name":"search","parameters":{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}},
	{"type":"function","name":"delete_files","parameters":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}]`

// heard is what a reply of Responses or Ollama says.
func heard(t *testing.T, kind, body string) (out told) {
	t.Helper()
	var last struct {
		Status  string
		Done    bool
		Reason  string `json:"done_reason"`
		Usage   *struct{}
		Message struct {
			Content string
			Calls   []struct {
				Function struct {
					Name      string
					Arguments json.RawMessage
				}
			} `json:"tool_calls"`
		}
		Response json.RawMessage
		Output   []struct {
			Type, Name, Arguments string
			Content               []struct{ Text string }
		}
		Type, Delta string
	}
	read := func(b string) {
		last.Message.Content, last.Message.Calls, last.Response = "", nil, nil
		if err := json.Unmarshal([]byte(b), &last); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	}
	items := func() {
		for _, item := range last.Output {
			if item.Type == "function_call" {
				out.calls = append(out.calls, item.Name+item.Arguments)
			}
			for _, c := range item.Content {
				out.text += c.Text
			}
		}
		out.finish, out.usage = last.Status, last.Usage != nil
	}
	switch kind {
	case "application/json":
		read(body)
		if last.Message.Content != "" || last.Message.Calls != nil {
			out.text, out.finish = last.Message.Content, last.Reason
			for _, c := range last.Message.Calls {
				out.calls = append(out.calls, c.Function.Name+string(c.Function.Arguments))
			}
			return out
		}
		items()
	case "application/x-ndjson":
		for line := range strings.Lines(body) {
			read(line)
			out.text += last.Message.Content
			for _, c := range last.Message.Calls {
				out.calls = append(out.calls, c.Function.Name+string(c.Function.Arguments))
			}
		}
		if !last.Done {
			t.Fatal("no end")
		}
		out.finish = last.Reason
	default:
		said := ""
		for e := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
			name, data, _ := strings.Cut(strings.TrimPrefix(e, "event: "), "\ndata: ")
			read(data)
			if last.Type != name {
				t.Fatalf("event %s says %s", name, last.Type)
			}
			if name == "response.output_text.delta" {
				said += last.Delta
			}
		}
		read(string(last.Response))
		items()
		if said != out.text {
			t.Errorf("said %q in pieces, %q at the end", said, out.text)
		}
	}
	return out
}

// TestOtherScripts: the other operations follow the same scripts, streamed or not.
func TestOtherScripts(t *testing.T) {
	_, c := start(t, Options{Names: Hosts()})
	turn := `{"role":"user","content":"use tool search"}`
	for _, x := range []struct {
		name, url, body string
		want            told
	}{
		{"responses", "https://api.openai.com/v1/responses", `{"model":"gpt-4o","input":"say: hello, 世界"`, told{text: "hello, 世界", finish: "completed", usage: true}},
		{"responses, call", "https://api.openai.com/v1/responses", `{"model":"gpt-4o","input":[` + turn + `],` + flatTools, told{calls: []string{`search{"query":"example"}`}, finish: "completed", usage: true}},
		{"responses, two calls", "https://api.openai.com/v1/responses", `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_text","text":"two tools"}]}],` + flatTools,
			told{calls: []string{`search{"query":"example"}`, `delete_files{"path":"example"}`}, finish: "completed", usage: true}},
		{"responses, result", "https://api.openai.com/v1/responses", `{"model":"gpt-4o","input":[` + turn + `,{"type":"function_call","call_id":"c","name":"search","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"42"}],` + flatTools,
			told{text: "The tool answered: 42", finish: "completed", usage: true}},
		{"ollama", "https://ollama.example.com/api/chat", `{"model":"llama3","messages":[{"role":"user","content":"say: hello, 世界"}]`, told{text: "hello, 世界", finish: "stop"}},
		{"ollama, call", "https://ollama.example.com/api/chat", `{"model":"llama3","messages":[` + turn + `],` + tools, told{calls: []string{`search{"query":"example"}`}, finish: "stop"}},
		{"ollama, result", "https://ollama.example.com/api/chat", `{"model":"llama3","messages":[` + turn + `,{"role":"assistant","content":"","tool_calls":[{"function":{"name":"search","arguments":{}}}]},{"role":"tool","content":"42"}],` + tools,
			told{text: "The tool answered: 42", finish: "stop"}},
	} {
		for _, more := range []string{`,"stream":false}`, `,"stream":true}`} {
			t.Run(x.name+more, func(t *testing.T) {
				req, err := http.NewRequest("POST", x.url, strings.NewReader(x.body+more))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer not-a-key")
				res, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				b, err := io.ReadAll(res.Body)
				if err != nil || res.StatusCode != 200 {
					t.Fatalf("%d %s: %v", res.StatusCode, b, err)
				}
				if got := heard(t, res.Header.Get("Content-Type"), string(b)); !reflect.DeepEqual(got, x.want) {
					t.Errorf("got %+v, want %+v", got, x.want)
				}
			})
		}
	}
}

func TestCompletions(t *testing.T) {
	_, c := start(t, Options{})
	_, body, err := post(t, c, "/v1/completions", `{"model":"gpt-3.5-turbo-instruct","prompt":["say: one","say: two"]}`)
	if err != nil || !strings.Contains(body, `"text":"one"`) || !strings.Contains(body, `"text":"two"`) {
		t.Errorf("%s %v", body, err)
	}
	_, body, err = post(t, c, "/v1/completions", `{"model":"gpt-3.5-turbo-instruct","prompt":"say: hello","stream":true}`)
	if err != nil || !strings.HasSuffix(body, "data: [DONE]\n\n") || !strings.Contains(body, `"object":"text_completion"`) {
		t.Errorf("%s %v", body, err)
	}
}

// TestOllamaAsks: the operations that give no answer of a model, and errors in Ollama's shape.
func TestOllamaAsks(t *testing.T) {
	_, c := start(t, Options{Names: Hosts()})
	for _, x := range []struct {
		method, path, body, want string
		status                   int
	}{
		{"GET", "/api/tags", "", `"models":[`, 200}, {"GET", "/api/version", "", `"version"`, 200}, {"GET", "/api/ps", "", `"models":[`, 200},
		{"POST", "/api/show", `{"model":"llama3"}`, `"capabilities"`, 200}, {"POST", "/api/embed", `{"model":"m","input":["a","b"]}`, `"embeddings":[[`, 200},
		{"POST", "/api/embeddings", `{"model":"m","prompt":"a"}`, `"embedding":[`, 200}, {"POST", "/api/generate", `{"model":"m","prompt":"say: hi","stream":false}`, `"response":"hi"`, 200},
		{"POST", "/api/chat", `{"model":"no-such-model","messages":[]}`, `{"error":"model 'no-such-model' not found"}`, 404}, {"POST", "/api/pull", `{"model":"m"}`, `{"error":`, 404},
		{"GET", "/api/chat", "", `{"error":`, 405}, {"POST", "/api/chat", `{"model":"m","messages":[{"role":"user","content":"status 503"}]}`, `{"error":`, 503},
	} {
		req, err := http.NewRequest(x.method, "https://ollama.example.com"+x.path, strings.NewReader(x.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != x.status || !strings.Contains(string(b), x.want) {
			t.Errorf("%s %s: %d %s %v", x.method, x.path, res.StatusCode, b, err)
		}
	}
}
