// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"strconv"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

var (
	replyKeys   = llm.Names{"choices", "id", "model", "usage", "error"}
	choiceKeys  = llm.Names{"index", "message", "delta", "finish_reason", "logprobs", "token_ids"}
	probsOfKeys = llm.Names{"content", "refusal"}
	deltaKeys   = llm.Names{"content", "refusal", "reasoning_content", "reasoning", "role", "tool_calls", "function_call", "audio"}
)

// labels are keys whose strings are the provider's own words and hold nothing of a conversation.
func label(key []byte) bool {
	switch string(key) {
	case "object", "system_fingerprint", "service_tier", "obfuscation":
		return true
	}
	return false
}

// carrier is what the strings are of a member that has no meaning of its own here. Servers that speak this API have many.
func carrier(key []byte) string {
	switch string(key) {
	case "annotations", "annotation", "citations", "citation_metadata", "sources":
		return pipeline.CarrierCitation
	case "search_results", "results", "outputs", "output", "revised_prompt", "logs", "executed_tools":
		return pipeline.CarrierResult
	case "reasoning_details", "reasoning_text", "thinking", "thinking_blocks":
		return pipeline.CarrierReasoning
	case "error", "incomplete_details":
		return pipeline.CarrierError
	}
	return pipeline.CarrierMetadata
}

func (chat) Reply(body []byte, c *llm.Chunk) error { return decode(body, c, true, choice) }

func (chat) Event(_, data []byte, c *llm.Chunk) error {
	if isDone(data) {
		c.Reset()
		c.Done = true
		return nil
	}
	return decode(data, c, false, choice)
}

// decode reads a reply, or a chunk of one; one reads each of its choices.
func decode(data []byte, c *llm.Chunk, whole bool, one func(s *llm.Scanner, c *llm.Chunk, place int, whole bool) error) error {
	s, err := c.Open(data)
	if err != nil {
		return err
	}
	seen := uint64(0)
	err = s.Object(func(m llm.Member) error {
		k, err := replyKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			if s.Peek() == llm.Null {
				return s.Pass()
			}
			return s.Array(func(i int) error { return one(s, c, i, whole) })
		case 1:
			return c.ReadWord(&c.ID)
		case 2:
			return c.ReadWord(&c.Model)
		case 3:
			return usage(s, c)
		case 4:
			if s.Peek() == llm.Null {
				return s.Pass()
			}
			c.Error = true
			return c.Aside(pipeline.CarrierError)
		}
		if label(m.Key) {
			return c.Label(m.Key)
		}
		return c.Member(carrier(m.Key), m.Key)
	})
	if err == nil {
		err = s.End()
	}
	return llm.Uninspected("reply", err)
}

func choice(s *llm.Scanner, c *llm.Chunk, place int, whole bool) error {
	at := len(c.Choices)
	c.Choices = append(c.Choices, llm.Choice{Index: -1})
	first := mark(c)
	seen := uint64(0)
	err := s.Object(func(m llm.Member) error {
		k, err := choiceKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		ch := &c.Choices[at]
		switch k {
		case 0:
			ch.Index, err = s.Index(maxChoices)
			return err
		case 1, 2:
			if s.Peek() == llm.Null {
				return s.Pass()
			}
			if (k == 1) != whole {
				return llm.NotInspected("a %s where it does not belong", choiceKeys[k])
			}
			return message(s, c, at, whole)
		case 3:
			s.Peek()
			from := s.Pos()
			err := c.ReadWord(&ch.Finish)
			ch.FinishAt = llm.Span{Start: from, End: s.Pos()}
			return err
		case 4:
			return logprobs(s, c, whole)
		case 5:
			return noTokens(s)
		}
		return c.Member(carrier(m.Key), m.Key)
	})
	if err != nil {
		return err
	}
	ch := c.Choices[at]
	c.Choices = c.Choices[:at]
	return add(c, ch, place, whole, first)
}

