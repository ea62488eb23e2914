// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/proxy/hello"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// conn is one connection of an application. Its goroutine owns everything but what mu guards.
type conn struct {
	s       *Server
	tcp     *net.TCPConn
	netns   uint64
	lookout *lookout
	ctx     context.Context // ends with the connection
	cancel  context.CancelCauseFunc
	helper  sync.WaitGroup // goroutines of this connection

	id        string
	rec       agent.Conn
	workload  pipeline.Workload
	principal pipeline.Principal
	sni       string
	alpn      []string // what the client offers
	ech       bool     // it may hide another name
	hello     error    // why the ClientHello cannot be read
	route     Route
	digest    sync.Once         // of ca
	ca        [sha256.Size]byte // digest of route.UpstreamCA
	inside    bool              // counted in the scope's crowd
	ahead     *upstream         // to the provider, if it was dialled before the application's TLS was opened

	mu       sync.Mutex
	idle     bool   // waiting for a request; may be closed at any time
	asked    bool   // a request has begun to come
	draining func() // for connections that know themselves how to end
}

// newFlowID makes the name of a connection.
func newFlowID() string {
	id, err := uuid.NewV7()
	if err != nil { // no randomness: nothing could be trusted any more
		panic(err)
	}
	return "flw_" + id.String()
}

// run takes the connection from accept to its end. Its frame and those below it stay on the stack of each idle connection,
// and stacks double: what is large is in functions that return before.
func (c *conn) run() {
	defer c.leave()
	if in := c.enter(); in != nil {
		c.exchanges(in)
	}
}

// leave takes the connection out of its scope's crowd, if it got in.
func (c *conn) leave() {
	if c.inside {
		c.s.crowd.leave(c.route.Scope)
	}
}

// enter finds out who calls whom and does what the route says. It returns where exchanges are to be read from; nil if the
// connection is done with.
func (c *conn) enter() *input {
	rec, err := c.s.o.Origins.Take(c.netns, c.tcp)
	if err != nil {
		c.s.missed.Add(1)
		c.s.misses.add(c.netns)
		if !errors.Is(err, ErrNoRecord) {
			c.s.o.Notice("origin", err)
		}
		return nil
	}
	c.rec, c.id = rec, newFlowID()
	c.identify()

	pre, tls, ok := c.peek()
	if ok {
		c.route = c.s.o.Router.Route(c.rec, &c.workload, c.sni, tls)
		c.inside = c.s.crowd.enter(c.route.Scope, c.s.o.MaxConns)
		switch r := &c.route; {
		case !c.inside && r.Mode == pipeline.ModeEnforce:
			c.refuse(fmt.Sprintf("the scope has %d connections open: close some, or split the scope", c.s.o.MaxConns))
		case !c.inside:
			c.pass(pre, nil)
		case c.unreadable():
			c.refuse(c.hello.Error())
		case r.Disposition == Pass && c.hides():
			c.refuse("an encrypted ClientHello at a provider's address hides where the connection goes: switch ECH off in the application")
		case r.Disposition == Pass:
			c.pass(pre, nil)
		case r.Disposition == Terminate && r.Plain == tls:
			c.refuse("the endpoint is configured with the opposite of what the application speaks: TLS or plain HTTP")
		case r.Disposition == Terminate:
			return c.terminate(pre) // it took the buffer
		default:
			c.refuse(r.Reason)
		}
	}
	c.s.bufs.put(pre)
	return nil
}

// unreadable tells whether a ClientHello that we cannot read ends the connection. Another reader may find a name in it
// that we do not: only scopes that enforce nothing let it pass.
func (c *conn) unreadable() bool {
	return c.hello != nil && (c.route.Disposition != Pass || c.route.Mode == pipeline.ModeEnforce)
}

// hides tells whether a connection of an enforcing scope might reach a provider under a name that only the provider can
// read (RFC 9849). A provider's own name on the outside is terminated like any other.
func (c *conn) hides() bool {
	return c.ech && c.route.Mode == pipeline.ModeEnforce && c.s.learned.at(c.netns, c.rec.Orig)
}

// identifyTimeout bounds the reading of /proc and the like.
const identifyTimeout = 5 * time.Second

// identify finds out who calls. Who cannot be found is nobody: the workload keeps what the kernel knew for certain, the
// principal stays empty and matches no binding.
func (c *conn) identify() {
	ctx, cancel := context.WithTimeout(c.ctx, identifyTimeout)
	defer cancel()
	w, p, err := c.s.o.Identifier.Identify(ctx, c.rec.Proc)
	if err != nil {
		c.s.o.Notice("identify", err)
		k := &c.rec.Proc
		w = pipeline.Workload{PID: k.TGID, Start: k.Start, Comm: k.Comm, UID: k.UID, LoginUID: k.LoginUID}
		p = pipeline.Principal{}
	}
	c.workload, c.principal = w, p
}

// A ClientHello is read into firstPeek bytes, and into maxPeek if it is longer.
const (
	firstPeek = 4 << 10
	maxPeek   = 32 << 10
)

