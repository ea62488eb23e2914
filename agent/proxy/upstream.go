// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// The kinds of UpstreamError.
const (
	FailDial    = "dial"    // no TCP connection
	FailTLS     = "tls"     // the handshake failed, but not over the certificate
	FailVerify  = "verify"  // the server's certificate is not valid for the name
	FailTimeout = "timeout" // it took longer than Options.DialTimeout
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
	host string
	ca   [sha256.Size]byte
}

// config returns the configuration for one name.
func (u *upstreams) config(host string, ca []byte, roots func() (*x509.CertPool, error)) (*tls.Config, error) {
	key := upstreamKey{host: host}
	var pool *x509.CertPool
	if len(ca) > 0 {
		key.ca = sha256.Sum256(ca)
	} else {
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
		ServerName: host, RootCAs: pool, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
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
	stop func() bool // of what closes it with the application's connection
	buf  []byte
	r, w int
	used bool      // it has carried an exchange
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

// open dials the original destination and opens the TLS.
func (c *conn) open(ctx context.Context) (*upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, c.s.o.DialTimeout)
	defer cancel()
	raw, err := c.s.o.Dial(ctx, c.rec)
	if err != nil {
		return nil, failure(ctx, FailDial, err)
	}
	u := &upstream{tcp: &counted{Conn: raw}}
	u.nc = u.tcp
	if !c.route.Plain {
		conf, err := c.s.up.config(c.host(), c.route.UpstreamCA, c.s.o.Roots)
		if err != nil {
			_ = raw.Close()
			return nil, &UpstreamError{FailVerify, err}
		}
		tc := tls.Client(u.tcp, conf)
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			var bad *tls.CertificateVerificationError
			kind := FailTLS
			if errors.As(err, &bad) {
				kind = FailVerify
			}
			return nil, failure(ctx, kind, err)
		}
		u.nc = tc
	}
	u.idle = time.Now()
	u.stop = context.AfterFunc(c.ctx, func() { _ = raw.Close() })
	return u, nil
}

func failure(ctx context.Context, kind string, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		kind = FailTimeout
	}
	return &UpstreamError{kind, err}
}

// close ends it. Bytes that were read from it are no longer valid.
func (u *upstream) close(b *buffers) {
	if u.stop != nil {
		u.stop()
	}
	_ = u.tcp.Close()
	u.free(b)
}

// free gives the buffer back.
func (u *upstream) free(b *buffers) {
	if u.buf != nil {
		b.put(u.buf)
	}
	u.buf, u.r, u.w = nil, 0, 0
}

// maxIdle is how long an unused upstream connection is kept: longer, and middle boxes have forgotten it.
const maxIdle = 90 * time.Second

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
		_ = u.tcp.SetReadDeadline(probe)
		var b [1]byte
		n, err := u.nc.Read(b[:])
		_ = u.tcp.SetReadDeadline(time.Time{})
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	return quiet(u.tcp.Conn)
}

// link is a connection's way to its provider: at most one upstream connection at a time.
type link struct {
	c       *conn
	up      *upstream
	dialled chan dialled // from begin; nil once received
}

type dialled struct {
	up  *upstream
	err error
}

// begin dials ahead.
func (l *link) begin() {
	ch := make(chan dialled, 1)
	l.dialled = ch
	l.c.helper.Go(func() {
		up, err := l.c.open(l.c.ctx)
		ch <- dialled{up, err}
	})
}

// open returns a connection that is ready for a request.
func (l *link) open(ctx context.Context) (*upstream, error) {
	if l.dialled != nil {
		select {
		case d := <-l.dialled:
			l.dialled = nil
			l.up = d.up
			if d.err != nil {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if l.up != nil && !l.up.fresh() {
		l.discard()
	}
	if l.up == nil {
		up, err := l.c.open(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w (%w)", ctx.Err(), err)
			}
			return nil, err
		}
		l.up = up
	}
	return l.up, nil
}

// discard closes the connection.
func (l *link) discard() {
	if l.up != nil {
		l.up.close(&l.c.s.bufs)
		l.up = nil
	}
}

// rest gives the connection's buffer back between two exchanges.
func (l *link) rest() {
	if l.up != nil && l.up.w == l.up.r {
		l.up.free(&l.c.s.bufs)
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
		l.c.cancel()
		if d := <-l.dialled; d.up != nil {
			l.up = d.up
		}
		l.dialled = nil
	}
	l.discard()
}
