// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"encoding/json"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// Keys that decide something, per object. A key given twice, or in another case, is refused: two readers may differ.
var (
	chatKeys = with(llm.Names{"model", "messages", "stream", "tools", "functions", "tool_choice", "function_call", "max_tokens",
		"max_completion_tokens", "n", "modalities", "web_search_options", "audio", "search_parameters", "plugins", "mcp_servers", "chat_template", "documents", "prompt"})
	messageKeys = llm.Names{"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "audio", "refusal"}
	partKeys    = llm.Names{"type", "text", "refusal", "image_url", "file", "input_audio"}
	fileKeys    = llm.Names{"file_id", "file_data", "filename"}
	callKeys    = llm.Names{"id", "type", "function", "index", "custom"}
	calledKeys  = llm.Names{"name", "arguments", "input"}
)

type chat struct {
	Provider
	model string // that the path names
}

// reader walks a request body once.
type reader struct {
	*llm.Reader
	msg    int               // index of the message
	ids    map[string]string // tool call ID → tool name
	chosen bool              // the request says which tool to use
	// limitless: the request says that it has no limit of tokens
	limitless bool
}

// read reads the body of an operation. model is the one that the path names: what the body says then decides nothing.
func read(body []byte, r *llm.Request, operation, model string, f func(*reader) error) error {
	err := llm.Read(body, r, func(rd *llm.Reader) error {
		r.Call.Operation = operation
		return f(&reader{Reader: rd})
	})
	if err != nil {
		return err
	}
	if model != "" {
		r.Call.Model = model
	}
	if r.Call.Model == "" {
		return llm.NotInspected("request names no model")
	}
	return nil
}

func (c chat) Request(body []byte, r *llm.Request) error {
	return read(body, r, pipeline.OpChat, c.model, func(rd *reader) error { return rd.chat() })
}

func (rd *reader) chat() error {
	seen, n := uint64(0), int64(1)
	err := rd.Members(func(m llm.Member) (func(llm.Span), error) {
		k, err := chatKeys.Once(m.Key, &seen)
		if err != nil {
			return nil, err
		}
		if k < 0 {
			return nil, rd.Rest()
		}
		if k > 1 {
			if null, err := rd.Null(); null || err != nil {
				return nil, err
			}
		}
		switch key := chatKeys[k]; key {
		case "model":
			return nil, rd.Word(&rd.R.Call.Model)
		case "messages":
			return nil, rd.Array(func(i int) error { rd.msg = i; return rd.message() })
		case "stream":
			rd.R.Call.Stream, err = rd.Bool()
			return nil, err
		case "tools":
			return rd.Offers(m, func() error { return rd.offer(false) })
		case "functions":
			return rd.Offers(m, func() error { return rd.Function(rd.Offer()) })
		case "tool_choice", "function_call":
			return rd.choose()
		case "max_tokens", "max_completion_tokens":
			return nil, rd.most()
		case "n":
			n, err = rd.Int()
			return nil, err
		case "modalities":
			return nil, rd.Array(func(int) error {
				var v string
				if err := rd.Word(&v); err != nil {
					return err
				}
				return llm.Known("modality", v, "text")
			})
		case "chat_template", "documents": // what some servers put into the prompt beside the messages
			return nil, rd.all(pipeline.Step{Kind: pipeline.StepPrompt, Index: -1}, itemHosted)
		case "prompt": // of some servers, in place of messages
			if rd.Peek() == llm.String {
				return nil, rd.Step(pipeline.Step{Kind: pipeline.StepPrompt, Index: -1})
			}
			return nil, rd.all(pipeline.Step{Kind: pipeline.StepPrompt, Index: -1}, itemHosted)
		case "web_search_options":
			rd.Feature("web_search")
			return nil, rd.Rest()
		case "audio", "search_parameters", "plugins", "mcp_servers":
			return nil, llm.NotInspected("request asks for %s", key)
		default:
			return nil, rd.beside(key)
		}
	})
	rd.times(n)
	return err
}

// message reads one message. Its role may come last, so the steps are made first and get their kind at the end.
func (rd *reader) message() error {
	seen := uint64(0)
	var role, name, id string
	first := len(rd.R.Call.Steps)
	err := rd.Object(func(m llm.Member) error {
		k, err := messageKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if k < 0 {
			return rd.Rest()
		}
		if k != 0 && rd.Peek() == llm.Null {
			return rd.Pass()
		}
		prompt := pipeline.Step{Kind: pipeline.StepPrompt, Index: rd.msg}
		switch key := messageKeys[k]; key {
		case "role":
			return rd.Word(&role)
		case "content":
			if rd.Peek() == llm.String {
				return rd.Step(prompt)
			}
			return rd.Array(func(int) error { return rd.part(prompt) })
		case "refusal":
			return rd.Step(prompt)
		case "name":
			return rd.Name(&name)
		case "tool_call_id":
			return rd.Word(&id)
		case "tool_calls":
			return rd.Array(func(i int) error { return rd.call(i) })
		case "function_call":
			return rd.called(pipeline.Step{Kind: pipeline.StepToolCall, Index: -1}, "arguments")
		default:
			return llm.NotInspected("message with %s", key)
		}
	})
	if err != nil {
		return err
	}
	if err := llm.Known("role", role, "system", "developer", "user", "assistant", "tool", "function"); err != nil {
		return err
	}
	if role != "tool" && role != "function" {
		return nil
	}
	if role == "tool" {
		name = rd.ids[id] // what the result says about itself decides nothing
	}
	for i := first; i < len(rd.R.Call.Steps); i++ {
		st := &rd.R.Call.Steps[i]
		switch st.Kind {
		case pipeline.StepToolCall:
			return llm.NotInspected("tool call in a message of role %q", role)
		case pipeline.StepToolOffer: // a feature
			continue
		}
		st.Kind, st.Name, st.ID = pipeline.StepToolResult, name, id
	}
	return nil
}

// part reads one part of a message. Images and documents are features, which a role must name: only text can be read.
func (rd *reader) part(st pipeline.Step) error {
	seen, kind, has := uint64(0), "", ""
	err := rd.Object(func(m llm.Member) error {
		k, err := partKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch {
		case k < 0:
			return rd.Rest()
		case k == 0:
			return rd.Word(&kind)
		case k < 3:
			return rd.Step(st)
		}
		has += partKeys[k]
		if k == 4 {
			return rd.file()
		}
		return rd.Blob()
	})
	if err != nil {
		return err
	}
	if err := llm.Known("content part of type", kind, "text", "refusal", "image_url", "file"); err != nil {
		return err
	}
	switch {
	case has != "" && has != kind:
		return llm.NotInspected("content part of type %q with %s", kind, has)
	case kind == "image_url":
		rd.Feature(llm.ImageInput)
	case kind == "file":
		rd.Feature(llm.DocumentInput)
	}
	return nil
}

// file reads a document that is in the request. One that was uploaded before is not read by anybody here.
func (rd *reader) file() error {
	seen := uint64(0)
	return rd.Object(func(m llm.Member) error {
		k, err := fileKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if null := rd.Peek() == llm.Null; k == 0 && !null {
			return llm.NotInspected("file that was uploaded")
		}
		return rd.Blob()
	})
}

// call reads a tool call that the application repeats from an earlier reply.
func (rd *reader) call(i int) error {
	seen := uint64(0)
	st := pipeline.Step{Kind: pipeline.StepToolCall, Index: i}
	at := len(rd.R.Call.Steps)
	kind, inside := "function", ""
	err := rd.Object(func(m llm.Member) error {
		k, err := callKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			return rd.Word(&st.ID)
		case 1:
			return rd.Word(&kind)
		case 2, 4:
			if inside != "" {
				return llm.NotInspected("tool call that is two")
			}
			inside = callKeys[k]
			return rd.called(st, argsKey(inside))
		case 3:
			return rd.Pass()
		}
		return rd.Rest()
	})
	if err != nil {
		return err
	}
	if err := llm.Known("tool call of type", kind, "function", "custom"); err != nil {
		return err
	}
	if inside != kind {
		return llm.NotInspected("tool call without a %s", kind)
	}
	rd.R.Call.Steps[at].ID = st.ID
	if st.ID != "" {
		if rd.ids == nil {
			rd.ids = make(map[string]string)
		}
		rd.ids[st.ID] = rd.R.Call.Steps[at].Name
	}
	return nil
}

// argsKey is the key of what a tool is called with: arguments in JSON, or any text.
func argsKey(kind string) string {
	if kind == "custom" {
		return "input"
	}
	return "arguments"
}

func (rd *reader) called(st pipeline.Step, args string) error {
	seen := uint64(0)
	at := -1
	err := rd.Object(func(m llm.Member) error {
		k, err := calledKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			return rd.Word(&st.Name)
		case 1, 2:
			if calledKeys[k] != args {
				return llm.NotInspected("tool call with %s", calledKeys[k])
			}
			text, span, err := rd.Text()
			if err != nil {
				return err
			}
			st.Args = append(json.RawMessage{}, text...)
			at = len(rd.R.Call.Steps)
			rd.Add(st, text, span)
			return nil
		}
		return rd.Rest()
	})
	if err != nil {
		return err
	}
	if at < 0 {
		at = len(rd.R.Call.Steps)
		rd.R.Call.Steps = append(rd.R.Call.Steps, st)
	}
	rd.R.Call.Steps[at].Name = st.Name
	if st.Name == "" {
		return llm.NotInspected("tool call without a name")
	}
	return nil
}
