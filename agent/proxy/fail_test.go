// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// once answers the first request and closes the TCP connection, with a close_notify or without.
func once(reply string, notify bool) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, br *bufio.Reader) {
		readRequest(br)
		_, _ = io.WriteString(c, reply)
		if !notify {
			_ = c.(*tee).Conn.(*tls.Conn).NetConn().(*net.TCPConn).CloseWrite()
		}
	}
}

// rest reads what is left, and how it ended: nil is a close_notify or the announced end.
func rest(c net.Conn) (string, error) {
	b, err := io.ReadAll(c)
	if err == nil {
		if _, err = c.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	return string(b), err
}

// A reply that is not complete is never taken for one.
func TestIncompleteReplies(t *testing.T) {
	const counted, chunked, open = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"
	own := func(f func(pipeline.Client) error) handler {
		return func(_ context.Context, _ *pipeline.Meta, c pipeline.Client, _ pipeline.Upstream) error { return f(c) }
	}
	head := func(fields ...pipeline.Field) pipeline.Head {
		return pipeline.Head{Status: 200, Reason: "OK", Fields: fields}
	}
	stop := errors.New("stop")
	for _, tc := range []struct {
		name   string
		script func(net.Conn, *bufio.Reader)
		h      handler
		want   string // what the application gets; it must not be a complete reply
		reset  bool   // must end in an error, since nothing else says that something is missing
	}{
		{name: "counted, cut upstream", script: once(counted+"abc", true), want: counted + "abc"},
		{name: "chunked, cut upstream", script: once(chunked+"3\r\nabc\r\n", true), want: chunked + "3\r\nabc\r\n"},
		{name: "chunked, malformed", script: once(chunked+"3\r\nabc\r\nzz\r\n", true), want: chunked + "3\r\nabc\r\n"},
		{name: "until close, no close_notify", script: once(open+"abc", false), want: open + "abc", reset: true},
		{name: "handler stops in chunks", h: own(func(c pipeline.Client) error {
			return errors.Join(c.Respond(head(pipeline.Field{Name: "Transfer-Encoding", Value: "chunked"})), c.Write([]byte("abc")), stop)
		}), want: chunked + "3\r\nabc\r\n"},
		{name: "handler stops in a counted reply", h: own(func(c pipeline.Client) error {
			return errors.Join(c.Respond(head(pipeline.Field{Name: "Content-Length", Value: "9"})), c.Write([]byte("abc")), stop)
		}), want: counted + "abc"},
		{name: "handler says it is complete when it is not", h: own(func(c pipeline.Client) error {
			return errors.Join(c.Respond(head(pipeline.Field{Name: "Content-Length", Value: "9"})), c.Write([]byte("abc")))
		}), want: counted + "abc"},
		{name: "handler writes too much", h: own(func(c pipeline.Client) error {
			err := c.Respond(head(pipeline.Field{Name: "Content-Length", Value: "9"}))
			if c.Write([]byte("0123456789")) == nil {
				t.Error("too many bytes were accepted")
			}
			return err
		}), want: counted},
		{name: "handler stops until close", h: own(func(c pipeline.Client) error { return errors.Join(c.Respond(head()), c.Write([]byte("abc")), stop) }), want: open + "abc", reset: true},
		{name: "handler panics", h: own(func(c pipeline.Client) error { panic("at the disco") }), want: ""},
		{name: "handler fails before", h: own(func(pipeline.Client) error { return stop }), want: ""},
		{name: "handler gives nothing", h: own(func(pipeline.Client) error { return nil }), want: ""},
		{name: "handler injects a field", h: own(func(c pipeline.Client) error {
			return c.Respond(head(pipeline.Field{Name: "A", Value: "b\r\nSet-Cookie: x"}))
		}), want: ""},
		{name: "handler gives both framings", h: own(func(c pipeline.Client) error {
			return c.Respond(head(pipeline.Field{Name: "Content-Length", Value: "9"}, pipeline.Field{Name: "Transfer-Encoding", Value: "chunked"}))
		}), want: ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.script, tc.h)
			c := r.client()
			_, _ = io.WriteString(c, get)
			got, err := rest(c)
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.reset && err == nil {
				t.Error("the end looks like a proper one")
			}
		})
	}
}

