// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"encoding/json"
	"errors"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// Keys that decide something, per object. A key given twice, or in another case, is refused: two readers may differ.
var (
	chatKeys = llm.Names{"model", "messages", "stream", "tools", "functions", "modalities", "audio",
		"web_search_options", "search_parameters", "plugins", "mcp_servers"}
	messageKeys  = llm.Names{"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "audio", "refusal"}
	partKeys     = llm.Names{"type", "text", "refusal"}
	toolKeys     = llm.Names{"type", "function"}
	functionKeys = llm.Names{"name", "description", "parameters"}
	callKeys     = llm.Names{"id", "type", "function", "index"}
	calledKeys   = llm.Names{"name", "arguments"}
	embedKeys    = llm.Names{"model", "input", "encoding_format"}
)

// uninspected says why a body is not inspected.
func uninspected(what string, err error) error {
	if errors.Is(err, llm.ErrNotInspected) {
		return err
	}
	return llm.NotInspected("%s: %w", what, err)
}

type chat struct{ Provider }

// reader walks a request body once.
type reader struct {
	s    *llm.Scanner
	r    *llm.Request
	msg  int               // index of the message
	tool int               // index of the next offered tool
	ids  map[string]string // tool call ID → tool name
}

func read(body []byte, r *llm.Request, f func(*reader) error) error {
	r.Reset()
	s := &llm.Scanner{Strict: true}
	if err := s.Reset(body); err != nil {
		return llm.NotInspected("request: %w", err)
	}
	rd := &reader{s: s, r: r}
	err := f(rd)
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return uninspected("request", err)
	}
	if r.Call.Model == "" {
		return llm.NotInspected("request names no model")
	}
	return nil
}

func (chat) Request(body []byte, r *llm.Request) error {
	return read(body, r, func(rd *reader) error {
		rd.r.Call.Operation = pipeline.OpChat
		return rd.chat()
	})
}

func (rd *reader) chat() error {
	s, seen := rd.s, uint64(0)
	return s.Object(func(m llm.Member) error {
		k, err := chatKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if k < 0 {
			return rd.strings()
		}
		switch key := chatKeys[k]; key {
		case "model":
			return rd.word(&rd.r.Call.Model)
		case "messages":
			return s.Array(func(i int) error { rd.msg = i; return rd.message() })
		case "stream":
			if s.Peek() == llm.Null {
				return skip(s)
			}
			rd.r.Call.Stream, err = s.Bool()
			return err
		case "tools":
			if s.Peek() == llm.Null {
				return skip(s)
			}
			return s.Array(func(int) error { return rd.offer() })
		case "functions":
			if s.Peek() == llm.Null {
				return skip(s)
			}
			return s.Array(func(int) error { return rd.function() })
		case "modalities":
			if s.Peek() == llm.Null {
				return skip(s)
			}
			return s.Array(func(int) error {
				var v string
				if err := rd.word(&v); err != nil {
					return err
				}
				return known("modality", v, "text")
			})
		default: // tools that the provider runs, and audio
			if s.Peek() == llm.Null {
				return skip(s)
			}
			return llm.NotInspected("request asks for %s", key)
		}
	})
}

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

// word reads a string that decides something.
func (rd *reader) word(to *string) error {
	text, _, err := rd.s.Text()
	*to = string(text)
	return err
}

// strings notes every string of a value that decides nothing, so that records can be masked.
func (rd *reader) strings() error {
	return rd.s.Strings(func(text []byte, at llm.Span) error {
		if len(text) >= llm.MinText {
			rd.r.Texts = append(rd.r.Texts, llm.Text{At: at, Value: text, Step: -1})
		}
		return nil
	})
}

// step reads a string that becomes a step of its own.
func (rd *reader) step(st pipeline.Step) error {
	text, at, err := rd.s.Text()
	if err != nil {
		return err
	}
	st.Text = shared(text)
	rd.add(st, text, at)
	return nil
}

func (rd *reader) add(st pipeline.Step, text []byte, at llm.Span) {
	rd.r.Texts = append(rd.r.Texts, llm.Text{At: at, Value: text, Step: len(rd.r.Call.Steps), Args: st.Args != nil})
	rd.r.Call.Steps = append(rd.r.Call.Steps, st)
}

