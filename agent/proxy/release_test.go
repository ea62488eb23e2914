// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// A request that was released is gone, what follows it is not, and the reply is what it would have been.
func TestRelease(t *testing.T) {
	const reply = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		for {
			head, body := readRequest(br)
			if head == "" {
				return
			}
			_, _ = io.WriteString(c, reply+body[len(body)-5:])
		}
	}, func(ctx context.Context, _ *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		release := c.(pipeline.Releaser).Release
		release() // too soon: nothing happens
		body, err := c.Body(ctx, 1<<20)
		if err != nil {
			return err
		}
		rep, err := u.Send(ctx, c.Head(), body, "", nil)
		if err != nil {
			return err
		}
		release()
		release()
		if _, err := u.Send(ctx, c.Head(), body, "", nil); err == nil {
			t.Error("a released request was sent again")
		}
		return deliver(ctx, c, rep, rep.Head())
	})
	for _, size := range []int{5, 3 << 10, 100 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var requests, want strings.Builder
			for i := range 5 {
				body := strings.Repeat("x", size-5) + fmt.Sprintf("%05d", i)
				fmt.Fprintf(&requests, "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				want.WriteString(reply + body[size-5:])
			}
			c := r.client()
			go func() { _, _ = io.WriteString(c, requests.String()) }() // it may wait until the first replies are read
			if got := ask(t, c, "", want.Len()); got != want.String() {
				t.Errorf("%q", got)
			}
		})
	}
}

// A stream that makes us wait arrives as it was sent, wherever it was cut.
func TestSlowStream(t *testing.T) {
	const body = "6\r\ndata: \r\n3\r\n1\n\n\r\n12\r\n0123456789abcdef\n\n\r\n0\r\n\r\n"
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, step := range []int{1, 2, 3, 7, 11, 20, len(body)} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c net.Conn, br *bufio.Reader) {
				readRequest(br)
				_, _ = io.WriteString(c, head)
				for rest := body; rest != ""; {
					time.Sleep(4 * time.Millisecond) // longer than slowReply, shorter than chunkPatience
					n := min(step, len(rest))
					_, _ = io.WriteString(c, rest[:n])
					rest = rest[n:]
				}
			}, nil)
			c := r.client()
			if _, err := io.WriteString(c, get); err != nil {
				t.Fatal(err)
			}
			got := must(readChunks(bufio.NewReader(c)))(t)
			if want := "data: 1\n\n0123456789abcdef\n\n"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// readChunks reads a reply in chunks and returns its payload.
func readChunks(br *bufio.Reader) (string, error) {
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == "\r\n" {
			break
		}
	}
	var all strings.Builder
	for {
		var n int
		line, err := br.ReadString('\n')
		if err != nil {
			return "", err
		}
		if _, err := fmt.Sscanf(line, "%x\r\n", &n); err != nil {
			return "", err
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(br, b); err != nil {
			return "", err
		}
		if n == 0 {
			return all.String(), nil
		}
		all.Write(b[:n])
	}
}
