// SPDX-License-Identifier: Apache-2.0

// Package openai reads the OpenAI API, which many other servers speak too: chat completions (plain, streamed, with
// tools) and embeddings. Forms after the public API reference, https://platform.openai.com/docs/api-reference.
package openai

import (
	"strings"
	"unsafe"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// Provider is the OpenAI protocol.
type Provider struct {
	// TokenInput lets embeddings requests pass whose input is token numbers, which no rule over texts can read.
	TokenInput bool
}

// Codec finds the codec for a request by method, path and content type.
func (p Provider) Codec(h *pipeline.Head) (llm.Codec, error) {
	path, _, _ := strings.Cut(h.Target, "?")
	var c llm.Codec
	switch path {
	case "/v1/chat/completions":
		c = chat{}
	case "/v1/embeddings":
		c = embeddings{tokens: p.TokenInput}
	default:
		return nil, llm.NotInspected("unknown path %q", path)
	}
	if h.Method != "POST" {
		return nil, llm.NotInspected("method %q on %s", h.Method, path)
	}
	types := 0
	for _, f := range h.Fields {
		if strings.EqualFold(f.Name, "Content-Type") {
			if types++; types > 1 || !isJSON(f.Value) {
				return nil, llm.NotInspected("content type %q", f.Value)
			}
		}
	}
	if types == 0 {
		return nil, llm.NotInspected("no content type")
	}
	return c, nil
}

// isJSON takes application/json, alone or in UTF-8.
func isJSON(v string) bool {
	kind, param, more := strings.Cut(v, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return false
	}
	param = strings.ToLower(strings.TrimSpace(param))
	return !more || param == "charset=utf-8" || param == `charset="utf-8"`
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

// limits of what a reply may number
const (
	maxChoices = 1 << 10
	maxCalls   = 1 << 12
)

// usage reads the usage object; other forms than the known one are skipped.
func usage(s *llm.Scanner, c *llm.Chunk) error {
	if s.Peek() != llm.Object {
		_, err := s.Skip()
		return err
	}
	c.HasUsage = true
	number := func(p **int64) error {
		if s.Peek() != llm.Number {
			_, err := s.Skip()
			return err
		}
		v, err := s.Int()
		*p = &v
		return err
	}
	return s.Object(func(m llm.Member) error {
		switch string(m.Key) {
		case "prompt_tokens":
			return number(&c.Usage.InputTokens)
		case "completion_tokens":
			return number(&c.Usage.OutputTokens)
		case "prompt_tokens_details":
			if s.Peek() == llm.Object {
				return s.Object(func(m llm.Member) error {
					if string(m.Key) == "cached_tokens" {
						return number(&c.Usage.CachedTokens)
					}
					_, err := s.Skip()
					return err
				})
			}
		}
		_, err := s.Skip()
		return err
	})
}

// shared is a text as a string without a copy: it is valid as long as the body, like all that a request holds.
func shared(text []byte) string { return unsafe.String(unsafe.SliceData(text), len(text)) }
