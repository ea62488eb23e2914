// SPDX-License-Identifier: Apache-2.0

package anthropic

import (
	"errors"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// TestRefused: what two readers could understand differently, or nobody here understands, is not inspected.
func TestRefused(t *testing.T) {
	deep := strings.Repeat("[", 300) + strings.Repeat("]", 300)
	for name, body := range map[string]string{
		"duplicate model":               ask(`"model":"b","messages":[]`),
		"model in another case":         ask(`"Model":"b","messages":[]`),
		"only in another case":          `{"MODEL":"a","messages":[]}`,
		"escaped duplicate key":         ask(`"mod\u0065l":"b","messages":[]`),
		"duplicate tools":               ask(`"messages":[],"tools":[],"tools":[{"name":"x","input_schema":{}}]`),
		"trailing data":                 ask(`"messages":[]`) + `{}`,
		"trailing comma":                ask(`"messages":[],`),
		"comment":                       ask(`"messages":[]/**/`),
		"invalid UTF-8":                 ask("\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]"),
		"lone surrogate":                ask(`"messages":[{"role":"user","content":"\ud800"}]`),
		"not an object":                 `["model"]`,
		"no model":                      `{"messages":[]}`,
		"deep nesting":                  ask(`"messages":[],"metadata":` + deep),
		"deep nesting in a block":       blocks(`{"type":"text","text":"x","cache_control":` + deep + `}`),
		"half":                          `{"model":"a","messages":[`,
		"NaN":                           ask(`"temperature":NaN`),
		"unknown member":                ask(`"messages":[],"web_search":true`),
		"fallbacks":                     ask(`"messages":[],"fallbacks":[{"model":"b"}]`),
		"thread":                        ask(`"messages":[],"thread":{"id":"x"}`),
		"container":                     ask(`"messages":[],"container":{"skills":[{"type":"anthropic","skill_id":"xlsx"}]}`),
		"container by ID":               ask(`"messages":[],"container":"c_1"`),
		"tool of unknown type":          ask(`"messages":[],"tools":[{"type":"fly_20300101","name":"fly"}]`),
		"toolset":                       ask(`"messages":[],"tools":[{"type":"computer_toolset_20260801","name":"computer"}]`),
		"tool type in another case":     ask(`"messages":[],"tools":[{"Type":"web_search_20250305","name":"web_search"}]`),
		"tool with two types":           ask(`"messages":[],"tools":[{"type":"custom","type":"web_search_20250305","name":"web_search"}]`),
		"provider's tool, another name": ask(`"messages":[],"tools":[{"type":"web_search_20250305","name":"harmless"}]`),
		"tool without a name":           ask(`"messages":[],"tools":[{"description":"x"}]`),
		"tool with two names":           ask(`"messages":[],"tools":[{"name":"x","name":"y"}]`),
		"MCP server with a token":       ask(`"messages":[],"mcp_servers":[{"type":"url","url":"https://x.example","name":"x","authorization_token":"t0p"}]`),
		"MCP server of another type":    ask(`"messages":[],"mcp_servers":[{"type":"stdio","name":"x"}]`),
		"unknown tool choice":           ask(`"messages":[],"tool_choice":{"type":"all"}`),
		"message with more":             ask(`"messages":[{"role":"user","content":"x","tools":[]}]`),
		"unknown role":                  ask(`"messages":[{"role":"tool","content":"x"}]`),
		"two contents":                  ask(`"messages":[{"role":"user","content":"x","content":"y"}]`),
		"unknown block":                 blocks(`{"type":"tool_addition","tool":{"name":"x"}}`),
		"block without a type":          blocks(`{"text":"x"}`),
		"block with two types":          blocks(`{"type":"text","text":"x","type":"tool_use"}`),
		"block with two texts":          blocks(`{"type":"text","text":"x","text":"y"}`),
		"uploaded file":                 blocks(`{"type":"document","source":{"type":"file","file_id":"f"}}`),
		"upload to a container":         blocks(`{"type":"container_upload","file_id":"f"}`),
		"call without a name":           blocks(`{"type":"tool_use","id":"t","input":{}}`),
		"call with a text for input":    blocks(`{"type":"tool_use","id":"t","name":"x","input":"{}"}`),
		"call of a toolset":             blocks(`{"type":"tool_use","id":"t","name":"x","input":{},"toolset_name":"computer"}`),
		"call in a result":              blocks(`{"type":"tool_result","tool_use_id":"t","content":[{"type":"tool_use","id":"t","name":"x","input":{}}]}`),
		"document in a document":        blocks(`{"type":"document","source":{"type":"content","content":[{"type":"document","source":{"type":"text","data":"x"}}]}}`),
		"reference outside a result":    blocks(`{"type":"tool_reference","tool_name":"x"}`),
		"system with an image":          ask(`"messages":[],"system":[{"type":"image","source":{"type":"base64","data":"x"}}]`),
	} {
		t.Run(name, func(t *testing.T) {
			var r llm.Request
			if err := codec(t, messagesPath).Request([]byte(body), &r); !errors.Is(err, llm.ErrNotInspected) {
				t.Errorf("got %v, %+v", err, r.Call)
			}
		})
	}
	for name, h := range map[string]*pipeline.Head{
		"batches":      head("POST", "/v1/messages/batches", "application/json"),
		"older form":   head("POST", "/v1/complete", "application/json"),
		"files":        head("POST", "/v1/files", "multipart/form-data"),
		"method":       head("PUT", messagesPath, "application/json"),
		"no type":      {Method: "POST", Target: messagesPath},
		"another type": head("POST", messagesPath, "text/plain"),
		"doubled":      head("POST", "/v1//messages", "application/json"),
		"escaped":      head("POST", "/v1/message%73", "application/json"),
	} {
		if _, err := (Provider{}).Codec(&pipeline.Endpoint{Name: "anthropic"}, h); !errors.Is(err, llm.ErrNotInspected) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReplyRefused is the same for replies.
func TestReplyRefused(t *testing.T) {
	message := func(more string) string {
		return `{"type":"message","role":"assistant","id":"m","model":"x",` + more + `}`
	}
	for name, body := range map[string]string{
		"another type":           `{"type":"completion","role":"assistant","content":[]}`,
		"another role":           `{"type":"message","role":"user","content":[]}`,
		"two contents":           message(`"content":[],"content":[{"type":"tool_use","id":"t","name":"x","input":{}}]`),
		"content in another way": message(`"content":[],"Content":[]`),
		"unknown block":          message(`"content":[{"type":"fallback"}]`),
		"call without a name":    message(`"content":[{"type":"tool_use","id":"t","input":{}}]`),
		"call without input":     message(`"content":[{"type":"tool_use","id":"t","name":"x"}]`),
		"two inputs":             message(`"content":[{"type":"tool_use","id":"t","name":"x","input":{},"input":{"a":1}}]`),
		"two names":              message(`"content":[{"type":"tool_use","id":"t","name":"x","name":"y","input":{}}]`),
		"input that is a text":   message(`"content":[{"type":"tool_use","id":"t","name":"x","input":"{}"}]`),
		"toolset":                message(`"content":[{"type":"tool_use","id":"t","name":"x","input":{},"toolset_name":"computer"}]`),
		"trailing data":          message(`"content":[]`) + "x",
		"invalid UTF-8":          message("\"content\":[{\"type\":\"text\",\"text\":\"\xc3\x28\"}]"),
	} {
		t.Run(name, func(t *testing.T) {
			var c llm.Chunk
			if err := codec(t, messagesPath).Reply([]byte(body), &c); !errors.Is(err, llm.ErrNotInspected) {
				t.Errorf("got %v, %+v", err, c)
			}
		})
	}
}
