// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy/http1"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// exchange is one request and its reply: the pipeline.Client and the pipeline.Upstream of one Serve.
type exchange struct {
	x    *session
	meta *pipeline.Meta

	// The request.
	size     int // of the head, at the front of the input buffer
	body     int // bytes of the body after it, transfer coding removed
	head     pipeline.Head
	secrets  secrets
	whole    bool           // the body was read to its end
	over     bool           // it was found too large: Send relays what the handler did not see
	held     int64          // bytes of the request that count for the scope
	waits    int64          // the same of the reply
	kept     []byte         // the input buffer in which the body lies, if input has another one now
	after    int            // bytes of the input up to the end of the message, once whole
	dec      *http1.Decoder // of a request in chunks
	chunks   []int          // the sizes of its chunks
	told     bool           // 100 Continue was sent
	released bool           // the request is not in the input any more
	reply    *reply         // the last one
	heads    [2]http1.Head  // scratch for edits
	framing  http1.Framing  // of what goes to the application
	left     int64          // if counted
	begun    bool           // Respond was called
	closing  bool           // the reply says that the connection ends
	failed   error          // a write failed
	bad      error          // why the body cannot be read in one way only
	by       time.Time      // the deadline for reading the body that is set
}

// begin cuts the credentials out of the head.
func (e *exchange) begin(raw []byte) {
	h := &e.x.head
	target, s := e.x.prints.cut(h, raw)
	e.secrets = s
	e.head = pipeline.Head{Method: method(h.Method.Of(raw)), Target: target, Fields: h.Visible(raw), Credential: s.print}
	if f, _ := h.RequestBody(); f == http1.NoBody {
		e.whole, e.after = true, e.size
	} else if f == http1.InChunks {
		e.dec = new(http1.Decoder)
	}
}

// method keeps the usual methods out of the heap.
func method(b []byte) string {
	switch string(b) {
	case http.MethodPost:
		return http.MethodPost
	case http.MethodGet:
		return http.MethodGet
	}
	return string(b)
}

// Head implements pipeline.Client. Its fields are never used again after the exchange.
func (e *exchange) Head() pipeline.Head { return e.head }

// Body implements pipeline.Client.
func (e *exchange) Body(ctx context.Context, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in := e.x.in
	why := error(pipeline.ErrBodyTooLarge)
	if !e.whole && !e.over {
		if err := e.proceed(); err != nil {
			return nil, err
		}
		stop := e.x.c.interrupt(ctx)
		err := e.readBody(limit)
		stop()
		e.unhurried()
		if err != nil && !errors.Is(err, pipeline.ErrBodyTooLarge) {
			var syntax http1.Error
			if errors.As(err, &syntax) {
				e.bad = syntax
			}
			if cerr := ctx.Err(); cerr != nil {
				err = cerr
			}
			return nil, fmt.Errorf("read request body: %w", err)
		}
		if err != nil {
			why = err
		}
	}
	b := in.buf[e.size : e.size+e.body : e.size+e.body]
	if e.over || int64(len(b)) > limit {
		e.over = true
		return b[:min(limit, int64(len(b)))], why
	}
	e.watch()
	return b, nil
}

// Release implements pipeline.Releaser. What follows the request in the input stays.
func (e *exchange) Release() {
	in := e.x.in
	if e.released || !e.whole || e.over || e.reply == nil {
		return
	}
	e.released = true
	e.x.c.s.crowd.release(e.x.c.route.Scope, e.held)
	old, rest := in.buf, in.buf[e.after:in.w]
	in.buf, in.w = nil, 0
	if len(rest) > 0 {
		in.buf = in.bufs.get(max(len(rest), firstBuffer))
		in.w = copy(in.buf, rest)
	}
	in.bufs.put(old)
	e.held, e.size, e.body, e.after = 0, 0, 0, 0
}

// watch begins to look out for the application's end.
func (e *exchange) watch() {
	if e.whole && e.x.in.err == nil {
		c := e.x.c
		e.x.watch.arm(c.lookout, c.tcp, func() { c.cancel(pipeline.ErrClientGone) })
	}
}

