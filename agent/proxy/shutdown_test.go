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
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// Idle connections end at once, a running exchange ends well, and then nothing is left.
func TestShutdown(t *testing.T) {
	const reply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	asked, release := make(chan struct{}), make(chan struct{})
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		for {
			head, _ := readRequest(br)
			if head == "" {
				return
			}
			if strings.HasPrefix(head, "POST") {
				close(asked)
				<-release
			}
			_, _ = io.WriteString(c, reply)
		}
	}, nil)
	idle, busy := r.client(), r.client()
	ask(t, idle, get, len(reply))
	_, _ = io.WriteString(busy, chat)
	<-asked
	down := make(chan error)
	go func() { down <- r.Shutdown(context.Background()) }()
	if b, err := io.ReadAll(idle); err != nil || len(b) > 0 {
		t.Errorf("idle connection: %q %v", b, err)
	}
	if c, err := net.Dial("tcp", r.addr); err == nil {
		_ = c.Close()
		t.Error("it still accepts")
	}
	close(release)
	if b, err := io.ReadAll(busy); err != nil || string(b) != strings.Replace(reply, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1) {
		t.Errorf("busy connection: %q %v", b, err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if s := r.Stats(); s.Active != 0 {
		t.Errorf("%+v", s)
	}
	if err := r.Serve(context.Background(), must(proxy.Listen(context.Background(), "127.0.0.1:0"))(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("serve after shutdown: %v", err)
	}
}

// A request that is under way when a drain begins is answered, and told that it is the last one.
func TestShutdownRace(t *testing.T) {
	for name, prepare := range map[string]func(*rig, *tls.Conn){
		"a kept connection": func(r *rig, c *tls.Conn) { ask(r.t, c, get, len(empty)) },
		"a new connection":  func(*rig, *tls.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, always(empty), nil)
			var conns []*tls.Conn
			for range 20 {
				c := r.client()
				prepare(r, c)
				conns = append(conns, c)
			}
			down := make(chan error)
			go func() { down <- r.Shutdown(context.Background()) }()
			eventually(t, "the drain", func() bool {
				c, err := net.Dial("tcp", r.addr)
				if err == nil {
					_ = c.Close()
				}
				return err != nil
			})
			want := strings.Replace(empty, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
			served := 0
			for _, c := range conns {
				if _, err := io.WriteString(c, get); err != nil {
					continue // too late: it has been told before
				}
				switch b, err := io.ReadAll(c); {
				case err == nil && string(b) == want:
					served++
				case len(b) > 0:
					t.Errorf("%q, %v", b, err)
				}
			}
			if served == 0 {
				t.Error("no request that came with the drain was answered")
			}
			if err := <-down; err != nil {
				t.Error(err)
			}
		})
	}
}

// What does not end by its deadline is cut: exchanges as incomplete, relays too.
func TestShutdownCuts(t *testing.T) {
	ended := make(chan error, 1)
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		readRequest(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nforever")
		_, _ = br.ReadByte()
	}, func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		err := forward(ctx, m, c, u)
		ended <- err
		return err
	}, func(r *rig) { r.router.table["*"] = proxy.Route{Disposition: proxy.Pass} })
	c, passed := r.client(), r.raw()
	_, _ = io.WriteString(c, get)
	ask(t, c, "", len("HTTP/1.1 200 OK\r\n\r\nforever"))
	_, _ = io.WriteString(passed, "x")
	eventually(t, "two connections", func() bool { return r.Stats().Passed == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if <-ended == nil {
		t.Error("the handler took it for complete")
	}
	for _, c := range []net.Conn{c, passed} {
		if b, err := rest(c); err == nil {
			t.Errorf("looks complete: %q", b)
		}
	}
}

func TestServeEndsWithContext(t *testing.T) {
	r := newRig(t, nil, nil)
	l := must(proxy.Listen(context.Background(), "127.0.0.1:0"))(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Serve(ctx, l) }()
	c := must(net.Dial("tcp", l.Addr().String()))(t)
	defer c.Close()
	eventually(t, "the connection", func() bool { return r.Stats().Active == 1 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("still open")
	}
}

// The hook is called again and again while the loop accepts, and not afterwards.
func TestHeartbeat(t *testing.T) {
	var beats atomic.Int64
	r := newRig(t, nil, nil, func(r *rig) { r.opts.Accepting = func() { beats.Add(1) } })
	if beats.Load() == 0 {
		t.Error("ready without a beat")
	}
	eventually(t, "three beats", func() bool { return beats.Load() >= 3 })
	_ = r.Shutdown(context.Background())
	n := beats.Load()
	time.Sleep(600 * time.Millisecond)
	if beats.Load() != n {
		t.Error("it beats without a loop")
	}
}

// Connections of all kinds, ended in all ways, leave no goroutine and no descriptor behind.
func TestNothingLeaks(t *testing.T) {
	const reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		for {
			head, _ := readRequest(br)
			if head == "" {
				return
			}
			_, _ = io.WriteString(c, reply)
			if strings.Contains(head, "cut") {
				return
			}
			_, _ = io.WriteString(c, "0\r\n\r\n")
		}
	}, nil, func(r *rig) {
		r.router.table["*"] = proxy.Route{Disposition: proxy.Pass}
		r.opts.Identifier = identifier{errors.New("it is gone")} // who is not known leaves nothing in the pool
	})
	ask(t, r.client(), get, len(reply)+5)
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				switch raw := r.raw(); (w + i) % 5 {
				case 0:
					_ = raw.Close()
				case 1:
					_, _ = io.WriteString(raw, "x")
					_ = raw.SetLinger(0)
					_ = raw.Close()
				default:
					_ = raw.Close()
					c := r.client()
					path := "/"
					if i%2 == 0 {
						path = "/cut"
					}
					_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: api.test\r\n\r\n", path)
					if i%3 > 0 {
						_, _ = io.ReadFull(c, make([]byte, len(reply)))
					}
					_ = c.Close()
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "the end of all connections", func() bool { return r.Stats().Active <= 1 })
	eventually(t, "the goroutines", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "the descriptors", func() bool { return descriptors(t) <= files })
}
