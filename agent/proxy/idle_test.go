// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// A connection without a request gives its buffers back after half of IdleTimeout, if that is short. It must be as good
// as before.
func TestIdle(t *testing.T) {
	const idle = time.Second
	slowly := func(c net.Conn, br *bufio.Reader) { // long enough that the proxy watches whether the application goes away
		for {
			if head, _ := readRequest(br); head == "" {
				return
			}
			time.Sleep(50 * time.Millisecond)
			if _, err := io.WriteString(c, empty); err != nil {
				return
			}
		}
	}
	for _, exchange := range []struct {
		name   string
		script func(net.Conn, *bufio.Reader)
	}{
		{"after a short exchange", always(empty)},
		{"after a long exchange", slowly},
	} {
		for _, tc := range []struct {
			name string
			do   func(*testing.T, *rig, net.Conn)
		}{
			{"the next request", func(t *testing.T, r *rig, c net.Conn) {
				for range 2 { // without a pause, and again
					if got := ask(t, c, get, len(empty)); got != empty {
						t.Errorf("%q", got)
					}
				}
				if n := r.provider.connections(); n != 1 {
					t.Errorf("%d connections to the provider, want 1", n)
				}
			}},
			{"its first byte alone", func(t *testing.T, r *rig, c net.Conn) {
				for _, part := range []string{get[:1], get[1:2], get[2:]} {
					if _, err := io.WriteString(c, part); err != nil {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if got := ask(t, c, "", len(empty)); got != empty {
					t.Errorf("%q", got)
				}
			}},
			{"two requests at once", func(t *testing.T, r *rig, c net.Conn) {
				if got := ask(t, c, get+get, 2*len(empty)); got != empty+empty {
					t.Errorf("%q", got)
				}
			}},
			{"a head without an end", func(t *testing.T, r *rig, c net.Conn) {
				if got := ask(t, c, get[:10], 0); got != "" {
					t.Errorf("%q", got)
				}
			}},
			{"nothing more", func(t *testing.T, r *rig, c net.Conn) {
				start := time.Now()
				if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
					t.Errorf("%q, %v", b, err)
				}
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("open for %v", took)
				}
			}},
			{"the proxy's end", func(t *testing.T, r *rig, c net.Conn) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := r.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
					t.Errorf("%q, %v", b, err)
				}
			}},
		} {
			t.Run(exchange.name+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, exchange.script, nil, func(r *rig) { r.opts.IdleTimeout, r.opts.HeadTimeout = idle, 200*time.Millisecond })
				c := r.client()
				ask(t, c, get, len(empty))
				time.Sleep(idle * 6 / 10)
				tc.do(t, r, c)
			})
		}
	}
}

// A connection is closed if nothing comes for IdleTimeout, not for longer and not sooner.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	const idle = 400 * time.Millisecond
	r := newRig(t, always(empty), nil, func(r *rig) { r.opts.IdleTimeout = idle })
	c := r.client()
	ask(t, c, get, len(empty))
	start := time.Now()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	if took := time.Since(start); took < idle*9/10 || took > 10*time.Second {
		t.Errorf("closed after %v, want %v", took, idle)
	}
}
