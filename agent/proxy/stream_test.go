// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

const get = "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"

// Each event of a stream arrives before the next one is made.
func TestStream(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	next := make(chan string)
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		if head, _ := readRequest(br); head == "" {
			return
		}
		for s := range next {
			if _, err := io.WriteString(c, s); err != nil {
				return
			}
		}
	}, nil)
	c := r.client()
	if _, err := io.WriteString(c, chat); err != nil {
		t.Fatal(err)
	}
	for i, s := range []string{head, "6\r\ndata: \r\n", "3\r\n1\n\n\r\n", "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n", "0\r\n\r\n"} {
		next <- s
		if got := ask(t, c, "", len(s)); got != s {
			t.Fatalf("piece %d: %q", i, got)
		}
	}
	close(next)
}

// A chunk that does not come to its end is passed on all the same.
func TestSlowChunk(t *testing.T) {
	next := make(chan string)
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		readRequest(br)
		for s := range next {
			_, _ = io.WriteString(c, s)
		}
	}, nil)
	c := r.client()
	_, _ = io.WriteString(c, get)
	for _, step := range [][2]string{
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{" wor", "4\r\n wor\r\n"},
		{"l\r\n2\r\nd!\r\n0\r\n\r\n", "1\r\nl\r\n2\r\nd!\r\n0\r\n\r\n"},
	} {
		next <- step[0]
		if got := ask(t, c, "", len(step[1])); got != step[1] {
			t.Fatalf("%q", got)
		}
	}
	close(next)
}

// A head does not wait for a handler that waits for something else, nor does what was written.
func TestHeadLeavesBeforeHold(t *testing.T) {
	release := make(chan struct{})
	r := newRig(t, nil, func(_ context.Context, _ *pipeline.Meta, c pipeline.Client, _ pipeline.Upstream) error {
		if err := c.Respond(pipeline.Head{Status: 200, Fields: []pipeline.Field{{Name: "Content-Length", Value: "2"}}}); err != nil {
			return err
		}
		<-release
		return c.Write([]byte("ok"))
	})
	c := r.client()
	if got := ask(t, c, get, 38); got != "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" {
		t.Fatalf("%q", got)
	}
	close(release)
	if got := ask(t, c, "", 2); got != "ok" {
		t.Fatalf("%q", got)
	}
}

// Not one byte goes upstream before the intent is durable, and none if it never is.
func TestDurable(t *testing.T) {
	const reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for _, fail := range []error{nil, errors.New("disk full")} {
		t.Run(fmt.Sprint(fail), func(t *testing.T) {
			durable := make(chan error)
			sent := make(chan error, 1)
			r := newRig(t, always(reply), func(ctx context.Context, _ *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				rep, err := u.Send(ctx, c.Head(), nil, "", durable)
				sent <- err
				if err != nil {
					return err
				}
				return deliver(ctx, c, rep, rep.Head())
			})
			c := r.client()
			_, _ = io.WriteString(c, get)
			eventually(t, "the connection upstream", func() bool { return r.provider.connections() == 1 })
			if got := r.provider.received(0); got != "" {
				t.Fatalf("sent before it was durable: %q", got)
			}
			durable <- fail
			if err := <-sent; !errors.Is(err, fail) {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(io.LimitReader(c, int64(len(reply))))
			if fail == nil && string(b) != reply || fail != nil && (len(b) > 0 || r.provider.received(0) != "") {
				t.Errorf("client got %q, provider got %q", b, r.provider.received(0))
			}
		})
	}
}

// A durable record that never comes ends with the context.
func TestDurableCancelled(t *testing.T) {
	sent := make(chan error, 1)
	r := newRig(t, nil, func(ctx context.Context, _ *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err := u.Send(ctx, c.Head(), nil, "", make(chan error))
		sent <- err
		return err
	})
	_, _ = io.WriteString(r.client(), get)
	if err := <-sent; !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// An application that goes away ends what is done for it, while the provider is still thinking.
func TestClientGone(t *testing.T) {
	ended := make(chan error, 1)
	waiting := make(chan struct{})
	r := newRig(t, func(_ net.Conn, br *bufio.Reader) {
		readRequest(br)
		close(waiting)
		_, _ = br.ReadByte() // until the proxy gives up
	}, func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		err := forward(ctx, m, c, u)
		ended <- ctx.Err()
		return err
	})
	c := r.client()
	_, _ = io.WriteString(c, chat)
	<-waiting
	_ = c.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "the end of the connection", func() bool { return r.Stats().Active == 0 })
}

// Requests that were sent ahead are answered in order, also when the watch has read the first byte of one.
func TestPipelined(t *testing.T) {
	const reply = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		for i := 0; ; i++ {
			head, _ := readRequest(br)
			if head == "" {
				return
			}
			time.Sleep(30 * time.Millisecond) // longer than the watch waits
			_, _ = io.WriteString(c, reply+head[5:6])
		}
	}, nil)
	c := r.client()
	var requests, want strings.Builder
	for _, n := range "123456" {
		fmt.Fprintf(&requests, "GET /%c HTTP/1.1\r\nHost: api.test\r\n\r\n", n)
		fmt.Fprintf(&want, "%s%c", reply, n)
	}
	all := requests.String()
	if _, err := io.WriteString(c, all[:100]); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, c, all[100:], want.Len()); got != want.String() {
		t.Errorf("%q", got)
	}
}

// Expect: 100-continue is answered by the proxy, and only if the body is wanted.
func TestContinue(t *testing.T) {
	const reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	r := newRig(t, always("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+reply), nil)
	c := r.client()
	head := "POST / HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
	if got := ask(t, c, head, 25); got != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Fatalf("%q", got)
	}
	if got := ask(t, c, "{}", len(reply)); got != reply {
		t.Fatalf("%q", got)
	}
	if got := r.provider.received(0); got != head+"{}" {
		t.Errorf("%q", got)
	}
}

// Trailer fields reach the application only where nothing is inspected.
func TestTrailers(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for mode, want := range map[pipeline.Mode]string{
		pipeline.ModeObserve: head + "1;x=y\r\na\r\n0\r\nLeak: secret\r\n\r\n",
		pipeline.ModeEnforce: head + "1\r\na\r\n0\r\n\r\n",
	} {
		t.Run(mode.String(), func(t *testing.T) {
			r := newRig(t, always(head+"1;x=y\r\na\r\n0\r\nLeak: secret\r\n\r\n"), nil, func(r *rig) { r.router.table[host] = r.terminate(mode) })
			if got := ask(t, r.client(), get, len(want)); got != want {
				t.Errorf("%q", got)
			}
		})
	}
}
