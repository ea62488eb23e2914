// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// brittle is a connection that takes no more bytes after a while, or says that it took some.
type brittle struct {
	net.Conn
	dead *atomic.Bool
	took int
}

func (b *brittle) Write(p []byte) (int, error) {
	if b.dead.Load() {
		return b.took, &net.OpError{Op: "write", Err: unix.ECONNRESET}
	}
	return b.Conn.Write(p)
}

// A request is sent again only if an idle connection took not one byte of it, and then once, on a connection that nobody has
// used.
func TestSentOnce(t *testing.T) {
	for _, tc := range []struct {
		name   string
		took   int  // bytes of the second request that the dead connection took
		dead   bool // it takes no more
		hangUp bool // the provider reads the second request, and hangs up
		want   int  // requests that the provider has read
		fails  string
	}{
		{name: "nothing was taken", dead: true, want: 2},
		{name: "some was taken", dead: true, took: 5, want: 1, fails: proxy.FailWrite},
		{name: "all was taken", hangUp: true, want: 2, fails: proxy.FailReply},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var dead atomic.Bool
			var dials, asked atomic.Int64
			plain := newProvider(t, nil, func(c net.Conn, br *bufio.Reader) {
				for {
					if head, _ := readRequest(br); head == "" {
						return
					}
					if asked.Add(1) == 2 && tc.hangUp {
						return
					}
					_, _ = io.WriteString(c, fine)
				}
			})
			failed := make(chan error, 2)
			r := newRig(t, nil, func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				err := forward(ctx, m, c, u)
				failed <- err
				return err
			}, func(r *rig) {
				r.origins.dest = plain.addr
				route := r.terminate(pipeline.ModeEnforce)
				route.Plain = true
				r.router.table[""] = route
				r.opts.Dial = func(ctx context.Context, c agent.Conn) (net.Conn, error) {
					raw, err := new(net.Dialer).DialContext(ctx, "tcp", c.Orig.String())
					if err != nil || dials.Add(1) > 1 {
						return raw, err
					}
					return &brittle{raw, &dead, tc.took}, nil
				}
			})
			c := r.raw()
			if got := ask(t, c, chat, len(fine)); got != fine {
				t.Fatalf("%q", got)
			}
			<-failed
			dead.Store(tc.dead)
			_, _ = io.WriteString(c, chat)
			err := <-failed
			if tc.fails == "" {
				if err != nil {
					t.Fatal(err)
				}
				ask(t, c, "", len(fine))
			} else {
				var up *proxy.UpstreamError
				if !errors.As(err, &up) || up.Failure() != tc.fails {
					t.Errorf("ended with %v, want %s", err, tc.fails)
				}
				if got, _ := rest(c); got != "" {
					t.Errorf("the application got %q", got)
				}
			}
			if n := asked.Load(); n != int64(tc.want) {
				t.Errorf("the provider has read %d requests, want %d", n, tc.want)
			}
		})
	}
}

// If the address that the application chose does not answer, another one is tried after a while; if no other answers either,
// it is said what was wrong with the first.
func TestHungAddress(t *testing.T) {
	const hung = "192.0.2.1:443"
	for _, all := range []bool{false, true} {
		refuse := &atomic.Bool{}
		failed := make(chan error, 2)
		r := newRig(t, always(fine), func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
			err := forward(ctx, m, c, u)
			failed <- err
			return err
		}, func(r *rig) {
			dest := r.origins.dest
			r.origins.dest = netip.MustParseAddrPort("198.51.100.1:443") // no loopback address, for which there is no other
			r.opts.Dial = func(ctx context.Context, c agent.Conn) (net.Conn, error) {
				if c.Orig.String() == hung {
					<-ctx.Done()
					return nil, errors.New("it hangs")
				}
				if refuse.Load() {
					return nil, unix.ECONNREFUSED
				}
				return new(net.Dialer).DialContext(ctx, "tcp", dest.String())
			}
			r.opts.DialTimeout = 8 * time.Second
		})
		ask(t, r.client(), get, len(fine)) // the other address is known now
		<-failed
		r.origins.mu.Lock()
		r.origins.dest = netip.MustParseAddrPort(hung)
		r.origins.mu.Unlock()
		refuse.Store(all)
		c := r.client()
		_, _ = io.WriteString(c, get)
		err := <-failed
		if !all {
			if err != nil {
				t.Fatal(err)
			}
			ask(t, c, "", len(fine))
		} else if err == nil || !strings.Contains(err.Error(), "it hangs") && !strings.Contains(err.Error(), "deadline") {
			t.Errorf("ended with %v", err)
		}
	}
}

// One that says in TLS alone that nothing more comes gets its reply.
func TestGoodbyeBeforeReply(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		readRequest(br)
		close(asked)
		<-release
		_, _ = io.WriteString(c, fine)
	}, nil)
	c := r.client()
	_, _ = io.WriteString(c, chat)
	<-asked
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(release)
	if got := ask(t, readOnly{c}, "", 0); got != fine {
		t.Errorf("%q", got)
	}
}

// readOnly is a connection on which nothing can be written any more.
type readOnly struct{ io.Reader }

func (readOnly) Write(b []byte) (int, error) { return len(b), nil }

// An application that closes its half has gone: it could not be told from one that closed both, and a provider would go on
// working for nobody.
func TestHalfClosedRequest(t *testing.T) {
	cause := make(chan error, 1)
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		readRequest(br)
		_, _ = br.ReadByte() // until the proxy gives up
	}, func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		err := forward(ctx, m, c, u)
		cause <- context.Cause(ctx)
		return err
	})
	c := r.client()
	_, _ = io.WriteString(c, chat)
	if err := c.NetConn().(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-cause; !errors.Is(err, pipeline.ErrClientGone) {
		t.Errorf("the exchange ended because of %v", err)
	}
	if got, _ := rest(c); got != "" {
		t.Errorf("%q", got)
	}
}
