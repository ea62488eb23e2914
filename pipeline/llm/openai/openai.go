// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"net/url"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// Provider is the OpenAI protocol.
type Provider struct{}

// basePath is that of endpoints that name none.
const basePath = "/v1"

// Codec finds the codec for a request by method, path and content type.
func (p Provider) Codec(e *pipeline.Endpoint, h *pipeline.Head) (llm.Codec, error) {
	tail, model, err := llm.Tail(e, h, basePath)
	if err != nil {
		return nil, err
	}
	if tail == "/models" || strings.HasPrefix(tail, "/models/") {
		return modelsCodec(h, tail)
	}
	var c llm.Codec
	switch tail {
	case "/chat/completions":
		c = chat{model: model}
	case "/responses":
		c = responses{model: model}
	case "/completions":
		c = completions{model: model}
	case "/embeddings":
		c = embeddings{model: model}
	default:
		return nil, llm.NotInspected("unknown path %q", tail)
	}
	return c, llm.JSONBody(h)
}

// modelsCodec is for GET /models and /models/{id}.
func modelsCodec(h *pipeline.Head, tail string) (llm.Codec, error) {
	if h.Method != "GET" {
		return nil, llm.NotInspected("method %q on %s", h.Method, tail)
	}
	_, id, one := strings.Cut(tail[1:], "/")
	id, err := url.PathUnescape(id)
	if err != nil || one && id == "" || strings.ContainsAny(id, "%\\?#") {
		return nil, llm.NotInspected("unknown path %q", tail)
	}
	if one {
		for part := range strings.SplitSeq(id, "/") {
			if strings.Trim(part, ".") == "" { // what a server may take for another path
				return nil, llm.NotInspected("unknown path %q", tail)
			}
		}
	}
	return models{model: id}, nil
}

// AppendFailure appends {"error":{…}} as the API itself answers.
func (Provider) AppendFailure(dst []byte, f llm.Failure) []byte { return appendFailure(dst, f) }

// AppendFailureEvent appends the same as a stream event, on which the SDKs raise an APIError.
func (Provider) AppendFailureEvent(dst []byte, f llm.Failure) []byte {
	return stream.AppendEvent(dst, "", appendFailure(nil, f))
}

func appendFailure(dst []byte, f llm.Failure) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = llm.AppendString(dst, []byte(f.Message))
	dst = append(dst, `,"type":"sallyport_denied","param":null,"code":`...)
	dst = llm.AppendString(dst, []byte(f.Code))
	return append(dst, "}}"...)
}

// Framing of streams.
func (Provider) Framing() llm.Framing { return llm.SSE }

// Stop is what a message that ended by itself says.
func (Provider) Stop() string { return `"stop"` }

// AppendBlock appends nothing: only the answers of responses are arrays of blocks.
func (Provider) AppendBlock(dst []byte, _ int, _ string) []byte { return dst }

// limits of what a reply may number
const (
	maxChoices = 1 << 10
	maxCalls   = 1 << 12
)

// usage reads the usage object; other forms than the known ones are skipped.
func usage(s *llm.Scanner, c *llm.Chunk) error {
	if s.Peek() != llm.Object {
		return s.Pass()
	}
	c.HasUsage = true
	return s.Object(func(m llm.Member) error {
		switch string(m.Key) {
		case "prompt_tokens", "input_tokens":
			return s.Count(&c.Usage.InputTokens)
		case "completion_tokens", "output_tokens":
			return s.Count(&c.Usage.OutputTokens)
		case "prompt_tokens_details", "input_tokens_details":
			if s.Peek() == llm.Object {
				return s.Object(func(m llm.Member) error {
					if string(m.Key) == "cached_tokens" {
						return s.Count(&c.Usage.CachedTokens)
					}
					return c.Label(m.Key)
				})
			}
		}
		return c.Label(m.Key)
	})
}