// message reads one message. Its role may come last, so the steps are made first and get their kind at the end.
func (rd *reader) message() error {
	s, seen := rd.s, uint64(0)
	var role, name, id string
	first := len(rd.r.Call.Steps)
	err := s.Object(func(m llm.Member) error {
		k, err := messageKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if k < 0 {
			return rd.strings()
		}
		if k != 0 && s.Peek() == llm.Null {
			return skip(s)
		}
		prompt := pipeline.Step{Kind: pipeline.StepPrompt, Index: rd.msg}
		switch key := messageKeys[k]; key {
		case "role":
			return rd.word(&role)
		case "content":
			if s.Peek() == llm.String {
				return rd.step(prompt)
			}
			return s.Array(func(int) error { return rd.part(prompt) })
		case "refusal":
			return rd.step(prompt)
		case "name":
			return rd.word(&name)
		case "tool_call_id":
			return rd.word(&id)
		case "tool_calls":
			return s.Array(func(i int) error { return rd.call(i) })
		case "function_call":
			return rd.called(pipeline.Step{Kind: pipeline.StepToolCall, Index: -1}, true)
		default:
			return llm.NotInspected("message with %s", key)
		}
	})
	if err != nil {
		return err
	}
	if err := known("role", role, "system", "developer", "user", "assistant", "tool", "function"); err != nil {
		return err
	}
	if role != "tool" && role != "function" {
		return nil
	}
	if role == "tool" {
		name = rd.ids[id] // what the result says about itself decides nothing
	}
	for i := first; i < len(rd.r.Call.Steps); i++ {
		st := &rd.r.Call.Steps[i]
		if st.Kind == pipeline.StepToolCall {
			return llm.NotInspected("tool call in a message of role %q", role)
		}
		st.Kind, st.Name, st.ID = pipeline.StepToolResult, name, id
	}
	return nil
}

// part reads one part of a message; only text can be read.
func (rd *reader) part(st pipeline.Step) error {
	s, seen := rd.s, uint64(0)
	var kind string
	err := s.Object(func(m llm.Member) error {
		k, err := partKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch {
		case k < 0:
			return rd.strings()
		case k == 0:
			return rd.word(&kind)
		}
		return rd.step(st)
	})
	if err != nil {
		return err
	}
	return known("content part of type", kind, "text", "refusal")
}

// call reads a tool call that the application repeats from an earlier reply.
func (rd *reader) call(i int) error {
	s, seen := rd.s, uint64(0)
	st := pipeline.Step{Kind: pipeline.StepToolCall, Index: i}
	at := len(rd.r.Call.Steps)
	kind := "function"
	err := s.Object(func(m llm.Member) error {
		k, err := callKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			return rd.word(&st.ID)
		case 1:
			return rd.word(&kind)
		case 2:
			return rd.called(st, false)
		case 3:
			return skip(s)
		}
		return rd.strings()
	})
	if err != nil {
		return err
	}
	if err := known("tool call of type", kind, "function"); err != nil {
		return err
	}
	if len(rd.r.Call.Steps) == at {
		return llm.NotInspected("tool call without a function")
	}
	rd.r.Call.Steps[at].ID = st.ID
	if st.ID != "" {
		if rd.ids == nil {
			rd.ids = make(map[string]string)
		}
		rd.ids[st.ID] = rd.r.Call.Steps[at].Name
	}
	return nil
}

func (rd *reader) called(st pipeline.Step, legacy bool) error {
	s, seen := rd.s, uint64(0)
	at := -1
	err := s.Object(func(m llm.Member) error {
		k, err := calledKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			return rd.word(&st.Name)
		case 1:
			text, span, err := s.Text()
			if err != nil {
				return err
			}
			st.Args = append(json.RawMessage{}, text...)
			at = len(rd.r.Call.Steps)
			rd.add(st, text, span)
			return nil
		}
		return rd.strings()
	})
	if err != nil {
		return err
	}
	if at < 0 {
		at = len(rd.r.Call.Steps)
		rd.r.Call.Steps = append(rd.r.Call.Steps, st)
	}
	rd.r.Call.Steps[at].Name = st.Name
	if st.Name == "" {
		return llm.NotInspected("tool call without a name (older form: %t)", legacy)
	}
	return nil
}

// offer reads one tool of the request.
func (rd *reader) offer() error {
	s, seen := rd.s, uint64(0)
	var kind string
	at := len(rd.r.Call.Steps)
	err := s.Object(func(m llm.Member) error {
		k, err := toolKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			if err := rd.word(&kind); err != nil {
				return err
			}
			return known("tool of type", kind, "function")
		case 1:
			return rd.function()
		}
		return rd.strings()
	})
	if err != nil {
		return err
	}
	if kind != "function" || len(rd.r.Call.Steps) == at {
		return llm.NotInspected("tool that is not a function")
	}
	return nil
}

func (rd *reader) function() error {
	s, seen := rd.s, uint64(0)
	at := len(rd.r.Call.Steps)
	rd.r.Call.Steps = append(rd.r.Call.Steps, pipeline.Step{Kind: pipeline.StepToolOffer, Index: rd.tool})
	rd.tool++
	st := &rd.r.Call.Steps[at]
	err := s.Object(func(m llm.Member) error {
		k, err := functionKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			return rd.word(&st.Name)
		case 1:
			if s.Peek() != llm.String {
				return skip(s)
			}
			text, span, err := s.Text()
			if err != nil {
				return err
			}
			st.Text = shared(text)
			rd.r.Texts = append(rd.r.Texts, llm.Text{At: span, Value: text, Step: at})
			return nil
		}
		return rd.strings()
	})
	if err != nil {
		return err
	}
	if st.Name == "" {
		return llm.NotInspected("tool without a name")
	}
	return nil
}
