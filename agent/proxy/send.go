// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy/http1"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// Send implements pipeline.Upstream.
func (e *exchange) Send(ctx context.Context, h pipeline.Head, body []byte, credential string, durable <-chan error) (pipeline.Reply, error) {
	if e.released {
		return nil, errors.New("proxy: the request was released, it cannot be sent again")
	}
	if e.reply != nil {
		_ = e.reply.Close()
	}
	e.watch()
	if e.over {
		// What the handler saw goes first, with what was read beyond it.
		if len(body) > e.body || len(body) > 0 && &body[0] != &e.x.in.buf[e.size] {
			return nil, errors.New("proxy: a body that is too large can only be sent as it is")
		}
		body = e.x.in.buf[e.size : e.size+e.body]
	}
	e.heads[1] = http1.Head{Fields: e.heads[1].Fields[:0]}
	wire, rest, err := e.request(ctx, h, body, credential)
	if err != nil {
		return nil, err
	}
	closing := e.x.head.Close || e.heads[1].Close // then the server closes, whatever it says (RFC 9112 section 9.6)
	// Whoever sends another credential gets another connection.
	with := e.secrets.print + "\x00" + credential
	up, err := e.x.link.open(ctx, with)
	if err != nil {
		return nil, err
	}
	if durable != nil {
		select {
		case err := <-durable:
			if err != nil {
				return nil, fmt.Errorf("%w: %w", pipeline.ErrNotRecorded, err)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stop := interruptUpstream(ctx, e.x.c, up)
	before := up.tcp.out
	limit := e.x.c.s.o.UpstreamTimeout
	err = up.write(wire, limit)
	if err != nil && up.tcp.out == before && ctx.Err() == nil {
		// Not one byte left: the connection had died while it was idle. This is no repetition.
		stop()
		e.x.link.discard()
		if up, err = e.x.link.dial(ctx); err != nil {
			return nil, err
		}
		stop = interruptUpstream(ctx, e.x.c, up)
		err = up.write(wire, limit)
	}
	defer func() { stop() }()
	for _, b := range rest {
		if err == nil {
			err = up.write(b, limit)
		}
	}
	if err == nil && e.over && !e.whole {
		err = e.relayBody(up)
		e.unhurried()
	}
	r := &reply{e: e, up: up, method: h.Method, h: &e.x.from, last: closing}
	if err != nil {
		// The server may have answered before it had read everything, and closed, or reads no more.
		r.hurry = true
		up.impatient(time.Now().Add(time.Second))
		werr := err
		if err = r.readHead(); err != nil {
			e.x.link.discard()
			return nil, sendError(ctx, FailWrite, werr)
		}
		up.impatient(time.Time{})
		r.hurry, r.last = false, true
	} else if err := r.readHead(); err != nil {
		e.x.link.discard()
		return nil, sendError(ctx, FailReply, err)
	}
	up.used = true
	e.reply = r
	return r, nil
}

func sendError(ctx context.Context, kind string, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	return failure(ctx, kind, err)
}

// joined is up to how many bytes head and body are put into one piece for one write.
const joined = 64 << 10

// request makes the bytes that go upstream: wire first, then rest.
func (e *exchange) request(ctx context.Context, h pipeline.Head, body []byte, credential string) (wire []byte, rest [][]byte, err error) {
	in, old := e.x.in, &e.x.head
	raw := in.buf[:e.size]
	framing, n := old.RequestBody()
	original := len(body) == 0 && e.body == 0 || len(body) == e.body && &body[0] == &in.buf[e.size]
	if !e.over && framing != http1.InChunks && int64(len(body)) != max(n, 0) {
		// The framing is ours to keep: a body that was changed has another length.
		h = h.Clone()
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	head := raw
	edited := h.Method != e.head.Method || h.Target != e.head.Target || !slices.Equal(h.Fields, e.head.Fields)
	if edited || credential != "" {
		if head, err = e.edit(ctx, h, body, credential); err != nil {
			return nil, nil, err
		}
		framing, _ = e.heads[1].RequestBody()
	} else if framing != http1.InChunks && original {
		return in.buf[:e.size+len(body)], nil, nil // as it came
	}
	if framing == http1.InChunks {
		return e.rechunk(head, body), nil, nil
	}
	if len(head)+len(body) > joined {
		return head, [][]byte{body}, nil
	}
	return append(append(make([]byte, 0, len(head)+len(body)), head...), body...), nil, nil
}

// edit makes the head anew. The caller's credentials keep their places, or a named one takes theirs.
func (e *exchange) edit(ctx context.Context, h pipeline.Head, body []byte, credential string) ([]byte, error) {
	old, raw := e.x.head, e.x.in.buf[:e.size]
	target := h.Target
	if target == e.head.Target {
		target = string(old.Target.Of(raw))
	} else {
		target = unblank(target, e.secrets.target)
	}
	fields := h.Fields
	if credential != "" {
		if e.x.c.s.o.Credentials == nil {
			return nil, fmt.Errorf("proxy: no credential %q: none are configured", credential)
		}
		var err error
		if fields, err = e.apply(ctx, h, body, credential); err != nil {
			return nil, err
		}
		target = h.Target
		old.Fields = slices.Clone(old.Fields)
		for i := range old.Fields {
			old.Fields[i].Hidden = false
		}
	}
	out, err := old.AppendRequest(nil, raw, h.Method, target, fields, &e.heads[1])
	if err != nil {
		return nil, fmt.Errorf("proxy: request head: %w", err)
	}
	if got := &e.heads[1]; got.Upgrade || e.over && (got.Chunked != e.x.head.Chunked || got.Length != e.x.head.Length) {
		return nil, errors.New("proxy: request head: an edit may not change the protocol, nor the framing of a body that is not whole")
	}
	return out, nil
}

// apply replaces the caller's credentials by a named one.
func (e *exchange) apply(ctx context.Context, h pipeline.Head, body []byte, credential string) ([]pipeline.Field, error) {
	full, err := e.x.head.AppendRequest(nil, e.x.in.buf[:e.size], h.Method, h.Target, h.Fields, &e.heads[1])
	if err != nil {
		return nil, fmt.Errorf("proxy: request head: %w", err)
	}
	fields := e.heads[1].Visible(full)
	if err := e.x.c.s.o.Credentials.Apply(ctx, credential, e.meta, &fields, body); err != nil {
		return nil, fmt.Errorf("apply credential: %w", err)
	}
	return fields, nil
}

// rechunk puts a body back into chunks: those in which it came, if it still has its length.
func (e *exchange) rechunk(head, body []byte) []byte {
	out := append(make([]byte, 0, len(head)+len(body)+32+16*len(e.chunks)), head...)
	if len(body) == e.body {
		for _, n := range e.chunks {
			out = http1.AppendChunk(out, body[:n])
			body = body[n:]
		}
	}
	out = http1.AppendChunk(out, body)
	if e.whole || !e.over {
		out = append(out, http1.LastChunk...)
	}
	return out
}

// relayBody sends on what Body did not read, as it comes.
func (e *exchange) relayBody(up *upstream) error {
	in := e.x.in
	left := e.x.head.Length - int64(e.body)
	// The handler may still look at the first part: it stays where it is.
	e.kept = in.buf
	fresh := in.bufs.get(max(firstBuffer, in.w-e.size-e.body))
	in.w = copy(fresh, in.buf[e.size+e.body:in.w])
	in.buf = fresh
	var out []byte
	for {
		used := 0
		if e.dec == nil {
			used = int(min(left, int64(in.w)))
			left -= int64(used)
			out = append(out[:0], in.buf[:used]...)
			e.whole = left == 0
		} else {
			out = out[:0]
			for !e.whole {
				p, err := e.dec.Next(in.buf[used:in.w], true)
				if err != nil {
					return err
				}
				if !p.Last {
					out = http1.AppendChunk(out, in.buf[used+p.Data.Start:used+p.Data.End])
				} else {
					out = append(out, http1.LastChunk...)
				}
				used += p.Size
				e.whole = p.Last
				if p.Size == 0 && !p.Last {
					break
				}
			}
		}
		if len(out) > 0 {
			if err := up.write(out, e.x.c.s.o.UpstreamTimeout); err != nil {
				return err
			}
		}
		if used > 0 {
			in.drop(used)
		}
		if e.whole {
			e.after = 0
			return nil
		}
		if err := e.more(in.w + 16<<10); err != nil {
			return err
		}
	}
}

// interruptUpstream makes the end of ctx end what is going on with up. The end of the connection's own context does so
// anyway.
func interruptUpstream(ctx context.Context, c *conn, up *upstream) func() bool {
	if ctx.Done() == nil || ctx.Done() == c.ctx.Done() {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { _ = up.tcp.Close() })
}

// interrupt makes the end of ctx end a read from the application. The end of the connection's own context does so
// anyway.
func (c *conn) interrupt(ctx context.Context) func() bool {
	if ctx.Done() == nil || ctx.Done() == c.ctx.Done() {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { _ = c.tcp.Close() })
}
