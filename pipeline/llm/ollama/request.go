// SPDX-License-Identifier: Apache-2.0

package ollama

import (
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// Keys that decide something, per object. A key given twice, or in another case, is refused: the server takes the last one, in
// any case, others may not.
var (
	chatKeys     = llm.Names{"model", "stream", "options", "messages", "tools", "format"}
	messageKeys  = llm.Names{"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"}
	callKeys     = llm.Names{"id", "type", "function"}
	calledKeys   = llm.Names{"name", "arguments", "index", "description"}
	toolKeys     = llm.Names{"type", "function"}
	generateKeys = llm.Names{"model", "stream", "options", "prompt", "suffix", "system", "template", "images", "context", "format"}
	embedKeys    = llm.Names{"model", "input", "prompt"}
	showKeys     = llm.Names{"model", "name"}
	optionKeys   = llm.Names{"num_predict"}
)

type reader struct {
	*llm.Reader
	msg   int
	calls []called // of the last message that has some, and that no result answers yet
}

// maxCalls is how many calls a message may make: results are looked up among them.
const maxCalls = 256

// called is a tool call that waits for its result.
type called struct{ id, name string }

func read(body []byte, r *llm.Request, operation string, f func(*reader) error) error {
	err := llm.Read(body, r, func(rd *llm.Reader) error {
		r.Call.Operation = operation
		return f(&reader{Reader: rd})
	})
	if err == nil && r.Call.Model == "" {
		err = llm.NotInspected("request names no model")
	}
	return err
}

// common reads what chat and generate share: the first keys of both tables.
func (rd *reader) common(k int) error {
	switch k {
	case 0:
		return rd.Word(&rd.R.Call.Model)
	case 1:
		if null, err := rd.Null(); null || err != nil {
			return err
		}
		var err error
		rd.R.Call.Stream, err = rd.Bool()
		return err
	case 2:
		return rd.options()
	}
	return rd.Rest()
}

// options are as the server's own, of which one limits how much is written: -1 and -2 mean that nothing does.
func (rd *reader) options() error {
	if rd.Peek() != llm.Object {
		return rd.Pass()
	}
	seen := uint64(0)
	return rd.Object(func(m llm.Member) error {
		k, err := optionKeys.Once(m.Key, &seen)
		if err != nil || k < 0 || rd.Peek() != llm.Number {
			if err == nil {
				err = rd.Rest()
			}
			return err
		}
		at := rd.Pos()
		if v, err := rd.Int(); err == nil {
			rd.R.MaxTokens = v
			return nil
		}
		rd.Seek(at)
		return rd.Pass()
	})
}

// images are data, which no rule over texts can read.
func (rd *reader) images() error {
	return rd.Array(func(int) error {
		rd.Feature(llm.ImageInput)
		return rd.Blob()
	})
}

func (chat) Request(body []byte, r *llm.Request) error {
	return read(body, r, pipeline.OpChat, func(rd *reader) error {
		r.Call.Stream = true // unless it says otherwise
		seen := uint64(0)
		return rd.Members(func(m llm.Member) (func(llm.Span), error) {
			k, err := chatKeys.Once(m.Key, &seen)
			if err != nil {
				return nil, err
			}
			switch k {
			case 3:
				if null, err := rd.Null(); null || err != nil {
					return nil, err
				}
				return nil, rd.Array(func(i int) error { rd.msg = i; return rd.message() })
			case 4:
				return rd.Offers(m, rd.tool)
			case 5:
				return nil, rd.Form()
			}
			return nil, rd.common(k)
		})
	})
}

// tool reads one offer.
func (rd *reader) tool() error {
	seen, kind, step := uint64(0), "function", rd.Offer()
	err := rd.Object(func(m llm.Member) error {
		k, err := toolKeys.Once(m.Key, &seen)
		switch {
		case err != nil:
			return err
		case k == 0:
			return rd.Word(&kind)
		case k == 1:
			return rd.Function(step)
		}
		return rd.Beside(step)
	})
	if err == nil {
		err = llm.Known("tool of type", kind, "function", "")
	}
	if err == nil && rd.R.Call.Steps[step].Name == "" {
		err = llm.NotInspected("tool without a function")
	}
	return err
}

// message reads one message. Its role may come last, so the steps are made first and get their kind at the end.
func (rd *reader) message() error {
	seen, first := uint64(0), len(rd.R.Call.Steps)
	var role, name, id string
	var calls []called
	prompt := pipeline.Step{Kind: pipeline.StepPrompt, Index: rd.msg}
	err := rd.Object(func(m llm.Member) error {
		k, err := messageKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if k > 0 {
			if null, err := rd.Null(); null || err != nil {
				return err
			}
		}
		switch k {
		case 0:
			return rd.Word(&role)
		case 1, 2:
			return rd.Step(prompt)
		case 3:
			return rd.images()
		case 4:
			return rd.Array(func(i int) error {
				if i == maxCalls {
					return llm.NotInspected("more than %d tool calls in a message", maxCalls)
				}
				c, err := rd.call(i)
				calls = append(calls, c)
				return err
			})
		case 5:
			return rd.Word(&name)
		case 6:
			return rd.Word(&id)
		}
		return rd.Rest()
	})
	if err != nil {
		return err
	}
	if err := llm.Known("role", role, "system", "user", "assistant", "tool"); err != nil {
		return err
	}
	if role != "tool" {
		if len(calls) > 0 {
			rd.calls = calls
		}
		return nil
	}
	name, id = rd.answered(name, id)
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

// answered finds the call that a result belongs to: by its ID, by the name that it gives among those that wait, else the
// first that waits. What a result says about itself counts only if there is no call that it could answer.
func (rd *reader) answered(name, id string) (string, string) {
	at := slices.IndexFunc(rd.calls, func(c called) bool { return id != "" && c.id == id })
	if at < 0 {
		at = slices.IndexFunc(rd.calls, func(c called) bool { return c.name == name })
	}
	if at < 0 && len(rd.calls) > 0 {
		at = 0
	}
	if at < 0 {
		return name, id
	}
	c := rd.calls[at]
	rd.calls = slices.Delete(slices.Clone(rd.calls), at, at+1)
	return c.name, c.id
}

// call reads a tool call that the application repeats from an earlier reply.
func (rd *reader) call(i int) (c called, err error) {
	seen, inside := uint64(0), uint64(0)
	st := pipeline.Step{Kind: pipeline.StepToolCall, Index: i}
	at := -1
	err = rd.Object(func(m llm.Member) error {
		k, err := callKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			return rd.Word(&c.id)
		case 2:
			return rd.Object(func(m llm.Member) error {
				k, err := calledKeys.Once(m.Key, &inside)
				switch {
				case err != nil:
					return err
				case k == 0:
					return rd.Word(&c.name)
				case k == 1:
					if rd.Peek() != llm.Object {
						return llm.NotInspected("tool call with arguments that are no object")
					}
					at = len(rd.R.Call.Steps)
					return rd.RawArgs(st)
				case k == 2:
					return rd.Pass()
				}
				return rd.Rest()
			})
		}
		return rd.Rest()
	})
	if err == nil && c.name == "" {
		err = llm.NotInspected("tool call without a name")
	}
	if err != nil {
		return c, err
	}
	if at < 0 {
		at = len(rd.R.Call.Steps)
		rd.R.Call.Steps = append(rd.R.Call.Steps, st)
	}
	rd.R.Call.Steps[at].Name, rd.R.Call.Steps[at].ID = c.name, c.id
	return c, nil
}

func (generate) Request(body []byte, r *llm.Request) error {
	return read(body, r, pipeline.OpCompletions, func(rd *reader) error {
		r.Call.Stream = true // unless it says otherwise
		seen := uint64(0)
		return rd.Object(func(m llm.Member) error {
			k, err := generateKeys.Once(m.Key, &seen)
			if err != nil {
				return err
			}
			switch k {
			case 3, 4, 5, 6:
				if null, err := rd.Null(); null || err != nil {
					return err
				}
				return rd.Step(pipeline.Step{Kind: pipeline.StepPrompt, Index: k - 3})
			case 7:
				if null, err := rd.Null(); null || err != nil {
					return err
				}
				return rd.images()
			case 8:
				if null, err := rd.Null(); null || err != nil {
					return err
				}
				return rd.Array(func(int) error { rd.Feature(llm.TokenInput); return rd.Pass() })
			case 9:
				return rd.Form()
			}
			return rd.common(k)
		})
	})
}

func (embed) Request(body []byte, r *llm.Request) error {
	return read(body, r, pipeline.OpEmbeddings, func(rd *reader) error {
		seen := uint64(0)
		return rd.Object(func(m llm.Member) error {
			k, err := embedKeys.Once(m.Key, &seen)
			switch {
			case err != nil:
				return err
			case k == 0:
				return rd.Word(&r.Call.Model)
			case k > 0 && rd.Peek() == llm.Array:
				return rd.Array(func(i int) error { return rd.Step(pipeline.Step{Kind: pipeline.StepPrompt, Index: i}) })
			case k > 0:
				return rd.Step(pipeline.Step{Kind: pipeline.StepPrompt})
			}
			return rd.Rest()
		})
	})
}

// Request of a question about models: about one, or without a body about all.
func (m models) Request(body []byte, r *llm.Request) error {
	if m.asks {
		return read(body, r, pipeline.OpModels, func(rd *reader) error {
			seen := uint64(0)
			var model, name string
			err := rd.Object(func(m llm.Member) error {
				k, err := showKeys.Once(m.Key, &seen)
				switch {
				case err != nil:
					return err
				case k == 0:
					return rd.Word(&model)
				case k == 1:
					return rd.Word(&name)
				}
				return rd.Rest()
			})
			if model != "" && name != "" && model != name {
				return llm.NotInspected("request names two models")
			}
			r.Call.Model = model + name
			if model != "" {
				r.Call.Model = model
			}
			return err
		})
	}
	r.Reset()
	r.Call.Operation = pipeline.OpModels
	if len(body) > 0 {
		return llm.NotInspected("a body where none belongs")
	}
	return nil
}
