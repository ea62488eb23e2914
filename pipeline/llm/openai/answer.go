// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"strconv"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

var (
	responseKeys = llm.Names{"id", "model", "status", "output", "usage", "error", "object", "service_tier"}
	outKeys      = llm.Names{"type", "id", "status", "role", "call_id", "name", "server_label", "content", "summary", "arguments", "input", "code",
		"action", "actions", "operation", "queries", "encrypted_content", "result", "namespace", "environment"}
	outPartKeys = llm.Names{"type", "text", "refusal", "logprobs", "annotations"}
)

// answer reads what responses answer: a whole reply, or an event of a stream.
type answer struct {
	*llm.Scanner
	c      *llm.Chunk
	choice llm.Choice
	named  bool // the answer is spoken of

	whole  bool // a reply by itself
	begins bool // what is read is only beginning
	repeat bool // it says again what the stream has said
}

// maxItems is how many items, or parts of one, an answer may number.
const maxItems = 1 << 12

func (responses) Reply(body []byte, c *llm.Chunk) error {
	s, err := c.Open(body)
	if err != nil {
		return err
	}
	a := &answer{Scanner: s, c: c, whole: true}
	if err = a.response(); err == nil {
		err = s.End()
	}
	a.close()
	return llm.Uninspected("reply", err)
}

// close notes the choice: there is only one.
func (a *answer) close() {
	if a.named {
		a.c.Choices = append(a.c.Choices, a.choice)
	}
}

// response reads a response object.
func (a *answer) response() error {
	seen := uint64(0)
	return a.Object(func(m llm.Member) error {
		k, err := responseKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if k < 0 {
			return a.c.Member(carrier(m.Key), m.Key)
		}
		null, from := a.Peek() == llm.Null, a.Pos()
		switch responseKeys[k] {
		case "id":
			return a.c.ReadWord(&a.c.ID)
		case "model":
			return a.c.ReadWord(&a.c.Model)
		case "status":
			if a.begins {
				return a.c.Label(m.Key)
			}
			a.named = true
			err := a.c.ReadWord(&a.choice.Finish)
			a.choice.FinishAt = llm.Span{Start: from, End: a.Pos()}
			return err
		case "output":
			if null {
				return a.Pass()
			}
			a.named, a.choice.Blocks = true, true
			err := a.Array(func(i int) error {
				if a.begins {
					return llm.NotInspected("response that begins with an answer")
				}
				return a.item(i)
			})
			a.choice.Calls = llm.Span{Start: from, End: a.Pos()}
			return err
		case "usage":
			return usage(a.Scanner, a.c)
		case "error":
			if null {
				return a.Pass()
			}
			a.c.Error = true
			return a.c.Aside(pipeline.CarrierError)
		}
		return a.c.Label(m.Key)
	})
}

// item reads one item of the answer; number is its place.
func (a *answer) item(number int) error {
	a.named = true
	a.Peek()
	from := a.Pos()
	kind, err := a.kindOf()
	if err != nil {
		return err
	}
	what, tool, err := itemOf(kind)
	if kind == "image_generation_call" { // its result is an image, which nobody reads
		what, tool, err = itemHosted, "image_generation", nil
	}
	switch {
	case err != nil:
		return err
	case what == itemReference:
		return llm.NotInspected("answer with an item of type %q", kind)
	case what == itemCall && tool != "" && !a.whole:
		return llm.NotInspected("item of type %q in a stream", kind)
	}
	call := llm.ToolPiece{Index: number, Name: tool, Event: !a.whole && !a.repeatsAll(), Repeat: a.repeat, ByProvider: what == itemHosted}
	if kind == "mcp_approval_request" { // it asks whether the provider may: that is for the application to say
		call.ByProvider = false
	}
	seen, has, label := uint64(0), what == itemHosted, ""
	id := ""
	err = a.Object(func(m llm.Member) error {
		k, err := outKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if k < 0 {
			return a.c.Member(a.carrier(what, m.Key), m.Key)
		}
		if null, err := a.Null(); null || err != nil {
			return err
		}
		switch key := outKeys[k]; key {
		case "type", "status":
			return a.c.Label(m.Key)
		case "encrypted_content": // Member passes it, if it is
		case "result":
			if kind == "image_generation_call" {
				return a.image()
			}
		case "role":
			role, _, err := a.Text()
			if err == nil {
				err = llm.Known("role", string(role), "assistant")
			}
			return err
		case "id":
			return a.c.ReadWord(&id)
		case "call_id":
			return a.c.ReadWord(&call.ID)
		case "server_label":
			return a.c.ReadWord(&label)
		case "name":
			if what == itemCall && tool == "" {
				name, _, err := a.Text()
				call.Name = string(name)
				return err
			}
		case "content":
			if what == itemMessage || what == itemReasoning {
				return a.parts(number, "content")
			}
		case "summary":
			if what == itemReasoning {
				return a.parts(number, "summary")
			}
		case "arguments", "input", "code":
			if key == textArgs(kind) {
				has = true
				call.Args, call.ArgsAt, err = a.Text()
				return err
			}
		case "action", "actions", "operation", "queries":
			if what == itemCall || what == itemHosted {
				if a.begins {
					return a.c.Member(pipeline.CarrierArgs, m.Key) // it comes again when the item is done
				}
				if !call.ArgsAt.Empty() {
					return llm.NotInspected("item that is two calls")
				}
				has, call.Raw = true, true
				call.ArgsAt, err = a.Skip()
				call.Args = a.Bytes(call.ArgsAt)
				return err
			}
		case "environment":
			if kind == "shell_call" {
				where, err := a.kindOf()
				call.ByProvider = where != "local" // in a container of the provider's: it has run
				if err != nil {
					return err
				}
			}
		case "namespace":
			return llm.NotInspected("item of type %q with a %s", kind, key)
		}
		return a.c.Member(a.carrier(what, m.Key), m.Key)
	})
	if err != nil || what != itemCall && what != itemHosted || kind == "mcp_list_tools" || kind == "mcp_approval_response" {
		return err
	}
	if tool == "mcp" {
		if label == "" {
			return llm.NotInspected("item of type %q without the label of its server", kind)
		}
		call.Name = "mcp/" + label
	}
	if call.ID == "" {
		call.ID = id
	}
	if call.Name == "" || !has {
		return llm.NotInspected("item of type %q without a name or without arguments", kind)
	}
	call.At = llm.Span{Start: from, End: a.Pos()}
	a.c.Tools = append(a.c.Tools, call)
	return nil
}