// proceed asks for the body, if the application waits to be asked.
func (e *exchange) proceed() error {
	if !e.x.head.Continue || e.told || e.x.in.w > e.size {
		return nil
	}
	e.told = true
	return e.x.out.write([]byte("HTTP/1.1 100 Continue\r\n\r\n"), false)
}

// upfront is how much memory an announced length gets before its bytes come.
const upfront = 2 << 20

// readBody reads until the body is whole, or longer than limit.
func (e *exchange) readBody(limit int64) error {
	in := e.x.in
	if e.dec != nil {
		return e.readChunks(limit)
	}
	_, n := e.x.head.RequestBody()
	want := min(n, limit)
	for int64(in.w-e.size) < want {
		// As much as fits in what is usual at once, more only as it really comes.
		room := e.size + int(min(want, upfront))
		if in.w >= room {
			room = e.size + int(min(want, 2*int64(in.w)))
		}
		if !e.x.c.hold(&e.held, room) {
			e.body = in.w - e.size
			e.over = true
			return errNoRoom
		}
		if err := e.more(room); err != nil {
			return err
		}
	}
	e.body = int(want)
	if n > limit {
		e.over = true
		return pipeline.ErrBodyTooLarge
	}
	e.whole, e.after = true, e.size+e.body
	return nil
}

// readChunks removes the transfer coding in place: the payload moves to the end of what is there of the body.
func (e *exchange) readChunks(limit int64) error {
	in := e.x.in
	at := e.size // where the coded bytes begin; the payload ends at e.size+e.body
	for {
		p, err := e.dec.Next(in.buf[at:in.w], false)
		if err == nil && p.Size == 0 && p.Need > upfront { // too large to wait for the whole of it
			p, err = e.dec.Next(in.buf[at:in.w], true)
		}
		if err != nil {
			return err
		}
		if n := p.Data.End - p.Data.Start; n > 0 && !p.Last {
			copy(in.buf[e.size+e.body:], in.buf[at+p.Data.Start:at+p.Data.End])
			e.body += n
			if len(e.chunks) < maxChunks {
				e.chunks = append(e.chunks, n)
			}
		}
		at += p.Size
		switch {
		case p.Last:
			e.whole, e.after = true, at
			return nil
		case p.Size > 0:
		default:
			// What was decoded is out of the way: close the gap before reading on.
			if end := e.size + e.body; at > end {
				copy(in.buf[end:], in.buf[at:in.w])
				in.w -= at - end
				at = end
			}
			room := max(in.w+4<<10, at+p.Need)
			if !e.x.c.hold(&e.held, room) {
				e.over = true
				return errNoRoom
			}
			if err := e.more(room); err != nil {
				return err
			}
		}
		if int64(e.body) > limit {
			// The rest is relayed from where we are.
			end := e.size + e.body
			copy(in.buf[end:], in.buf[at:in.w])
			in.w -= at - end
			e.over = true
			return pipeline.ErrBodyTooLarge
		}
	}
}

// maxChunks is how many chunks of a request keep their sizes: what follows them goes on as one chunk. Without a bound the
// sizes of small ones would take more memory than the body.
const maxChunks = 1024

var errSlow = errors.New("the application sent nothing of its request for as long as proxy.stall allows")

// more reads more of the body, for which the application has a limited time.
func (e *exchange) more(room int) error {
	c := e.x.c
	limit := c.s.o.StallTimeout
	if now := time.Now(); e.by.Sub(now) < limit-limit/4 {
		e.by = now.Add(limit)
		_ = c.tcp.SetReadDeadline(e.by)
	}
	err := e.x.in.fill(room)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSlow
	}
	return short(err)
}

// unhurried takes the deadline back: from now on the application may be silent.
func (e *exchange) unhurried() {
	if !e.by.IsZero() {
		e.by = time.Time{}
		_ = e.x.c.tcp.SetReadDeadline(time.Time{})
	}
}

