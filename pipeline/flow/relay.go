// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// answerStream takes a stream of an enforcing scope to the application, event by event.
func (x *exchange) answerStream(ctx context.Context, src *source, head pipeline.Head) error {
	next, done, err := decoded(src, head.Get("Content-Encoding"))
	if err != nil {
		return x.refuse(ctx, x.failed(err))
	}
	defer done()
	if !x.responded { // it may have been held for so long that the head had to go out
		x.responded = true
		if err := x.client.Respond(streamHead(head)); err != nil {
			return x.cutBy(ctx, nil, "client", err)
		}
	}
	m := newEvents(ctx, x)
	x.h.stream = m
	defer m.reuse()
	x.beginOriginal(m)
	for {
		p, rerr := next()
		x.keep(p)
		ended := errors.Is(rerr, io.EOF)
		err := x.inspect("reply", func() error { return m.step(p, rerr) })
		if err == nil && rerr != nil && !ended {
			err = rerr
		}
		if err != nil {
			x.keptSoFar(rerr)
		}
		if err == nil && (ended || m.final != nil) && !x.closed {
			err = x.closeStream(ctx, m)
		} else if werr := x.releaseEvents(m, err != nil); werr != nil { // also before an error: this much was in order
			err = werr
		}
		if err != nil {
			return x.stop(ctx, m, err)
		}
		if ended {
			return nil
		}
	}
}

// streamHead is the head under which the events go out. A length or a content coding cannot be kept, since what is
// released may differ.
func streamHead(h pipeline.Head) pipeline.Head {
	coding := h.Get("Content-Encoding")
	coded := coding != "" && !strings.EqualFold(coding, "identity")
	if !coded && h.Get("Content-Length") == "" {
		return h
	}
	h = h.Clone()
	if coded {
		h.Del("Content-Encoding")
	}
	if h.Get("Content-Length") != "" {
		h.Del("Content-Length")
		h.Set("Transfer-Encoding", "chunked")
	}
	return h
}

// clientError is an error of writing to the application.
type clientError struct{ error }

// releaseEvents writes what may be released: first to the journal, then to the application. Each piece of the stream is
// written by itself, once nothing of it is held, so that the application gets it as the provider sent it, framing
// included; all writes what there is.
func (x *exchange) releaseEvents(m *events, all bool) error {
	from := 0
	var err error
	for len(m.segs) > 0 && err == nil && (all || !m.waiting(m.segs[0].piece)) {
		err = x.writeEvent(m.out[from:m.segs[0].end])
		from = m.segs[0].end
		m.segs = m.segs[1:]
	}
	if all && err == nil && from < len(m.out) {
		err = x.writeEvent(m.out[from:])
		from = len(m.out)
	}
	m.out = append(m.out[:0], m.out[from:]...)
	for i := range m.segs {
		m.segs[i].end -= from
	}
	return err
}

func (x *exchange) writeEvent(b []byte) error {
	if err := x.recordEvent(b, len(b)); err != nil {
		return err
	}
	x.released(len(b))
	before := x.f.o.Now()
	err := x.client.Write(b)
	x.waited += x.f.o.Now().Sub(before)
	if err != nil {
		return clientError{err}
	}
	return nil
}

// recordEvent writes a piece of the reply down. Being on disk is left to the records after it.
func (x *exchange) recordEvent(b []byte, n int) error {
	_, durable := x.f.o.Log.Append(pipeline.Record{Kind: pipeline.KindEvent, Time: x.f.o.Now(), Session: x.m.Session, Exchange: x.m.Exchange,
		Body: &pipeline.Event{Seq: x.seq, Bytes: n, Data: llm.Shared(b)}})
	select {
	case err := <-durable:
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
	default:
	}
	return nil
}

// closeStream writes the outcome down, waits until it is on disk, and releases the last bytes.
func (x *exchange) closeStream(ctx context.Context, m *events) error {
	if err := m.settled(); err != nil {
		return err
	}
	// The last piece waits for the outcome, those before it need not.
	if n := len(m.segs); n > 0 {
		last := m.segs[n-1]
		if len(m.final) > 0 && last.piece != m.pieces || n > 1 || last.end < len(m.out) {
			keep := []byte(nil)
			if len(m.final) == 0 || last.piece == m.pieces { // part of the last write
				begin := 0
				if n > 1 {
					begin = m.segs[n-2].end
				}
				keep, m.out, m.segs = append(keep, m.out[begin:]...), m.out[:begin], m.segs[:n-1]
			}
			if err := x.releaseEvents(m, true); err != nil {
				return err
			}
			m.out = append(m.out[:0], keep...)
		}
	}
	m.segs = m.segs[:0]
	m.out = append(m.out, m.final...)
	if len(m.out) > 0 {
		if err := x.recordEvent(m.out, len(m.out)); err != nil {
			return err
		}
		x.released(len(m.out))
	}
	m.close()
	x.closed = true
	x.finish(x.out.Status)
	if err := x.settle(ctx, 0); err != nil {
		return err
	}
	last := m.out
	m.out, m.final = m.out[:0], nil
	if len(last) == 0 {
		return nil
	}
	if err := x.client.Write(last); err != nil {
		return clientError{err}
	}
	return nil
}