// repeatsAll tells whether what is read is the whole answer once more, not one item of it.
func (a *answer) repeatsAll() bool { return a.choice.Blocks }

// textArgs is the key of what a tool is called with, where that is a text.
func textArgs(kind string) string {
	switch kind {
	case "function_call", "mcp_call", "mcp_approval_request":
		return "arguments"
	case "custom_tool_call":
		return "input"
	case "code_interpreter_call":
		return "code"
	}
	return ""
}

// kindOf looks for the type of the object that comes next.
func (a *answer) kindOf() (kind string, err error) {
	if a.Peek() != llm.Object {
		return "", llm.NotInspected("item that is no object")
	}
	from := a.Pos()
	err = a.Object(func(m llm.Member) error {
		if string(m.Key) == "type" {
			return a.c.ReadWord(&kind)
		}
		return a.Pass()
	})
	a.Seek(from)
	return kind, err
}

// parts reads the parts of an item.
func (a *answer) parts(number int, of string) error {
	return a.Array(func(i int) error { return a.part(number, i, of) })
}

// part reads one part: a text of the answer, a refusal, or what the model thought.
func (a *answer) part(number, i int, of string) error {
	kind, err := a.kindOf()
	if err != nil {
		return err
	}
	if err := llm.Known("content part of type", kind, "output_text", "refusal", "summary_text", "reasoning_text", "text"); err != nil {
		return err
	}
	seen := uint64(0)
	return a.Object(func(m llm.Member) error {
		k, err := outPartKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			return a.c.Label(m.Key)
		case 1:
			return a.text(lane(kind, of), number, i)
		case 2:
			return a.text("refusal", number, i)
		case 3:
			return a.logprobs(lane(kind, of), number, i)
		}
		return a.c.Member(carrier(m.Key), m.Key)
	})
}

// lane is where the text of a part belongs.
func lane(kind, of string) string {
	switch kind {
	case "reasoning_text":
		return "reasoning"
	case "summary_text":
		return "summary"
	}
	return of
}

// text reads a text of the answer, or a piece of one.
func (a *answer) text(lane string, number, i int) error {
	if null, err := a.Null(); null || err != nil {
		return err
	}
	if a.Peek() != llm.String {
		return llm.NotInspected("text that is none")
	}
	a.named = true
	p := llm.Piece{Lane: a.lane(lane, number, i), Whole: a.whole || a.repeat, Repeat: a.repeat}
	switch lane {
	case "content":
		p.Carrier, p.Answer = pipeline.CarrierText, true
	case "refusal":
		p.Carrier, p.Answer = pipeline.CarrierRefusal, true
	default:
		p.Carrier = pipeline.CarrierReasoning
	}
	return a.c.Texts(p)
}

// lane is the name of a text of the answer.
func (a *answer) lane(of string, number, i int) string {
	var buf [48]byte
	name := append(buf[:0], of...)
	name = strconv.AppendInt(append(name, '/'), int64(number), 10)
	name = strconv.AppendInt(append(name, '/'), int64(i), 10)
	return a.c.Word(name)
}

// carrier is what the strings are of a member of an item that has no meaning of its own here.
func (a *answer) carrier(what int, key []byte) string {
	if what == itemHosted { // whatever its tool gave
		return pipeline.CarrierResult
	}
	return carrier(key)
}

// logprobs repeat a text token by token.
func (a *answer) logprobs(of string, number, i int) error {
	a.named = true
	return a.c.ProbList(llm.ProbList{Lane: a.lane(of, number, i), Whole: a.whole || a.repeat, Repeat: a.repeat})
}
