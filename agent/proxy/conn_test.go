// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// The handler is told who calls, and where.
func TestMeta(t *testing.T) {
	metas := make(chan pipeline.Meta, 2)
	r := newRig(t, always(empty), func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		metas <- *m
		return forward(ctx, m, c, u)
	})
	c := r.client()
	ask(t, c, get, len(empty))
	ask(t, c, get, len(empty))
	a, b := <-metas, <-metas
	if a.Flow == "" || !strings.HasPrefix(a.Flow, "flw_") || a.Flow != b.Flow || a.Start.IsZero() || !b.Start.After(a.Start) {
		t.Errorf("%+v %+v", a, b)
	}
	if a.Scope != "agents" || a.Mode != pipeline.ModeEnforce || a.Workload.Unit != "agent.service" || a.Principal.SPIFFEID == "" || a.Endpoint.Host != host {
		t.Errorf("%+v", a)
	}
	if s := r.Stats(); s.Seen != 1 || s.Proxied != 1 || s.Active != 1 {
		t.Errorf("%+v", s)
	}
	if h := r.router.handshakes; len(h) != 1 || h[0] != nil {
		t.Errorf("handshakes %v", h)
	}
}

// Who cannot be identified is nobody, and keeps what the kernel knew.
func TestUnidentified(t *testing.T) {
	metas := make(chan pipeline.Meta, 1)
	r := newRig(t, always(empty), func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		metas <- *m
		return forward(ctx, m, c, u)
	}, func(r *rig) { r.opts.Identifier = identifier{errors.New("it is gone")} })
	ask(t, r.client(), get, len(empty))
	if m := <-metas; m.Principal.SPIFFEID != "" || m.Workload.Unit != "" || m.Workload.PID != 42 || m.Workload.UID != 1000 {
		t.Errorf("%+v", m)
	}
}

