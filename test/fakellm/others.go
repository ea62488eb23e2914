// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"encoding/json"
	"strings"
)

// hosts are the names of the providers that a Server can stand in for. All but the first two and Ollama give one whole, fixed answer in
// the provider's shape to any question: enough to tell that a client's request arrived and that its answer was read.
var hosts = []string{"api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com", "api.mistral.ai", "api.cohere.com",
	"bedrock-runtime.us-east-1.amazonaws.com", "ollama.example.com"}

// Hosts lists the names that a Server can answer for.
func Hosts() []string { return append([]string(nil), hosts...) }

// FixedAnswer is what all providers but api.openai.com, api.anthropic.com and Ollama say.
const FixedAnswer = "an answer"

type object = map[string]any

// other answers a request to another provider than OpenAI; ok tells whether it was one.
func (a *answer) other() (ok bool, err error) {
	host, _, _ := strings.Cut(a.req.Host, ":")
	path := a.req.URL.Path
	if strings.HasPrefix(path, "/api/") { // by its path: it has no host of its own
		return true, a.ollama()
	}
	if a.req.Method != "POST" {
		return false, nil
	}
	switch {
	case host == "api.anthropic.com" && (path == "/v1/messages" || path == "/v1/messages/count_tokens"):
		return true, a.anthropic()
	case host == "generativelanguage.googleapis.com" && strings.HasSuffix(path, ":generateContent"):
		return true, a.json(200, object{"candidates": []object{{"content": object{"parts": []object{{"text": FixedAnswer}}, "role": "model"},
			"finishReason": "STOP", "index": 0}}, "usageMetadata": object{"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}}, false, whole)
	case host == "api.cohere.com" && path == "/v2/chat":
		return true, a.json(200, object{"id": a.id[:32], "finish_reason": "COMPLETE", "message": object{"role": "assistant",
			"content": []object{{"type": "text", "text": FixedAnswer}}}, "usage": object{"tokens": object{"input_tokens": 5, "output_tokens": 2}}}, false, whole)
	case strings.HasPrefix(host, "bedrock-runtime.") && strings.HasSuffix(path, "/converse"):
		return true, a.json(200, object{"output": object{"message": object{"role": "assistant", "content": []object{{"text": FixedAnswer}}}},
			"stopReason": "end_turn", "metrics": object{"latencyMs": 1}, "usage": object{"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}}, false, whole)
	case host == "api.mistral.ai" && path == "/v1/chat/completions":
		return true, a.json(200, object{"id": a.id[:32], "object": "chat.completion", "created": created, "model": a.model(),
			"choices": []object{{"index": 0, "finish_reason": "stop", "message": object{"role": "assistant", "content": FixedAnswer}}},
			"usage":   object{"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}, false, whole)
	}
	return false, nil
}

// model is the one that the request's body names.
func (a *answer) model() string {
	var r struct{ Model string }
	if json.Unmarshal(a.body, &r) != nil {
		return ""
	}
	return r.Model
}
