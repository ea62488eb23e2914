// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/test/bench/internal/certs"
	"github.com/sallyport-dev/sallyport/test/bench/internal/mock"
	"github.com/sallyport-dev/sallyport/test/bench/internal/wire"
)

// start serves the mock over TLS and gives a dialer that reaches it.
func start(t *testing.T, h http.Handler) *Dialer {
	t.Helper()
	set, err := certs.Make("llm.bench.test")
	if err != nil {
		t.Fatal(err)
	}
	tc, err := set.TLS()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS, s.EnableHTTP2 = tc, true
	s.StartTLS()
	t.Cleanup(s.Close)
	u, _ := url.Parse("https://llm.bench.test:9999/v1/chat/completions")
	return &Dialer{Target: u, Override: s.Listener.Addr().String(), Timeout: 5 * time.Second,
		TLS: &tls.Config{RootCAs: certs.Pool(set.CA), ServerName: "llm.bench.test", NextProtos: []string{"http/1.1"}}}
}

func run(t *testing.T, c Config) *Result {
	t.Helper()
	if c.Concurrency == 0 {
		c.Concurrency = 4
	}
	c.Timeout, c.Model, c.PromptBytes = 5*time.Second, "m", 1024
	if c.Duration == 0 {
		c.Duration = 20 * time.Second
	}
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestChat(t *testing.T) {
	d := start(t, mock.Handler(&mock.Stats{}))
	r := run(t, Config{Mode: "chat", Dialer: d, Requests: 50, Spec: wire.Spec{Bytes: 1024}, Watch: map[string]int{"me": os.Getpid()}})
	if r.OK != 50 || r.Errors != 0 || r.Latency.Count != 50 || r.Connect.Count != 4 || r.Procs["me"].RSSPeak == 0 {
		t.Fatalf("%+v", r)
	}
	if r = run(t, Config{Mode: "chat", Dialer: d, Requests: 20, NewConn: true, Check: "content"}); r.OK != 20 || r.Connect.Count != 20 {
		t.Fatalf("%+v", r)
	}
}

func TestChatH2(t *testing.T) {
	d := start(t, mock.Handler(&mock.Stats{}))
	d.TLS.NextProtos = []string{"h2"}
	if r := run(t, Config{Mode: "chat", Dialer: d, Requests: 30, H2: true}); r.OK != 30 || r.Connect.Count != 1 {
		t.Fatalf("%+v", r)
	}
	if r := run(t, Config{Mode: "stream", Dialer: d, Requests: 4, H2: true, Spec: wire.Spec{Deltas: 5}}); r.OK != 4 || r.Tokens != 20 {
		t.Fatalf("%+v", r)
	}
}

func TestStreamTimes(t *testing.T) {
	d := start(t, mock.Handler(&mock.Stats{}))
	r := run(t, Config{Mode: "stream", Dialer: d, Requests: 8, Warmup: 50 * time.Millisecond,
		Spec: wire.Spec{Deltas: 10, Delay: 5 * time.Millisecond, First: 30 * time.Millisecond}})
	if r.OK != 8 || r.Tokens != 80 || r.Errors != 0 {
		t.Fatalf("%+v", r)
	}
	// The sender waits at least that long before the first token. How far apart the others arrive is up to the machine.
	if r.TTFT.Min < 30000 || r.Gap.Count != 72 || r.Gap.Mean <= 0 || r.Transit.Count != 80 {
		t.Fatalf("ttft %+v gap %+v", r.TTFT, r.Gap)
	}
}

func TestBlobAndRaw(t *testing.T) {
	d := start(t, mock.Handler(&mock.Stats{}))
	if r := run(t, Config{Mode: "blob", Dialer: d, Requests: 8, BlobBytes: 1 << 20}); r.OK != 8 || r.MBps <= 0 {
		t.Fatalf("%+v", r)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go mock.ServeRaw(l)
	u, _ := url.Parse("tcp://" + l.Addr().String())
	if r := run(t, Config{Mode: "raw", Dialer: &Dialer{Target: u}, Requests: 8, BlobBytes: 1 << 20}); r.OK != 8 || r.MBps <= 0 {
		t.Fatalf("%+v", r)
	}
}

// A proxy that changes or cuts bodies must not pass as correct.
func TestWrongBodyIsCounted(t *testing.T) {
	st := &mock.Stats{}
	real := mock.Handler(st)
	d := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		real.ServeHTTP(rec, r)
		b := []byte(strings.Replace(rec.Body.String(), "fox", "cat", 1))
		w.Write(b)
	}))
	for _, check := range []string{"exact", "content"} {
		r := run(t, Config{Mode: "chat", Dialer: d, Requests: 5, Spec: wire.Spec{Bytes: 200}, Check: check})
		if r.OK != 0 || r.ErrorKind["wrong body"] != 5 {
			t.Fatalf("%s: %+v", check, r)
		}
	}
	cut := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(wire.AppendChunk(nil, wire.Spec{ID: 1}, 0, time.Now()))
	}))
	if r := run(t, Config{Mode: "stream", Dialer: cut, Requests: 2, Spec: wire.Spec{Deltas: 3}}); r.OK != 0 || r.Errors != 2 {
		t.Fatalf("%+v", r)
	}
}

