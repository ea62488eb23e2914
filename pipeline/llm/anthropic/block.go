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

// content reads a text, or an array of blocks. st is what each text of it is. plain: of texts alone.
func (rd *reader) content(st pipeline.Step, plain bool) error {
	if rd.s.Peek() == llm.String {
		return rd.step(st)
	}
	return rd.s.Array(func(i int) error {
		kind, err := rd.s.Find("type")
		if err != nil {
			return err
		}
		if string(kind) != "text" && plain {
			return llm.NotInspected("block of type %q where only texts belong", kind)
		}
		return rd.block(string(kind), st, i)
	})
}

func (rd *reader) block(kind string, st pipeline.Step, i int) error {
	inside := st.Kind != pipeline.StepPrompt // of a tool's result
	switch kind {
	case "text":
		return rd.members(textKeys, func(k int) error {
			if k == 1 {
				return rd.step(st)
			}
			return rd.strings()
		})
	case "thinking", "redacted_thinking":
		return rd.members(thinkKeys, func(k int) error {
			if k == 1 {
				return rd.step(st)
			}
			return rd.strings()
		})
	case "image", "document", "search_result":
		return rd.document(st)
	case "tool_reference":
		return rd.strings()
	case "tool_use", "server_tool_use", "mcp_tool_use":
		if !inside {
			return rd.use(kind, i)
		}
	case "tool_result":
		if !inside {
			return rd.result(false)
		}
	default:
		if isResult(kind) && !inside {
			return rd.result(true)
		}
	}
	return llm.NotInspected("block of type %q", kind)
}

// members reads an object. f reads the value of a member, whose number it is told: -1 if it is of no meaning.
func (rd *reader) members(keys llm.Names, f func(k int) error) error {
	seen := uint64(0)
	return rd.s.Object(func(m llm.Member) error {
		k, err := keys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if rd.s.Peek() == llm.Null {
			return skip(rd.s)
		}
		return f(k)
	})
}

// document reads an image, a document or a search result.
func (rd *reader) document(st pipeline.Step) error {
	return rd.members(docKeys, func(k int) error {
		switch {
		case k == 1 && rd.s.Peek() == llm.Object:
			return rd.source(st)
		case k == 1 || k == 2 || k == 3:
			return rd.step(st)
		case k == 4:
			return rd.content(st, true)
		}
		return rd.strings()
	})
}

// source reads where a document comes from. A file that was uploaded before is not read by anybody here.
func (rd *reader) source(st pipeline.Step) error {
	found, err := rd.s.Find("type")
	if err != nil {
		return err
	}
	kind := string(found)
	if err := known("source of type", kind, "base64", "url", "text", "content"); err != nil {
		return err
	}
	return rd.members(sourceKeys, func(k int) error {
		switch {
		case k == 1 && kind == "base64":
			return skip(rd.s) // of no meaning as a text, and large
		case k == 1 && kind == "text", k == 2:
			return rd.step(st)
		case k == 3:
			return rd.content(st, false)
		case k == 4:
			return llm.NotInspected("source that is a file")
		}
		return rd.strings()
	})
}

// use reads a tool call that the application repeats from an earlier reply.
func (rd *reader) use(kind string, i int) error {
	st := pipeline.Step{Kind: pipeline.StepToolCall, Index: i, ByProvider: kind != "tool_use"}
	at := len(rd.r.Call.Steps)
	var server, name string
	err := rd.members(useKeys, func(k int) error {
		switch k {
		case 1:
			return rd.word(&st.ID)
		case 2:
			return rd.word(&name)
		case 3:
			if rd.s.Peek() != llm.Object {
				return llm.NotInspected("tool call whose input is no object")
			}
			span, err := rd.s.Skip()
			if err != nil {
				return err
			}
			st.Args = rd.s.Bytes(span)
			rd.add(st, llm.Text{At: span, Value: st.Args, Args: true, Raw: true})
			return nil
		case 4:
			return rd.word(&server)
		case 5:
			return llm.NotInspected("tool call of a toolset")
		}
		return rd.strings()
	})
	if err != nil {
		return err
	}
	if len(rd.r.Call.Steps) == at {
		return llm.NotInspected("tool call without input")
	}
	if name, err = called(kind, name, server); err != nil {
		return err
	}
	rd.r.Call.Steps[at].ID, rd.r.Call.Steps[at].Name = st.ID, name
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
		return hosted(server, name), nil
	case kind == "server_tool_use" && (name == "bash_code_execution" || name == "text_editor_code_execution"):
		return "code_execution", nil
	}
	return name, nil
}

// result reads what a tool gave. The ID of the call may come after it.
func (rd *reader) result(byProvider bool) error {
	st := pipeline.Step{Kind: pipeline.StepToolResult, Index: rd.msg, ByProvider: byProvider}
	first := len(rd.r.Call.Steps)
	var id string
	err := rd.members(resultKeys, func(k int) error {
		switch {
		case k == 1:
			return rd.word(&id)
		case k == 2 && byProvider:
			return rd.given(st)
		case k == 2:
			return rd.content(st, false)
		case k == 3:
			return llm.NotInspected("result of a toolset")
		}
		return rd.strings()
	})
	if err != nil {
		return err
	}
	for i := first; i < len(rd.r.Call.Steps); i++ {
		rd.r.Call.Steps[i].ID, rd.r.Call.Steps[i].Name = id, rd.ids[id]
	}
	return nil
}

// given reads what a tool that the provider ran has given: any text in it that is not encrypted.
func (rd *reader) given(st pipeline.Step) error {
	s := rd.s
	switch s.Peek() {
	case llm.String:
		return rd.step(st)
	case llm.Array:
		return s.Array(func(int) error { return rd.given(st) })
	case llm.Object:
		return s.Object(func(m llm.Member) error {
			if opaque(m.Key) || string(m.Key) == "type" {
				return rd.strings()
			}
			return rd.given(st)
		})
	}
	return skip(s)
}
