// SPDX-License-Identifier: Apache-2.0

package anthropic

import (
	"strconv"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

var (
	replyKeys = llm.Names{"type", "id", "model", "role", "content", "stop_reason", "usage", "input_tokens"}
	blockKeys = llm.Names{"type", "text", "thinking", "signature", "data", "id", "name", "input", "server_name", "toolset_name"}
)

// limits of what a reply may number
const maxBlocks = 1 << 12

// Reply reads a whole message.
func (messages) Reply(body []byte, c *llm.Chunk) error {
	return decode(body, c, func(r reply) error { return r.message(true) })
}

// Reply reads how many tokens there are.
func (counting) Reply(body []byte, c *llm.Chunk) error {
	return decode(body, c, func(r reply) error {
		return r.members(replyKeys, func(key string, k int) error {
			if key == "input_tokens" && r.s.Peek() == llm.Number {
				n, err := r.s.Int()
				c.HasUsage, c.Usage.InputTokens = true, &n
				return err
			}
			return r.pieces(-1, "", key)
		})
	})
}

// Stop is the reason for which a message ends that needs nothing more.
func (messages) Stop() string { return `"end_turn"` }

// Framing is that of server-sent events.
func (messages) Framing() llm.Framing { return llm.SSE }

// reply walks a reply, or an event of one, once.
type reply struct {
	s *llm.Scanner
	c *llm.Chunk
}

func decode(data []byte, c *llm.Chunk, f func(reply) error) error {
	s, err := c.Open(data)
	if err == nil {
		err = f(reply{s, c})
	}
	if err == nil {
		err = s.End()
	}
	return llm.Uninspected("reply", err)
}

// members reads an object. f reads the value of a member, whose key, and place among the known ones or -1, it is told.
func (r reply) members(keys llm.Names, f func(key string, k int) error) error {
	seen := uint64(0)
	return r.s.Object(func(m llm.Member) error {
		k, err := keys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if k >= 0 {
			return f(keys[k], k)
		}
		return f(r.c.Word(m.Key), -1)
	})
}

// word reads a string, and skips null.
func (r reply) word(to *string) error {
	if r.s.Peek() == llm.Null {
		return r.s.Pass()
	}
	text, at, err := r.s.Text()
	if *to = r.c.Word(text); err == nil {
		r.c.Say(at, text)
	}
	return err
}

// must reads a string that has to be one of a few.
func (r reply) must(want string) error {
	var v string
	if err := r.word(&v); err != nil {
		return err
	}
	if v != want {
		return llm.NotInspected("%q where %q belongs", v, want)
	}
	return nil
}

// message reads a message: whole, or the beginning of one in a stream.
func (r reply) message(whole bool) error {
	c := r.c
	c.Choices = append(c.Choices, llm.Choice{Other: true})
	kind := ""
	err := r.members(replyKeys, func(key string, k int) error {
		switch key {
		case "type":
			return r.word(&kind)
		case "id":
			return r.word(&c.ID)
		case "model":
			return r.word(&c.Model)
		case "role":
			return r.must("assistant")
		case "content":
			return r.content(whole)
		case "stop_reason":
			return r.finish()
		case "usage":
			return r.usage()
		}
		return r.pieces(0, "", key)
	})
	if err == nil && kind != "message" {
		err = llm.NotInspected("reply of type %q", kind)
	}
	return err
}

func (r reply) content(whole bool) error {
	r.s.Peek()
	from := r.s.Pos()
	err := r.s.Array(func(i int) error {
		if !whole || i >= maxBlocks {
			return llm.NotInspected("message that begins with %d blocks", i+1)
		}
		return r.block(i, true)
	})
	if whole {
		ch := &r.c.Choices[0]
		ch.Blocks, ch.Calls = true, llm.Span{Start: from, End: r.s.Pos()}
	}
	return err
}

func (r reply) finish() error {
	r.s.Peek()
	from := r.s.Pos()
	ch := &r.c.Choices[0]
	err := r.word(&ch.Finish)
	ch.FinishAt = llm.Span{Start: from, End: r.s.Pos()}
	return err
}

// block reads a block: whole, or the beginning of one in a stream, which says nothing yet.
func (r reply) block(number int, whole bool) error {
	found, err := r.s.Find("type")
	if err != nil {
		return err
	}
	switch kind := r.c.Word(found); kind {
	case "text", "thinking", "redacted_thinking":
		return r.members(blockKeys, func(key string, k int) error {
			switch key {
			case kind:
				return r.text(key, whole)
			case "type":
				return r.s.Pass() // it is kind
			case "citations":
				return r.pieces(0, pipeline.CarrierCitation, key)
			}
			return r.pieces(0, "", key) // signatures and what is encrypted pass there
		})
	case "tool_use", "server_tool_use", "mcp_tool_use":
		return r.call(kind, number, whole)
	default:
		if !isResult(kind) && kind != "container_upload" {
			return llm.NotInspected("block of type %q", kind)
		}
		return r.pieces(0, pipeline.CarrierResult, "")
	}
}

// text reads the text of a block, or a piece of it, which numbered puts into its lane.
func (r reply) text(kind string, whole bool) error {
	if r.s.Peek() == llm.Null {
		return r.s.Pass()
	}
	text, at, err := r.s.Text()
	if err == nil && len(text) > 0 {
		carrier := pipeline.CarrierReasoning
		if kind == "text" {
			carrier = pipeline.CarrierText
		}
		r.c.Pieces = append(r.c.Pieces, llm.Piece{Lane: kind, Carrier: carrier, At: at, Text: text, Whole: whole, Answer: kind == "text"})
	}
	return err
}

// lane is the name of the text of a block. A stream that mixes kinds in a block has two texts there.
func (r reply) lane(kind string, number int) string {
	var name [24]byte
	return r.c.Word(strconv.AppendInt(append(append(name[:0], kind...), ' '), int64(number), 10))
}

// call reads a tool call. In a stream its input comes later, and is {} here.
func (r reply) call(kind string, number int, whole bool) error {
	s := r.s
	s.Peek()
	from := s.Pos()
	tp := llm.ToolPiece{Index: number, ByProvider: kind != "tool_use", Event: !whole}
	var name, server string
	err := r.members(blockKeys, func(key string, k int) error {
		switch key {
		case "type":
			return s.Pass()
		case "id":
			return r.word(&tp.ID)
		case "name":
			return r.word(&name)
		case "server_name":
			return r.word(&server)
		case "toolset_name":
			if s.Peek() == llm.Null {
				return s.Pass()
			}
			return llm.NotInspected("tool call of a toolset")
		case "input":
			if s.Peek() != llm.Object {
				return llm.NotInspected("tool call whose input is no object")
			}
			at, err := s.Skip()
			if err != nil {
				return err
			}
			if whole {
				tp.Args, tp.ArgsAt, tp.Raw = s.Bytes(at), at, true
			} else if !empty(s.Bytes(at)) {
				return llm.NotInspected("tool call that begins with its input")
			}
			return nil
		}
		return r.pieces(0, "", key)
	})
	if err != nil {
		return err
	}
	if tp.Name, err = called(kind, name, server); err != nil {
		return err
	}
	if whole && tp.ArgsAt.Empty() {
		return llm.NotInspected("tool call without input")
	}
	tp.At = llm.Span{Start: from, End: s.Pos()}
	r.c.Tools = append(r.c.Tools, tp)
	return nil
}

// empty tells whether an object has no members.
func empty(object []byte) bool {
	for _, c := range object[1 : len(object)-1] {
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}

// usage reads how many tokens were used. Those that came from, or went to, a cache are counted apart by the provider.
func (r reply) usage() error {
	if r.s.Peek() != llm.Object {
		return r.s.Pass()
	}
	var in, out, cached, made *int64
	err := r.s.Object(func(m llm.Member) error {
		var to **int64
		switch string(m.Key) {
		case "input_tokens":
			to = &in
		case "output_tokens":
			to = &out
		case "cache_read_input_tokens":
			to = &cached
		case "cache_creation_input_tokens":
			to = &made
		}
		if to == nil || r.s.Peek() != llm.Number {
			return r.c.Label(m.Key)
		}
		n, err := r.s.Int()
		*to = &n
		return err
	})
	if err != nil {
		return err
	}
	u := &r.c.Usage
	r.c.HasUsage = true
	u.OutputTokens, u.CachedTokens = out, cached
	if in != nil {
		for _, more := range []*int64{cached, made} {
			if more != nil {
				*in += *more
			}
		}
		u.InputTokens = in
	}
	return nil
}

// pieces makes a text of every string of the value of a member, but of what is encrypted.
func (r reply) pieces(choice int, carrier, key string) error {
	if key != "" {
		r.c.Key(llm.Piece{Choice: choice, Carrier: carrier})
	}
	if llm.OpaqueKey([]byte(key)) {
		if passed, err := r.c.Opaque(); passed || err != nil {
			return err
		}
	}
	return r.c.Texts(llm.Piece{Choice: choice, Carrier: carrier, Key: []byte(key), Whole: true})
}