// At a constant rate one stall must show in all requests that were due then.
func TestConstantRateCountsWaiting(t *testing.T) {
	real := mock.Handler(&mock.Stats{})
	n := 0
	d := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 10 {
			time.Sleep(300 * time.Millisecond)
		}
		real.ServeHTTP(w, r)
	}))
	r := run(t, Config{Mode: "chat", Dialer: d, Concurrency: 1, Rate: 200, Duration: 500 * time.Millisecond, Spec: wire.Spec{Bytes: 100}})
	if r.OK < 90 || r.Latency.P50 < 20000 {
		t.Fatalf("the stall is hidden: ok=%d %+v", r.OK, r.Latency)
	}
}

func TestThroughConnectProxy(t *testing.T) {
	d := start(t, mock.Handler(&mock.Stats{}))
	upstream := d.Override
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "CONNECT" || r.Host != "llm.bench.test:9999" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		u, err := net.Dial("tcp", upstream)
		if err != nil {
			c.Close()
			return
		}
		c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		go func() { buf := make([]byte, 4096); copyLoop(u, c, buf); u.Close() }()
		buf := make([]byte, 4096)
		copyLoop(c, u, buf)
		c.Close()
	}))
	defer p.Close()
	d.Override = ""
	d.Proxy, _ = url.Parse(p.URL)
	if r := run(t, Config{Mode: "chat", Dialer: d, Requests: 10}); r.OK != 10 {
		t.Fatalf("%+v", r)
	}
}

func copyLoop(dst, src net.Conn, buf []byte) {
	for {
		n, err := src.Read(buf)
		if n > 0 {
			dst.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// ReverseProxy changes nothing that the exact check looks at.
func TestExactThroughReverseProxy(t *testing.T) {
	up := start(t, mock.Handler(&mock.Stats{}))
	u, _ := url.Parse("https://" + up.Override)
	rp := httputil.NewSingleHostReverseProxy(u)
	rp.Transport = &http.Transport{TLSClientConfig: up.TLS}
	rp.FlushInterval = -1
	d := start(t, rp)
	if r := run(t, Config{Mode: "chat", Dialer: d, Requests: 20, Spec: wire.Spec{Bytes: 4096}}); r.OK != 20 {
		t.Fatalf("%+v", r)
	}
	if r := run(t, Config{Mode: "stream", Dialer: d, Requests: 4, Spec: wire.Spec{Deltas: 20}}); r.OK != 4 || r.Tokens != 80 {
		t.Fatalf("%+v", r)
	}
}

func TestIdle(t *testing.T) {
	var st mock.Stats
	d := start(t, mock.Handler(&st))
	r := run(t, Config{Mode: "idle", Dialer: d, Requests: 20, Hold: 50 * time.Millisecond, Spec: wire.Spec{Bytes: 64}, Watch: map[string]int{"me": os.Getpid()}})
	me := r.Idle.Procs["me"]
	if r.Errors != 0 || r.Idle.Connections != 20 || r.OK != 40 || r.Connect.Count != 20 || st.Chats.Load() != 40 || me.Before.Anon == 0 || me.Held.RSS < me.Held.Anon {
		t.Fatalf("%+v %+v", r, r.Idle)
	}
	if _, err := Run(context.Background(), Config{Mode: "idle", Dialer: d, Concurrency: 1}); err == nil {
		t.Fatal("held no connections at all, and called it a result")
	}
}

// TestIdleSeesClosedConnections: one that does not live until its second request is an error, and not opened anew.
func TestIdleSeesClosedConnections(t *testing.T) {
	real := mock.Handler(&mock.Stats{})
	for name, announced := range map[string]bool{"announced": true, "without a word": false} {
		t.Run(name, func(t *testing.T) {
			d := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				real.ServeHTTP(rec, r)
				if announced {
					w.Header().Set("Connection", "close")
					w.Write(rec.Body.Bytes())
					return
				}
				c, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", rec.Body.Len(), rec.Body)
			}))
			r := run(t, Config{Mode: "idle", Dialer: d, Requests: 6, Hold: time.Millisecond, Spec: wire.Spec{Bytes: 64}})
			if r.OK != 6 || r.Errors != 6 || r.Connect.Count != 6 {
				t.Fatalf("%+v", r)
			}
		})
	}
}
