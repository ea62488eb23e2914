// SPDX-License-Identifier: Apache-2.0

package ollama

import (
	"bytes"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

var (
	replyKeys = llm.Names{"model", "created_at", "done", "done_reason", "error", "prompt_eval_count", "eval_count", "logprobs",
		"message", "response", "thinking", "context", "image", "embeddings", "embedding", "tool_calls"}
	deltaKeys = llm.Names{"role", "content", "thinking", "tool_calls", "images"}
)

// The operations.
type (
	chat     struct{ Provider }
	generate struct{ Provider }
	embed    struct{ answers }
	models   struct {
		answers
		asks bool
	}
)

// answers is what operations share that never stream.
type answers struct{ Provider }

func (answers) Event(_, _ []byte, _ *llm.Chunk) error {
	return llm.NotInspected("a stream where none belongs")
}
func (answers) AppendText(dst, _ []byte, _, _ int, _ string) []byte { return dst }
func (answers) AppendPing(dst, _ []byte) []byte                     { return dst }

func (chat) AppendText(dst, like []byte, _, _ int, text string) []byte {
	return appendPiece(dst, like, `,"message":{"role":"assistant","content":`, text, "}")
}

func (c chat) AppendPing(dst, like []byte) []byte { return c.AppendText(dst, like, 0, 0, "") }

func (generate) AppendText(dst, like []byte, _, _ int, text string) []byte {
	return appendPiece(dst, like, `,"response":`, text, "")
}

func (g generate) AppendPing(dst, like []byte) []byte { return g.AppendText(dst, like, 0, 0, "") }

func (chat) Reply(body []byte, c *llm.Chunk) error     { return (&reply{c: c, whole: true}).read(body) }
func (generate) Reply(body []byte, c *llm.Chunk) error { return (&reply{c: c, whole: true}).read(body) }
func (embed) Reply(body []byte, c *llm.Chunk) error    { return (&reply{c: c, whole: true}).read(body) }

func (chat) Event(_, data []byte, c *llm.Chunk) error     { return event(data, c) }
func (generate) Event(_, data []byte, c *llm.Chunk) error { return event(data, c) }

// event reads one line. Some readers of lines take a CR for the end of one, and would find other values in it.
func event(data []byte, c *llm.Chunk) error {
	if bytes.IndexByte(data, '\r') >= 0 {
		return llm.NotInspected("reply: a line with a carriage return in it")
	}
	return (&reply{c: c}).read(data)
}

// reply reads a whole reply or one line of it.
type reply struct {
	c      *llm.Chunk
	whole  bool
	done   bool
	choice llm.Choice
	spoken bool // there is a message, or the text of one
}

func (r *reply) read(body []byte) error {
	s, err := r.c.Open(body)
	if err != nil {
		return err
	}
	seen := uint64(0)
	err = s.Object(func(m llm.Member) error {
		k, err := replyKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		return r.member(s, m, k)
	})
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return llm.Uninspected("reply", err)
	}
	if !r.done && r.choice.Finish != "" {
		return llm.NotInspected("reply that says why it ends, and does not end")
	}
	if r.spoken || r.done {
		r.c.Choices = append(r.c.Choices, r.choice)
	}
	r.c.Done = r.done && !r.whole
	return nil
}

func (r *reply) member(s *llm.Scanner, m llm.Member, k int) error {
	c := r.c
	null := s.Peek() == llm.Null
	if k < 0 {
		return c.Member("", m.Key)
	}
	switch key := replyKeys[k]; key {
	case "model":
		return c.ReadWord(&c.Model)
	case "done":
		v, err := s.Bool()
		r.done = v
		return err
	case "done_reason":
		from := s.Pos()
		err := c.ReadWord(&r.choice.Finish)
		r.choice.FinishAt = llm.Span{Start: from, End: s.Pos()}
		return err
	case "error":
		if !null {
			c.Error = true
		}
		return c.Aside(pipeline.CarrierError)
	case "prompt_eval_count":
		c.HasUsage = true
		return s.Count(&c.Usage.InputTokens)
	case "eval_count":
		c.HasUsage = true
		return s.Count(&c.Usage.OutputTokens)
	case "logprobs":
		return c.ProbList(llm.ProbList{Lane: "content", Whole: r.whole})
	case "context": // the conversation, and with it this answer, in token numbers
		span, err := s.Skip()
		if !null {
			r.choice.Tokens, r.spoken = span, true
		}
		if err == nil && bytes.IndexByte(s.Bytes(span), '"') >= 0 {
			err = llm.NotInspected("context that is not made of numbers")
		}
		return err
	case "message":
		if null {
			return s.Pass()
		}
		r.spoken = true
		return r.message(s)
	case "response":
		r.spoken = true
		return r.content(s)
	case "thinking":
		r.spoken, r.choice.Other = true, true
		return c.Texts(llm.Piece{Lane: "thinking", Carrier: pipeline.CarrierReasoning, Whole: r.whole})
	case "image":
		if !null {
			return llm.NotInspected("reply with an image")
		}
	case "tool_calls": // the server's own types have them beside a text too; requests for that cannot offer tools
		if !null {
			return s.Array(func(int) error { return llm.NotInspected("tool call outside of a message") })
		}
	}
	return c.Label(m.Key) // time stamps and numbers
}

