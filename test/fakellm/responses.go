// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"encoding/json"
	"fmt"
)

// What the Responses API is asked and how it answers, scripted like chat completions.

// responsesRequest is what the scripts need of a request.
type responsesRequest struct {
	Model        string          `json:"model"`
	Stream       bool            `json:"stream"`
	Input        json.RawMessage `json:"input"`
	Instructions json.RawMessage `json:"instructions"`
	Previous     json.RawMessage `json:"previous_response_id"`
	Background   bool            `json:"background"`
	Tools        []struct {
		Type, Name string
		Parameters json.RawMessage
	} `json:"tools"`
}

// chat is the same request in the words of the scripts.
func (r *responsesRequest) chat() (*chatRequest, error) {
	out := &chatRequest{Model: r.Model, Stream: r.Stream}
	for _, t := range r.Tools {
		if t.Type != "function" && t.Type != "custom" {
			continue
		}
		var as tool
		as.Function.Name = t.Name
		if len(t.Parameters) > 0 {
			if err := json.Unmarshal(t.Parameters, &as.Function.Parameters); err != nil {
				return nil, err
			}
		}
		out.Tools = append(out.Tools, as)
	}
	var text string
	if json.Unmarshal(r.Input, &text) == nil {
		out.Messages = []message{{Role: "user", Content: r.Input}}
		return out, nil
	}
	var items []struct {
		Type, Role      string
		Content, Output json.RawMessage
	}
	if err := json.Unmarshal(r.Input, &items); err != nil {
		return nil, err
	}
	called := false // calls in a row are of one answer
	for _, item := range items {
		switch item.Type {
		case "", "message":
			out.Messages = append(out.Messages, message{Role: item.Role, Content: item.Content})
		case "function_call", "custom_tool_call":
			if !called {
				out.Messages = append(out.Messages, message{Role: "assistant", ToolCalls: []json.RawMessage{json.RawMessage("{}")}})
			}
		case "function_call_output", "custom_tool_call_output":
			out.Messages = append(out.Messages, message{Role: "tool", Content: item.Output})
		}
		called = item.Type == "function_call" || item.Type == "custom_tool_call"
	}
	return out, nil
}

// responses answers a request to the Responses API.
func (a *answer) responses() error {
	var r responsesRequest
	var chat *chatRequest
	err := json.Unmarshal(a.body, &r)
	if err == nil {
		chat, err = r.chat()
	}
	switch {
	case err != nil || len(chat.Messages) == 0:
		return a.fail(400, "invalid_request_error", "", "We could not parse the JSON body of your request.")
	case !modelExists(r.Model):
		return a.fail(400, "invalid_request_error", "model_not_found", fmt.Sprintf("The requested model '%s' does not exist.", r.Model))
	}
	s := plan(chat, a.s.opts.Pace)
	switch {
	case s.hang:
		return a.hang()
	case s.status == 429:
		return a.fail(429, "requests", "rate_limit_exceeded", "Rate limit reached.")
	case s.status != 0:
		return a.fail(s.status, "server_error", "", "The script asked for this error.")
	case r.Stream:
		events, err := a.responseEvents(&r, s)
		if err != nil {
			return err
		}
		return a.events(events, s.pace, s.compress, s.end)
	}
	return a.json(200, a.response(&r, s, "completed"), s.compress, s.end)
}

// response is the whole object, as of a status.
func (a *answer) response(r *responsesRequest, s script, status string) object {
	o := object{"id": "resp_" + a.id[:48], "object": "response", "created_at": created, "status": status, "background": r.Background, "error": nil,
		"incomplete_details": nil, "instructions": r.Instructions, "max_output_tokens": nil, "model": r.Model, "output": []object{}, "parallel_tool_calls": true,
		"previous_response_id": r.Previous, "reasoning": object{"effort": nil, "summary": nil}, "service_tier": "default", "store": true, "temperature": 1.0,
		"text": object{"format": object{"type": "text"}}, "tool_choice": "auto", "tools": []object{}, "top_p": 1.0, "truncation": "disabled",
		"usage": nil, "user": nil, "metadata": object{}}
	if status != "completed" {
		return o
	}
	var items []object
	for _, b := range s.blocks() {
		items = append(items, a.outputItem(b, status))
	}
	u := a.usage(s)
	o["output"] = items
	o["usage"] = object{"input_tokens": u.Prompt, "input_tokens_details": object{"cached_tokens": 0}, "output_tokens": u.Completion,
		"output_tokens_details": object{"reasoning_tokens": 0}, "total_tokens": u.Total}
	return o
}

// outputItem is one item of an answer, as of a status.
func (a *answer) outputItem(b scripted, status string) object {
	done := status == "completed"
	if b.call != nil {
		args := ""
		if done {
			args = b.call.args
		}
		return object{"id": fmt.Sprintf("fc_%s%02d", a.id[:46], b.number), "type": "function_call", "status": status, "arguments": args,
			"call_id": a.callID(b.number), "name": b.call.name}
	}
	content := []object{}
	if done {
		content = []object{outputText(b.text)}
	}
	return object{"id": "msg_" + a.id[:48], "type": "message", "status": status, "content": content, "role": "assistant"}
}

func outputText(text string) object {
	return object{"type": "output_text", "annotations": []object{}, "logprobs": []object{}, "text": text}
}

// responseEvents makes the events of a streamed answer.
func (a *answer) responseEvents(r *responsesRequest, s script) (events [][]byte, err error) {
	add := func(kind string, more object) {
		more["type"], more["sequence_number"] = "response."+kind, len(events)
		b, encErr := encode(more)
		if err == nil {
			err = encErr
		}
		events = append(events, fmt.Appendf(nil, "event: response.%s\ndata: %s\n\n", kind, b))
	}
	add("created", object{"response": a.response(r, s, "in_progress")})
	add("in_progress", object{"response": a.response(r, s, "in_progress")})
	for _, b := range s.blocks() {
		item := a.outputItem(b, "in_progress")
		about := func(more object) object {
			more["output_index"], more["item_id"] = b.number, item["id"]
			if b.call == nil {
				more["content_index"] = 0
			}
			return more
		}
		add("output_item.added", object{"output_index": b.number, "item": item})
		if b.call != nil {
			for i, p := range pieces(b.call.args) {
				add("function_call_arguments.delta", about(object{"delta": p, "obfuscation": a.id[:1+i%9]}))
			}
			add("function_call_arguments.done", about(object{"arguments": b.call.args}))
		} else {
			add("content_part.added", about(object{"part": outputText("")}))
			for i, p := range pieces(b.text) {
				add("output_text.delta", about(object{"delta": p, "logprobs": []object{}, "obfuscation": a.id[:1+i%9]}))
			}
			add("output_text.done", about(object{"text": b.text, "logprobs": []object{}}))
			add("content_part.done", about(object{"part": outputText(b.text)}))
		}
		add("output_item.done", object{"output_index": b.number, "item": a.outputItem(b, "completed")})
	}
	add("completed", object{"response": a.response(r, s, "completed")})
	return events, err
}
