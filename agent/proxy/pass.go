// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// pass dials the original destination, unless up is that connection already, and relays bytes unread. io.Copy between
// two TCP sockets is splice(2): the bytes do not enter this process.
func (c *conn) pass(pre []byte, up net.Conn) {
	if up == nil {
		var err error
		if up, err = c.dial(c.ctx); err != nil {
			c.undialled(err)
			return
		}
	}
	c.s.passed.Add(1)
	sent, received := c.relay(c.tcp, up, pre)
	c.recordPassed(sent, received)
}

func (c *conn) recordPassed(sent, received int64) {
	kind := "passed"
	if c.ech && !strings.Contains(c.route.Reason, "ECH") {
		c.route.Reason = strings.TrimPrefix(c.route.Reason+"; the ClientHello may hide another name (ECH)", "; ")
	}
	if c.route.Untrusted {
		kind = "untrusted"
	}
	c.record(kind, c.route.Reason, sent, received)
}

// undialled ends a connection whose destination cannot be reached: the application sees a reset.
func (c *conn) undialled(err error) {
	c.s.passed.Add(1)
	c.record("passed", "the destination could not be reached: "+err.Error(), 0, 0)
	_ = c.tcp.SetLinger(0)
}

// dial opens the original destination.
func (c *conn) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.s.o.DialTimeout)
	defer cancel()
	return c.s.o.Dial(ctx, c.rec)
}

// relay copies in both directions until both are done, first pre upward. It closes up. A half that ends is closed for
// writing on the other side; a half that breaks breaks both.
func (c *conn) relay(client, up net.Conn, pre []byte) (sent, received int64) {
	abort := func() {
		reset(client)
		reset(up)
	}
	stop := context.AfterFunc(c.ctx, abort)
	defer stop()
	var down sync.WaitGroup
	down.Go(func() {
		var err error
		if received, err = io.Copy(client, up); err != nil || closeWrite(client) != nil {
			abort()
		}
	})
	n, err := up.Write(pre)
	sent = int64(n)
	if err == nil {
		var k int64
		k, err = io.Copy(up, client)
		sent += k
	}
	if err != nil || closeWrite(up) != nil {
		abort()
	}
	down.Wait()
	_ = up.Close()
	return sent, received
}

// closeWrite tells the peer that nothing more comes.
func closeWrite(c net.Conn) error {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}

// reset closes a connection so that its peer cannot take what it got for everything.
func reset(c net.Conn) {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn() // without a close_notify
	}
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}

// speaker relays what a server says while its client is still silent.
type speaker struct {
	c     *conn
	route Route
	up    net.Conn
	done  chan struct{}
	n     int64
	err   error // why it ended: nil at the server's end, a deadline if it was stopped
}

// speak dials the destination and lets the server talk. Nil if it cannot be reached.
func (c *conn) speak(r Route) *speaker {
	up, err := c.dial(c.ctx)
	if err != nil {
		c.route = r
		c.undialled(err)
		return nil
	}
	sp := &speaker{c: c, route: r, up: up, done: make(chan struct{})}
	c.helper.Go(func() {
		defer close(sp.done)
		stop := context.AfterFunc(c.ctx, func() { _ = up.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		sp.n, sp.err = io.Copy(c.tcp, up)
	})
	return sp
}

// hold stops the server's side; bytes that it did not take yet stay in the socket.
func (sp *speaker) hold() {
	_ = sp.up.SetReadDeadline(time.Unix(1, 0))
	<-sp.done
	_ = sp.up.SetReadDeadline(time.Time{})
}

// stop ends it.
func (sp *speaker) stop() {
	sp.hold()
	_ = sp.up.Close()
}

// spoken decides on the first bytes of a client whose server could speak first. true: the server is out of play and
// the connection goes on as any other.
func (c *conn) spoken(sp *speaker, pre []byte, tls bool) bool {
	sp.hold()
	c.route = c.s.o.Router.Route(c.rec, &c.workload, c.sni, tls)
	switch {
	case c.route.Disposition == Pass && !c.unreadable() && !c.hides():
		if sp.err == nil { // the server has ended its half already
			_ = c.tcp.CloseWrite()
		}
		c.s.passed.Add(1)
		sent, received := c.relay(c.tcp, sp.up, pre)
		c.recordPassed(sent, received+sp.n)
		return false
	case c.route.Disposition == Terminate && sp.n == 0 && quiet(sp.up), c.unreadable(), c.route.Disposition == Pass:
		_ = sp.up.Close()
		return true
	}
	_ = sp.up.Close()
	reason := c.route.Reason
	if c.route.Disposition == Terminate {
		reason = "the server spoke before the application's TLS or HTTP began"
	}
	c.refuse(reason)
	return false
}

// finishEarly ends a connection on which only the server spoke. The client has closed its half, or failed.
func (c *conn) finishEarly(sp *speaker) {
	c.s.passed.Add(1)
	_ = closeWrite(sp.up)
	select {
	case <-sp.done:
	case <-c.ctx.Done():
		<-sp.done
	}
	_ = sp.up.Close()
	if sp.err != nil && !errors.Is(sp.err, io.EOF) {
		_ = c.tcp.SetLinger(0)
	}
	c.recordPassed(0, sp.n)
}
