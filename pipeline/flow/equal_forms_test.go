// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"fmt"
	"strings"
)

// said is what a model says, by the names that parts give it: text, reasoning, refusal, args.
type said map[string]string

// form is one protocol in both of its forms. what lists the parts that it has.
type form struct {
	protocol, operation string
	what                []string
	whole               func(said) string
	begin, end          []string
	event               func(what, piece string) string // piece is a JSON string
	between             func(what string) []string      // after the last piece of a part
	find                func(v any) said                // in a whole reply, decoded but for arguments
}

func jsonOf(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// at walks decoded JSON: keys and indices.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			v = v.(map[string]any)[p]
		case int:
			v = v.([]any)[p]
		}
	}
	return v
}

func none(string) []string { return nil }

var forms = []form{
	{protocol: "openai", operation: "chat", what: []string{"reasoning", "text", "refusal", "args"},
		whole: func(s said) string {
			return chatMessage(`"content":` + jsonOf(s["text"]) + `,"reasoning_content":` + jsonOf(s["reasoning"]) + `,"refusal":` + jsonOf(s["refusal"]) +
				`,"tool_calls":[{"id":"c","type":"function","function":{"name":"find","arguments":` + jsonOf(s["args"]) + `}}]`)
		},
		event: func(what, piece string) string {
			switch what {
			case "args":
				return delta(0, `{"tool_calls":[{"index":0,"function":{"arguments":`+piece+`}}]}`, "")
			case "reasoning":
				what = "reasoning_content"
			case "text":
				what = "content"
			}
			return delta(0, `{"`+what+`":`+piece+`}`, "")
		},
		begin:   []string{delta(0, `{"role":"assistant","tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"find","arguments":""}}]}`, "")},
		between: none, end: []string{delta(0, "{}", "stop"), done},
		find: func(v any) said {
			m := at(v, "choices", 0, "message")
			return said{"text": at(m, "content").(string), "reasoning": at(m, "reasoning_content").(string), "refusal": at(m, "refusal").(string),
				"args": at(m, "tool_calls", 0, "function", "arguments").(string)}
		}},
	{protocol: "openai", operation: "completions", what: []string{"text"},
		whole: func(s said) string {
			return `{"id":"1","model":"m","choices":[{"index":0,"text":` + jsonOf(s["text"]) + `,"finish_reason":"stop"}]}`
		},
		event: func(_, piece string) string {
			return `data: {"id":"1","model":"m","choices":[{"index":0,"text":` + piece + `,"finish_reason":null}]}` + "\n\n"
		},
		between: none, end: []string{`data: {"id":"1","model":"m","choices":[{"index":0,"text":"","finish_reason":"stop"}]}` + "\n\n", done},
		find: func(v any) said { return said{"text": at(v, "choices", 0, "text").(string)} }},
	{protocol: "openai", operation: "responses", what: []string{"reasoning", "text", "args"},
		whole: func(s said) string {
			return responsesReply(`{"id":"x","type":"reasoning","summary":[{"type":"summary_text","text":`+jsonOf(s["reasoning"])+`}]},`+
				responsesMessage(`{"type":"output_text","text":`+jsonOf(s["text"])+`,"annotations":[]}`)+`,{"id":"f","type":"function_call","call_id":"c","name":"find","arguments":`+jsonOf(s["args"])+`}`, "")
		},
		begin: []string{rev("response.created", `"response":{"id":"resp_1","object":"response","status":"in_progress","model":"m","output":[]}`),
			rev("response.output_item.added", `"output_index":2,"item":{"id":"f","type":"function_call","call_id":"c","name":"find","arguments":""}`)},
		event: func(what, piece string) string {
			switch what {
			case "reasoning":
				return rev("response.reasoning_summary_text.delta", `"output_index":0,"summary_index":0,"delta":`+piece)
			case "args":
				return rev("response.function_call_arguments.delta", `"output_index":2,"delta":`+piece)
			}
			return rev("response.output_text.delta", `"output_index":1,"content_index":0,"delta":`+piece)
		},
		between: none, end: []string{rev("response.completed", `"response":{"id":"resp_1","status":"completed","model":"m"}`)},
		find: func(v any) said {
			return said{"reasoning": at(v, "output", 0, "summary", 0, "text").(string), "text": at(v, "output", 1, "content", 0, "text").(string), "args": at(v, "output", 2, "arguments").(string)}
		}},
	{protocol: "anthropic", operation: "messages", what: []string{"reasoning", "text", "args"},
		whole: func(s said) string {
			return anthropicReply(`{"type":"thinking","thinking":`+jsonOf(s["reasoning"])+`,"signature":""},{"type":"text","text":`+jsonOf(s["text"])+`},{"type":"tool_use","id":"t","name":"find","input":`+s["args"]+`}`, "")
		},
		begin: []string{ev("message_start", `"message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}`),
			start(0, `{"type":"thinking","thinking":"","signature":""}`), start(1, `{"type":"text","text":""}`), start(2, `{"type":"tool_use","id":"t","name":"find","input":{}}`)},
		event: func(what, piece string) string {
			n, kind, key := 1, "text_delta", "text"
			switch what {
			case "reasoning":
				n, kind, key = 0, "thinking_delta", "thinking"
			case "args":
				n, kind, key = 2, "input_json_delta", "partial_json"
			}
			return ev("content_block_delta", fmt.Sprintf(`"index":%d,"delta":{"type":%q,%q:%s}`, n, kind, key, piece))
		},
		between: func(what string) []string {
			return []string{stop(map[string]int{"reasoning": 0, "text": 1, "args": 2}[what])}
		},
		end: []string{ev("message_delta", `"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}`), ev("message_stop", "")},
		find: func(v any) said {
			return said{"reasoning": at(v, "content", 0, "thinking").(string), "text": at(v, "content", 1, "text").(string)}
		}},
	{protocol: "ollama", operation: "chat", what: []string{"reasoning", "text"},
		whole: func(s said) string {
			return strings.TrimSpace(line(`"content":`+jsonOf(s["text"])+`,"thinking":`+jsonOf(s["reasoning"]), `,"done":true,"done_reason":"stop"`))
		},
		event: func(what, piece string) string {
			if what == "reasoning" {
				return line(`"thinking":`+piece, `,"done":false`)
			}
			return line(`"content":`+piece, `,"done":false`)
		},
		between: none, end: []string{last},
		find: func(v any) said {
			return said{"reasoning": at(v, "message", "thinking").(string), "text": at(v, "message", "content").(string)}
		}},
	{protocol: "ollama", operation: "generate", what: []string{"text"},
		whole:   func(s said) string { return generated(`"response":`+jsonOf(s["text"]), true) },
		event:   func(_, piece string) string { return generated(`"response":`+piece, false) + "\n" },
		between: none, end: []string{generated(`"response":""`, true) + "\n"},
		find: func(v any) said { return said{"text": at(v, "response").(string)} }},
}
