// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// HTTP/2 (RFC 9113) is spoken with an application only if its provider chose it too: what comes in as HTTP/2 goes out as
// HTTP/2, so that no request is ever translated into HTTP/1.1, where a field may come to mean the end of a body. The
// framing on both sides is net/http's, the code that golang.org/x/net/http2 now points to.

// Bounds of one HTTP/2 connection.
const (
	h2Streams   = 250     // at a time
	h2Window    = 1 << 20 // bytes of request body that wait to be read, of one stream and of all
	h2PingAfter = 30 * time.Second
)

// session2 is what the exchanges of one HTTP/2 connection share.
type session2 struct {
	c *conn

	mu      sync.Mutex
	ended   bool
	n       int // exchanges so far
	running sync.WaitGroup
	client  *client2 // to the provider; nil after it failed
	dialing sync.Mutex
}

// client2 is an HTTP/2 connection to the provider.
type client2 struct {
	up *upstream
	cc *http.ClientConn
	tr *http.Transport
}

// choose finds out what the provider speaks, for an application that would like HTTP/2. If the provider cannot be
// reached, that is told the application later, over HTTP/1.1.
func (c *conn) choose() *upstream {
	up, err := c.open(c.ctx, either)
	if err != nil {
		return nil
	}
	return up
}

// exchanges2 serves requests until the connection ends. up was opened by choose.
func (c *conn) exchanges2(tc *tls.Conn, up *upstream) {
	x := &session2{c: c}
	defer x.end()
	if cl, err := newClient2(c.ctx, up, c.s.o.MaxHead); err == nil {
		x.client = cl
	} else {
		up.close(&c.s.bufs)
	}
	l := &oneConn{conn: tc, closed: make(chan struct{})}
	var once sync.Once
	srv := &http.Server{
		Handler: x, ErrorLog: log.New(io.Discard, "", 0), MaxHeaderBytes: c.s.o.MaxHead, IdleTimeout: c.s.o.IdleTimeout,
		BaseContext: func(net.Listener) context.Context { return c.ctx },
		ConnState: func(_ net.Conn, st http.ConnState) {
			if st == http.StateClosed {
				once.Do(func() { close(l.closed) })
			}
		},
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: h2Streams, MaxReceiveBufferPerStream: h2Window, MaxReceiveBufferPerConnection: h2Window,
			WriteByteTimeout: c.s.o.StallTimeout,
		},
		Protocols: new(http.Protocols),
	}
	srv.Protocols.SetHTTP2(true)
	drain, served := make(chan struct{}), make(chan struct{})
	if !c.onDrain(func() { close(drain) }) {
		return
	}
	var drainer sync.WaitGroup
	drainer.Go(func() {
		select {
		case <-drain:
			_ = srv.Shutdown(c.ctx) // says GOAWAY, and waits for the streams
		case <-served:
		}
	})
	_ = srv.Serve(l) // it always fails, with the end of the listener
	if c.ctx.Err() == nil {
		select { // Shutdown closes the listener before the streams have ended
		case <-l.closed:
		case <-c.ctx.Done():
		}
	}
	close(served)
	drainer.Wait()
	x.mu.Lock()
	unused := x.n == 0
	x.mu.Unlock()
	if unused && c.ctx.Err() == nil {
		c.record("unused", "the application closed it before a request", 0, 0)
	}
}

// end waits for the exchanges, and closes the connection to the provider.
func (x *session2) end() {
	_ = x.c.tcp.Close()
	x.mu.Lock()
	x.ended = true
	x.mu.Unlock()
	x.running.Wait()
	if x.client != nil {
		x.client.close(&x.c.s.bufs)
	}
}

// enter begins an exchange, unless the connection has ended.
func (x *session2) enter() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return false
	}
	x.n++
	x.running.Add(1)
	return true
}

// newClient2 speaks HTTP/2 on a connection whose server chose it. It owns up.
func newClient2(ctx context.Context, up *upstream, maxHead int) (*client2, error) {
	cl := &client2{up: up}
	cl.tr = &http.Transport{
		DialTLSContext:     func(context.Context, string, string) (net.Conn, error) { return up.nc, nil },
		DisableCompression: true, MaxResponseHeaderBytes: int64(maxHead), Protocols: new(http.Protocols),
		HTTP2: &http.HTTP2Config{SendPingTimeout: h2PingAfter, StrictMaxConcurrentRequests: true},
	}
	cl.tr.Protocols.SetHTTP2(true)
	var err error
	cl.cc, err = cl.tr.NewClientConn(ctx, "https", "provider:443") // an address that is never looked up
	return cl, err
}

func (cl *client2) close(b *buffers) {
	_ = cl.cc.Close()
	cl.up.close(b)
}

