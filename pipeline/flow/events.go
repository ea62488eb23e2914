// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"io"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// events turns the events of a stream into what may be released of them. Events wait in a queue until their texts
// are masked and their tool calls decided; then they leave as they came, or with the changes spliced in.
//
// The order of events stays, with one exception: while events wait for a tool call of one choice to be complete,
// events of other choices, and comments, may overtake them.
type events struct {
	x     *exchange
	ctx   context.Context
	split stream.Splitter
	lanes []*lane
	calls []*toolCall
	chose []*choiceState
	queue []*event
	spare []*event
	held  int    // bytes in queue, roughly
	said  int64  // bytes of texts and arguments so far: they are kept for the outcome
	like  []byte // data of an early event, for the identity of events that we add

	out     []byte    // may be released
	segs    []segment // what of out belongs to which piece of the stream
	pieces  int       // that were fed so far
	final   []byte    // the end of the stream, to be released after the outcome is on disk
	done    bool      // the end of the stream was seen
	cut     bool      // the stream ended early: what is not complete stays behind
	partial bool      // the last event lacks its end
	wait    []int     // choices that wait for a tool call; scratch of drain
}

// choiceState is what is known of one choice.
type choiceState struct {
	index    int
	calls    int  // tool calls so far, but for those that the provider runs
	denied   int  // of these
	said     bool // the text that stands for them is out
	finished bool
	answered bool // policy was asked about the text
	top      int  // the highest number of a block so far; -1 if blocks have none
}

// segment is a part of out, up to end, that came with one piece of the stream.
type segment struct{ piece, end int }

// event waits for its release.
type event struct {
	piece   int    // of the stream, with which it was complete
	raw     []byte // owned
	data    []byte // owned if at < 0, else part of raw
	at      int    // offset of data in raw, -1 if it is in several fields
	name    string
	hasData bool
	done    bool
	usage   bool
	texts   []eventText
	repeats []eventRepeat
	probs   []eventProb
	lists   []eventList
	tools   []eventTool
	places  []llm.Place
	fixed   []llm.Edit // decided already
	choices []llm.Choice
	text    []byte // owned: the original pieces, one after the other
}

type eventText struct {
	lane *lane
	from int // offset in the lane's text
	n    int
	off  int // offset in event.text
	at   llm.Span
}

type eventTool struct {
	call  *toolCall
	from  int // offset of the piece in the arguments
	n     int
	piece llm.ToolPiece // Args is not valid any more
}

func newEvents(ctx context.Context, x *exchange) *events {
	m := &events{x: x, ctx: ctx, out: x.buf.out[:0]}
	if x.codec.Framing() == llm.NDJSON {
		m.split = stream.NewNDJSON(x.f.o.EventLimit)
	} else {
		m.split = stream.NewSSE(x.f.o.EventLimit)
	}
	return m
}

// step takes what one read of the stream gave.
func (m *events) step(p []byte, rerr error) error {
	if err := m.feed(p); err != nil {
		return err
	}
	switch {
	case errors.Is(rerr, io.EOF):
		return m.end()
	case rerr != nil:
		return m.broken()
	}
	return nil
}

// feed takes bytes of the stream. out and final then hold what may be released, also if there is an error.
func (m *events) feed(p []byte) error {
	m.pieces++
	m.split.Write(p)
	return m.pull()
}

// end says that the stream ended by itself.
func (m *events) end() error {
	m.split.End()
	if err := m.pull(); err != nil {
		return err
	}
	if m.done {
		return nil
	}
	if err := m.complete(-1); err != nil {
		return err
	}
	if err := m.drain(); err != nil {
		return err
	}
	for _, ch := range m.chose {
		said := m.sayRefused(nil, ch.index)
		if m.partial && len(said) > 0 { // else it would be part of the last event
			m.partial = false
			m.out = append(m.out, [...]string{llm.SSE: "\n\n", llm.NDJSON: "\n"}[m.x.codec.Framing()]...)
		}
		m.out = append(m.out, said...)
	}
	return m.answers(nil)
}

// broken says that the stream was cut: what is not settled stays behind, as nobody knows what it would have become.
func (m *events) broken() error {
	m.cut = true
	return nil
}

// mark says that what was added to out came with a piece.
func (m *events) mark(piece int) {
	if n := len(m.segs); n > 0 {
		if last := &m.segs[n-1]; last.piece == piece || last.end == len(m.out) {
			last.end = len(m.out)
			return
		}
	} else if len(m.out) == 0 {
		return
	}
	m.segs = append(m.segs, segment{piece, len(m.out)})
}

// waiting tells whether an event that came with a piece is still held.
func (m *events) waiting(piece int) bool {
	for _, e := range m.queue {
		if e.piece == piece {
			return true
		}
	}
	return false
}

func (m *events) pull() error {
	for {
		ev, ok, err := m.split.Next()
		if err != nil {
			return llm.NotInspected("%w", err)
		}
		if !ok {
			return nil
		}
		if err := m.event(&ev); err != nil {
			return err
		}
		if err := m.drain(); err != nil {
			return err
		}
	}
}

// heldLimit is how many bytes may wait for a decision: those of a tool call's arguments, and what else came since.
const heldLimit = 32 << 20

