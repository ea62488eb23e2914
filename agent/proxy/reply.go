// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy/http1"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// reply is the provider's answer to one Send.
type reply struct {
	e      *exchange
	up     *upstream // nil once it was let go
	method string    // of the request
	last   bool      // nothing may follow on this connection
	hurry  bool      // a deadline for the head is set already

	h       *http1.Head
	raw     []byte
	head    pipeline.Head
	framing http1.Framing
	left    int64

	dec     http1.Decoder
	part    bool   // a chunk is passed on in parts
	payload []byte // what Next returned last
	coded   []byte // the same as it came, if it was one whole chunk
	trailer string
	slow    bool  // it comes token by token
	kept    int   // bytes that the handler has and the application has not
	err     error // io.EOF at the end
}

// firstReply is the buffer of a reply; it grows with what comes at once.
const (
	firstReply = 4 << 10
	maxReply   = 64 << 10
)

// room makes sure that there is place for at least n bytes after r.
func (u *upstream) room(b *buffers, n int) {
	if u.buf == nil {
		u.buf = b.get(max(n, firstReply))
		return
	}
	if u.r > 0 {
		copy(u.buf, u.buf[u.r:u.w])
		u.r, u.w = 0, u.w-u.r
	}
	if n > len(u.buf) || u.w == len(u.buf) {
		u.buf = b.grow(u.buf, u.w, max(n, 2*len(u.buf)))
	}
}

// fill reads once.
func (r *reply) fill(n int) error {
	u := r.up
	u.room(&r.e.x.c.s.bufs, n)
	k, err := u.nc.Read(u.buf[u.w:])
	u.w += k
	if k > 0 {
		return nil
	}
	return err
}

// readHead reads up to the head of the final reply.
func (r *reply) readHead() error {
	limit := r.e.x.c.s.o.MaxHead
	interim := 0
	for seen := 0; ; {
		u := r.up
		size, err := http1.End(u.buf[u.r:u.w], seen)
		if err == nil && (size > limit || size == 0 && u.w-u.r > limit) {
			err = http1.ErrTooLarge
		}
		if err != nil {
			return err
		}
		if size == 0 {
			seen = u.w - u.r
			if !r.hurry {
				u.patient(r.e.x.c.s.o.UpstreamTimeout)
			}
			if err := r.fill(0); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					err = fmt.Errorf("%w: %w", errStalled, err)
				}
				return short(err)
			}
			continue
		}
		raw := u.buf[u.r : u.r+size]
		if err := r.h.Reply(raw); err != nil {
			return err
		}
		if r.h.Status == 101 {
			return errors.New("the server changed the protocol unasked")
		}
		u.r += size
		if r.h.Status < 200 {
			if interim += size; interim > limit {
				return errors.New("interim replies without end")
			}
			seen = 0
			continue
		}
		r.raw = append([]byte(nil), raw...)
		r.framing, r.left = r.h.ReplyBody(r.method)
		r.head = pipeline.Head{Status: r.h.Status, Reason: string(r.h.Reason.Of(raw)), Fields: r.h.Visible(raw)}
		if r.framing == http1.NoBody {
			r.err = io.EOF
		}
		return nil
	}
}

// same tells whether h is this reply's head, unchanged.
func (r *reply) same(h *pipeline.Head) bool {
	return h.Status == r.head.Status && h.Reason == r.head.Reason && slices.Equal(h.Fields, r.head.Fields)
}

// Head implements pipeline.Reply.
func (r *reply) Head() pipeline.Head { return r.head }

// more tells whether bytes of the reply are there that Next has not returned.
func (r *reply) more() bool { return r.up != nil && r.err == nil && r.up.w > r.up.r }

// wire returns the bytes in which b came, if b is what Next returned last and was a whole chunk.
func (r *reply) wire(b []byte) []byte {
	if r == nil || len(r.coded) == 0 || len(b) != len(r.payload) || &b[0] != &r.payload[0] {
		return nil
	}
	return r.coded
}

// Next implements pipeline.Reply.
func (r *reply) Next(ctx context.Context) ([]byte, error) {
	r.payload, r.coded = nil, nil
	if r.err != nil {
		return nil, r.err
	}
	if r.up == nil {
		return nil, os.ErrClosed
	}
	for {
		b, need, err := r.buffered()
		if len(b) > 0 || err != nil {
			r.err = err
			r.payload = b
			if len(b) > 0 {
				err = nil // it is returned the next time
				if r.kept += len(b); !r.e.x.c.hold(&r.e.waits, r.kept) {
					r.err, r.payload = errNoRoom, nil
					return nil, errNoRoom
				}
			}
			return b, err
		}
		if err := r.wait(ctx, need); err != nil {
			r.err = err
			return nil, err
		}
	}
}