// What can go wrong upstream is told apart, and nothing is answered unless the handler does.
func TestUpstreamFailures(t *testing.T) {
	closed := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	_ = closed.Close()
	hang := func(ctx context.Context, _ agent.Conn) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, tc := range []struct {
		name   string
		kind   string
		script func(net.Conn, *bufio.Reader)
		change func(*rig)
	}{
		{name: "nobody listens", kind: proxy.FailDial, change: func(r *rig) { r.origins.dest = closed.Addr().(*net.TCPAddr).AddrPort() }},
		{name: "dial hangs", kind: proxy.FailTimeout, change: func(r *rig) { r.opts.Dial, r.opts.DialTimeout = hang, 30*time.Millisecond }},
		{name: "unknown CA", kind: proxy.FailVerify, change: func(r *rig) {
			rt := r.terminate(pipeline.ModeEnforce)
			rt.UpstreamCA = nil
			r.router.table[host] = rt
		}},
		{name: "our own CA vouches", kind: proxy.FailVerify, change: func(r *rig) {
			rt := r.terminate(pipeline.ModeEnforce)
			rt.UpstreamCA = r.ours.pem
			r.router.table[host] = rt
		}},
		{name: "no roots", kind: proxy.FailVerify, change: func(r *rig) {
			rt := r.terminate(pipeline.ModeEnforce)
			rt.UpstreamCA = nil
			r.router.table[host] = rt
			r.opts.Roots = func() (*x509.CertPool, error) { return nil, errors.New("unreadable") }
		}},
		{name: "nil roots", kind: proxy.FailVerify, change: func(r *rig) {
			rt := r.terminate(pipeline.ModeEnforce)
			rt.UpstreamCA = nil
			r.router.table[host] = rt
			r.opts.Roots = func() (*x509.CertPool, error) { return nil, nil }
		}},
		{name: "bad CA file", kind: proxy.FailVerify, change: func(r *rig) {
			rt := r.terminate(pipeline.ModeEnforce)
			rt.UpstreamCA = []byte("no PEM")
			r.router.table[host] = rt
		}},
		{name: "another name", kind: proxy.FailVerify, change: func(r *rig) { r.router.table["other.test"] = r.terminate(pipeline.ModeEnforce) }},
		{name: "no TLS", kind: proxy.FailTLS, change: func(r *rig) {
			p := newProvider(r.t, nil, func(c net.Conn, br *bufio.Reader) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
			r.origins.dest = p.addr
		}},
		{name: "closed before the reply", kind: proxy.FailReply, script: once("", true)},
		{name: "malformed reply", kind: proxy.FailReply, script: once("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", true)},
		{name: "both framings", kind: proxy.FailReply, script: once("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true)},
		{name: "endless head", kind: proxy.FailReply, script: once("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("a", 70<<10), true)},
		{name: "interim replies without end", kind: proxy.FailReply, script: once(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 4000), true)},
		{name: "another protocol", kind: proxy.FailReply, script: once("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", true)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			errs := make(chan error, 1)
			r := newRig(t, tc.script, func(ctx context.Context, _ *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				_, err := u.Send(ctx, c.Head(), nil, "", nil)
				errs <- err
				return err
			}, func(r *rig) {
				if tc.change != nil {
					tc.change(r)
				}
			})
			name := host
			if tc.name == "another name" {
				name = "other.test"
			}
			c := tls.Client(r.raw(), &tls.Config{ServerName: name, RootCAs: r.ours.pool})
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+name+"\r\n\r\n")
			if got, _ := rest(c); got != "" {
				t.Errorf("the application got %q", got)
			}
			err := <-errs
			var up *proxy.UpstreamError
			if !errors.As(err, &up) || up.Failure() != tc.kind {
				t.Errorf("error %v, want %s", err, tc.kind)
			}
		})
	}
}

// An upstream connection is used again only if nothing is wrong with it, and no request is sent twice.
func TestReuse(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script func(net.Conn, *bufio.Reader)
		want   int // connections for three requests
	}{
		{"kept", always(empty), 1},
		{"closing", once("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: keep\r\n\r\n", true), 3},
		{"closed without a word", once("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: keep\r\n\r\n", false), 3},
		{"bytes after the reply", always(empty + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), 3},
		{"bytes after the reply, in a record of their own", func(c net.Conn, br *bufio.Reader) {
			for {
				if head, _ := readRequest(br); head == "" {
					return
				}
				_, _ = io.WriteString(c, empty)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			}
		}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.script, nil)
			c := r.client()
			for range 3 {
				if _, err := io.WriteString(c, get); err != nil {
					t.Fatal(err)
				}
				var b []byte
				for !strings.HasSuffix(string(b), "\r\n\r\n") {
					one := make([]byte, 1)
					if _, err := io.ReadFull(c, one); err != nil {
						t.Fatal(err)
					}
					b = append(b, one...)
				}
				if !strings.Contains(string(b), "Length: 0") {
					t.Fatalf("%q", b)
				}
				if tc.want > 1 {
					eventually(t, "the provider's close or surplus", func() bool { return r.provider.quiet() })
				}
			}
			if n := r.provider.connections(); n != tc.want {
				t.Errorf("%d connections, want %d", n, tc.want)
			}
			for i := range tc.want {
				if got := r.provider.received(i); tc.want == 3 && got != get {
					t.Errorf("connection %d got %q", i, got)
				}
			}
		})
	}
}

