// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"encoding/json"
	"fmt"
)

// completions answers the older operation that goes on with a text. The prompt is the script.
func (a *answer) completions() error {
	var r struct {
		Model         string
		Prompt        json.RawMessage
		Stream        bool
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if err := json.Unmarshal(a.body, &r); err != nil {
		return a.fail(400, "invalid_request_error", "", "We could not parse the JSON body of your request.")
	}
	prompts := []json.RawMessage{r.Prompt}
	var several []json.RawMessage
	if json.Unmarshal(r.Prompt, &several) == nil {
		prompts = several
	}
	if !modelExists(r.Model) || len(prompts) == 0 {
		return a.fail(404, "invalid_request_error", "model_not_found", fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", r.Model))
	}
	reply := func(choices []object) object {
		return object{"id": "cmpl-" + a.id[:29], "object": "text_completion", "created": created, "model": r.Model, "choices": choices}
	}
	text := func(i int, said string, finish any) object {
		return object{"text": said, "index": i, "logprobs": nil, "finish_reason": finish}
	}
	var first script
	var choices []object
	var events [][]byte
	for i, p := range prompts {
		s := plan(&chatRequest{Messages: []message{{Role: "user", Content: p}}}, a.s.opts.Pace)
		if i == 0 {
			first = s
		}
		choices = append(choices, text(i, s.text, "stop"))
		for _, said := range append(pieces(s.text), "") {
			var finish any
			if said == "" {
				finish = "stop"
			}
			e, err := event(reply([]object{text(i, said, finish)}))
			if err != nil {
				return err
			}
			events = append(events, e)
		}
	}
	switch {
	case first.hang:
		return a.hang()
	case first.status != 0:
		return a.fail(first.status, "server_error", "", "The script asked for this error.")
	case !r.Stream:
		whole := reply(choices)
		whole["usage"] = a.usage(first)
		return a.json(200, whole, first.compress, first.end)
	}
	if r.StreamOptions.IncludeUsage {
		last := reply([]object{})
		last["usage"] = a.usage(first)
		e, err := event(last)
		if err != nil {
			return err
		}
		events = append(events, e)
	}
	return a.events(append(events, []byte("data: [DONE]\n\n")), first.pace, first.compress, first.end)
}
