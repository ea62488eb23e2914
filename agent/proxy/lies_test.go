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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"

// first answers the first request of the first connection with bytes of its choice, and everything else well.
func first(reply string) func(net.Conn, *bufio.Reader) {
	var once sync.Once
	return func(c net.Conn, br *bufio.Reader) {
		for {
			if head, _ := readRequest(br); head == "" {
				return
			}
			say := fine
			once.Do(func() { say = reply })
			if _, err := io.WriteString(c, say); err != nil {
				return
			}
		}
	}
}

// What a provider sends besides a reply is no part of the next one: the connection is not used again.
func TestSurplusIsNoReply(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for _, tc := range []struct{ name, method, reply, want string }{
		{"a body after HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"},
		{"a body after 204", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n"},
		{"a body after 304", "GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"more than announced", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + evil, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"more than the last chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + evil,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{"an interim reply too late", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, first(tc.reply), nil)
			c := r.client()
			if got := ask(t, c, tc.method+" / HTTP/1.1\r\nHost: api.test\r\n\r\n", len(tc.want)); got != tc.want {
				t.Fatalf("%q", got)
			}
			if got := ask(t, c, get, len(fine)); got != fine {
				t.Errorf("%q", got)
			}
			if n := r.provider.connections(); n != 2 {
				t.Errorf("%d connections to the provider", n)
			}
		})
	}
}

// A request that says that nothing follows it is the last on its connection, whatever the reply says.
func TestClosingRequest(t *testing.T) {
	for _, request := range []string{"GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\nHost: api.test\r\n\r\n"} {
		r := newRig(t, always(fine), nil)
		for range 2 {
			if got := ask(t, r.client(), request, 0); got != fine {
				t.Fatalf("%q", got)
			}
		}
		if n := r.provider.connections(); n != 2 {
			t.Errorf("after %q: %d connections to the provider, want one for each", request, n)
		}
	}
}

// A body that can be read in two ways is refused with 400, recorded, and none of it goes upstream.
func TestMalformedBody(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, body := range map[string]string{
		"size":                 "5x\r\nhello\r\n0\r\n\r\n",
		"bare LF":              "5\nhello\r\n0\r\n\r\n",
		"longer than its size": "5\r\nhelloo\r\n0\r\n\r\n",
		"space":                "5 \r\nhello\r\n0\r\n\r\n",
		"negative":             "-5\r\nhello\r\n0\r\n\r\n",
		"overflow":             "ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
		"length as a trailer":  "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
	} {
		for _, mode := range []pipeline.Mode{pipeline.ModeEnforce, pipeline.ModeObserve} {
			t.Run(name+", "+mode.String(), func(t *testing.T) {
				r := newRig(t, always(fine), nil, func(r *rig) { r.router.table[host] = r.terminate(mode) })
				c := r.client()
				// What is smuggled behind it is not answered either.
				got := ask(t, c, head+body+get, 0)
				if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "Connection: close\r\n") || strings.Count(got, "HTTP/1.1") != 1 {
					t.Errorf("%q", got)
				}
				if f := r.flow("refused"); !strings.Contains(f.Reason, "http/1.1: malformed") {
					t.Errorf("%+v", f)
				}
				if got := r.provider.received(0); got != "" {
					t.Errorf("sent upstream: %q", got)
				}
			})
		}
	}
}

// What follows a good request is a request of its own, and judged as such, after the good one was answered.
func TestPipelinedGoodAndBad(t *testing.T) {
	r := newRig(t, always(fine), nil)
	got := ask(t, r.client(), chat+"POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nContent-Length: 0\r\n\r\n"+get, 0)
	if !strings.HasPrefix(got, fine+"HTTP/1.1 400 ") || strings.Count(got, "HTTP/1.1") != 2 {
		t.Errorf("%q", got)
	}
	if got := r.provider.received(0); got != chat {
		t.Errorf("sent upstream: %q", got)
	}
}

// A body in very many chunks arrives whole; what is remembered of its chunks is bounded.
func TestTinyChunks(t *testing.T) {
	var body strings.Builder
	const n = 5000
	for i := range n {
		fmt.Fprintf(&body, "1\r\n%d\r\n", i%10)
	}
	payload := make(chan string, 1)
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		if head, _ := readRequest(br); head == "" {
			return
		}
		var all strings.Builder
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			var size int
			if _, err := fmt.Sscanf(line, "%x\r\n", &size); err != nil || size == 0 {
				break
			}
			b := make([]byte, size+2)
			_, _ = io.ReadFull(br, b)
			all.Write(b[:size])
		}
		payload <- all.String()
		_, _ = io.WriteString(c, fine)
	}, nil)
	c := r.client()
	if got := ask(t, c, "POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"+body.String()+"0\r\n\r\n", len(fine)); got != fine {
		t.Fatalf("%q", got)
	}
	if got := <-payload; got != strings.Repeat("0123456789", n/10) {
		t.Errorf("%d bytes arrived", len(got))
	}
}

// persons tells callers apart by the number of their connection.
type persons struct {
	mu   sync.Mutex
	list []pipeline.Principal // who opened which connection
}

func (p *persons) Identify(_ context.Context, proc agent.Process) (pipeline.Workload, pipeline.Principal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := p.list[0]
	p.list = p.list[1:]
	return pipeline.Workload{PID: proc.TGID}, who, nil
}

