// SPDX-License-Identifier: Apache-2.0

// Package anthropic reads the Anthropic API: messages (whole and streamed, with tools) and count_tokens. Forms after the public
// API reference, https://docs.anthropic.com/en/api/messages, and the types of its SDKs.
//
// An answer is an array of blocks, each of a type; a stream numbers them. What is of a type that is not known here is not
// inspected: a block of a message may offer tools, or have the provider run some.
package anthropic

import (
	"errors"
	"strings"
	"unsafe"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// Provider is the Anthropic protocol.
type Provider struct{}

// Codec finds the codec for a request by method, path and content type. What the field anthropic-beta switches on shows in the
// body, and is judged there.
func (p Provider) Codec(h *pipeline.Head) (llm.Codec, error) {
	path, _, _ := strings.Cut(h.Target, "?")
	var c llm.Codec
	switch path {
	case "/v1/messages":
		c = messages{}
	case "/v1/messages/count_tokens":
		c = counting{}
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

// AppendFailure appends {"type":"error","error":{…}} as the API itself answers: with status 403 the SDKs raise a
// PermissionDeniedError.
func (Provider) AppendFailure(dst []byte, f llm.Failure) []byte {
	dst = append(dst, `{"type":"error","error":{"type":"permission_error","message":`...)
	dst = llm.AppendString(dst, []byte(f.Message))
	dst = append(dst, `,"code":`...)
	dst = llm.AppendString(dst, []byte(f.Code))
	return append(dst, "}}"...)
}

// AppendFailureEvent appends the same as an event named error, on which the SDKs raise an APIStatusError.
func (p Provider) AppendFailureEvent(dst []byte, f llm.Failure) []byte {
	return stream.AppendEvent(dst, "error", p.AppendFailure(nil, f))
}

// uninspected says why something is not inspected.
func uninspected(what string, err error) error {
	if errors.Is(err, llm.ErrNotInspected) {
		return err
	}
	return llm.NotInspected("%s: %w", what, err)
}

// shared is a text as a string without a copy: it is valid as long as the body, like all that a request holds.
func shared(text []byte) string { return unsafe.String(unsafe.SliceData(text), len(text)) }

func skip(s *llm.Scanner) error {
	_, err := s.Skip()
	return err
}

func known(what, v string, want ...string) error {
	for _, w := range want {
		if v == w {
			return nil
		}
	}
	return llm.NotInspected("%s %q", what, v)
}

// providerTools are the names of the tools that the provider runs, by the type of the offer without its date.
var providerTools = map[string]string{
	"web_search": "web_search", "web_fetch": "web_fetch", "code_execution": "code_execution",
	"tool_search_tool_regex": "tool_search_tool_regex", "tool_search_tool_bm25": "tool_search_tool_bm25",
}

// clientTools are the tools whose form the provider defines and which the application runs, by the type of the offer without its
// date. Toolsets, whose members have names of their own, are not among them.
var clientTools = map[string][]string{
	"bash": {"bash"}, "computer": {"computer"}, "memory": {"memory"},
	"text_editor": {"str_replace_editor", "str_replace_based_edit_tool"},
}

// undated takes the date from the type of a tool: web_search_20250305.
func undated(kind string) string {
	i := strings.LastIndexByte(kind, '_')
	if i < 0 || len(kind)-i != len("_20250305") {
		return kind
	}
	for _, c := range kind[i+1:] {
		if c < '0' || c > '9' {
			return kind
		}
	}
	return kind[:i]
}

// hosted is the name under which policy knows a tool of an MCP server that the provider calls.
func hosted(server, tool string) string { return server + "/" + tool }

// results are the types of blocks with what a tool that the provider ran has given.
func isResult(kind string) bool {
	switch kind {
	case "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result", "bash_code_execution_tool_result",
		"text_editor_code_execution_tool_result", "tool_search_tool_result", "mcp_tool_result":
		return true
	}
	return false
}

// opaque are keys of strings that only the provider can read.
func opaque(key []byte) bool {
	switch string(key) {
	case "signature", "encrypted_content", "encrypted_index", "encrypted_stdout":
		return true
	}
	return false
}
