// SPDX-License-Identifier: Apache-2.0

// Package ollama reads Ollama's own API: chat, generate, embed and embeddings, and the questions which models there are.
// Replies stream by default, a JSON value a line. Forms after https://docs.ollama.com/api.
//
// Images, and the context of /api/generate (a conversation as token numbers), are offers with ByProvider, named image-input and
// token-input, which a role must name before they pass, because no rule over texts can read them. Not inspected: everything that
// changes the models of a server (pull, push, create, copy, delete, blobs).
package ollama

import (
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// Provider is the Ollama protocol.
type Provider struct {
	// Compatible reads what servers offer under /v1 beside their own API. May be nil: then it is not inspected.
	Compatible llm.Provider
}

// Codec finds the codec for a request by method, path and content type.
func (p Provider) Codec(e *pipeline.Endpoint, h *pipeline.Head) (llm.Codec, error) {
	tail, _, err := llm.Tail(e, h, "")
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(tail, "/v1/") && p.Compatible != nil {
		at := *e
		at.BasePath = strings.TrimSuffix(at.BasePath, "/") + "/v1"
		return p.Compatible.Codec(&at, h)
	}
	switch tail {
	case "/api/chat":
		return chat{}, llm.JSONBody(h)
	case "/api/generate":
		return generate{}, llm.JSONBody(h)
	case "/api/embed", "/api/embeddings":
		return embed{}, llm.JSONBody(h)
	case "/api/show":
		return models{asks: true}, llm.JSONBody(h)
	case "/api/tags", "/api/ps", "/api/version":
		if h.Method != "GET" {
			return nil, llm.NotInspected("method %q on %s", h.Method, tail)
		}
		return models{}, nil
	}
	return nil, llm.NotInspected("unknown path %q", tail)
}

// AppendFailure appends {"error":"…"} as the API itself answers, with our code beside it.
func (Provider) AppendFailure(dst []byte, f llm.Failure) []byte {
	dst = append(dst, `{"error":`...)
	dst = llm.AppendString(dst, []byte(f.Message))
	dst = append(dst, `,"code":`...)
	dst = llm.AppendString(dst, []byte(f.Code))
	return append(dst, '}')
}

// AppendFailureEvent appends the same as a line, on which clients raise an error.
func (p Provider) AppendFailureEvent(dst []byte, f llm.Failure) []byte {
	return stream.AppendLine(dst, p.AppendFailure(nil, f))
}

// Framing is a value a line.
func (Provider) Framing() llm.Framing { return llm.NDJSON }

// AppendBlock appends nothing: messages are no arrays of blocks.
func (Provider) AppendBlock(dst []byte, _ int, _ string) []byte { return dst }

// Stop is what a message that ended by itself says.
func (Provider) Stop() string { return `"stop"` }

// appendPiece appends a line that says a bit of text, of the same answer as like.
func appendPiece(dst, like []byte, before string, text string, after string) []byte {
	model, created := []byte(`""`), []byte(`"1970-01-01T00:00:00Z"`)
	var s llm.Scanner
	if s.Reset(like) == nil {
		_ = s.Object(func(m llm.Member) error {
			at, err := s.Skip()
			switch string(m.Key) {
			case "model":
				model = s.Bytes(at)
			case "created_at":
				created = s.Bytes(at)
			}
			return err
		})
	}
	data := append([]byte(`{"model":`), model...)
	data = append(data, `,"created_at":`...)
	data = append(data, created...)
	data = append(data, before...)
	data = llm.AppendString(data, []byte(text))
	data = append(data, after...)
	return stream.AppendLine(dst, append(data, `,"done":false}`...))
}
