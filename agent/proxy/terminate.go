// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// prefixed is a connection whose first bytes were read already.
type prefixed struct {
	*net.TCPConn
	pre []byte
	c   *conn
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.pre) > 0 {
		n := copy(b, p.pre)
		p.pre = p.pre[n:]
		return n, nil
	}
	return p.TCPConn.Read(b)
}

// certificate picks the leaf for a connection of ours. What crypto/tls read from the ClientHello must be what the router
// decided on.
func certificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	p, ok := h.Conn.(*prefixed)
	if !ok {
		return nil, errors.New("proxy: unknown connection")
	}
	if !strings.EqualFold(h.ServerName, p.c.sni) {
		return nil, errTwoNames
	}
	return p.c.s.o.Certs.Leaf(p.c.ctx, p.c.host())
}

var errTwoNames = errors.New("proxy: two readings of the server name")

// host is the name of the endpoint on this connection.
func (c *conn) host() string {
	if c.sni != "" {
		return c.sni
	}
	return strings.ToLower(c.route.Endpoint.Host)
}

// Distrust tells whether a failed handshake means that the application does not trust our root. What a Go server sees
// differs by client: OpenSSL 3 from Python encrypts its alert under keys that the server does not have yet ("bad record
// MAC"); Go, Java and the rest send an alert about the certificate. Node closes without a word: see Silent.
func Distrust(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Err == nil {
		return false
	}
	switch alert := op.Err.Error(); op.Op {
	case "local error":
		return alert == "tls: bad record MAC"
	case "remote error":
		switch alert {
		case "tls: bad certificate", "tls: unknown certificate authority", "tls: unknown certificate", "tls: unsupported certificate",
			"tls: expired certificate", "tls: revoked certificate":
			return true
		}
	}
	return false
}

// Silent tells whether the application closed in the middle of the handshake without saying why: distrust, or somebody
// who went away.
func Silent(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// terminate opens the TLS, unless the endpoint is plain, and returns where exchanges are to be read from; nil if it
// failed. It owns pre.
func (c *conn) terminate(pre []byte) *input {
	in := &input{bufs: &c.s.bufs}
	if c.route.Plain {
		in.nc, in.buf, in.w = c.tcp, pre[:cap(pre)], len(pre)
		c.s.proxied.Add(1)
		return in
	}
	conf := c.s.tls
	var up *upstream
	if c.wantsH2() { // what it gets depends on the provider
		if up = c.choose(); up != nil && up.h2() {
			conf = c.s.tls2
		}
		defer func() {
			if up != nil {
				up.close(&c.s.bufs)
			}
		}()
	}
	first := &prefixed{TCPConn: c.tcp, pre: pre, c: c}
	tc := tls.Server(first, conf)
	_ = c.tcp.SetDeadline(time.Now().Add(c.s.o.HandshakeTimeout))
	err := tc.Handshake()
	first.pre = nil // crypto/tls has read all of it, or never will
	c.s.bufs.put(pre)
	if err == nil && !strings.EqualFold(tc.ConnectionState().ServerName, c.sni) {
		err = errTwoNames
	}
	kind, mend := "refused", ""
	if c.ctx.Err() == nil { // a handshake that we cut ourselves says nothing about trust
		if untrusted, how := c.s.o.Router.Handshake(c.rec, c.host(), err); untrusted {
			kind, mend = "untrusted", ": "+how
		}
	}
	if err != nil {
		c.s.denied.Add(1)
		c.record(kind, fmt.Sprintf("TLS handshake with the application: %v%s", err, mend), 0, 0)
		return nil
	}
	_ = c.tcp.SetDeadline(time.Time{})
	c.s.proxied.Add(1)
	mine := up
	up = nil
	if tc.ConnectionState().NegotiatedProtocol == h2only {
		c.exchanges2(tc, mine)
		return nil
	}
	in.nc = tc
	c.ahead = mine
	return in
}