// wait reads from the provider. Before it does, the application gets what it is due.
func (r *reply) wait(ctx context.Context, need int) error {
	_ = r.e.x.out.flush() // an error is returned by the next Write
	if err := ctx.Err(); err != nil {
		return err
	}
	// A chunk of which a part is here comes in a moment, or is passed on in parts.
	waiting := r.framing == http1.InChunks && need > 0 && !r.part
	if waiting && need > maxReply {
		r.part, waiting = true, false
		return nil
	}
	if waiting {
		r.up.impatient(time.Now().Add(chunkPatience))
	} else {
		r.up.patient(r.e.x.c.s.o.UpstreamTimeout)
	}
	stop := interruptUpstream(ctx, r.e.x.c, r.up)
	if !waiting {
		need = 0
	}
	before := time.Now()
	err := r.await()
	if err == nil {
		err = r.fill(need)
	}
	stop()
	r.slow = r.slow || time.Since(before) > slowReply
	if waiting {
		r.up.impatient(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			r.part = true
			return nil
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("reply: %w: %w", errStalled, err)
	case r.framing == http1.UntilClose && errors.Is(err, io.EOF) && (r.e.x.c.route.Plain || !r.up.tcp.eof):
		return io.EOF // with TLS only after a close_notify: else it may be cut
	}
	return fmt.Errorf("reply: %w", short(err))
}

// slowReply is how long a reply lets us wait that comes token by token.
const slowReply = 2 * time.Millisecond

// await lets a slow reply do without a buffer until the next chunk comes: it reads the first byte of it. More must follow, for
// no chunk is so short.
func (r *reply) await() error {
	u := r.up
	if !r.slow || r.framing != http1.InChunks || r.part || u.w > u.r {
		return nil
	}
	bufs := &r.e.x.c.s.bufs
	u.free(bufs)
	if k, err := u.nc.Read(u.one[:]); k == 0 {
		return err
	}
	u.room(bufs, 0)
	u.buf[0], u.w = u.one[0], 1
	return nil
}

// chunkPatience is how long the rest of a chunk is waited for.
const chunkPatience = 10 * time.Millisecond

// buffered takes what is there of the body. With nothing there, need is how many bytes it takes, if that is known.
// An error next to bytes belongs to what follows them.
func (r *reply) buffered() (b []byte, need int, err error) {
	u := r.up
	have := u.buf[u.r:u.w]
	switch r.framing {
	case http1.Counted:
		n := int(min(r.left, int64(len(have))))
		u.r += n
		r.left -= int64(n)
		if r.left == 0 {
			err = io.EOF
		}
		return have[:n], 0, err
	case http1.UntilClose:
		u.r = u.w
		return have, 0, nil
	}
	for {
		p, err := r.dec.Next(u.buf[u.r:u.w], r.part)
		if err != nil {
			return nil, 0, err
		}
		at := u.r
		u.r += p.Size
		if p.Last {
			r.trailer = string(u.buf[at+p.Data.Start : at+p.Data.End])
			return nil, 0, io.EOF
		}
		if p.Size == 0 {
			return nil, p.Need, nil
		}
		if p.Data.Start == p.Data.End {
			continue
		}
		r.part = false
		if p.Whole && (p.Bare || r.e.meta.Mode == pipeline.ModeObserve) {
			r.coded = u.buf[at : at+p.Size]
		}
		return u.buf[at+p.Data.Start : at+p.Data.End], 0, nil
	}
}

// Close implements pipeline.Reply.
func (r *reply) Close() error {
	u := r.up
	if u == nil {
		return nil
	}
	r.up, r.payload, r.coded = nil, nil, nil
	if r.err == nil {
		r.err = os.ErrClosed
	}
	if !errors.Is(r.err, io.EOF) || r.h.Close || r.last || r.framing == http1.UntilClose || u.w > u.r {
		r.e.x.link.discard()
		return nil
	}
	r.e.x.link.rest()
	return nil
}

var _ pipeline.Reply = (*reply)(nil)
