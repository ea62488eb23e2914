// SPDX-License-Identifier: Apache-2.0

// Package anthropic reads the Anthropic API: messages (whole and streamed, with tools) and count_tokens. Forms after the public
// API reference, https://docs.anthropic.com/en/api/messages, and the types of its SDKs.
//
// An answer is an array of blocks, each of a type; a stream numbers them. What is of a type that is not known here is not
// inspected: a block of a message may offer tools, or have the provider run some.
//
// Tools that the provider runs are offers with ByProvider: web_search, web_fetch, code_execution, tool_search_tool_regex,
// tool_search_tool_bm25, and mcp/SERVER for a server that is reached by MCP; the server's address is the text of the offer. Their calls
// have the name of the offer. So are two features that a role must name before they pass, because no rule over texts can read
// them:
//
//	image-input      images
//	document-input   documents that are no text, or that the provider fetches
//
// Not inspected: files that were uploaded, containers and skills, toolsets, credentials of MCP servers in the request, models
// in the path, and all other paths: batches, files, models.
package anthropic

import (
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// Provider is the Anthropic protocol.
type Provider struct{}

// basePath is that of endpoints that name none.
const basePath = "/v1"

// Codec finds the codec for a request by method, path and content type. What the field anthropic-beta switches on shows in the
// body, and is judged there.
func (p Provider) Codec(e *pipeline.Endpoint, h *pipeline.Head) (llm.Codec, error) {
	if strings.Contains(e.BasePath, llm.ModelSegment) {
		return nil, llm.NotInspected("a path of endpoint %s that names the model", e.Name)
	}
	tail, _, err := llm.Tail(e, h, basePath)
	if err != nil {
		return nil, err
	}
	var c llm.Codec
	switch tail {
	case "/messages":
		c = messages{}
	case "/messages/count_tokens":
		c = counting{}
	default:
		return nil, llm.NotInspected("unknown path %q", tail)
	}
	return c, llm.JSONBody(h)
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

// providerTools are the tools that the provider runs: the type of the offer without its date is also the name.
var providerTools = []string{"web_search", "web_fetch", "code_execution", "tool_search_tool_regex", "tool_search_tool_bm25"}

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

// isResult tells whether a type is that of blocks with what a tool that the provider ran has given.
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