// A connection that was dialled ahead and died while the application took its time is not used.
func TestStaleDialAhead(t *testing.T) {
	n := make(chan int, 1)
	n <- 0
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		i := <-n
		n <- i + 1
		if i > 0 {
			always(empty)(c, br)
		}
	}, nil)
	c := r.client()
	time.Sleep(150 * time.Millisecond) // longer than a new connection goes unchecked
	if got := ask(t, c, get, len(empty)); got != empty {
		t.Errorf("%q", got)
	}
	if got := r.provider.received(1); got != get || r.provider.received(0) != "" {
		t.Errorf("%q", got)
	}
}

// One that is well is used, session tickets or not.
func TestSlowApplication(t *testing.T) {
	r := newRig(t, always(empty), nil)
	c := r.client()
	time.Sleep(150 * time.Millisecond)
	ask(t, c, get, len(empty))
	if n := r.provider.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Requests that are not for us, or not to be understood in one way only, are answered and end the connection.
func TestRejected(t *testing.T) {
	for _, tc := range []struct{ name, in, status string }{
		{"both framings", "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		{"bare LF", "GET / HTTP/1.1\nHost: api.test\n\n", "400"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "400"},
		{"no host in 1.0", "GET / HTTP/1.0\r\n\r\n", "421"},
		{"other host", "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", "421"},
		{"other port", "GET / HTTP/1.1\r\nHost: api.test:444\r\n\r\n", "421"},
		{"final dot", "GET / HTTP/1.1\r\nHost: api.test.\r\n\r\n", "421"},
		{"other target", "GET https://evil.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n", "421"},
		{"other scheme", "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n", "421"},
		{"CONNECT", "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n", "400"},
		{"h2c", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
		{"upgrade", "GET / HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "403"},
		{"expectation", "GET / HTTP/1.1\r\nHost: api.test\r\nExpect: wonders\r\n\r\n", "417"},
		{"endless head", "GET / HTTP/1.1\r\nA: " + strings.Repeat("a", 80<<10), "431"},
		{"not HTTP", "\x00\x01\x02\n\r\n\r\n", "400"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, always(empty), func(context.Context, *pipeline.Meta, pipeline.Client, pipeline.Upstream) error {
				t.Error("the handler saw it")
				return nil
			})
			got := ask(t, r.client(), tc.in, 0)
			if !strings.HasPrefix(got, "HTTP/1.1 "+tc.status+" ") || !strings.Contains(got, "Connection: close\r\n") {
				t.Errorf("%q", got)
			}
			if f := r.flow("refused"); f.Reason == "" || f.Scope != "agents" || f.SNI != host {
				t.Errorf("%+v", f)
			}
			if got := r.provider.received(0); got != "" {
				t.Errorf("sent upstream: %q", got)
			}
		})
		t.Run(tc.name+", observed", func(t *testing.T) {
			// Nothing is refused there: what arrives is what was sent, read by nobody.
			want := make(chan struct{})
			r := newRig(t, func(c net.Conn, br *bufio.Reader) {
				b := make([]byte, len(tc.in))
				_, _ = io.ReadFull(br, b)
				if string(b) != tc.in {
					t.Errorf("arrived: %.300q", b)
				}
				_, _ = io.WriteString(c, "anything at all")
				close(want)
			}, nil, func(r *rig) { r.router.table[host] = r.terminate(pipeline.ModeObserve) })
			c := r.client()
			if got := ask(t, c, tc.in, 0); got != "anything at all" {
				t.Errorf("%q", got)
			}
			<-want
			_ = c.Close()
			if f := r.flow("passed"); !strings.HasPrefix(f.Reason, "not inspected: ") || f.BytesUp != int64(len(tc.in)) || f.BytesDown != 15 {
				t.Errorf("%+v", f)
			}
		})
	}
}
