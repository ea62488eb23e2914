// SPDX-License-Identifier: Apache-2.0

package anthropic

import (
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// Keys of the blocks of a request.
var (
	textKeys   = llm.Names{"type", "text"}
	thinkKeys  = llm.Names{"type", "thinking", "signature", "data"}
	sourceKeys = llm.Names{"type", "data", "url", "content", "file_id", "media_type"}
	docKeys    = llm.Names{"type", "source", "title", "context", "content"}
	useKeys    = llm.Names{"type", "id", "name", "input", "server_name", "toolset_name"}
	resultKeys = llm.Names{"type", "tool_use_id", "content", "toolset_name"}
)

// where blocks stand: of what kinds they may be depends on it, so that they nest no deeper than they need to.
type where int

const (
	inMessage where = iota
	inResult        // of a tool
	inSource        // of a document
	inText          // nothing but texts
)

// content reads a text, or an array of blocks. st is what each text of it is.
func (rd *reader) content(st pipeline.Step, at where) error {
	if rd.Peek() == llm.String {
		return rd.Step(st)
	}
	return rd.Array(func(i int) error {
		kind, err := rd.Find("type")
		if err != nil {
			return err
		}
		return rd.block(string(kind), st, i, at)
	})
}

func (rd *reader) block(kind string, st pipeline.Step, i int, at where) error {
	switch {
	case kind == "text":
		return rd.members(textKeys, func(k int) error {
			if k == 1 {
				return rd.Step(st)
			}
			return rd.Rest()
		})
	case kind == "image" && at <= inSource, (kind == "document" || kind == "search_result") && at <= inResult:
		return rd.document(kind, st)
	case kind == "tool_reference" && at == inResult:
		return rd.Rest()
	case at != inMessage:
	case kind == "thinking", kind == "redacted_thinking":
		return rd.members(thinkKeys, func(k int) error {
			if k == 1 {
				return rd.Step(st)
			}
			return rd.Rest()
		})
	case kind == "tool_use", kind == "server_tool_use", kind == "mcp_tool_use":
		return rd.use(kind, i)
	case kind == "tool_result":
		return rd.result(false)
	case isResult(kind):
		return rd.result(true)
	}
	return llm.NotInspected("block of type %q here", kind)
}

// document reads an image, a document or a search result.
func (rd *reader) document(kind string, st pipeline.Step) error {
	return rd.members(docKeys, func(k int) error {
		switch {
		case k == 1 && rd.Peek() == llm.Object:
			return rd.source(kind, st)
		case k == 1 || k == 2 || k == 3:
			return rd.Step(st)
		case k == 4:
			return rd.content(st, inText)
		}
		return rd.Rest()
	})
}

// source reads where a document comes from. A file that was uploaded before is not read by anybody here.
func (rd *reader) source(what string, st pipeline.Step) error {
	found, err := rd.Find("type")
	if err != nil {
		return err
	}
	kind := string(found)
	switch kind {
	case "base64", "url": // no rule over texts can read it
		rd.Feature(what + "-input")
	case "text", "content":
	default:
		return llm.NotInspected("source of type %q", kind)
	}
	return rd.members(sourceKeys, func(k int) error {
		switch {
		case k == 1 && kind == "base64":
			return rd.Pass()
		case k == 1 && kind == "text", k == 2:
			return rd.Step(st)
		case k == 3:
			return rd.content(st, inSource)
		case k == 4:
			return llm.NotInspected("source that is a file")
		}
		return rd.Rest()
	})
}

// use reads a tool call that the application repeats from an earlier reply.
func (rd *reader) use(kind string, i int) error {
	st := pipeline.Step{Kind: pipeline.StepToolCall, Index: i, ByProvider: kind != "tool_use"}
	at := len(rd.R.Call.Steps)
	var server, name string
	err := rd.members(useKeys, func(k int) error {
		switch k {
		case 1:
			return rd.Word(&st.ID)
		case 2:
			return rd.Word(&name)
		case 3:
			if rd.Peek() != llm.Object {
				return llm.NotInspected("tool call whose input is no object")
			}
			return rd.RawArgs(st)
		case 4:
			return rd.Word(&server)
		case 5:
			return llm.NotInspected("tool call of a toolset")
		}
		return rd.Rest()
	})
	if err != nil {
		return err
	}
	if len(rd.R.Call.Steps) == at {
		return llm.NotInspected("tool call without input")
	}
	if name, err = called(kind, name, server); err != nil {
		return err
	}
	rd.R.Call.Steps[at].ID, rd.R.Call.Steps[at].Name = st.ID, name
	if st.ID != "" {
		if rd.ids == nil {
			rd.ids = make(map[string]string)
		}
		rd.ids[st.ID] = name
	}
	return nil
}

// called is the name of a tool call for policy: that under which the tool was offered.
func called(kind, name, server string) (string, error) {
	if name == "" || (kind == "mcp_tool_use") != (server != "") {
		return "", llm.NotInspected("tool call without a name, or of a server that does not belong there")
	}
	switch {
	case server != "":
		return "mcp/" + server, nil
	case kind == "server_tool_use" && (name == "bash_code_execution" || name == "text_editor_code_execution"):
		return "code_execution", nil
	}
	return name, nil
}

// result reads what a tool gave. The ID of the call may come after it.
func (rd *reader) result(byProvider bool) error {
	st := pipeline.Step{Kind: pipeline.StepToolResult, Index: rd.msg, ByProvider: byProvider}
	first := len(rd.R.Call.Steps)
	var id string
	err := rd.members(resultKeys, func(k int) error {
		switch {
		case k == 1:
			return rd.Word(&id)
		case k == 2 && byProvider:
			return rd.given(st)
		case k == 2:
			return rd.content(st, inResult)
		case k == 3:
			return llm.NotInspected("result of a toolset")
		}
		return rd.Rest()
	})
	if err != nil {
		return err
	}
	for i := first; i < len(rd.R.Call.Steps); i++ {
		rd.R.Call.Steps[i].ID, rd.R.Call.Steps[i].Name = id, rd.ids[id]
	}
	return nil
}

// given reads what a tool that the provider ran has given: any text in it that is not encrypted.
func (rd *reader) given(st pipeline.Step) error {
	switch rd.Peek() {
	case llm.String:
		return rd.Step(st)
	case llm.Array:
		return rd.Array(func(int) error { return rd.given(st) })
	case llm.Object:
		return rd.Object(func(m llm.Member) error {
			if opaque(m.Key) || string(m.Key) == "type" {
				return rd.Rest()
			}
			return rd.given(st)
		})
	}
	return rd.Pass()
}