// logprobs reads the log probabilities of what a message says.
func logprobs(s *llm.Scanner, c *llm.Chunk, whole bool) error {
	if null, err := s.Null(); null || err != nil {
		return err
	}
	seen := uint64(0)
	return s.Object(func(m llm.Member) error {
		k, err := probsOfKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if k < 0 {
			return c.Member(pipeline.CarrierLogprobs, m.Key)
		}
		return c.ProbList(llm.ProbList{Lane: probsOfKeys[k], Whole: whole})
	})
}

// noTokens refuses token numbers: they spell what was said, also what is masked in it or refused, and may come before it.
func noTokens(s *llm.Scanner) error {
	if s.Peek() == llm.Null {
		return s.Pass()
	}
	return s.Array(func(int) error { return llm.NotInspected("answer in token numbers") })
}

// marks say where what belongs to a choice begins in a chunk.
type marks struct{ piece, tool, list int }

func mark(c *llm.Chunk) marks { return marks{len(c.Pieces), len(c.Tools), len(c.Lists)} }

// add notes a choice, to which the pieces and tools from these on belong: its index may come after them.
func add(c *llm.Chunk, ch llm.Choice, place int, whole bool, first marks) error {
	if ch.Index < 0 {
		if !whole {
			return llm.NotInspected("choice without an index")
		}
		ch.Index = place
	}
	for i := range c.Choices {
		if c.Choices[i].Index == ch.Index {
			return llm.NotInspected("choice %d given twice", ch.Index)
		}
	}
	for i := first.piece; i < len(c.Pieces); i++ {
		c.Pieces[i].Choice = ch.Index
	}
	for i := first.tool; i < len(c.Tools); i++ {
		c.Tools[i].Choice = ch.Index
	}
	for i := first.list; i < len(c.Lists); i++ {
		c.Lists[i].Choice = ch.Index
	}
	c.Choices = append(c.Choices, ch)
	return nil
}

func message(s *llm.Scanner, c *llm.Chunk, at int, whole bool) error {
	seen := uint64(0)
	ch := &c.Choices[at]
	say := func(lane, carrier string, answer bool) error {
		return c.Texts(llm.Piece{Lane: lane, Carrier: carrier, Whole: whole, Answer: answer})
	}
	return s.Members(func(m llm.Member) (func(llm.Span), error) {
		k, err := deltaKeys.Once(m.Key, &seen)
		if err != nil {
			return nil, err
		}
		null, from := s.Peek() == llm.Null, s.Pos()
		if k != 5 && k != 6 && !null {
			ch.Other = true
		}
		switch k {
		case 0:
			if !null && s.Peek() != llm.String {
				return nil, llm.NotInspected("content that is not a text")
			}
			err := say("content", pipeline.CarrierText, true)
			ch.Content = llm.Span{Start: from, End: s.Pos()}
			return nil, err
		case 1:
			return nil, say("refusal", pipeline.CarrierRefusal, true)
		case 2, 3:
			return nil, say(deltaKeys[k], pipeline.CarrierReasoning, false)
		case 4:
			return nil, c.Label(m.Key)
		case 5:
			if null {
				return nil, s.Pass()
			}
			err := s.Array(func(i int) error { return call(s, c, i, whole) })
			ch.Calls, ch.CallsKey = llm.Span{Start: from, End: s.Pos()}, m.At.Start
			return func(at llm.Span) { ch.CallsAt = at }, err
		case 6:
			if null {
				return nil, s.Pass()
			}
			tp := llm.ToolPiece{Index: -1}
			err := called(s, &tp, "arguments")
			tp.At = llm.Span{Start: from, End: s.Pos()}
			c.Tools = append(c.Tools, tp)
			return nil, err
		case 7:
			if !null {
				return nil, llm.NotInspected("audio")
			}
			return nil, s.Pass()
		}
		c.Key(llm.Piece{Choice: -1})
		if llm.OpaqueKey(m.Key) {
			if passed, err := c.Opaque(); passed || err != nil {
				return nil, err
			}
		}
		return nil, c.Texts(llm.Piece{Lane: c.Word(m.Key), Carrier: carrier(m.Key), Key: m.Key, Whole: whole})
	})
}

