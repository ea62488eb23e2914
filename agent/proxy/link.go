// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"time"
)

// link is a connection's way to its provider over HTTP/1.1: at most one upstream connection at a time, borrowed from the
// pool for one exchange, or kept if nobody is known to share it with.
type link struct {
	c          *conn
	at         place // see place
	shares     bool
	up         *upstream
	credential string       // with which up was used, or is about to be
	dialled    chan dialled // from begin; nil once received
}

type dialled struct {
	up  *upstream
	err error
}

// newLink is made once it is known who calls and where to.
func newLink(c *conn) link {
	l := link{c: c}
	if p := &c.principal; p.SPIFFEID != "" || p.User != "" {
		l.at = place{netns: c.netns, dest: c.rec.Orig, host: c.host(), principal: p.SPIFFEID + "\x00" + p.User}
		l.shares = true
	}
	return l
}

// place names this connection's corner of the pool, as the roots are now; ok is false if it has none: who is not known
// shares with nobody.
func (l *link) place() (at place, ok bool) {
	if !l.shares {
		return place{}, false
	}
	if !l.c.route.Plain {
		conf, err := l.c.config(h1only)
		if err != nil {
			return place{}, false // dialling says why
		}
		l.at.conf = conf
	}
	return l.at, true
}

// begin dials ahead, unless the pool is likely to have what is needed.
func (l *link) begin() {
	if l.up != nil { // brought along
		return
	}
	if at, ok := l.place(); ok && l.c.s.pool.has(at) {
		return
	}
	ch := make(chan dialled, 1)
	l.dialled = ch
	l.c.helper.Go(func() {
		up, err := l.c.open(l.c.ctx, h1only)
		ch <- dialled{up, err}
	})
}

// open returns a connection that is ready for a request with this credential.
func (l *link) open(ctx context.Context, credential string) (*upstream, error) {
	if l.dialled != nil {
		select {
		case d := <-l.dialled:
			l.dialled = nil
			l.up, l.credential = d.up, credential
			if d.err != nil {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if l.up != nil && (l.up.used && l.credential != credential || !l.up.fresh()) {
		l.discard()
	}
	l.credential = credential
	if l.up == nil {
		if at, ok := l.place(); ok {
			for up := l.c.s.pool.take(at, credential); up != nil; up = l.c.s.pool.take(at, credential) {
				up.bind(l.c)
				if up.fresh() {
					l.up = up
					return up, nil
				}
				up.close(&l.c.s.bufs)
			}
		}
		return l.dial(ctx)
	}
	return l.up, nil
}

// dial opens a connection that nobody has used.
func (l *link) dial(ctx context.Context) (*upstream, error) {
	up, err := l.c.open(ctx, h1only)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
		return nil, err
	}
	l.up = up
	return up, nil
}

// alone returns a connection that has carried nothing.
func (l *link) alone(ctx context.Context) (*upstream, error) {
	if l.dialled != nil {
		if _, err := l.open(ctx, ""); err != nil {
			return nil, err
		}
	}
	if l.up != nil && !l.up.used && l.up.fresh() {
		return l.up, nil
	}
	l.discard()
	return l.dial(ctx)
}

// rest ends an exchange that left the connection fit for another one.
func (l *link) rest() {
	l.up.idle = time.Now()
	if !l.shares {
		if l.up.r, l.up.w = 0, 0; len(l.up.buf) > firstReply {
			l.up.free(&l.c.s.bufs)
		}
		return
	}
	up := l.up
	if !up.stop() { // it is being closed
		l.discard()
		return
	}
	up.free(&l.c.s.bufs)
	up.stop = nil
	l.up = nil
	at := l.at
	at.conf = up.conf
	if !l.c.s.pool.put(at, l.credential, up) {
		up.close(&l.c.s.bufs)
	}
}

// idle gives the buffer back of a connection that is kept between two exchanges.
func (l *link) idle() {
	if l.up != nil && l.up.w == l.up.r {
		l.up.free(&l.c.s.bufs)
	}
}

// discard closes the connection.
func (l *link) discard() {
	if l.up != nil {
		l.up.close(&l.c.s.bufs)
		l.up = nil
	}
}

// give hands the connection over.
func (l *link) give() {
	l.up.stop()
	l.up.free(&l.c.s.bufs)
	l.up = nil
}

// end closes what there is.
func (l *link) end() {
	if l.dialled != nil {
		l.c.cancel(nil)
		if d := <-l.dialled; d.up != nil {
			l.up = d.up
		}
		l.dialled = nil
	}
	l.discard()
}
