// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// newRig2 is a rig whose provider is a real HTTP/2 server.
func newRig2(t *testing.T, provider http.HandlerFunc, h handler, change ...func(*rig)) (*rig, *http.Client) {
	r := newRig(t, nil, h, append([]func(*rig){func(r *rig) {
		leaf := must(r.theirs.Leaf(context.Background(), host))(t)
		srv := httptest.NewUnstartedServer(provider)
		srv.EnableHTTP2 = true
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		r.origins.dest = srv.Listener.Addr().(*net.TCPAddr).AddrPort()
	}}, change...)...)
	return r, r.client2(t)
}

// client2 is an HTTP client that prefers HTTP/2.
func (r *rig) client2(t *testing.T) *http.Client {
	tr := &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true,
		TLSClientConfig: &tls.Config{ServerName: host, RootCAs: r.ours.pool},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", r.addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func TestHTTP2(t *testing.T) {
	var mu sync.Mutex
	var seen []pipeline.Head
	r, client := newRig2(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header()["Date"] = nil
		w.Header().Set("X-Request-Id", "42")
		_, _ = fmt.Fprintf(w, "%s %s %s %s %s %q %s", r.Proto, r.Method, r.RequestURI, r.Host, r.Header.Get("Authorization"), r.Header["User-Agent"], b)
	}, func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		mu.Lock()
		seen = append(seen, c.Head())
		mu.Unlock()
		return forward(ctx, m, c, u)
	})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			body := strings.Repeat("x", i*10_000)
			req, _ := http.NewRequest("POST", "https://"+host+"/v1//chat%2Fx?a=b&key=sk-query", strings.NewReader(body))
			req.Header.Set("Authorization", "Bearer sk-secret")
			req.Header.Set("User-Agent", "")
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			want := "HTTP/2.0 POST /v1//chat%2Fx?a=b&key=sk-query " + host + " Bearer sk-secret [] " + body
			if err != nil || string(got) != want || resp.ProtoMajor != 2 || resp.Header.Get("X-Request-Id") != "42" || resp.Header["Date"] != nil {
				t.Errorf("%v %s %v %.200q", err, resp.Proto, resp.Header, got)
			}
		})
	}
	all.Wait()
	if len(seen) != 20 {
		t.Fatalf("%d exchanges", len(seen))
	}
	for _, h := range seen {
		if text := fmt.Sprintf("%+v", h); strings.Contains(text, "sk-") || h.Credential == "" || h.Get("Host") != host || h.Target != "/v1//chat%2Fx?a=b&key=" {
			t.Errorf("the handler saw %s", text)
		}
	}
	if s := r.Stats(); s.Proxied < 1 || s.Denied != 0 {
		t.Errorf("%+v", s)
	}
}

// A provider without HTTP/2 gets HTTP/1.1, and so does the application.
func TestHTTP2NotSpoken(t *testing.T) {
	r := newRig(t, always(empty), nil)
	resp, err := r.client2(t).Get("https://" + host + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 1 || r.provider.connections() != 1 {
		t.Errorf("%s over %d connections", resp.Proto, r.provider.connections())
	}
}

// An event reaches the application before the next one is made, and a stream that is open when the server drains ends
// whole.
func TestHTTP2Stream(t *testing.T) {
	next := make(chan struct{})
	r, client := newRig2(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 5 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}, nil)
	resp, err := client.Get("https://" + host + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	br := bufio.NewReader(resp.Body)
	down := make(chan error, 1)
	for i := range 5 {
		line, err := br.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%q, %v", line, err)
		}
		_, _ = br.ReadString('\n')
		if i == 2 {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				down <- r.Shutdown(ctx)
			}()
		}
		next <- struct{}{}
	}
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("end: %v", err)
	}
	if err := <-down; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// What is not complete is never taken for complete, and harms no other exchange of the connection.
