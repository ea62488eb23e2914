// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy/http1"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// session is what the exchanges of one terminated connection share.
type session struct {
	c      *conn
	in     *input
	out    *output
	link   link
	head   http1.Head // of the request
	from   http1.Head // of the reply
	prints fingerprinter
	watch  watcher
	n      int // exchanges so far
}

// exchanges serves one request after the other.
func (c *conn) exchanges(in *input) {
	x := &session{c: c, in: in, out: &output{nc: in.nc, bufs: &c.s.bufs, stall: c.s.o.StallTimeout}}
	x.link = newLink(c)
	x.link.up, c.ahead = c.ahead, nil
	x.prints.key = c.s.o.FingerprintKey
	defer func() {
		x.watch.disarm(c.lookout, c.tcp)
		_ = c.tcp.Close() // ends a late flush, if there is one
		x.out.end()
		x.link.end()
		x.prints.end()
		in.free()
	}()
	x.link.begin() // dialling and the upstream's TLS overlap the decision
	for x.next() {
	}
	if x.n == 0 && c.ctx.Err() == nil {
		c.record("unused", "the application closed it before a request", 0, 0)
	}
}

// next serves one request. It is false after the last one.
func (x *session) next() bool {
	size, err := x.readHead()
	if err != nil {
		return x.headFailed(err)
	}
	x.n++
	raw := x.in.buf[:size]
	if err := x.head.Request(raw); err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, http1.ErrExpectation) {
			status = http.StatusExpectationFailed
		}
		return x.reject(status, err.Error())
	}
	if x.head.Upgrade {
		return x.reject(http.StatusForbidden, "a change of protocol is not inspected, and refused")
	}
	if why := x.misdirected(raw); why != "" {
		return x.reject(http.StatusMisdirectedRequest, why)
	}
	return x.serve(raw)
}

// readHead waits for a request and returns the size of its head, which lies at the front of the buffer.
func (x *session) readHead() (int, error) {
	if err := x.first(); err != nil {
		return 0, err
	}
	if !x.c.wait(0) {
		return 0, io.EOF
	}
	for seen, timed := 0, false; ; {
		size, err := http1.End(x.in.buf[:x.in.w], seen)
		if err == nil && size == 0 && x.in.w > x.c.s.o.MaxHead || size > x.c.s.o.MaxHead {
			err = http1.ErrTooLarge
		}
		if err != nil {
			return 0, err
		}
		if size > 0 {
			return size, x.c.tcp.SetReadDeadline(time.Time{})
		}
		if !timed {
			timed = true
			_ = x.c.tcp.SetReadDeadline(time.Now().Add(x.c.s.o.HeadTimeout))
		}
		seen = x.in.w
		if err := x.in.fill(0); err != nil {
			return 0, fmt.Errorf("%w in a request head", err)
		}
	}
}

// restAfter is how long a connection keeps its buffers for the next request. It costs less than to give them back and to
// take new ones each time; who is idle for longer gets by without.
const restAfter = time.Second

// first waits until there is something of a request.
func (x *session) first() error {
	if x.in.w > 0 {
		if !x.c.wait(x.c.s.o.IdleTimeout) {
			return io.EOF
		}
		return nil
	}
	left := x.c.s.o.IdleTimeout
	keep := min(restAfter, left/2)
	if !x.c.wait(keep) {
		return io.EOF
	}
	if err := x.in.fill(0); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if x.c.s.draining.Load() {
		return io.EOF
	}
	x.in.err = nil
	x.in.free()
	x.link.idle()
	if !x.c.wait(left - keep) {
		return io.EOF
	}
	return x.in.await()
}

// headFailed ends a connection without a further request.
func (x *session) headFailed(err error) bool {
	var syntax http1.Error
	if errors.As(err, &syntax) {
		x.n++
		status := http.StatusBadRequest
		if errors.Is(err, http1.ErrTooLarge) {
			status = http.StatusRequestHeaderFieldsTooLarge
		}
		return x.reject(status, err.Error())
	}
	if x.in.w == 0 {
		_ = x.in.nc.Close() // with a close_notify: no reply is missing
	}
	return false
}