func TestMissed(t *testing.T) {
	r := newRig(t, nil, nil, func(r *rig) { r.origins.err = proxy.ErrNoRecord })
	for range 3 {
		if b, _ := io.ReadAll(r.raw()); len(b) > 0 {
			t.Errorf("%q", b)
		}
	}
	if s := r.Stats(); s.Missed != 3 || s.Seen != 3 {
		t.Errorf("%+v", s)
	}
	if got := r.ledger.all(); len(got) != 0 {
		t.Errorf("recorded one by one: %+v", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if f := r.flow("missed"); f.Count != 3 {
		t.Errorf("%+v", f)
	}
}

func hello(name string) func(*rig) string {
	return func(*rig) string {
		a, b := net.Pipe()
		go func() { _ = tls.Client(a, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake() }()
		buf := make([]byte, 16<<10)
		n, _ := b.Read(buf)
		_ = b.Close()
		return string(buf[:n])
	}
}

func text(s string) func(*rig) string { return func(*rig) string { return s } }

func TestRefused(t *testing.T) {
	refuse := proxy.Route{Disposition: proxy.Refuse, Reason: "no egress", Scope: "agents", Mode: pipeline.ModeEnforce}
	for _, tc := range []struct {
		name   string
		in     func(*rig) string
		table  func(*rig) map[string]proxy.Route
		reason string
		kind   string
	}{
		{"by name", hello("evil.test"), func(*rig) map[string]proxy.Route { return map[string]proxy.Route{"evil.test": refuse} }, "no egress", "refused"},
		{"no route at all", hello("evil.test"), func(*rig) map[string]proxy.Route { return nil }, "", "refused"},
		{"no TLS", text("SSH-2.0-x\r\n"), func(*rig) map[string]proxy.Route { return map[string]proxy.Route{"": refuse} }, "no egress", "refused"},
		{"untrusted", hello(host), func(*rig) map[string]proxy.Route {
			u := refuse
			u.Untrusted = true
			return map[string]proxy.Route{host: u}
		}, "no egress", "untrusted"},
		{"HTTP to a TLS endpoint", text(get), func(r *rig) map[string]proxy.Route {
			return map[string]proxy.Route{"": r.terminate(pipeline.ModeEnforce)}
		}, "opposite", "refused"},
		{"TLS to a plain endpoint", hello(host), func(r *rig) map[string]proxy.Route {
			p := r.terminate(pipeline.ModeEnforce)
			p.Plain = true
			return map[string]proxy.Route{host: p}
		}, "opposite", "refused"},
		{"unreadable hello, enforced", func(r *rig) string { return strings.Replace(hello("api.test")(r), "api.test", "api.tes.", 1) },
			func(*rig) map[string]proxy.Route {
				return map[string]proxy.Route{"*": {Disposition: proxy.Pass, Mode: pipeline.ModeEnforce}}
			}, "malformed", "refused"},
		{"half a hello", func(r *rig) string { return hello(host)(r)[:60] }, func(r *rig) map[string]proxy.Route {
			return map[string]proxy.Route{"*": r.terminate(pipeline.ModeEnforce)}
		}, "more bytes", "refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil, nil, func(r *rig) { r.router.table = tc.table(r) })
			c := r.raw()
			_, _ = io.WriteString(c, tc.in(r))
			_ = c.CloseWrite()
			if b, _ := io.ReadAll(c); len(b) > 0 {
				t.Errorf("%q", b)
			}
			if f := r.flow(tc.kind); !strings.Contains(f.Reason, tc.reason) || f.Dest != r.provider.addr.String() {
				t.Errorf("%+v", f)
			}
			eventually(t, "the end", func() bool { return r.Stats().Active == 0 })
			if s := r.Stats(); s.Denied != 1 || r.provider.connections() != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A connection that is passed is the same as none of ours: the provider's own certificate, half-closes, all bytes.
func TestPass(t *testing.T) {
	big := strings.Repeat("x", 3<<20)
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		b, _ := io.ReadAll(br) // until the client closes its half
		_, _ = io.WriteString(c, string(b)+big)
	}, nil, func(r *rig) {
		r.router.table = map[string]proxy.Route{host: {Disposition: proxy.Pass, Scope: "others", Mode: pipeline.ModeDiscover, Reason: "discover"}}
	})
	c := tls.Client(r.raw(), &tls.Config{ServerName: host, RootCAs: r.theirs.pool})
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != "hello"+big {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	_ = c.Close()
	f := r.flow("passed")
	if f.SNI != host || f.Scope != "others" || f.Reason != "discover" || f.BytesUp < 500 || f.BytesDown < 3<<20 || f.Workload.PID != 42 {
		t.Errorf("%+v", f)
	}
	if s := r.Stats(); s.Passed != 1 || s.Proxied != 0 {
		t.Errorf("%+v", s)
	}
}

func TestPassUnreachable(t *testing.T) {
	closed := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	_ = closed.Close()
	r := newRig(t, nil, nil, func(r *rig) {
		r.origins.dest = closed.Addr().(*net.TCPAddr).AddrPort()
		r.router.table = map[string]proxy.Route{"*": {Disposition: proxy.Pass}}
	})
	c := r.raw()
	_, _ = io.WriteString(c, "hi")
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("%q", b)
	}
	if f := r.flow("passed"); !strings.Contains(f.Reason, "could not be reached") {
		t.Errorf("%+v", f)
	}
}

// A server that speaks first is heard, if its client may be passed, and the client's first bytes still decide.
func TestServerFirst(t *testing.T) {
	banner := func(c net.Conn, br *bufio.Reader) {
		_, _ = io.WriteString(c, "220 hello\r\n")
		_, _ = io.Copy(c, br)
	}
	pass := proxy.Route{Disposition: proxy.Pass, Mode: pipeline.ModeEnforce}
	start := func(t *testing.T, script func(net.Conn, *bufio.Reader), silent proxy.Route) *rig {
		return newRig(t, nil, nil, func(r *rig) {
			if script != nil {
				r.origins.dest = newProvider(t, nil, script).addr
			}
			r.router.table[""] = silent
		})
	}
	t.Run("passed", func(t *testing.T) {
		r := start(t, banner, pass)
		c := r.raw()
		if got := ask(t, c, "", 11); got != "220 hello\r\n" {
			t.Fatal(got)
		}
		if got := ask(t, c, "EHLO", 4); got != "EHLO" {
			t.Fatal(got)
		}
		_ = c.CloseWrite()
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Errorf("%q %v", b, err)
		}
		if f := r.flow("passed"); f.BytesUp != 4 || f.BytesDown != 15 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("client only listens", func(t *testing.T) {
		r := start(t, banner, pass)
		c := r.raw()
		ask(t, c, "", 11)
		_ = c.CloseWrite()
		_, _ = io.ReadAll(c)
		if f := r.flow("passed"); f.BytesUp != 0 || f.BytesDown != 11 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("late hello for an endpoint", func(t *testing.T) {
		r := start(t, nil, pass)
		raw := r.raw()
		eventually(t, "the question about a silent client", func() bool {
			r.router.mu.Lock()
			defer r.router.mu.Unlock()
			return len(r.router.asked) == 1
		})
		c := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: r.ours.pool})
		if err := c.Handshake(); err != nil {
			t.Fatalf("not terminated: %v", err)
		}
	})
	t.Run("late hello after the server spoke", func(t *testing.T) {
		r := start(t, banner, pass)
		c := r.raw()
		ask(t, c, "", 11)
		_, _ = io.WriteString(c, hello(host)(r))
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%q", b)
		}
		if f := r.flow("refused"); !strings.Contains(f.Reason, "before") {
			t.Errorf("%+v", f)
		}
	})
	t.Run("refused", func(t *testing.T) {
		called := make(chan struct{})
		r := start(t, func(net.Conn, *bufio.Reader) { close(called) }, proxy.Route{Reason: "no egress"})
		c := r.raw()
		eventually(t, "the question", func() bool {
			r.router.mu.Lock()
			defer r.router.mu.Unlock()
			return len(r.router.asked) == 1
		})
		_, _ = io.WriteString(c, "EHLO")
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%q", b)
		}
		r.flow("refused")
		select {
		case <-called:
			t.Error("the destination was dialled")
		default:
		}
	})
	t.Run("slow client of an endpoint", func(t *testing.T) {
		r := start(t, nil, proxy.Route{Reason: "no egress"})
		raw := r.raw()
		eventually(t, "the question", func() bool {
			r.router.mu.Lock()
			defer r.router.mu.Unlock()
			return len(r.router.asked) == 1
		})
		c := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: r.ours.pool})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
	})
}

// A plain endpoint is served without TLS on either side.
func TestPlain(t *testing.T) {
	r := newRig(t, nil, nil, func(r *rig) {
		r.origins.dest = newProvider(r.t, nil, always(empty)).addr
		r.router.table[""] = proxy.Route{Disposition: proxy.Terminate, Plain: true, Endpoint: pipeline.Endpoint{Host: "localhost", Port: 11434}, Mode: pipeline.ModeEnforce}
	})
	c := r.raw()
	for range 2 {
		if got := ask(t, c, "GET / HTTP/1.1\r\nHost: localhost:11434\r\n\r\n", len(empty)); got != empty {
			t.Errorf("%q", got)
		}
	}
	if got := ask(t, c, "GET / HTTP/1.1\r\nHost: other\r\n\r\n", 0); !strings.HasPrefix(got, "HTTP/1.1 421 ") {
		t.Errorf("%q", got)
	}
}

// A client that does not trust our root is recognised; one that speaks only h2 is something else.
func TestDistrust(t *testing.T) {
	for _, tc := range []struct {
		name string
		conf func(*rig) *tls.Config
		kind string
	}{
		{"TLS 1.3", func(*rig) *tls.Config { return &tls.Config{ServerName: host, RootCAs: x509.NewCertPool()} }, "untrusted"},
		{"TLS 1.2", func(*rig) *tls.Config {
			return &tls.Config{ServerName: host, RootCAs: x509.NewCertPool(), MaxVersion: tls.VersionTLS12}
		}, "untrusted"},
		{"only h2", func(r *rig) *tls.Config {
			return &tls.Config{ServerName: host, RootCAs: r.ours.pool, NextProtos: []string{"h2"}}
		}, "refused"},
		{"TLS 1.1", func(r *rig) *tls.Config {
			return &tls.Config{ServerName: host, RootCAs: r.ours.pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		}, "refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil, nil)
			if tls.Client(r.raw(), tc.conf(r)).Handshake() == nil {
				t.Fatal("handshake succeeded")
			}
			f := r.flow(tc.kind)
			r.router.mu.Lock()
			defer r.router.mu.Unlock()
			if len(r.router.handshakes) != 1 || proxy.Distrust(r.router.handshakes[0]) != (tc.kind == "untrusted") {
				t.Errorf("%v", r.router.handshakes)
			}
			if r.Stats().Denied != 1 || !strings.Contains(f.Reason, "handshake") || strings.Contains(f.Reason, "restart it") != (tc.kind == "untrusted") {
				t.Errorf("%+v", f)
			}
		})
	}
	for err, want := range map[error]bool{
		nil: false, io.EOF: false,
		&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}:               true,
		&net.OpError{Op: "remote error", Err: errors.New("tls: unknown certificate")}:           true,
		&net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}:                 true,
		&net.OpError{Op: "remote error", Err: errors.New("tls: unknown certificate authority")}: true,
		&net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}:             false,
		&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}:                   false,
		errors.New("tls: client requested unsupported application protocols"):                   false,
	} {
		if proxy.Distrust(err) != want {
			t.Errorf("%v", err)
		}
	}
	for err, want := range map[error]bool{nil: false, io.EOF: true, fmt.Errorf("x: %w", io.ErrUnexpectedEOF): true,
		&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}: true, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}: false} {
		if proxy.Silent(err) != want {
			t.Errorf("silent: %v", err)
		}
	}
}

// A connection that was terminated and never used is recorded as such.
func TestUnused(t *testing.T) {
	r := newRig(t, nil, nil)
	_ = r.client().Close()
	r.flow("unused")
	_ = r.raw().Close()
	eventually(t, "two records", func() bool { return len(r.ledger.all()) == 2 })
}

func TestNewRefuses(t *testing.T) {
	if _, err := proxy.New(proxy.Options{}); err == nil {
		t.Error("nothing is configured and nothing is missed")
	}
}