// Who is somebody else gets another connection to the provider, with the same credential too; and who is not known, with
// nobody.
func TestNobodySharesWithOthers(t *testing.T) {
	a, b := pipeline.Principal{SPIFFEID: "spiffe://test/a"}, pipeline.Principal{SPIFFEID: "spiffe://test/b"}
	person, spoof := pipeline.Principal{SPIFFEID: "spiffe://test/a", User: "u"}, pipeline.Principal{SPIFFEID: "spiffe://test/a\x00u"}
	for _, tc := range []struct {
		name string
		list []pipeline.Principal
		want int
	}{
		{"the same", []pipeline.Principal{a, a, a}, 1},
		{"another one", []pipeline.Principal{a, b, a, b}, 2},
		{"a person", []pipeline.Principal{a, person, a, person}, 2},
		{"a name that looks like a person", []pipeline.Principal{person, spoof}, 2},
		{"nobody", []pipeline.Principal{{}, {}, {}}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, always(fine), nil, func(r *rig) { r.opts.Identifier = &persons{list: tc.list} })
			for range tc.list {
				c := r.client()
				ask(t, c, "GET / HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer k\r\n\r\n", len(fine))
				_ = c.Close()
				eventually(t, "the end", func() bool { return r.Stats().Active == 0 })
			}
			if n := r.provider.connections(); n != tc.want {
				t.Errorf("%d connections, want %d", n, tc.want)
			}
		})
	}
}

// Sessions with the provider are resumed by new connections.
func TestResumption(t *testing.T) {
	resumed := make(chan bool, 3)
	r := newRig(t, nil, nil)
	leaf := must(r.theirs.Leaf(context.Background(), host))(t)
	conf := &tls.Config{Certificates: []tls.Certificate{*leaf}}
	p := newProvider(t, nil, func(c net.Conn, _ *bufio.Reader) {
		tc := tls.Server(c, conf)
		defer tc.Close()
		if head, _ := readRequest(bufio.NewReader(tc)); head != "" {
			resumed <- tc.ConnectionState().DidResume
			_, _ = io.WriteString(tc, fine)
		}
	})
	r.origins.mu.Lock()
	r.origins.dest = p.addr
	r.origins.mu.Unlock()
	for i := range 3 {
		ask(t, r.client(), "GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n", 0)
		if got := <-resumed; got != (i > 0) {
			t.Errorf("connection %d resumed a session: %v", i, got)
		}
	}
}

// A provider that stalls is given up after a while, and it is said what happened.
func TestProviderStalls(t *testing.T) {
	big := fmt.Sprintf("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: %d\r\n\r\n%s", 10<<20, strings.Repeat("x", 10<<20)) // more than two sockets hold
	wait := func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }                                                                  // until the proxy gives up
	for _, tc := range []struct {
		name, request string
		script        func(net.Conn, *bufio.Reader)
		want          string // what the application gets
		fail          bool   // nothing is taken for an answer
	}{
		{"before the reply", get, func(c net.Conn, br *bufio.Reader) { readRequest(br); wait(c) }, "", true},
		{"in the head", get, func(c net.Conn, br *bufio.Reader) {
			readRequest(br)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-")
			wait(c)
		}, "", true},
		{"in the body", get, func(c net.Conn, br *bufio.Reader) {
			readRequest(br)
			_, _ = io.WriteString(c, fine[:len(fine)-1])
			wait(c)
		}, fine[:len(fine)-1], true},
		{"in a chunk", get, func(c net.Conn, br *bufio.Reader) {
			readRequest(br)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
			wait(c)
		}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", true},
		{"it reads nothing", big, func(net.Conn, *bufio.Reader) {}, "", true},
		{"it has answered and reads nothing more", big, func(c net.Conn, br *bufio.Reader) {
			_, _ = br.ReadString('\n')
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		}, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			failed, over := make(chan error, 1), make(chan struct{})
			defer close(over)
			r := newRig(t, func(c net.Conn, br *bufio.Reader) {
				if tc.script(c, br); tc.request == big { // it stays open, unread
					<-over
				}
			}, func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				body, err := c.Body(ctx, 32<<20)
				if err != nil {
					failed <- err
					return err
				}
				reply, err := u.Send(ctx, c.Head(), body, "", nil)
				if err == nil {
					err = deliver(ctx, c, reply, reply.Head())
				}
				failed <- err
				return err
			}, func(r *rig) { r.opts.UpstreamTimeout = 300 * time.Millisecond })
			c := r.client()
			go func() { _, _ = io.WriteString(c, tc.request) }()
			b := make([]byte, len(tc.want))
			if _, err := io.ReadFull(c, b); err != nil || string(b) != tc.want {
				t.Errorf("%q, %v", b, err)
			}
			err := <-failed
			if !tc.fail {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var up *proxy.UpstreamError
			if errors.As(err, &up) && up.Failure() != proxy.FailTimeout || err == nil || tc.request == get && !strings.Contains(err.Error(), "upstream_timeout") {
				t.Errorf("ended with %v", err)
			}
			if more, _ := rest(c); more != "" {
				t.Errorf("and %q", more)
			}
		})
	}
}

// An application that does not send what it announced is cut after a while.
func TestSlowRequest(t *testing.T) {
	for _, framing := range []string{"Content-Length: 100\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\n"} {
		failed := make(chan error, 1)
		r := newRig(t, always(fine), func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
			err := forward(ctx, m, c, u)
			failed <- err
			return err
		}, func(r *rig) { r.opts.StallTimeout = 200 * time.Millisecond })
		c := r.client()
		if got := ask(t, c, "POST / HTTP/1.1\r\nHost: api.test\r\n"+framing+"hel", 0); got != "" {
			t.Errorf("%q", got)
		}
		if err := <-failed; err == nil || !strings.Contains(err.Error(), "proxy.stall") {
			t.Errorf("ended with %v", err)
		}
	}
}