// misdirected says why a request is not for this connection's endpoint (RFC 9110 section 7.4).
func (x *session) misdirected(raw []byte) string {
	h := &x.head
	scheme := "https"
	if x.c.route.Plain {
		scheme = "http"
	}
	target := h.Target.Of(raw)
	if authority, ok := http1.Authority(target); ok && target[0] != '/' {
		got, _, _ := strings.Cut(string(target), ":")
		if !strings.EqualFold(got, scheme) || !x.c.ours(authority) {
			return "the target names another host than the TLS connection"
		}
	}
	if h.Host < 0 { // HTTP/1.0
		return "the request names no host"
	}
	if !x.c.ours(string(h.Fields[h.Host].Value.Of(raw))) {
		return "Host names another host than the TLS connection"
	}
	return ""
}

// ours tells whether an authority is this connection's endpoint.
func (c *conn) ours(authority string) bool {
	name, want := authority, c.host()
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		port, err := strconv.ParseUint(authority[i+1:], 10, 16)
		if err != nil || uint16(port) != c.rec.Orig.Port() && uint16(port) != c.route.Endpoint.Port {
			return false
		}
		name = authority[:i]
	}
	return strings.EqualFold(name, want)
}

// reject answers a request that no handler sees, and closes the connection. In observe mode nothing is rejected: the
// connection is relayed unread from here on.
func (x *session) reject(status int, reason string) bool {
	if x.c.route.Mode == pipeline.ModeObserve {
		x.relayUnread(reason)
		return false
	}
	return x.refuse(status, reason)
}

// refuse is reject in any mode.
func (x *session) refuse(status int, reason string) bool {
	c := x.c
	c.s.denied.Add(1)
	c.record("refused", reason, 0, 0)
	body := "[sallyport] " + reason + "\n"
	text := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\nx-should-retry: false\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
	if x.out.write([]byte(text), false) == nil {
		x.linger()
	}
	return false
}

// lingerFor is how long what a client still sends is read after the last reply, so that no reset overtakes it.
const lingerFor = time.Second

func (x *session) linger() {
	if closeWrite(x.in.nc) != nil || x.in.nc != net.Conn(x.c.tcp) && x.c.tcp.CloseWrite() != nil {
		return
	}
	_ = x.c.tcp.SetReadDeadline(time.Now().Add(lingerFor))
	_, _ = io.CopyN(io.Discard, x.c.tcp, 1<<20)
}

// relayUnread connects the application with the upstream server from here on. The bytes of the request go first.
func (x *session) relayUnread(reason string) {
	c := x.c
	up, err := x.link.alone(c.ctx)
	if err != nil {
		c.s.o.Notice("relay", err)
		return
	}
	_ = c.tcp.SetDeadline(time.Time{}) // of reading a head, and of the replies so far
	x.link.give()                      // relay closes it
	sent, received := c.relay(x.in.nc, up.nc, x.in.buf[:x.in.w])
	c.record("passed", "not inspected: "+reason, sent, received)
}

// serve hands one request to the handler.
func (x *session) serve(raw []byte) bool {
	c := x.c
	e := &exchange{x: x, size: len(raw)}
	e.begin(raw)
	m := &pipeline.Meta{
		Flow: c.id, Scope: c.route.Scope, Mode: c.route.Mode, Workload: c.workload, Principal: c.principal, Endpoint: c.route.Endpoint,
		Start: time.Now(),
	}
	e.meta = m
	err := c.s.o.Handler.Serve(c.ctx, m, e, e)
	x.watch.disarm(c.lookout, c.tcp)
	defer func() {
		if e.kept != nil {
			c.s.bufs.put(e.kept)
		}
		c.s.crowd.release(c.route.Scope, e.held+e.waits)
	}()
	if e.reply != nil {
		_ = e.reply.Close()
	}
	if err == nil {
		err = e.finish()
	}
	if err != nil && e.bad != nil && !e.begun {
		return x.refuse(http.StatusBadRequest, e.bad.Error())
	}
	if err != nil {
		e.fail(err)
		return false
	}
	switch {
	case e.framing == http1.UntilClose, e.closing, x.head.Close, !e.whole:
		x.close(!e.whole)
		return false
	}
	x.in.drop(e.after)
	return c.ctx.Err() == nil
}

// close ends the connection after a complete reply.
func (x *session) close(unread bool) {
	if unread {
		x.linger()
		return
	}
	_ = x.in.nc.Close()
}
