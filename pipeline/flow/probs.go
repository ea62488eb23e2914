// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// What is here keeps log probabilities from spelling what is masked in the text that they repeat. Their tokens, one after the other,
// are masked as a text of their own, so it does not matter how they are spread over the events. Of a token in which something is
// masked, what spells it besides goes too; the arrays stay as long as they were. Where fewer masks are found than in the text, the
// tokens say something else than it does: then the list goes.

// eventProb is a token in an event of a stream.
type eventProb struct {
	lane *lane
	from int // offset in the lane's text
	n    int
	off  int // offset in event.text
	prob llm.Prob
}

// eventList is a list of tokens in an event of a stream.
type eventList struct {
	choice   int
	text     string // the lane that it repeats
	lane     *lane
	at       llm.Span
	from, to int // in event.probs
}

// list gives the tokens of a list to their lane. A list that is whole is masked at once.
func (m *events) list(e *event, c *llm.Chunk, l *llm.ProbList) error {
	to := m.lane(l.Choice, l.Lane, true)
	if l.Whole || l.Repeat {
		if to != nil {
			if err := to.end(); err != nil {
				return err
			}
		}
		masks := 0
		if of := m.lane(l.Choice, l.Lane, false); of != nil {
			masks = len(of.found())
		}
		var err error
		e.fixed, err = m.x.wholeList(e.data, c, l, masks, m.changed(l.Choice), e.fixed)
		return err
	}
	if to == nil {
		var err error
		if to, err = m.begin(l.Choice, l.Lane, pipeline.CarrierLogprobs, nil); err != nil {
			return err
		}
	}
	el := eventList{choice: l.Choice, text: l.Lane, lane: to, at: l.At, from: len(e.probs)}
	for i := l.From; i < l.To; i++ {
		p := &c.Probs[i]
		if err := m.grow(len(p.Text)); err != nil {
			return err
		}
		e.probs = append(e.probs, eventProb{lane: to, from: to.total, n: len(p.Text), off: len(e.text), prob: *p})
		e.text = append(e.text, p.Text...)
		if err := to.write(p.Text); err != nil {
			return err
		}
	}
	el.to = len(e.probs)
	e.lists = append(e.lists, el)
	return nil
}

// probChanges masks the tokens of an event.
func (m *events) probChanges(e *event, edits []llm.Edit) ([]llm.Edit, error) {
	for i := range e.lists {
		l := &e.lists[i]
		before := len(edits)
		for j := l.from; j < l.to; j++ {
			p := &e.probs[j]
			text, changed, err := p.lane.take(m.x.buf.mask[:0], e.text[p.off:p.off+p.n], p.from)
			m.x.buf.mask = text
			if err != nil {
				return edits, err
			}
			edits = probEdits(edits, e.data, &p.prob, text, changed)
		}
		if of := m.lane(l.choice, l.text, false); m.changed(l.choice) || of != nil && len(of.found()) > len(l.lane.found()) {
			edits = append(edits[:before], llm.Edit{Span: l.at, With: llm.Gone(e.data, l.at)})
		}
	}
	return edits, nil
}

// probEdits are the edits of a token whose text is now another, or not.
func probEdits(edits []llm.Edit, data []byte, p *llm.Prob, text []byte, changed bool) []llm.Edit {
	if changed {
		edits = append(edits, llm.Edit{Span: p.At, With: llm.AppendString(nil, text)})
		if !p.Top.Empty() {
			edits = append(edits, llm.Edit{Span: p.Top, With: llm.Gone(data, p.Top)})
		}
	}
	if (changed || p.Other) && !p.Bytes.Empty() {
		edits = append(edits, llm.Edit{Span: p.Bytes, With: []byte("null")})
	}
	return edits
}

// wholeLists masks the lists of a choice of a whole reply. found says how many masks are in each of the pieces; gone, that something
// was masked or refused in a tool call.
func (x *exchange) wholeLists(body []byte, c *llm.Chunk, choice int, gone bool, found []int, edits []llm.Edit) (_ []llm.Edit, err error) {
	for i := range c.Lists {
		l := &c.Lists[i]
		if l.Choice != choice {
			continue
		}
		masks := 0
		for j := range c.Pieces {
			if p := &c.Pieces[j]; p.Choice == choice && p.Lane == l.Lane {
				masks += found[j]
			}
		}
		if edits, err = x.wholeList(body, c, l, masks, gone, edits); err != nil {
			return edits, err
		}
	}
	return edits, nil
}

// wholeList masks a list whose text has so many masks.
func (x *exchange) wholeList(data []byte, c *llm.Chunk, l *llm.ProbList, masks int, gone bool, edits []llm.Edit) ([]llm.Edit, error) {
	probs := c.Probs[l.From:l.To]
	var text []byte
	for i := range probs {
		text = append(text, probs[i].Text...)
	}
	_, found, err := x.maskWhole(pipeline.CarrierLogprobs, nil, text)
	if err != nil {
		return edits, err
	}
	x.out.Masks = append(x.out.Masks, found...)
	if gone || masks > len(found) {
		return append(edits, llm.Edit{Span: l.At, With: llm.Gone(data, l.At)}), nil
	}
	var cur cursor
	at := 0
	for i := range probs {
		p := &probs[i]
		now, changed := cur.cut(nil, p.Text, at, found)
		edits = probEdits(edits, data, p, now, changed)
		at += len(p.Text)
	}
	return edits, nil
}