func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Respond implements pipeline.Client.
func (e *exchange) Respond(h pipeline.Head) error {
	if e.begun {
		return errors.New("proxy: the reply has begun already")
	}
	if h.Status < 200 || h.Status > 999 {
		return fmt.Errorf("proxy: %d is no status of a reply", h.Status)
	}
	if e.x.c.s.draining.Load() { // the application is told, or it might send the next request while we close
		h = h.Clone()
		h.Set("Connection", "close")
	}
	var raw []byte
	head := &e.heads[0]
	if r := e.reply; r != nil && r.same(&h) {
		raw, head = r.raw, r.h
	} else {
		old, oldRaw := &http1.Head{}, []byte(nil)
		reason := h.Reason
		if r != nil {
			old, oldRaw = r.h, r.raw
		}
		if reason == "" && (r == nil || h.Status != r.h.Status) {
			reason = http.StatusText(h.Status)
		}
		var err error
		if raw, err = old.AppendReply(nil, oldRaw, h.Status, reason, h.Fields, head); err != nil {
			return fmt.Errorf("proxy: reply head: %w", err)
		}
	}
	if err := e.permitted(head); err != nil {
		return err
	}
	e.begun = true
	e.framing, e.left = head.ReplyBody(e.head.Method)
	e.closing = head.Close
	return e.keep(e.x.out.write(raw, true))
}

// permitted refuses heads whose end the application could not find.
func (e *exchange) permitted(h *http1.Head) error {
	if h.Upgrade && h.Status == http.StatusSwitchingProtocols || h.Chunked && e.x.head.Minor == 0 {
		return fmt.Errorf("proxy: reply head: %w", http1.ErrCoding)
	}
	return nil
}

var errTooLong = errors.New("proxy: more bytes than Content-Length announced")

// Write implements pipeline.Client.
func (e *exchange) Write(b []byte) error {
	if !e.begun {
		return errors.New("proxy: Write before Respond")
	}
	if e.failed != nil {
		return e.failed
	}
	if len(b) == 0 {
		return nil
	}
	hold := e.reply != nil && e.reply.more()
	if e.reply != nil {
		e.reply.kept = 0
	}
	switch e.framing {
	case http1.NoBody:
		return nil // to HEAD the same body belongs, which is not sent
	case http1.Counted:
		if int64(len(b)) > e.left {
			return e.keep(errTooLong)
		}
		e.left -= int64(len(b))
	case http1.InChunks:
		if raw := e.reply.wire(b); raw != nil {
			return e.keep(e.x.out.write(raw, hold))
		}
		return e.keep(e.x.out.chunk(b, hold))
	}
	return e.keep(e.x.out.write(b, hold))
}

// keep remembers the first error.
func (e *exchange) keep(err error) error {
	if err != nil && e.failed == nil {
		e.failed = fmt.Errorf("write to the application: %w", err)
		return e.failed
	}
	return err
}

var errIncomplete = errors.New("proxy: the handler ended before its reply did")

// finish ends a reply that the handler calls complete.
func (e *exchange) finish() error {
	switch {
	case !e.begun:
		return errors.New("proxy: the handler gave no reply")
	case e.failed != nil:
		return e.failed
	case e.framing == http1.Counted && e.left > 0:
		return errIncomplete
	case e.framing == http1.InChunks:
		end := []byte(http1.LastChunk)
		if r := e.reply; r != nil && r.trailer != "" && e.meta.Mode == pipeline.ModeObserve {
			end = []byte("0\r\n" + r.trailer + "\r\n")
		}
		return e.keep(e.x.out.write(end, false))
	}
	return e.keep(e.x.out.flush())
}

// fail ends a connection whose reply is not complete, so that it cannot be taken for one. What was released before
// still arrives.
func (e *exchange) fail(err error) {
	c := e.x.c
	if errors.Is(err, errIncomplete) || !e.begun && e.failed == nil && c.ctx.Err() == nil && e.reply == nil {
		c.s.o.Notice("exchange", err)
	}
	_ = e.x.out.flush()
	if e.begun && e.framing == http1.UntilClose {
		_ = c.tcp.SetLinger(0)
	}
	_ = c.tcp.Close() // without a close_notify
}