// stop ends a stream before its time. If it was our doing, the application gets an error in the provider's form.
func (x *exchange) stop(ctx context.Context, m *events, err error) error {
	var cut *cutError
	var no *deniedError
	var gone clientError
	switch {
	case errors.As(err, &gone):
		return x.cutBy(ctx, m, "client", err)
	case errors.As(err, &cut):
		return x.cutBy(ctx, m, cut.by, err)
	case ctx.Err() != nil:
		return x.cutBy(ctx, m, ended(ctx), err)
	}
	var d *denial
	if errors.As(err, &no) {
		d = no.d
		x.out.Cut = "agent"
	} else {
		d = x.failed(err)
		if x.out.Cut = "error"; errors.As(err, new(pipeline.MaskRefused)) {
			x.out.Cut = "agent"
		}
	}
	ev := x.failer().AppendFailureEvent(nil, llm.Failure{Code: d.code, Message: x.message(d)})
	rerr := x.recordEvent(ev, len(ev))
	x.released(len(ev))
	m.close()
	if !x.closed {
		x.closed = true
		x.finish(x.out.Status)
	}
	rerr = errors.Join(rerr, x.settle(ctx, 0))
	if rerr != nil {
		x.f.o.Notice("record denial", rerr)
	}
	return errors.Join(err, x.client.Write(ev))
}

// ended says who ended an exchange whose context is over.
func ended(ctx context.Context) string {
	if errors.Is(context.Cause(ctx), pipeline.ErrClientGone) {
		return "client"
	}
	return "agent"
}

// cut notes who ended the exchange, and what happened. Errors of the line hold no content.
func (x *exchange) cut(by string, err error) {
	x.out.Cut = by
	var cut *cutError
	if errors.As(err, &cut) {
		err = cut.err
	}
	if err != nil {
		s := x.shown(pipeline.CarrierError, err.Error(), "why cannot be said: it could not be masked")
		x.out.CutReason = s[:min(len(s), 300)]
	}
}

// cutBy records an exchange that others ended.
func (x *exchange) cutBy(ctx context.Context, m *events, by string, err error) error {
	x.cut(by, err)
	if m != nil {
		m.close()
	}
	if !x.closed {
		x.closed = true
		x.finish(x.out.Status)
	}
	return errors.Join(err, x.settle(context.WithoutCancel(ctx), 0))
}

func (m *events) reuse() {
	if m.x.buf != nil {
		m.x.buf.out = m.out[:0]
	}
}

// observe passes every byte of a reply as it comes and looks at a copy. What goes wrong with the copy is recorded
// and changes nothing.
func (x *exchange) observe(ctx context.Context, reply pipeline.Reply, readable bool) error {
	head := reply.Head()
	x.out.Status = head.Status
	src := &source{ctx: ctx, x: x, reply: reply}
	src.tee = func(p []byte) error {
		before := x.f.o.Now()
		err := x.client.Write(p)
		x.waited += x.f.o.Now().Sub(before)
		if err != nil {
			return clientError{err}
		}
		x.released(len(p))
		return nil
	}
	if err := x.client.Respond(head); err != nil {
		return x.cutBy(ctx, nil, "client", err)
	}
	x.responded = true
	kind := formUnknown
	if readable {
		kind = formOf(&head, x.codec.Framing())
	}
	var m *events
	var why error
	whole := false // the application has the last event of a stream
	switch {
	case !readable:
		why = errUnread
	case kind == formUnknown:
		why = llm.NotInspected("reply with status %d and content type %q", head.Status, head.Get("Content-Type"))
	case kind == formStream:
		m = newEvents(ctx, x)
		defer m.reuse()
		whole, why = x.watchStream(src, m, head.Get("Content-Encoding"))
		m.close()
	default:
		why = x.watchWhole(ctx, src, head.Get("Content-Encoding"), kind)
	}
	for src.err == nil { // whatever was not looked at
		_, _ = src.Next()
	}
	if why != nil && !errors.Is(why, errUnread) && !errors.Is(why, src.err) {
		x.failed(why)
	}
	var gone clientError
	var cut *cutError
	switch {
	case whole && errors.Is(context.Cause(ctx), pipeline.ErrClientGone):
		// It had the last event and waited for nothing more: the reply is complete.
	case errors.As(src.err, &gone):
		return x.cutBy(ctx, nil, "client", src.err)
	case errors.As(src.err, &cut):
		return x.cutBy(ctx, nil, cut.by, src.err)
	}
	x.finish(head.Status)
	return nil
}

var errUnread = errors.New("the request was not inspected")

// watchStream records the events of a stream as enforce would mask them, while the bytes pass. whole says that its last
// event has passed.
func (x *exchange) watchStream(src *source, m *events, coding string) (whole bool, err error) {
	next, done, err := decoded(src, coding)
	if err != nil {
		return false, err
	}
	defer done()
	x.beginOriginal(m)
	for {
		p, rerr := next()
		x.keep(p)
		err := x.inspect("reply", func() error { return m.step(p, rerr) })
		whole = whole || m.final != nil
		m.out = append(m.out, m.final...)
		m.final = nil
		if len(m.out) > 0 {
			if rerr := x.recordEvent(m.out, len(m.out)); rerr != nil {
				x.f.o.Notice("record", rerr)
			}
			m.out, m.segs = m.out[:0], m.segs[:0]
		}
		if err != nil || errors.Is(rerr, llm.ErrNotInspected) {
			x.keptSoFar(rerr)
		}
		if err != nil {
			return whole, err
		}
		if rerr != nil {
			if errors.Is(rerr, io.EOF) {
				return whole, nil
			}
			return whole, rerr
		}
	}
}

// watchWhole records a reply as enforce would mask it, while the bytes pass.
func (x *exchange) watchWhole(ctx context.Context, src *source, coding string, kind form) error {
	body, _, err := x.readWhole(src, coding)
	if err != nil {
		return err
	}
	return x.inspect("reply", func() error {
		now, changed, err := x.processWhole(ctx, body, kind)
		if err != nil {
			return err
		}
		if changed {
			body = now
		}
		if len(body) > 0 {
			return x.recordEvent(body, len(body))
		}
		return nil
	})
}