// content reads the text of the answer.
func (r *reply) content(s *llm.Scanner) error {
	null, from := s.Peek() == llm.Null, s.Pos()
	if !null && s.Peek() != llm.String {
		return llm.NotInspected("content that is not a text")
	}
	r.choice.Other = r.choice.Other || !null
	err := r.c.Texts(llm.Piece{Lane: "content", Carrier: pipeline.CarrierText, Whole: r.whole, Answer: true})
	r.choice.Content = llm.Span{Start: from, End: s.Pos()}
	return err
}

func (r *reply) message(s *llm.Scanner) error {
	seen := uint64(0)
	return s.Members(func(m llm.Member) (func(llm.Span), error) {
		k, err := deltaKeys.Once(m.Key, &seen)
		if err != nil {
			return nil, err
		}
		null := s.Peek() == llm.Null
		switch k {
		case 0:
			r.choice.Other = true
			return nil, r.c.Label(m.Key)
		case 1:
			return nil, r.content(s)
		case 2:
			r.choice.Other = true
			return nil, r.c.Texts(llm.Piece{Lane: "thinking", Carrier: pipeline.CarrierReasoning, Whole: r.whole})
		case 3:
			if null {
				return nil, s.Pass()
			}
			from := s.Pos()
			err := s.Array(func(i int) error { return r.call(s, i) })
			r.choice.Calls, r.choice.CallsKey = llm.Span{Start: from, End: s.Pos()}, m.At.Start
			return func(at llm.Span) { r.choice.CallsAt = at }, err
		case 4:
			if null {
				return nil, s.Pass()
			}
			return nil, s.Array(func(int) error { return llm.NotInspected("reply with images") })
		}
		r.choice.Other = true
		r.c.Key(llm.Piece{Choice: -1})
		return nil, r.c.Texts(llm.Piece{Lane: r.c.Word(m.Key), Key: m.Key, Whole: r.whole})
	})
}

// call reads a tool call. It is whole, and its arguments are an object.
func (r *reply) call(s *llm.Scanner, i int) error {
	s.Peek()
	t := llm.ToolPiece{Index: i, Raw: true, Complete: true}
	from := s.Pos()
	seen, inside, has := uint64(0), uint64(0), false
	err := s.Object(func(m llm.Member) error {
		k, err := callKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch k {
		case 0:
			return r.c.ReadWord(&t.ID)
		case 1:
			return r.c.Label(m.Key)
		case 2:
			has = true
			return s.Object(func(m llm.Member) error {
				k, err := calledKeys.Once(m.Key, &inside)
				switch {
				case err != nil:
					return err
				case k == 0:
					text, _, err := s.Text()
					t.Name = string(text)
					return err
				case k == 1:
					if s.Peek() != llm.Object {
						return llm.NotInspected("tool call with arguments that are no object")
					}
					t.ArgsAt, err = s.Skip()
					t.Args = s.Bytes(t.ArgsAt)
					return err
				case k == 2:
					return r.c.Label(m.Key)
				}
				return llm.NotInspected("tool call with an unknown key in its function")
			})
		}
		return r.c.Member("", m.Key)
	})
	if err != nil {
		return err
	}
	if !has || t.Name == "" {
		return llm.NotInspected("tool call without a function")
	}
	t.At = llm.Span{Start: from, End: s.Pos()}
	r.c.Tools = append(r.c.Tools, t)
	return nil
}

// Reply about models: words of the server, among them licences with addresses.
func (models) Reply(body []byte, c *llm.Chunk) error {
	s, err := c.Open(body)
	if err == nil {
		err = c.Aside("")
	}
	if err == nil {
		err = s.End()
	}
	return llm.Uninspected("reply", err)
}
