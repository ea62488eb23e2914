// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
)

// Options are what a Server needs. The interfaces may not be nil, but for Credentials; the rest has defaults.
type Options struct {
	Origins     Origins
	Identifier  Identifier
	Router      Router
	Certs       Certs
	Credentials Credentials
	Handler     Handler
	Ledger      Ledger
	Addresses   Addresses // may be nil

	// Roots are the certificates that may vouch for an upstream server: the system's, less our own. Asked for each new
	// upstream connection; a new pool ends the use of sessions made under the old one.
	Roots func() (*x509.CertPool, error)
	// Dial opens the connection to the original destination, from the client's network namespace. Nil: from ours.
	Dial func(context.Context, agent.Conn) (net.Conn, error)
	// FingerprintKey keys the fingerprints of credentials. Nil: random, so that they cannot be compared between starts.
	FingerprintKey []byte
	// Accepting is called at least each half second while accept loops run and none of them hangs: the agent's heartbeat.
	Accepting func()
	// Notice is told of failures that nobody else sees. Errors hold no content. May be nil.
	Notice func(stage string, err error)

	MaxHead          int           // bytes; 64 KiB
	HeadTimeout      time.Duration // from the first byte of a head to its last; 15 s
	HandshakeTimeout time.Duration // from accept to the end of the TLS handshake; 15 s
	IdleTimeout      time.Duration // between requests; 10 min
	DialTimeout      time.Duration // TCP and TLS upstream; 30 s
	Silence          time.Duration // after which a client is taken to wait for the server; 200 ms
	StallTimeout     time.Duration // an application that does not read its reply for so long, or sends nothing of a body, is cut, perhaps a quarter sooner; 5 min
	UpstreamTimeout  time.Duration // a provider that owes a reply and sends nothing for so long, or takes nothing of the request, is given up, perhaps a quarter sooner; 30 min
	MaxConns         int           // connections of one scope at a time: those beyond are refused in enforce, relayed unread else; 20,000
	MaxMemory        int64         // bytes held at a time for one scope, of bodies that are read whole; what is beyond is taken for too large; 1 GiB
}

// Stats are counters since the start, in connections. Each that was seen is proxied, passed, denied or missed, unless it
// was closed before that was decided; a proxied one on which a request was rejected is denied as well.
type Stats struct {
	Seen    int64 // accepted
	Proxied int64 // terminated, handshake complete
	Passed  int64 // relayed unread
	Denied  int64 // refused
	Missed  int64 // closed for want of a record
	Active  int64 // open now
}

// Server is the proxy. Make it with New, run it with Serve, end it with Shutdown.
type Server struct {
	o         Options
	tls, tls2 *tls.Config // toward applications: for HTTP/1.1, for HTTP/2
	up        upstreams
	pool      pool
	learned   learned
	bufs      buffers
	misses    misses
	tally     tally
	crowd     crowd

	seen, proxied, passed, denied, missed, active atomic.Int64

	ready    chan struct{}
	readied  sync.Once
	draining atomic.Bool
	serving  sync.WaitGroup // calls of Serve

	mu        sync.Mutex
	listeners map[*net.TCPListener]struct{} // not those that were dismissed
	first     *service                      // the first call of Serve that runs: to it belongs what Attend adds
	early     []waiting                     // what Attend was given before
	conns     map[*conn]struct{}
}

// New checks the options.
func New(o Options) (*Server, error) {
	if o.Origins == nil || o.Identifier == nil || o.Router == nil || o.Certs == nil || o.Handler == nil || o.Ledger == nil || o.Roots == nil {
		return nil, errors.New("proxy: origins, identifier, router, certs, handler, ledger and roots are all needed")
	}
	if o.Dial == nil {
		o.Dial = dialOriginal
	}
	if o.Accepting == nil {
		o.Accepting = func() {}
	}
	if o.Notice == nil {
		o.Notice = func(string, error) {}
	}
	if len(o.FingerprintKey) == 0 {
		o.FingerprintKey = make([]byte, 32)
		if _, err := rand.Read(o.FingerprintKey); err != nil {
			return nil, fmt.Errorf("proxy: make a fingerprint key: %w", err)
		}
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 20_000
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = 1 << 30
	}
	if o.MaxHead <= 0 {
		o.MaxHead = 64 << 10
	}
	for _, d := range []struct {
		at   *time.Duration
		used time.Duration
	}{
		{&o.HeadTimeout, 15 * time.Second}, {&o.HandshakeTimeout, 15 * time.Second}, {&o.IdleTimeout, 10 * time.Minute},
		{&o.DialTimeout, 30 * time.Second}, {&o.Silence, 200 * time.Millisecond},
		{&o.StallTimeout, 5 * time.Minute}, {&o.UpstreamTimeout, 30 * time.Minute},
	} {
		if *d.at <= 0 {
			*d.at = d.used
		}
	}
	s := &Server{o: o, ready: make(chan struct{}), listeners: map[*net.TCPListener]struct{}{}, conns: map[*conn]struct{}{}}
	s.tls = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: certificate,
		// The application is on this host: nothing that a quantum computer could record leaves it, and the hybrid
		// exchange costs half a millisecond for each connection.
		CurvePreferences:            []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},
		DynamicRecordSizingDisabled: true,
	}
	s.tls2 = s.tls.Clone()
	s.tls2.NextProtos = []string{h2only}
	return s, nil
}

// Ready is closed once an accept loop runs.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{Seen: s.seen.Load(), Proxied: s.proxied.Load(), Passed: s.passed.Load(), Denied: s.denied.Load(), Missed: s.missed.Load(), Active: s.active.Load()}
}

// Shutdown stops accepting, closes idle connections, and waits until running exchanges and relays have ended; when ctx
// ends it cuts what is left, and still waits. It returns ctx's error if something was cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	s.mu.Lock()
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	s.cut()
	<-ended
	return ctx.Err()
}

// cut ends all connections at once.
func (s *Server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.cut()
	}
}

// accepted is what the connections of one Serve share.
type accepted struct {
	conns   sync.WaitGroup
	lookout *lookout
}

// start gives a connection its goroutine.
func (s *Server) start(ctx context.Context, tcp *net.TCPConn, netns uint64, all *accepted) {
	c := &conn{s: s, tcp: tcp, netns: netns, lookout: all.lookout}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	s.seen.Add(1)
	s.active.Add(1)
	s.mu.Lock()
	s.conns[c] = struct{}{} // also if it was the last before a drain: it is served, and ends like the others
	s.mu.Unlock()
	if ctx.Err() != nil {
		c.cut()
	}
	all.conns.Go(func() {
		defer s.active.Add(-1)
		defer func() {
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
		defer c.end()
		defer func() {
			if p := recover(); p != nil {
				s.o.Notice("connection", fmt.Errorf("panic of type %T at %.2048s", p, debug.Stack()))
			}
		}()
		c.run()
	})
}

// misses counts connections without a record, for each network namespace.
type misses struct {
	mu sync.Mutex
	n  map[uint64]int64
}

func (m *misses) add(netns uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n == nil {
		m.n = map[uint64]int64{}
	}
	m.n[netns]++
}

func (m *misses) take() map[uint64]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.n
	m.n = nil
	return n
}
