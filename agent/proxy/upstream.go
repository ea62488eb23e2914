// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// The kinds of UpstreamError.
const (
	FailDial    = "dial"    // no TCP connection
	FailTLS     = "tls"     // the handshake failed, but not over the certificate
	FailVerify  = "verify"  // the server's certificate is not valid for the name
	FailTimeout = "timeout" // it took longer than Options.DialTimeout, or than Options.UpstreamTimeout for a reply
	FailWrite   = "write"   // the connection broke before the request was sent
	FailReply   = "reply"   // it broke, or the reply is malformed, before the reply's head was complete
)

// UpstreamError is why Send got no reply.
type UpstreamError struct {
	Kind string
	Err  error
}

func (e *UpstreamError) Error() string { return "upstream " + e.Kind + ": " + e.Err.Error() }

func (e *UpstreamError) Unwrap() error { return e.Err }

// Failure is the kind, for those who do not import this package.
func (e *UpstreamError) Failure() string { return e.Kind }

// upstreams makes the TLS configurations toward providers, one for each name and set of roots, so that sessions are
// resumed only under the roots under which they were made.
type upstreams struct {
	mu   sync.Mutex
	tls  map[upstreamKey]*tls.Config
	root *x509.CertPool // the pool that Roots gave last
}

type upstreamKey struct {
	host, offer string
	ca          [sha256.Size]byte
}

// The protocols that are offered to a provider, by ALPN.
const (
	h1only = "http/1.1"
	h2only = "h2"
	either = "h2,http/1.1"
)

// config returns the configuration for one name and what is offered to it. ca replaces the system's roots unless it is
// empty; key.ca is its digest.
func (u *upstreams) config(key upstreamKey, ca []byte, roots func() (*x509.CertPool, error)) (*tls.Config, error) {
	var pool *x509.CertPool
	if len(ca) == 0 {
		var err error
		if pool, err = roots(); err != nil {
			return nil, err
		}
		if pool == nil {
			return nil, errors.New("no roots to verify the server with")
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(ca) == 0 && pool != u.root || len(u.tls) > 1024 {
		u.tls, u.root = nil, pool // other roots, or names without end
	}
	if c := u.tls[key]; c != nil {
		return c, nil
	}
	if pool == nil {
		pool = x509.NewCertPool()
		if !pool.AppendCertsFromPEM(ca) {
			return nil, errors.New("the endpoint's upstream_ca holds no certificate")
		}
	}
	c := &tls.Config{
		ServerName: key.host, RootCAs: pool, MinVersion: tls.VersionTLS12, NextProtos: strings.Split(key.offer, ","),
		ClientSessionCache: tls.NewLRUClientSessionCache(64), DynamicRecordSizingDisabled: true,
	}
	if u.tls == nil {
		u.tls = map[upstreamKey]*tls.Config{}
	}
	u.tls[key] = c
	return c, nil
}

// upstream is one connection to a provider.
type upstream struct {
	tcp  *counted
	nc   net.Conn
	conf *tls.Config // nil without TLS
	stop func() bool // of what closes it with the application's connection; nil in the pool
	buf  []byte
	r, w int
	one  [1]byte   // see await
	used bool      // it has carried an exchange
	by   time.Time // the deadline for reading that patient has set
	byW  time.Time // the same for writing
	idle time.Time // since when it is not in use
}

// counted counts what the kernel took, and notices the end of the stream beneath the TLS.
type counted struct {
	net.Conn
	out int64
	eof bool
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out += int64(n)
	return n, err
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, io.EOF) {
		c.eof = true
	}
	return n, err
}

// CloseWrite ends our half, if the connection has halves.
func (c *counted) CloseWrite() error { return closeWrite(c.Conn) }

// SetLinger is that of the socket.
func (c *counted) SetLinger(sec int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(sec)
	}
	return nil
}

func failure(ctx context.Context, kind string, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		kind = FailTimeout
	}
	return &UpstreamError{kind, err}
}

var errStalled = errors.New("the provider sent nothing for as long as proxy.upstream_timeout allows")

// patient gives the server that long to send something. The deadline is renewed only now and then: that costs as much as a
// small read.
func (u *upstream) patient(d time.Duration) {
	if now := time.Now(); u.by.Sub(now) < d-d/4 {
		u.by = now.Add(d)
		_ = u.tcp.SetReadDeadline(u.by)
	}
}

// impatient sets another deadline for reading, or none.
func (u *upstream) impatient(t time.Time) {
	u.by = time.Time{}
	_ = u.tcp.SetReadDeadline(t)
}

// writePiece is how much the server has to take in time.
const writePiece = 256 << 10

// write sends b. Of each piece the server has to take something in time.
func (u *upstream) write(b []byte, d time.Duration) error {
	for len(b) > 0 {
		if now := time.Now(); u.byW.Sub(now) < d-d/4 {
			u.byW = now.Add(d)
			if err := u.tcp.SetWriteDeadline(u.byW); err != nil {
				return err
			}
		}
		n, err := u.nc.Write(b[:min(len(b), writePiece)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// close ends it. Bytes that were read from it are no longer valid.
func (u *upstream) close(b *buffers) {
	if u.stop != nil {
		u.stop()
	}
	_ = u.tcp.Close()
	u.free(b)
}

// bind makes the end of the application's connection close it.
func (u *upstream) bind(c *conn) {
	u.stop = context.AfterFunc(c.ctx, func() { _ = u.tcp.Close() })
}

// h2 tells whether the server chose HTTP/2.
func (u *upstream) h2() bool {
	tc, ok := u.nc.(*tls.Conn)
	return ok && tc.ConnectionState().NegotiatedProtocol == h2only
}

// free gives the buffer back.
func (u *upstream) free(b *buffers) {
	if u.buf != nil {
		b.put(u.buf)
	}
	u.buf, u.r, u.w = nil, 0, 0
}

// newFor is how long a connection that was dialled ahead needs no check.
const newFor = 100 * time.Millisecond

// fresh tells whether a connection may carry an exchange: nothing has come since it was opened or last used, and the
// other side is still there.
func (u *upstream) fresh() bool {
	age := time.Since(u.idle)
	if !u.used && age < newFor {
		return true
	}
	if age > maxIdle || u.w > u.r {
		return false
	}
	if _, ok := u.nc.(*tls.Conn); ok {
		// What crypto/tls holds already is read without asking the kernel. Of a connection that was never read from, the
		// server's session tickets are still in the socket: they are taken out first, so that their place is quiet.
		probe := time.Unix(1, 0)
		if !u.used {
			probe = time.Now().Add(time.Millisecond)
		}
		u.impatient(probe)
		var b [1]byte
		n, err := u.nc.Read(b[:])
		u.impatient(time.Time{})
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	return quiet(u.tcp.Conn)
}
