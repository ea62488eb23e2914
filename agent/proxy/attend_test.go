// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/proxy"
)

// Listeners come and go while the server runs; connections that one of them took go on without it.
func TestAttend(t *testing.T) {
	listen := func() *net.TCPListener { return must(proxy.Listen(context.Background(), "127.0.0.1:0"))(t) }
	first, second, never := listen(), listen(), listen()
	r := newRig(t, always(empty), nil)
	for _, l := range []*net.TCPListener{first, second} {
		if err := r.Attend(l); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []*net.TCPListener{first, second} {
		r.addr = l.Addr().String()
		c := r.client()
		ask(t, c, get, len(empty))
		r.Dismiss(l)
		if _, err := net.Dial("tcp", r.addr); err == nil {
			t.Error("a listener that was dismissed takes connections")
		}
		ask(t, c, get, len(empty))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.Shutdown(ctx) // connections are open
	if err := r.Attend(never); !errors.Is(err, net.ErrClosed) {
		t.Errorf("attending after the end: %v", err)
	}
	_ = never.Close()
	select {
	case n := <-r.notices:
		t.Errorf("noticed: %s", n)
	default:
	}
}

// What Attend was given before Serve is served from its beginning, unless it was dismissed.
func TestAttendBeforeServe(t *testing.T) {
	r := newRig(t, always(empty), nil)
	s := must(proxy.New(r.opts))(t)
	kept, gone, main := must(proxy.Listen(t.Context(), "127.0.0.1:0"))(t), must(proxy.Listen(t.Context(), "127.0.0.1:0"))(t), must(proxy.Listen(t.Context(), "127.0.0.1:0"))(t)
	for _, l := range []*net.TCPListener{kept, gone} {
		if err := s.Attend(l); err != nil {
			t.Fatal(err)
		}
	}
	s.Dismiss(gone)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), main) }()
	r.addr = kept.Addr().String()
	c := r.client()
	ask(t, c, get, len(empty))
	_ = c.Close()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// An idle connection to the provider would keep its network namespace alive.
func TestForget(t *testing.T) {
	r := newRig(t, always(empty), nil)
	l := must(proxy.Listen(t.Context(), "127.0.0.1:0"))(t)
	here := must(proxy.NetNS(l))(t)
	_ = l.Close()
	visit := func(want int) {
		t.Helper()
		c := r.client()
		ask(t, c, get, len(empty))
		_ = c.Close()
		if n := r.provider.connections(); n != want {
			t.Errorf("%d connections to the provider, want %d", n, want)
		}
	}
	visit(1)
	r.Forget(here + 1)
	visit(1)
	r.Forget(here)
	visit(2)
}
