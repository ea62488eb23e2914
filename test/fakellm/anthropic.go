// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"encoding/json"
	"fmt"
	"strings"
)

// What api.anthropic.com is asked and how it answers, scripted like OpenAI's.

// messagesRequest is what the scripts need of a request.
type messagesRequest struct {
	Model    string `json:"model"`
	Max      int    `json:"max_tokens"`
	Stream   bool   `json:"stream"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Tools []struct {
		Name   string          `json:"name"`
		Schema json.RawMessage `json:"input_schema"`
	} `json:"tools"`
}

// chat is the same request in the words of the scripts.
func (r *messagesRequest) chat() (*chatRequest, error) {
	out := &chatRequest{Model: r.Model, Stream: r.Stream}
	for _, t := range r.Tools {
		var as tool
		as.Function.Name = t.Name
		if len(t.Schema) > 0 {
			if err := json.Unmarshal(t.Schema, &as.Function.Parameters); err != nil {
				return nil, err
			}
		}
		out.Tools = append(out.Tools, as)
	}
	for _, m := range r.Messages {
		var blocks []struct {
			Type    string          `json:"type"`
			Content json.RawMessage `json:"content"`
		}
		as := message{Role: m.Role, Content: m.Content}
		if json.Unmarshal(m.Content, &blocks) == nil {
			for _, b := range blocks {
				switch b.Type {
				case "tool_use":
					as.ToolCalls = append(as.ToolCalls, json.RawMessage("{}"))
				case "tool_result":
					out.Messages = append(out.Messages, message{Role: "tool", Content: b.Content})
					as.Role = "tool result"
				}
			}
		}
		if as.Role != "tool result" {
			out.Messages = append(out.Messages, as)
		}
	}
	return out, nil
}

// anthropic answers a request to api.anthropic.com.
func (a *answer) anthropic() error {
	var r messagesRequest
	var chat *chatRequest
	err := json.Unmarshal(a.body, &r)
	if err == nil {
		chat, err = r.chat()
	}
	counting := a.req.URL.Path == "/v1/messages/count_tokens"
	switch {
	case a.req.Header.Get("x-api-key") == "" && a.req.Header.Get("Authorization") == "":
		return a.anthropicError(401, "authentication_error", "x-api-key header is required")
	case a.req.Header.Get("anthropic-version") == "":
		return a.anthropicError(400, "invalid_request_error", "anthropic-version: header is required")
	case err != nil || len(r.Messages) == 0:
		return a.anthropicError(400, "invalid_request_error", "The request body is not valid JSON or has no messages.")
	case r.Max == 0 && !counting:
		return a.anthropicError(400, "invalid_request_error", "max_tokens: Field required")
	case !strings.HasPrefix(r.Model, "claude-"):
		return a.anthropicError(404, "not_found_error", "model: "+r.Model)
	}
	s := plan(chat, a.s.opts.Pace)
	switch {
	case s.hang:
		return a.hang()
	case s.status == 429:
		return a.anthropicError(429, "rate_limit_error", "This request would exceed your organization's rate limit.")
	case s.status != 0:
		return a.anthropicError(s.status, "api_error", "The script asked for this error.")
	case counting:
		return a.json(200, object{"input_tokens": len(a.body)/4 + 1}, s.compress, s.end)
	case r.Stream:
		events, err := a.messageEvents(&r, s)
		if err != nil {
			return err
		}
		return a.events(events, s.pace, s.compress, s.end)
	}
	var content []object
	for _, b := range s.blocks() {
		if b.call == nil {
			content = append(content, object{"type": "text", "text": b.text})
		} else {
			content = append(content, object{"type": "tool_use", "id": a.useID(b.number), "name": b.call.name, "input": json.RawMessage(b.call.args)})
		}
	}
	return a.json(200, a.message(&r, content, stopReason(s), a.usage(s).Completion), s.compress, s.end)
}

// anthropicError answers with an error in Anthropic's shape.
func (a *answer) anthropicError(status int, kind, message string) error {
	return a.json(status, object{"type": "error", "error": object{"type": kind, "message": message}, "request_id": "req_" + a.id[:24]}, false, whole)
}

// scripted is one block of an answer.
type scripted struct {
	number int
	text   string
	call   *call
}

// blocks is an answer as an array of blocks.
func (s *script) blocks() (out []scripted) {
	if len(s.calls) == 0 {
		return []scripted{{text: s.text}}
	}
	for i := range s.calls {
		out = append(out, scripted{number: i, call: &s.calls[i]})
	}
	return out
}

func stopReason(s script) string {
	if len(s.calls) > 0 {
		return "tool_use"
	}
	return "end_turn"
}

func (a *answer) useID(n int) string { return fmt.Sprintf("toolu_%s%02d", a.id[:22], n) }

func (a *answer) message(r *messagesRequest, content []object, reason any, out int) object {
	if content == nil {
		content = []object{}
	}
	return object{"id": "msg_" + a.id[:24], "type": "message", "role": "assistant", "model": r.Model, "content": content, "stop_reason": reason,
		"stop_sequence": nil, "usage": object{"input_tokens": len(a.body)/4 + 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
			"output_tokens": out, "service_tier": "standard"}}
}

// messageEvents makes the events of a streamed answer.
func (a *answer) messageEvents(r *messagesRequest, s script) (events [][]byte, err error) {
	add := func(kind string, more object) {
		more["type"] = kind
		b, encErr := encode(more)
		if err == nil {
			err = encErr
		}
		events = append(events, fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, b))
	}
	add("message_start", object{"message": a.message(r, nil, nil, 1)})
	for _, b := range s.blocks() {
		block, kind, key, text := object{"type": "text", "text": ""}, "text_delta", "text", b.text
		if b.call != nil {
			block = object{"type": "tool_use", "id": a.useID(b.number), "name": b.call.name, "input": object{}}
			kind, key, text = "input_json_delta", "partial_json", b.call.args
		}
		add("content_block_start", object{"index": b.number, "content_block": block})
		if b.number == 0 {
			add("ping", object{})
		}
		parts := pieces(text)
		if b.call != nil {
			parts = append([]string{""}, parts...)
		}
		for _, p := range parts {
			add("content_block_delta", object{"index": b.number, "delta": object{"type": kind, key: p}})
		}
		add("content_block_stop", object{"index": b.number})
	}
	add("message_delta", object{"delta": object{"stop_reason": stopReason(s), "stop_sequence": nil}, "usage": object{"output_tokens": a.usage(s).Completion}})
	add("message_stop", object{})
	return events, err
}
