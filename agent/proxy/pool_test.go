// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Connections of one principal share what leads to the provider, if they send the same credential.
func TestPool(t *testing.T) {
	r := newRig(t, always(empty), nil)
	with := func(key string) string {
		return "GET / HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer " + key + "\r\n\r\n"
	}
	for i, tc := range []struct {
		key  string
		want int
	}{{"a", 1}, {"a", 1}, {"b", 2}, {"b", 2}, {"a", 2}} {
		c := r.client()
		ask(t, c, with(tc.key), len(empty))
		ask(t, c, with(tc.key), len(empty))
		_ = c.Close()
		if got := r.provider.connections(); got != tc.want {
			t.Fatalf("step %d: %d connections to the provider, want %d", i, got, tc.want)
		}
	}
	for i, key := range []string{"a", "b"} {
		if got := r.provider.received(i); strings.Count(got, "Bearer "+key) != strings.Count(got, "Bearer ") {
			t.Errorf("connection %d carried two credentials", i)
		}
	}
}

// If the address that the application chose is dead, another one at which the name was verified will do.
func TestOtherAddress(t *testing.T) {
	r := newRig(t, always(empty), nil)
	ask(t, r.client(), get, len(empty))
	dead := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	_ = dead.Close()
	r.origins.mu.Lock()
	r.origins.dest = netip.MustParseAddrPort(dead.Addr().String())
	r.origins.mu.Unlock()
	if got := ask(t, r.client(), get, len(empty)); got != empty {
		t.Errorf("%q", got)
	}
	if n := r.provider.connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestMemoryLimit(t *testing.T) {
	for _, mode := range []pipeline.Mode{pipeline.ModeEnforce, pipeline.ModeObserve} {
		t.Run(mode.String(), func(t *testing.T) {
			whys := make(chan error, 3)
			r := newRig(t, always(empty), func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				body, err := c.Body(ctx, 1<<20)
				whys <- err
				if err != nil && m.Mode == pipeline.ModeEnforce {
					return err
				}
				reply, err := u.Send(ctx, c.Head(), body, "", nil)
				if err != nil {
					return err
				}
				return deliver(ctx, c, reply, reply.Head())
			}, func(r *rig) {
				r.opts.MaxMemory = 128 << 10
				r.router.table[host] = r.terminate(mode)
			})
			c := r.client()
			small := fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", host, 1000, strings.Repeat("x", 1000))
			ask(t, c, small, len(empty))
			if why := <-whys; why != nil {
				t.Fatal(why)
			}
			big := fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", host, 200_000, strings.Repeat("x", 200_000))
			if mode == pipeline.ModeObserve {
				ask(t, c, big, len(empty))
			} else {
				_, _ = io.WriteString(c, big)
				if b, _ := io.ReadAll(c); len(b) > 0 {
					t.Errorf("%q", b)
				}
			}
			why := <-whys
			if !errors.Is(why, pipeline.ErrBodyTooLarge) || !strings.Contains(why.Error(), "max_memory") {
				t.Errorf("%v", why)
			}
			// What was held is given back.
			ask(t, r.client(), small, len(empty))
		})
	}
}
