// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"encoding/json"
	"fmt"
	"strings"
)

// What Ollama is asked and how it answers, scripted like OpenAI's chat completions.

const ollamaTime = "2026-01-01T00:00:00Z"

// ollamaRequest is what the scripts need of a request.
type ollamaRequest struct {
	chatRequest
	Streams *bool           `json:"stream"` // it does unless it says no
	Prompt  string          `json:"prompt"`
	Input   json.RawMessage `json:"input"`
	Name    string          `json:"name"`
}

// ollama answers a request to Ollama's own API.
func (a *answer) ollama() error {
	method := "POST"
	path := strings.TrimPrefix(a.req.URL.Path, "/api/")
	switch path {
	case "tags", "ps", "version":
		method = "GET"
	}
	if a.req.Method != method {
		return a.ollamaError(405, "method not allowed")
	}
	var r ollamaRequest
	if method == "POST" {
		if err := json.Unmarshal(a.body, &r); err != nil {
			return a.ollamaError(400, "invalid request body")
		}
		if r.Model == "" {
			r.Model = r.Name
		}
		if strings.HasPrefix(r.Model, "no-such") || r.Model == "" {
			return a.ollamaError(404, fmt.Sprintf("model '%s' not found", r.Model))
		}
	}
	details := object{"parent_model": "", "format": "gguf", "family": "llama", "parameter_size": "8.0B", "quantization_level": "Q4_0"}
	one := object{"name": "llama3:latest", "model": "llama3:latest", "modified_at": ollamaTime, "size": 4661224676, "digest": strings.Repeat("0f", 32), "details": details}
	switch path {
	case "chat":
		return a.ollamaAnswer(&r, "message", func(text string, calls []object) any {
			m := object{"role": "assistant", "content": text}
			if len(calls) > 0 {
				m["tool_calls"] = calls
			}
			return m
		})
	case "generate":
		r.Messages = []message{{Role: "user", Content: quoted(r.Prompt)}}
		return a.ollamaAnswer(&r, "response", func(text string, _ []object) any { return text })
	case "embed":
		n := 1
		var inputs []json.RawMessage
		if json.Unmarshal(r.Input, &inputs) == nil {
			n = len(inputs)
		}
		vectors := make([][]float64, n)
		for i := range vectors {
			vectors[i] = []float64{0.25, -0.5, float64(i)}
		}
		return a.json(200, object{"model": r.Model, "embeddings": vectors, "total_duration": 1, "load_duration": 1, "prompt_eval_count": len(a.body)/4 + 1}, false, whole)
	case "embeddings":
		return a.json(200, object{"embedding": []float64{0.25, -0.5, 0}}, false, whole)
	case "tags", "ps":
		return a.json(200, object{"models": []object{one}}, false, whole)
	case "version":
		return a.json(200, object{"version": "0.12.0"}, false, whole)
	case "show":
		return a.json(200, object{"modelfile": "FROM llama3", "template": "{{ .Prompt }}", "details": details, "model_info": object{}, "capabilities": []string{"completion", "tools"}}, false, whole)
	}
	return a.ollamaError(404, "page not found")
}

func quoted(text string) json.RawMessage {
	b, err := json.Marshal(text)
	if err != nil {
		return nil
	}
	return b
}

func (a *answer) ollamaError(status int, message string) error {
	return a.json(status, object{"error": message}, false, whole)
}

// ollamaAnswer answers chat and generate, which differ in one member; say makes it.
func (a *answer) ollamaAnswer(r *ollamaRequest, member string, say func(string, []object) any) error {
	s := plan(&r.chatRequest, a.s.opts.Pace)
	switch {
	case s.hang:
		return a.hang()
	case s.status != 0:
		return a.ollamaError(s.status, "The script asked for this error.")
	}
	if member == "response" {
		s.calls = nil
	}
	var calls []object
	for i, c := range s.calls {
		calls = append(calls, object{"function": object{"index": i, "name": c.name, "arguments": json.RawMessage(c.args)}})
	}
	last := object{"done": true, "done_reason": "stop", "total_duration": 1, "load_duration": 1, "prompt_eval_count": len(a.body)/4 + 1,
		"prompt_eval_duration": 1, "eval_count": a.usage(s).Completion, "eval_duration": 1}
	part := func(v any, more object) object {
		o := object{"model": r.Model, "created_at": ollamaTime, member: v, "done": false}
		for k, m := range more {
			o[k] = m
		}
		return o
	}
	if r.Streams != nil && !*r.Streams {
		return a.json(200, part(say(s.text, calls), last), s.compress, s.end)
	}
	var lines [][]byte
	var err error
	add := func(o object) {
		b, encErr := encode(o)
		if err == nil {
			err = encErr
		}
		lines = append(lines, append(b, '\n'))
	}
	for _, p := range pieces(s.text) {
		add(part(say(p, nil), nil))
	}
	for i := range calls { // each in a line of its own, as the server tells them
		add(part(say("", calls[i:i+1]), nil))
	}
	add(part(say("", nil), last))
	if err != nil {
		return err
	}
	return a.send("application/x-ndjson", lines, s.pace, s.compress, s.end)
}