func TestHTTP2Incomplete(t *testing.T) {
	for _, tc := range []struct {
		name     string
		provider http.HandlerFunc
		h        handler
	}{
		{name: "the provider gives up", provider: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}},
		{name: "the handler fails after its first bytes", provider: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "whole") },
			h: func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				if err := forward(ctx, m, c, u); err != nil {
					return err
				}
				return errors.New("not recorded")
			}},
		{name: "less than announced", provider: func(w http.ResponseWriter, r *http.Request) {},
			h: func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				if err := c.Respond(pipeline.Head{Status: 200, Fields: []pipeline.Field{{Name: "Content-Length", Value: "9"}}}); err != nil {
					return err
				}
				return c.Write([]byte("half"))
			}},
		{name: "more than announced", provider: func(w http.ResponseWriter, r *http.Request) {},
			h: func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				if err := c.Respond(pipeline.Head{Status: 200, Fields: []pipeline.Field{{Name: "Content-Length", Value: "2"}}}); err != nil {
					return err
				}
				return c.Write([]byte("three"))
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, client := newRig2(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/good" {
					_, _ = io.WriteString(w, "good")
					return
				}
				tc.provider(w, r)
			}, func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				if tc.h == nil || c.Head().Target == "/good" {
					return forward(ctx, m, c, u)
				}
				return tc.h(ctx, m, c, u)
			})
			resp, err := client.Get("https://" + host + "/bad")
			if err == nil {
				var b []byte
				b, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err == nil {
					t.Errorf("%q looks complete", b)
				}
			}
			resp, err = client.Get("https://" + host + "/good")
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "good" {
				t.Errorf("%q, %v", b, err)
			}
			_ = resp.Body.Close()
		})
	}
}

func TestHTTP2Refused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"another authority", func(r *http.Request) { r.Host = "evil.test" }, 421},
		{"another port", func(r *http.Request) { r.Host = host + ":1" }, 421},
		{"no such path", func(r *http.Request) { r.URL.Opaque = "*"; r.Method = "GET" }, 400},
	} {
		for _, mode := range []pipeline.Mode{pipeline.ModeEnforce, pipeline.ModeObserve} {
			t.Run(tc.name+", "+mode.String(), func(t *testing.T) {
				r, client := newRig2(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, nil, func(r *rig) { r.router.table[host] = r.terminate(mode) })
				req, _ := http.NewRequest("GET", "https://"+host+"/", nil)
				tc.change(req)
				want, kind := tc.status, "refused"
				if mode == pipeline.ModeObserve {
					want, kind = 204, "passed"
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("status %d, want %d", resp.StatusCode, want)
				}
				if f := r.flow(kind); f.Reason == "" {
					t.Errorf("%+v", f)
				}
			})
		}
	}
}

// A ClientHello may hide a name. At an address where a provider was verified that name could be the provider's.
func TestHiddenName(t *testing.T) {
	for _, tc := range []struct {
		name    string
		mode    pipeline.Mode
		known   bool // that a provider is there
		refused bool
	}{
		{"at a provider's address", pipeline.ModeEnforce, true, true},
		{"at a provider's address, observed", pipeline.ModeObserve, true, false},
		{"elsewhere", pipeline.ModeEnforce, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, always(empty), nil, func(r *rig) {
				r.router.table["front.test"] = proxy.Route{Disposition: proxy.Pass, Scope: "agents", Mode: tc.mode}
			})
			if tc.known {
				ask(t, r.client(), get, len(empty))
			}
			c := r.raw()
			_, _ = c.Write(hiding(t, "front.test"))
			if tc.refused {
				if b, _ := io.ReadAll(c); len(b) > 0 {
					t.Errorf("%q", b)
				}
				if f := r.flow("refused"); !strings.Contains(f.Reason, "ECH") || f.SNI != "front.test" {
					t.Errorf("%+v", f)
				}
				return
			}
			_, _ = c.Read(make([]byte, 1)) // of the provider's ServerHello
			_ = c.Close()
			if f := r.flow("passed"); !strings.Contains(f.Reason, "ECH") {
				t.Errorf("%+v", f)
			}
		})
	}
}

// hiding makes a ClientHello with an encrypted_client_hello extension that says nothing (RFC 9849 section 6.2).
func hiding(t *testing.T, name string) []byte {
	b := []byte(hello(name)(nil))
	ext := append([]byte{0xfe, 0x0d, 0, 8}, "greasing"...)
	// record header 5, handshake header 4, version and random 34
	at := 5 + 4 + 34
	at += 1 + int(b[at])                   // session
	at += 2 + int(b[at])<<8 + int(b[at+1]) // suites
	at += 1 + int(b[at])                   // compression
	n := int(b[at])<<8 + int(b[at+1])      // extensions
	if at+2+n != len(b) {
		t.Fatal("the ClientHello is not one record")
	}
	grow := func(at, size int) {
		v := len(ext)
		for i := at + size - 1; i >= at; i-- {
			v += int(b[i])
			b[i] = byte(v)
			v >>= 8
		}
	}
	grow(at, 2)
	grow(3, 2)
	grow(6, 3)
	return append(b, ext...)
}
