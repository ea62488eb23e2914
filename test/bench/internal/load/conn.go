// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Dialer makes client connections to one target, directly, through an address
// override (a transparent proxy), or through an explicit CONNECT proxy.
type Dialer struct {
	Target   *url.URL
	Override string   // host:port really dialled in place of the target
	Proxy    *url.URL // explicit HTTP proxy, CONNECT
	TLS      *tls.Config
	Timeout  time.Duration
}

func (d *Dialer) hostPort() string {
	if d.Target.Port() != "" {
		return d.Target.Host
	}
	if d.Target.Scheme == "https" {
		return d.Target.Host + ":443"
	}
	return d.Target.Host + ":80"
}

// Raw gives a TCP connection that reaches the target's port.
func (d *Dialer) Raw(ctx context.Context) (net.Conn, error) {
	addr := d.hostPort()
	if d.Override != "" {
		addr = d.Override
	}
	if d.Proxy != nil {
		addr = d.Proxy.Host
	}
	nd := net.Dialer{Timeout: d.Timeout}
	c, err := nd.DialContext(ctx, "tcp", addr)
	if err != nil || d.Proxy == nil {
		return c, err
	}
	auth := ""
	if d.Proxy.User != nil {
		auth = "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(d.Proxy.User.String())) + "\r\n"
	}
	c.SetDeadline(time.Now().Add(d.Timeout))
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", d.hostPort(), d.hostPort(), auth)
	// Read byte by byte: nothing after the blank line may be swallowed.
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if _, err := c.Read(b); err != nil || len(head) > 8192 {
			c.Close()
			return nil, fmt.Errorf("CONNECT: %v after %q", err, head)
		}
		head = append(head, b[0])
	}
	c.SetDeadline(time.Time{})
	if f := strings.Fields(string(head)); len(f) < 2 || f[1] != "200" {
		c.Close()
		return nil, fmt.Errorf("CONNECT refused: %.80q", head)
	}
	return c, nil
}

// Dial gives a connection ready for requests, TLS done if the target wants it.
func (d *Dialer) Dial(ctx context.Context) (net.Conn, error) {
	c, err := d.Raw(ctx)
	if err != nil || d.Target.Scheme != "https" {
		return c, err
	}
	t := tls.Client(c, d.TLS)
	hctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	if err := t.HandshakeContext(hctx); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

// h1 is a lean HTTP/1.1 client connection: the load generator shares a core
// with the mock, so what it costs caps what it can measure.
type h1 struct {
	c    net.Conn
	br   *bufio.Reader
	body []byte
}

func newH1(c net.Conn) *h1 { return &h1{c: c, br: bufio.NewReaderSize(c, 32<<10)} }

type response struct {
	status int
	length int64 // -1: unknown
	chunks bool
	close  bool
}

var errHeader = errors.New("broken response header")

// head reads the status line and headers, skipping 1xx answers.
func (h *h1) head() (r response, err error) {
	for {
		r = response{length: -1}
		line, err := h.br.ReadSlice('\n')
		if err != nil {
			return r, err
		}
		if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
			return r, errHeader
		}
		if r.status, err = strconv.Atoi(string(line[9:12])); err != nil {
			return r, errHeader
		}
		for {
			line, err := h.br.ReadSlice('\n')
			if err != nil {
				return r, err
			}
			line = bytes.TrimRight(line, "\r\n")
			if len(line) == 0 {
				break
			}
			k, v, ok := bytes.Cut(line, []byte(":"))
			if !ok {
				return r, errHeader
			}
			switch v = bytes.TrimSpace(v); {
			case bytes.EqualFold(k, []byte("content-length")):
				if r.length, err = strconv.ParseInt(string(v), 10, 64); err != nil {
					return r, errHeader
				}
			case bytes.EqualFold(k, []byte("transfer-encoding")):
				r.chunks = bytes.EqualFold(v, []byte("chunked"))
			case bytes.EqualFold(k, []byte("connection")):
				r.close = bytes.EqualFold(v, []byte("close"))
			}
		}
		if r.status >= 200 {
			return r, nil
		}
	}
}

func (h *h1) reader(r response) io.Reader {
	switch {
	case r.chunks:
		return httputil.NewChunkedReader(h.br)
	case r.length >= 0:
		return io.LimitReader(h.br, r.length)
	default:
		return h.br
	}
}

// finish eats the trailer's blank line after a chunked body.
func (h *h1) finish(r response) error {
	if !r.chunks {
		return nil
	}
	for {
		line, err := h.br.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return nil
		}
	}
}

// do sends one request and reads the whole answer; the body stays valid until
// the next call.
func (h *h1) do(req []byte) (r response, body []byte, err error) {
	if _, err = h.c.Write(req); err != nil {
		return
	}
	if r, err = h.head(); err != nil {
		return
	}
	if r.length >= 0 && !r.chunks {
		if int64(cap(h.body)) < r.length {
			h.body = make([]byte, r.length)
		}
		h.body = h.body[:r.length]
		_, err = io.ReadFull(h.br, h.body)
		return r, h.body, err
	}
	buf := bytes.NewBuffer(h.body[:0])
	if _, err = buf.ReadFrom(h.reader(r)); err == nil {
		err = h.finish(r)
	}
	h.body = buf.Bytes()
	return r, h.body, err
}
