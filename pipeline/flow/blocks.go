// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"errors"
	"slices"
	"strconv"

	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// What is here serves protocols whose answers are numbered blocks, or items, each with a beginning and an end, and whose later
// events may say again what earlier ones said in pieces.

// eventRepeat is a text in an event that must be what a lane said.
type eventRepeat struct {
	lane *lane
	off  int // of the masked text in event.text
	n    int
}

// next is the number of the block that follows those that were released.
func (ch *choiceState) next() int { return ch.top + 1 - ch.denied }

// lane finds a text that has begun, or its tokens; nil if there is none.
func (m *events) lane(choice int, name string, probs bool) *lane {
	for i := len(m.lanes) - 1; i >= 0; i-- {
		if l := m.lanes[i]; l.choice == choice && l.probs == probs && l.name == name {
			return l
		}
	}
	return nil
}

// blocks ends the texts that end with an event, and notes the numbers in it.
func (m *events) blocks(e *event, c *llm.Chunk) error {
	for _, end := range c.Ends {
		for _, probs := range []bool{false, true} {
			if l := m.lane(end.Choice, end.Lane, probs); l != nil {
				if err := l.end(); err != nil {
					return err
				}
			}
		}
	}
	for _, p := range c.Places {
		if t := m.call(p.Choice, p.Number); t != nil && !e.about(t) {
			return llm.NotInspected("block %d is a tool call and something else", p.Number)
		}
		ch := m.choice(p.Choice)
		ch.top = max(ch.top, p.Number)
	}
	e.places = append(e.places, c.Places...)
	return nil
}

func (e *event) about(t *toolCall) bool {
	return slices.ContainsFunc(e.tools, func(et eventTool) bool { return et.call == t })
}

// repeat masks a text that a lane has said already.
func (m *events) repeat(e *event, l *lane, p *llm.Piece) error {
	if err := l.end(); err != nil {
		return err
	}
	text, masks, err := m.x.maskPiece(p)
	if err != nil {
		return err
	}
	if len(masks) == 0 {
		text = p.Text
	} else {
		e.fixed = append(e.fixed, llm.Edit{Span: p.At, With: llm.AppendString(nil, text)})
	}
	if l.keep {
		e.repeats = append(e.repeats, eventRepeat{lane: l, off: len(e.text), n: len(text)})
		e.text = append(e.text, text...)
	}
	return nil
}

// repeated checks that an event says again what was said. All pieces before it are released.
func (m *events) repeated(e *event) error {
	for _, r := range e.repeats {
		if !bytes.Equal(e.text[r.off:r.off+r.n], r.lane.kept) {
			return llm.NotInspected("a text is repeated with other words")
		}
	}
	return nil
}

// repeatCall takes a tool call that is told again, whole.
func (m *events) repeatCall(e *event, call *toolCall, p *llm.ToolPiece) error {
	if err := m.decide(call); err != nil {
		return err
	}
	if p.Name != "" && p.Name != call.name || p.ID != "" && call.id != "" && p.ID != call.id || !p.ArgsAt.Empty() && !bytes.Equal(p.Args, call.args) {
		return llm.NotInspected("a tool call is repeated with other words")
	}
	e.tools = append(e.tools, eventTool{call: call, n: len(call.args), piece: *p})
	return nil
}

// args is what is to be released of a piece of a call's arguments.
func (t *eventTool) args() (text []byte, changed bool) {
	if t.piece.Repeat {
		return t.call.masked, true
	}
	return t.call.cursor.cut(nil, t.call.args[t.from:t.from+t.n], t.from, t.call.spans)
}

// argsValue is the JSON of masked arguments: as they are, or in a string.
func argsValue(args []byte, raw bool) []byte {
	if raw {
		return args
	}
	return llm.AppendString(nil, args)
}

// renumber moves the numbers of blocks up over refused calls before them.
func (m *events) renumber(e *event, edits []llm.Edit) []llm.Edit {
	for _, p := range e.places {
		if m.choice(p.Choice).denied == 0 {
			continue
		}
		number := p.Number
		for _, t := range m.calls {
			if t.choice == p.Choice && t.denied && t.index < p.Number {
				number--
			}
		}
		if number != p.Number {
			edits = append(edits, llm.Edit{Span: p.At, With: strconv.AppendInt(nil, int64(number), 10)})
		}
	}
	return edits
}

// cutRepeated removes refused calls from the blocks that an event tells again.
func (m *events) cutRepeated(e *event, ch *llm.Choice, edits []llm.Edit) ([]llm.Edit, error) {
	var gone []llm.Span
	for i := range e.tools {
		if t := &e.tools[i]; t.piece.Choice == ch.Index && t.call.denied {
			gone = append(gone, t.piece.At)
		}
	}
	said := ""
	state := m.choice(ch.Index)
	if state.allRefused() {
		said = m.refused(ch.Index)
	}
	cut, err := m.x.cutBlocks(e.data, ch.Calls, gone, state.next(), said)
	return append(edits, cut...), err
}

// cutBlocks removes elements of an array of blocks, and puts a block that says something, if anything, at its end, under a
// number, or that of its place for -1.
func (x *exchange) cutBlocks(data []byte, array llm.Span, gone []llm.Span, number int, said string) ([]llm.Edit, error) {
	if len(gone) == 0 {
		return nil, nil
	}
	var elems []llm.Span
	var cuts []bool
	var s llm.Scanner
	s.ResetAt(data, array.Start)
	if err := s.Array(func(int) error {
		at, err := s.Skip()
		elems, cuts = append(elems, at), append(cuts, slices.Contains(gone, at))
		return err
	}); err != nil {
		return nil, err
	}
	left := 0
	for _, cut := range cuts {
		if !cut {
			left++
		}
	}
	if left != len(elems)-len(gone) || len(elems) == 0 {
		return nil, errors.New("a refused call is not among the blocks")
	}
	var block []byte
	if said != "" {
		if number < 0 {
			number = left
		}
		block = x.codec.AppendBlock(nil, number, said)
	}
	switch end := elems[len(elems)-1].End; {
	case left == 0:
		return []llm.Edit{{Span: llm.Span{Start: elems[0].Start, End: end}, With: block}}, nil
	case block == nil:
		return cutElements(elems, cuts), nil
	default:
		return append(cutElements(elems, cuts), llm.Edit{Span: llm.Span{Start: end, End: end}, With: append([]byte{','}, block...)}), nil
	}
}