// provider returns the connection to the provider, a new one if the last has failed or the server wants no more on it.
func (x *session2) provider(ctx context.Context) (*client2, error) {
	x.dialing.Lock()
	defer x.dialing.Unlock()
	if cl := x.client; cl != nil {
		if cl.cc.Err() == nil {
			return cl, nil
		}
		x.client = nil
		// Its last exchanges may still run: it ends with the application's connection, or with the server's.
		x.c.helper.Go(func() {
			for range 2 {
				if cl.cc.InFlight() == 0 {
					break
				}
				select {
				case <-x.c.ctx.Done():
				case <-time.After(maxIdle):
				}
			}
			cl.close(&x.c.s.bufs)
		})
	}
	up, err := x.c.open(ctx, h2only)
	if err != nil {
		return nil, err
	}
	if !up.h2() {
		up.close(&x.c.s.bufs)
		return nil, &UpstreamError{FailTLS, errors.New("the server no longer speaks HTTP/2")}
	}
	cl, err := newClient2(ctx, up, x.c.s.o.MaxHead)
	if err != nil {
		up.close(&x.c.s.bufs)
		return nil, failure(ctx, FailDial, err)
	}
	x.client = cl
	return cl, nil
}

// ServeHTTP serves one request. A reply that is not complete ends with RST_STREAM, which no client takes for its end.
func (x *session2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !x.enter() {
		panic(http.ErrAbortHandler)
	}
	defer x.running.Done()
	c := x.c
	e := newExchange2(x, w, r)
	defer e.free()
	observed := c.route.Mode == pipeline.ModeObserve
	if status, why := x.unfit(r); status != 0 {
		if !observed {
			x.reject(w, status, why)
			return
		}
		c.record("passed", "not inspected: "+why, 0, 0)
		x.conclude(e, e.relay(r.Context()))
		return
	}
	// Ends with the stream, like the request's own, and says why.
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	stop := context.AfterFunc(r.Context(), func() {
		if c.ctx.Err() == nil {
			cancel(pipeline.ErrClientGone)
		}
	})
	defer stop()
	x.conclude(e, c.s.o.Handler.Serve(ctx, e.meta, e, e))
}

// conclude ends a stream: nil is a complete reply.
func (x *session2) conclude(e *exchange2, err error) {
	if e.reply != nil {
		_ = e.reply.Close()
	}
	if err == nil {
		err = e.finish()
	}
	if err == nil {
		return
	}
	if errors.Is(err, errIncomplete) || !e.begun && e.reply == nil && x.c.ctx.Err() == nil && e.r.Context().Err() == nil {
		x.c.s.o.Notice("exchange", err)
	}
	panic(http.ErrAbortHandler)
}

// unfit says why a request is refused unseen; 0 if it is not. RFC 9113 section 8.3.1: Host, if there is one, says the
// same as :authority.
func (x *session2) unfit(r *http.Request) (status int, why string) {
	switch {
	case r.ProtoMajor != 2:
		return http.StatusHTTPVersionNotSupported, "HTTP/2 was agreed on"
	case r.Method == http.MethodConnect:
		return http.StatusForbidden, "a tunnel is not inspected, and refused"
	case !strings.HasPrefix(r.RequestURI, "/") && (r.RequestURI != "*" || r.Method != http.MethodOptions):
		return http.StatusBadRequest, "the path does not begin with /"
	case r.Host == "":
		return http.StatusMisdirectedRequest, "the request names no host"
	case !x.c.ours(r.Host):
		return http.StatusMisdirectedRequest, ":authority names another host than the TLS connection"
	}
	for _, h := range r.Header["Host"] {
		if !strings.EqualFold(h, r.Host) {
			return http.StatusBadRequest, "Host and :authority differ"
		}
	}
	return 0, ""
}

// reject answers a request that no handler sees.
func (x *session2) reject(w http.ResponseWriter, status int, reason string) {
	x.c.s.denied.Add(1)
	x.c.record("refused", reason, 0, 0)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Should-Retry", "false")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "[sallyport] %s\n", reason)
}

// oneConn is a listener that accepts one connection, and fails once that has ended.
type oneConn struct {
	mu     sync.Mutex
	conn   net.Conn
	closed chan struct{} // the connection has ended
}

func (l *oneConn) Accept() (net.Conn, error) {
	l.mu.Lock()
	nc := l.conn
	l.conn = nil
	l.mu.Unlock()
	if nc != nil {
		return nc, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

// Close does nothing: the connection goes on until its exchanges have ended.
func (l *oneConn) Close() error { return nil }

func (l *oneConn) Addr() net.Addr { return oneAddr{} }

type oneAddr struct{}

func (oneAddr) Network() string { return "tcp" }
func (oneAddr) String() string  { return "one connection" }

// wants tells whether an application offers HTTP/2.
func (c *conn) wantsH2() bool { return slices.Contains(c.alpn, h2only) }
