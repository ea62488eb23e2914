// SPDX-License-Identifier: Apache-2.0

package anthropic

import (
	"strconv"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

var (
	eventKeys = llm.Names{"type", "message", "index", "content_block", "delta", "usage", "error"}
	deltaKeys = llm.Names{"type", "text", "thinking", "partial_json", "citation", "signature", "stop_reason"}
)

// Event reads an event. Its name must be its type: some readers go by the one, some by the other.
func (messages) Event(name, data []byte, c *llm.Chunk) error {
	return decode(data, c, func(r reply) error {
		found, err := r.s.Find("type")
		if err != nil {
			return err
		}
		kind := c.Word(found)
		if string(name) != kind {
			return llm.NotInspected("event of type %q with the name %q", kind, name)
		}
		switch kind {
		case "message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta", "content_block_stop", "ping", "error":
			return r.event(kind)
		}
		return llm.NotInspected("event of type %q", kind)
	})
}

func (r reply) event(kind string) error {
	c := r.c
	number := -1
	if kind == "message_delta" || kind[0] == 'c' {
		c.Choices = append(c.Choices, llm.Choice{Other: true})
	}
	var place llm.Span
	err := r.members(eventKeys, func(key string, k int) error {
		switch {
		case key == "type":
			return r.s.Pass()
		case key == "message" && kind == "message_start":
			return r.message(false)
		case key == "index" && kind[0] == 'c':
			r.s.Peek()
			from := r.s.Pos()
			n, err := r.s.Int()
			if n >= maxBlocks {
				return llm.NotInspected("block %d", n)
			}
			number, place = int(n), llm.Span{Start: from, End: r.s.Pos()}
			return err
		case key == "content_block" && kind == "content_block_start":
			return r.block(number, false)
		case key == "delta" && kind == "content_block_delta":
			return r.delta(number)
		case key == "delta" && kind == "message_delta":
			return r.end()
		case key == "usage" && kind == "message_delta":
			return r.usage()
		case key == "error" && kind == "error":
			c.Error = true
			return r.pieces(-1, pipeline.CarrierError, "")
		case k >= 0:
			return llm.NotInspected("event of type %q with %q", kind, key)
		}
		return r.pieces(-1, "", key)
	})
	if err != nil {
		return err
	}
	switch {
	case kind == "message_start" && len(c.Choices) == 0:
		return llm.NotInspected("message that begins without a message")
	case kind == "message_stop":
		c.Done = true
	case kind[0] == 'c':
		return r.numbered(kind, number, place)
	}
	return nil
}

// numbered says of what is in an event which block it belongs to: the number may come last.
func (r reply) numbered(kind string, number int, place llm.Span) error {
	c := r.c
	if number < 0 {
		return llm.NotInspected("event of type %q without a block", kind)
	}
	c.Places = append(c.Places, llm.Place{Number: number, At: place})
	if kind == "content_block_stop" {
		c.Ends = append(c.Ends, llm.End{Lane: r.lane("text", number)}, llm.End{Lane: r.lane("thinking", number)})
		c.Tools = append(c.Tools, llm.ToolPiece{Index: number, Complete: true, Event: true})
		return nil
	}
	for i := range c.Tools {
		c.Tools[i].Index = number
	}
	for i := range c.Pieces {
		p := &c.Pieces[i]
		switch {
		case p.Whole:
		case p.Answer:
			p.Lane = r.lane("text", number)
		default:
			p.Lane = r.lane("thinking", number)
		}
	}
	return nil
}

// delta reads a piece of a block.
func (r reply) delta(number int) error {
	found, err := r.s.Find("type")
	if err != nil {
		return err
	}
	kind := r.c.Word(found)
	if err := llm.Known("delta of type", kind, "text_delta", "thinking_delta", "input_json_delta", "citations_delta", "signature_delta"); err != nil {
		return err
	}
	return r.members(deltaKeys, func(key string, k int) error {
		switch {
		case key == "type":
			return r.s.Pass() // it is kind
		case key == "signature" && kind == "signature_delta":
			return r.pieces(0, "", key)
		case key == "text" && kind == "text_delta", key == "thinking" && kind == "thinking_delta":
			return r.text(key, false)
		case key == "partial_json" && kind == "input_json_delta":
			tp := llm.ToolPiece{Index: number, Event: true}
			var err error
			tp.Args, tp.ArgsAt, err = r.s.Text()
			r.c.Tools = append(r.c.Tools, tp)
			return err
		case key == "citation" && kind == "citations_delta":
			return r.pieces(0, pipeline.CarrierCitation, "")
		case k >= 0:
			return llm.NotInspected("delta of type %q with %q", kind, key)
		}
		return r.pieces(0, "", key)
	})
}

// end reads how a message ends.
func (r reply) end() error {
	return r.members(deltaKeys, func(key string, k int) error {
		if key == "stop_reason" {
			return r.finish()
		}
		return r.pieces(0, "", key)
	})
}

// AppendText appends the three events of a block that says text.
func (messages) AppendText(dst, _ []byte, _, block int, text string) []byte {
	event := func(kind, rest string) {
		data := append([]byte(`{"type":"`), kind...)
		data = append(data, `","index":`...)
		data = append(strconv.AppendInt(data, int64(block), 10), rest...)
		dst = stream.AppendEvent(dst, kind, append(data, '}'))
	}
	event("content_block_start", `,"content_block":{"type":"text","text":""}`)
	event("content_block_delta", `,"delta":{"type":"text_delta","text":`+string(llm.AppendString(nil, []byte(text)))+`}`)
	event("content_block_stop", "")
	return dst
}

// AppendBlock appends a block that says text.
func (messages) AppendBlock(dst []byte, _ int, text string) []byte {
	dst = append(dst, `{"type":"text","text":`...)
	return append(llm.AppendString(dst, []byte(text)), '}')
}

// AppendPing appends what the API itself sends when it has nothing to say.
func (messages) AppendPing(dst, _ []byte) []byte {
	return stream.AppendEvent(dst, "ping", []byte(`{"type":"ping"}`))
}

// Event refuses: there are no streams of counts.
func (counting) Event(_, _ []byte, _ *llm.Chunk) error {
	return llm.NotInspected("a count of tokens in a stream")
}
