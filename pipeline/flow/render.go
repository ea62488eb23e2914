// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"

	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// release appends to out what is to be released of an event: its own bytes if nothing in it is masked or refused.
// The end of the stream goes to final instead.
func (m *events) release(e *event) error {
	edits, drop, err := m.changes(e)
	if err != nil {
		return err
	}
	if err := m.repeated(e); err != nil {
		return err
	}
	if err := m.answers(e); err != nil {
		return err
	}
	to := &m.out
	if e.done {
		to = &m.final
	}
	for i := range e.choices {
		if e.choices[i].Finish != "" {
			*to = m.sayRefused(*to, e.choices[i].Index)
		}
	}
	if e.done {
		for _, ch := range m.chose {
			*to = m.sayRefused(*to, ch.index)
		}
	}
	switch {
	case drop:
	case len(edits) == 0:
		*to = append(*to, e.raw...)
	case e.at >= 0:
		*to = append(*to, e.raw[:e.at]...)
		if *to, err = llm.Splice(*to, e.data, edits); err != nil {
			return err
		}
		*to = append(*to, e.raw[e.at+len(e.data):]...)
	default:
		data, err := llm.Splice(nil, e.data, edits)
		if err != nil {
			return err
		}
		*to = stream.AppendEvent(*to, e.name, data)
	}
	return nil
}

// sayRefused adds the text that stands for tool calls that were all refused, once.
func (m *events) sayRefused(dst []byte, choice int) []byte {
	ch := m.choice(choice)
	if !m.x.enforce || !ch.allRefused() || ch.said {
		return dst
	}
	ch.said = true
	said, before := m.refused(choice), false
	for _, l := range m.lanes {
		before = before || l.choice == choice && l.keep && len(l.kept) > 0
	}
	m.x.out.Text = join(m.x.out.Text, said)
	if before && ch.top < 0 {
		said = "\n\n" + said
	}
	return m.x.codec.AppendText(dst, m.like, choice, ch.next(), said)
}

// refused is the text that stands for the refused calls of a choice.
func (m *events) refused(choice int) (said string) {
	for _, t := range m.calls {
		if t.choice == choice {
			said = join(said, t.said)
		}
	}
	return said
}

// changes lists what has to change in an event. drop: nothing of it is left.
func (m *events) changes(e *event) (edits []llm.Edit, drop bool, err error) {
	edits = append(m.x.buf.edits[:0], e.fixed...)
	defer func() { m.x.buf.edits = edits[:0] }()
	for i := range e.texts {
		t := &e.texts[i]
		text, changed, err := t.lane.take(m.x.buf.mask[:0], e.text[t.off:t.off+t.n], t.from)
		m.x.buf.mask = text
		if err != nil {
			return edits, false, err
		}
		if changed {
			edits = append(edits, llm.Edit{Span: t.at, With: llm.AppendString(nil, text)})
		}
	}
	if edits, err = m.probChanges(e, edits); err != nil {
		return edits, false, err
	}
	if edits, drop, err = m.toolChanges(e, edits); err != nil || drop {
		return edits, drop, err
	}
	edits = m.renumber(e, edits)
	for i := range e.choices {
		ch := &e.choices[i]
		if !ch.Tokens.Empty() && m.masked(ch.Index) {
			edits = append(edits, llm.Edit{Span: ch.Tokens, With: []byte("null")})
		}
		if ch.Finish != "" && m.x.enforce && m.choice(ch.Index).allRefused() {
			edits = append(edits, llm.Edit{Span: ch.FinishAt, With: []byte(m.x.codec.Stop())})
		}
	}
	return edits, drop, nil
}

// masked tells whether anything of a choice up to now was masked or refused: token numbers would spell it.
func (m *events) masked(choice int) bool {
	for _, l := range m.lanes {
		if l.choice == choice && len(l.found()) > 0 {
			return true
		}
	}
	return m.changed(choice)
}

// changed tells whether a tool call of a choice up to now was masked or refused.
func (m *events) changed(choice int) bool {
	for _, t := range m.calls {
		if t.choice == choice && (t.masked != nil || t.denied) {
			return true
		}
	}
	return false
}

// toolChanges removes refused tool calls and masks the arguments of the others.
func (m *events) toolChanges(e *event, edits []llm.Edit) (_ []llm.Edit, drop bool, err error) {
	if len(e.tools) == 0 {
		return edits, false, nil
	}
	gone := 0
	for i := range e.tools {
		t := &e.tools[i]
		if t.call.denied {
			if t.piece.Event {
				return edits, true, nil
			}
			gone++
			edits = dropInside(edits, t.piece.At)
			if t.piece.Index < 0 {
				edits = append(edits, llm.Edit{Span: t.piece.At, With: []byte("null")})
			}
			continue
		}
		if t.call.masked == nil || t.piece.ArgsAt.Empty() || t.n == 0 {
			continue
		}
		if text, changed := t.args(); changed {
			edits = append(edits, llm.Edit{Span: t.piece.ArgsAt, With: argsValue(text, t.piece.Raw)})
		}
	}
	if gone == 0 {
		return edits, false, nil
	}
	if gone == len(e.tools) && !e.usage && len(e.choices) == 1 && !e.choices[0].Other && !e.choices[0].Blocks && e.choices[0].Finish == "" {
		return edits, true, nil
	}
	for i := range e.choices {
		ch := &e.choices[i]
		if ch.Calls.Empty() {
			continue
		}
		if ch.Blocks {
			if edits, err = m.cutRepeated(e, ch, edits); err != nil {
				return edits, false, err
			}
			continue
		}
		var elems []llm.Span
		var cuts []bool
		left := 0
		for j := range e.tools {
			if t := &e.tools[j]; t.piece.Choice == ch.Index && t.piece.Index >= 0 {
				elems, cuts = append(elems, t.piece.At), append(cuts, t.call.denied)
				if !t.call.denied {
					left++
				}
			}
		}
		switch {
		case len(elems) == 0:
		case left == 0:
			edits = append(dropInside(edits, ch.CallsAt), llm.Edit{Span: ch.CallsAt})
		default:
			edits = append(edits, cutElements(elems, cuts)...)
		}
	}
	return edits, false, nil
}

// dropInside removes edits inside a span that is itself replaced.
func dropInside(edits []llm.Edit, at llm.Span) []llm.Edit {
	n := 0
	for _, e := range edits {
		if e.Start < at.Start || e.End > at.End {
			edits[n] = e
			n++
		}
	}
	return edits[:n]
}

// settled checks, at the end, that nothing of a text was left behind.
func (m *events) settled() error {
	if len(m.queue) > 0 {
		return errors.New("events were left over")
	}
	for _, l := range m.lanes {
		if !l.exhausted() {
			return errors.New("mask: text was left over")
		}
	}
	return nil
}
