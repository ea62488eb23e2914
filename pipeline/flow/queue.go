// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// ready tells whether an event may leave, and if not, whether only tool calls keep it.
func (e *event) ready() (ok, byTool bool) {
	for i := range e.texts {
		if t := &e.texts[i]; t.from+t.n > t.lane.resolved() {
			return false, false
		}
	}
	for i := range e.probs {
		if p := &e.probs[i]; p.from+p.n > p.lane.resolved() {
			return false, false
		}
	}
	for i := range e.tools {
		if !e.tools[i].call.decided {
			return false, true
		}
	}
	return true, false
}

func (e *event) touches(choices []int) bool {
	for i := range e.choices {
		if slices.Contains(choices, e.choices[i].Index) {
			return true
		}
	}
	return false
}

// drain moves what may leave from the queue to out.
func (m *events) drain() error {
	m.wait = m.wait[:0]
	kept, all := m.queue[:0], false
	for i, e := range m.queue {
		ok, byTool := e.ready()
		overtakes := len(m.wait) > 0
		switch {
		case all:
			ok = false
		case !ok:
			all = !byTool
		case overtakes && len(e.choices) == 0 && e.hasData: // usage and the end keep their places
			ok, all = false, true
		case e.touches(m.wait):
			ok = false
		}
		if !ok {
			for c := range e.choices {
				m.wait = append(m.wait, e.choices[c].Index)
			}
			kept = append(kept, e)
			continue
		}
		if err := m.release(e); err != nil {
			m.queue = append(kept, m.queue[i:]...)
			return err
		}
		m.mark(e.piece)
		m.held -= e.size()
		m.spare = append(m.spare, e)
	}
	m.queue = kept
	return nil
}

// after takes an event that follows the end of the stream: it may say once more that this is the end, and nothing else.
func (m *events) after(ev *stream.Event) error {
	c := &m.x.buf.chunk
	if err := m.x.codec.Event(ev.Name, ev.Data, c); err != nil {
		return err
	}
	if !c.Done || c.Error || len(c.Pieces)+len(c.Tools)+len(c.Choices)+len(c.Places) > 0 {
		return llm.NotInspected("events after the end of the stream")
	}
	e := m.take(ev)
	e.done = m.final != nil && !m.x.closed // as long as the end waits for the outcome, so does this
	m.queue = append(m.queue, e)
	return nil
}

// answers asks policy about the choices that finish in an event, or with the stream (nil).
func (m *events) answers(e *event) error {
	for _, ch := range m.chose {
		if ch.answered || !ch.finished || !(e == nil || e.done || e.finishes(ch.index)) {
			continue
		}
		ch.answered = true
		said := ""
		for _, l := range m.lanes {
			if l.choice == ch.index && l.keep {
				said = join(said, string(l.kept))
			}
		}
		if err := m.x.response(m.ctx, ch.index, said); err != nil {
			return err
		}
	}
	return nil
}

func (e *event) finishes(choice int) bool {
	for i := range e.choices {
		if e.choices[i].Index == choice && e.choices[i].Finish != "" {
			return true
		}
	}
	return false
}

// close hands over what the outcome wants to know.
func (m *events) close() {
	for _, l := range m.lanes {
		m.x.out.Masks = append(m.x.out.Masks, l.found()...)
		if l.keep {
			m.x.out.Text = join(m.x.out.Text, string(l.kept))
		}
	}
	m.lanes = nil
}

// allRefused tells whether a choice has tool calls and none of them may be released.
func (ch *choiceState) allRefused() bool { return ch.calls > 0 && ch.denied == ch.calls }