// peek reads the client's first bytes: a whole ClientHello, or enough to know that there is none. If the client waits for
// the server to speak, the server speaks, if the router lets it. ok is false if the connection is over. pre is one of the
// server's buffers, whatever happens.
func (c *conn) peek() (pre []byte, tls, ok bool) {
	buf, n := c.s.bufs.get(firstPeek), 0
	var early *speaker
	defer func() {
		if early != nil && !ok {
			early.stop()
		}
	}()
	start := time.Now()
	_ = c.tcp.SetReadDeadline(start.Add(c.s.o.Silence))
	for silent := true; ; {
		k, err := c.tcp.Read(buf[n:])
		n += k
		if n == 0 && silent && errors.Is(err, os.ErrDeadlineExceeded) {
			silent = false
			deadline := start.Add(c.s.o.HandshakeTimeout)
			if r := c.s.o.Router.Route(c.rec, &c.workload, "", false); r.Disposition == Pass {
				if early = c.speak(r); early == nil {
					return buf, false, false
				}
				deadline = time.Time{} // the server may speak for as long as it likes
			}
			_ = c.tcp.SetReadDeadline(deadline)
			continue
		}
		if n == 0 && err != nil {
			c.silent(early)
			return buf, false, false
		}
		info, herr := hello.Parse(buf[:n])
		if errors.Is(herr, hello.ErrMore) && err == nil && n < maxPeek {
			if n == len(buf) {
				buf = c.s.bufs.grow(buf, n, 2*n)
			}
			if silent || early != nil {
				silent = false
				_ = c.tcp.SetReadDeadline(time.Now().Add(c.s.o.HandshakeTimeout))
			}
			continue
		}
		_ = c.tcp.SetReadDeadline(time.Time{})
		tls = !errors.Is(herr, hello.ErrNotTLS)
		if tls {
			c.hello = herr
		}
		c.sni, c.alpn, c.ech = info.ServerName, info.ALPN, info.ECH
		if early != nil {
			return buf[:n], tls, c.spoken(early, buf[:n], tls)
		}
		return buf[:n], tls, true
	}
}

// silent ends a connection whose client never said anything: a port scan, an unused connection, or one that only listened.
func (c *conn) silent(early *speaker) {
	if early != nil {
		c.route = early.route
		c.finishEarly(early)
		return
	}
	c.record("unused", "closed before the application said anything", 0, 0)
}

// refuse closes the connection and records why.
func (c *conn) refuse(reason string) {
	c.s.denied.Add(1)
	kind := "refused"
	if c.route.Untrusted {
		kind = "untrusted"
	}
	c.record(kind, reason, 0, 0)
	_ = c.tcp.SetLinger(0)
}

// record writes a connection without recorded exchanges down.
func (c *conn) record(disposition, reason string, up, down int64) {
	c.s.ledger(pipeline.Flow{
		ID: c.id, Disposition: disposition, Reason: reason, Scope: c.route.Scope, Mode: c.route.Mode, Workload: c.workload, Principal: c.principal,
		SNI: c.sni, Dest: c.rec.Orig.String(), BytesUp: up, BytesDown: down,
	})
}

// cut ends the connection at once, from any goroutine.
func (c *conn) cut() {
	c.cancel(nil)
	_ = c.tcp.SetLinger(0)
	_ = c.tcp.Close()
}

// end closes what is left open and waits for the helpers.
func (c *conn) end() {
	c.cancel(nil)
	_ = c.tcp.Close()
	c.helper.Wait()
}

// How long a drain waits for a request: on a connection that was made just before, and on one that is kept. What is under way when
// we close is lost, and its application gets an error that is none of its own; so it is answered, and told with the reply that
// the connection ends.
const (
	firstRequest = time.Second
	lastRequest  = 250 * time.Millisecond
)

// lastChance is how long a request may take to come now. c.mu is held.
func (c *conn) lastChance() time.Duration {
	if c.asked {
		return lastRequest
	}
	return firstRequest
}

// drain closes the connection soon if it waits for a request; otherwise it ends with its exchange, or soon after.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle {
		_ = c.tcp.SetReadDeadline(time.Now().Add(c.lastChance()))
	}
	if c.draining != nil {
		c.draining()
		c.draining = nil
	}
}

// onDrain calls f, which must not block, when the server drains; false if that is already so.
func (c *conn) onDrain(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.draining.Load() {
		return false
	}
	c.draining = f
	return true
}

// wait marks the connection idle for as long as a read may take now, or busy if that is 0; it is false if the connection
// is to end instead.
func (c *conn) wait(idle time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	draining := c.s.draining.Load()
	if c.ctx.Err() != nil {
		return false
	}
	if idle > 0 {
		if draining {
			idle = min(idle, c.lastChance())
		}
		_ = c.tcp.SetReadDeadline(time.Now().Add(idle))
	}
	c.idle, c.asked = idle > 0, c.asked || idle == 0
	return true
}