func (m *events) event(ev *stream.Event) error {
	if ev.Odd {
		return llm.NotInspected("a line of the stream that clients may read in another way")
	}
	if m.done && ev.HasData {
		return m.after(ev)
	}
	e := m.take(ev)
	if err := m.beside(e); err != nil {
		return err
	}
	m.partial = ev.Partial
	if !ev.HasData {
		m.queue = append(m.queue, e)
		m.held += e.size()
		return nil
	}
	c := &m.x.buf.chunk
	if err := m.x.codec.Event(ev.Name, ev.Data, c); err != nil {
		return err
	}
	m.x.note(c)
	words, err := m.x.words(c)
	if err != nil {
		return err
	}
	e.fixed = append(e.fixed, words...)
	if m.like == nil && len(words) == 0 && (c.ID != "" || c.Model != "") {
		m.like = append([]byte(nil), ev.Data...)
	}
	e.done, e.usage = c.Done, c.HasUsage
	e.choices = append(e.choices[:0], c.Choices...)
	for i := range c.Choices {
		m.choice(c.Choices[i].Index)
	}
	for i := range c.Pieces {
		if err := m.piece(e, &c.Pieces[i]); err != nil {
			return err
		}
	}
	for i := range c.Lists {
		if err := m.list(e, c, &c.Lists[i]); err != nil {
			return err
		}
	}
	for i := range c.Tools {
		if err := m.tool(e, &c.Tools[i]); err != nil {
			return err
		}
	}
	if err := m.blocks(e, c); err != nil {
		return err
	}
	m.queue = append(m.queue, e)
	if m.held += e.size(); m.held > heldLimit {
		return llm.NotInspected("more than %d bytes of a stream wait for the end of a tool call", heldLimit)
	}
	for i := range e.tools {
		if t := &e.tools[i]; t.piece.Complete {
			if err := m.decide(t.call); err != nil {
				return err
			}
		}
	}
	for i := range c.Choices {
		if c.Choices[i].Finish != "" {
			if err := m.complete(c.Choices[i].Index); err != nil {
				return err
			}
		}
	}
	if c.Done {
		m.done = true
		return m.complete(-1)
	}
	return nil
}

// What a stream may say. Its texts are looked for one after the other, and stay with their maskers until they end.
const maxLanes = 1 << 12

// grow counts what is kept of a stream for its outcome.
func (m *events) grow(n int) error {
	if m.said += int64(n); m.said > m.x.f.o.ReplyLimit {
		return llm.NotInspected("texts and arguments of a stream exceed %d bytes", m.x.f.o.ReplyLimit)
	}
	return nil
}

// size is roughly the memory of an event in the queue.
func (e *event) size() int { return len(e.raw) + len(e.text) + 256 }

// take copies an event.
func (m *events) take(ev *stream.Event) *event {
	var e *event
	if n := len(m.spare); n > 0 {
		e, m.spare = m.spare[n-1], m.spare[:n-1]
	} else {
		e = new(event)
	}
	*e = event{piece: m.pieces, raw: append(e.raw[:0], ev.Raw...), at: ev.At, hasData: ev.HasData,
		texts: e.texts[:0], repeats: e.repeats[:0], probs: e.probs[:0], lists: e.lists[:0], tools: e.tools[:0], places: e.places[:0], fixed: e.fixed[:0], choices: e.choices[:0], text: e.text[:0]}
	if ev.At >= 0 {
		e.data = e.raw[ev.At : ev.At+len(ev.Data)]
	} else if ev.HasData {
		e.data = append([]byte(nil), ev.Data...)
		e.name = string(ev.Name)
	}
	return e
}

func (m *events) choice(index int) *choiceState {
	for _, ch := range m.chose {
		if ch.index == index {
			return ch
		}
	}
	ch := &choiceState{index: index, top: -1}
	m.chose = append(m.chose, ch)
	return ch
}

// piece gives a text to its lane.
func (m *events) piece(e *event, p *llm.Piece) error {
	if err := m.grow(len(p.Text)); err != nil {
		return err
	}
	l := m.lane(p.Choice, p.Lane, false)
	if p.Repeat && l != nil && l.total > 0 {
		return m.repeat(e, l, p)
	}
	if p.Whole && !p.Repeat {
		with, masks, err := m.x.maskPiece(p)
		if err == nil && len(masks) > 0 {
			m.x.out.Masks = append(m.x.out.Masks, masks...)
			e.fixed = append(e.fixed, llm.Edit{Span: p.At, With: llm.AppendString(nil, with)})
		}
		return err
	}
	if l == nil {
		var err error
		if l, err = m.begin(p.Choice, p.Lane, carrier(p), p.Key); err != nil {
			return err
		}
		l.keep = p.Answer
	}
	e.texts = append(e.texts, eventText{lane: l, from: l.total, n: len(p.Text), off: len(e.text), at: p.At})
	e.text = append(e.text, p.Text...)
	if err := l.write(p.Text); err != nil || !p.Repeat {
		return err
	}
	return l.end()
}

// begin begins a text.
func (m *events) begin(choice int, name, carrier string, key []byte) (*lane, error) {
	if len(m.lanes) == maxLanes {
		return nil, llm.NotInspected("more than %d texts in a stream", maxLanes)
	}
	l := &lane{choice: choice, name: name, probs: carrier == pipeline.CarrierLogprobs, rw: m.x.stream(carrier, m.x.before(key))}
	m.lanes = append(m.lanes, l)
	return l, nil
}

// complete ends the texts and tool calls of a choice, or of all for -1, and asks policy about the answer.
func (m *events) complete(choice int) error {
	for _, l := range m.lanes {
		if choice < 0 || l.choice == choice {
			if err := l.end(); err != nil {
				return err
			}
		}
	}
	for _, ch := range m.chose {
		if choice < 0 || ch.index == choice {
			ch.finished = true
			if err := m.completeCalls(ch.index); err != nil {
				return err
			}
		}
	}
	return nil
}