func call(s *llm.Scanner, c *llm.Chunk, place int, whole bool) error {
	s.Peek()
	tp := llm.ToolPiece{Index: -1}
	from := s.Pos()
	kind, inside := "", ""
	seen := uint64(0)
	err := s.Object(func(m llm.Member) error {
		k, err := callKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		null := s.Peek() == llm.Null
		switch {
		case k < 0 || null && k != 3:
			return c.Member("", m.Key)
		case k == 0:
			return c.ReadWord(&tp.ID)
		case k == 1:
			return c.ReadWord(&kind)
		case k == 2 || k == 4:
			if inside != "" {
				return llm.NotInspected("tool call that is two")
			}
			inside = callKeys[k]
			return called(s, &tp, argsKey(inside))
		}
		tp.Index, err = s.Index(maxCalls)
		return err
	})
	if err != nil {
		return err
	}
	if whole {
		tp.Index = place
	} else if tp.Index < 0 {
		return llm.NotInspected("tool call without an index")
	}
	if err := llm.Known("tool call of type", kind, "function", "custom", ""); err != nil {
		return err
	}
	if inside != "" && kind != "" && inside != kind {
		return llm.NotInspected("%s call with a %s in it", kind, inside)
	}
	if inside == "custom" && !whole {
		tp.Index += maxCalls // apart from functions: pieces of both under one number are no call
	}
	tp.At = llm.Span{Start: from, End: s.Pos()}
	c.Tools = append(c.Tools, tp)
	return nil
}

func called(s *llm.Scanner, tp *llm.ToolPiece, args string) error {
	seen := uint64(0)
	return s.Object(func(m llm.Member) error {
		k, err := calledKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		null := s.Peek() == llm.Null
		switch {
		case k == 0 && !null:
			text, _, err := s.Text()
			tp.Name = string(text)
			return err
		case k > 0 && !null && calledKeys[k] == args:
			var err error
			tp.Args, tp.ArgsAt, err = s.Text()
			return err
		case null:
			return s.Pass()
		}
		return llm.NotInspected("tool call with an unknown key in its function")
	})
}

// AppendText appends a chunk that adds text to a choice, with the id, created and model of like.
func (chat) AppendText(dst, like []byte, choice, _ int, text string) []byte {
	data := appendIdentity(nil, "chat.completion.chunk", like)
	data = strconv.AppendInt(data, int64(choice), 10)
	data = append(data, `,"delta":{"content":`...)
	data = llm.AppendString(data, []byte(text))
	data = append(data, `},"finish_reason":null}]}`...)
	return stream.AppendEvent(dst, "", data)
}

// AppendPing appends a chunk whose delta is empty. Comments would not do: langchain-openai gives up after 120 s without a chunk.
func (ch chat) AppendPing(dst, like []byte) []byte { return ch.AppendText(dst, like, 0, 0, "") }

// appendIdentity appends a chunk up to the index of its one choice.
func appendIdentity(data []byte, object string, like []byte) []byte {
	id, created, model := identity(like)
	data = append(append(data, `{"id":`...), id...)
	data = append(append(data, `,"object":"`...), object...)
	data = append(append(data, `","created":`...), created...)
	data = append(append(data, `,"model":`...), model...)
	return append(data, `,"choices":[{"index":`...)
}

// identity returns the JSON of what all chunks of a stream share.
func identity(like []byte) (id, created, model []byte) {
	id, created, model = []byte(`"chatcmpl-sallyport"`), []byte("0"), []byte(`""`)
	var s llm.Scanner
	if s.Reset(like) != nil {
		return
	}
	_ = s.Object(func(m llm.Member) error {
		at, err := s.Skip()
		switch string(m.Key) {
		case "id":
			id = s.Bytes(at)
		case "created":
			created = s.Bytes(at)
		case "model":
			model = s.Bytes(at)
		}
		return err
	})
	return
}
