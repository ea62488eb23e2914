// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const claudeTools = `"tools":[{"name":"search","input_schema":{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}},
	{"name":"delete_files","input_schema":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}]`

// askClaude posts a request whose messages are given as JSON.
func askClaude(t *testing.T, c *http.Client, path, messages, more string) (int, string) {
	t.Helper()
	req, err := http.NewRequest("POST", "https://api.anthropic.com"+path, strings.NewReader(`{"model":"claude-sonnet-4-5","max_tokens":100,"messages":[`+messages+`]`+more+`}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-api-key", "not-a-key")
	req.Header.Set("anthropic-version", "2023-06-01")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// readClaude reads an answer, streamed or not.
func readClaude(t *testing.T, body string) (out told) {
	t.Helper()
	type block struct {
		Type, Text, Name string
		Input            json.RawMessage
	}
	if !strings.HasPrefix(body, "event: message_start\n") {
		var m struct {
			Content []block
			Stop    string `json:"stop_reason"`
		}
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatalf("reply %s: %v", body, err)
		}
		for _, b := range m.Content {
			if out.text += b.Text; b.Type == "tool_use" {
				out.calls = append(out.calls, b.Name+string(b.Input))
			}
		}
		out.finish = m.Stop
		return out
	}
	for _, e := range strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		name, data, ok := strings.Cut(strings.TrimPrefix(e, "event: "), "\ndata: ")
		var v struct {
			Type  string
			Index int
			Block block `json:"content_block"`
			Delta struct {
				Text string
				JSON string `json:"partial_json"`
				Stop string `json:"stop_reason"`
			}
		}
		if err := json.Unmarshal([]byte(data), &v); err != nil || !ok || v.Type != name {
			t.Fatalf("event %q: %v", e, err)
		}
		if v.Block.Type == "tool_use" {
			out.calls = append(out.calls, v.Block.Name)
		}
		out.text += v.Delta.Text
		out.finish += v.Delta.Stop
		if v.Delta.JSON != "" {
			out.calls[v.Index] += v.Delta.JSON
		}
	}
	return out
}

func TestAnthropic(t *testing.T) {
	_, c := start(t, Options{Names: Hosts()})
	user := func(prompt string) string {
		p, _ := json.Marshal(prompt) // a string can always be encoded
		return fmt.Sprintf(`{"role":"user","content":%s}`, p)
	}
	for _, k := range []struct {
		name, messages string
		want           told
	}{
		{"say", user("say: an answer"), told{text: "an answer", finish: "end_turn"}},
		{"leak", user("leak a key"), told{text: "Sure. The key is " + LeakedKey() + ", and " + LeakedEmail() + " knows the rest.", finish: "end_turn"}},
		{"tool", user("use tool search"), told{calls: []string{`search{"query":"example"}`}, finish: "tool_use"}},
		{"tool forced", user(`force tool shell with {"cmd":"ls"}`), told{calls: []string{`shell{"cmd":"ls"}`}, finish: "tool_use"}},
		{"two tools", user("two tools"), told{calls: []string{`search{"query":"example"}`, `delete_files{"path":"example"}`}, finish: "tool_use"}},
		{"after a tool", user("use tool search") + `,{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"search","input":{}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"kites"}]}]}`,
			told{text: "The tool answered: kites", finish: "end_turn"}},
	} {
		t.Run(k.name, func(t *testing.T) {
			for _, more := range []string{"", `,"stream":true`} {
				status, body := askClaude(t, c, "/v1/messages", k.messages, ","+claudeTools+more)
				if got := readClaude(t, body); status != 200 || fmt.Sprint(got) != fmt.Sprint(k.want) {
					t.Errorf("%q: status %d, got %+v, want %+v", more, status, got, k.want)
				}
			}
		})
	}
	if status, body := askClaude(t, c, "/v1/messages/count_tokens", user("Hello"), ""); status != 200 || !strings.HasPrefix(body, `{"input_tokens":`) {
		t.Errorf("count: %d %s", status, body)
	}
	if status, body := askClaude(t, c, "/v1/messages", user("status 529"), ""); status != 529 || !strings.Contains(body, `"type":"api_error"`) {
		t.Errorf("status: %d %s", status, body)
	}
}
