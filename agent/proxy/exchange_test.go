// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

const chat = "POST /v1/chat/completions HTTP/1.1\r\nhost: api.test\r\nAccept:*/*\r\nX-Odd-Case:   two  words\t\r\nauthorization: Bearer sk-1\r\nAccept: text/event-stream\r\nContent-Length: 13\r\n\r\n{\"stream\":1}\n"

// What nobody changes arrives as it was sent, in both directions.
func TestSameBytes(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 64<<10)
	for _, tc := range []struct {
		name, request, reply string
		sent                 string // what arrives, if it differs
		end                  bool   // the reply ends with the connection
	}{
		{name: "counted", request: chat, reply: "HTTP/1.1 200 OK\r\nx-Lower: 1\r\nX-UPPER:2\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length:  5\r\n\r\nhello"},
		{name: "in chunks", request: chat, reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00A\r\n, world...\r\n0\r\n\r\n"},
		{name: "large chunk", request: chat, reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9C40\r\n" + big[:40000] + "\r\n1\r\nx\r\n0\r\n\r\n"},
		{name: "large", request: chat, reply: fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(big), big)},
		{name: "to the end", request: chat, reply: "HTTP/1.1 200 Fine By Me\r\nContent-Type: text/plain\r\n\r\nto the end", end: true},
		{name: "closing", request: chat, reply: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", end: true},
		{name: "error", request: chat, reply: "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nContent-Length: 2\r\n\r\n{}"},
		{name: "no body", request: "GET /v1/models?limit=1&&x HTTP/1.1\r\nHost: API.test:443\r\n\r\n", reply: "HTTP/1.1 204 \r\nA: b\r\n\r\n"},
		{name: "HEAD", request: "HEAD / HTTP/1.1\r\nHost: api.test\r\n\r\n", reply: "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"},
		{name: "absolute target", request: "GET https://api.test/v1/models HTTP/1.1\r\nHost: api.test\r\n\r\n", reply: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "HTTP/1.0", request: "GET / HTTP/1.0\r\nHost: api.test\r\n\r\n", reply: "HTTP/1.0 200 OK\r\n\r\nold", end: true},
		{name: "key in the query", request: "GET /v1/models?key=AIza&alt=sse&access_token= HTTP/1.1\r\nHost: api.test\r\nCookie: a=b\r\n\r\n", reply: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "large request", request: fmt.Sprintf("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: %d\r\n\r\n%s", len(big), big), reply: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "request beyond the handler's limit", request: fmt.Sprintf("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: %d\r\n\r\n%s%s%s", 3*len(big), big, big, big), reply: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The server answers once it has everything.
			script := func(c net.Conn, br *bufio.Reader) {
				for {
					if head, _ := readRequest(br); head == "" {
						return
					}
					_, _ = io.WriteString(c, tc.reply)
					if tc.end {
						return
					}
				}
			}
			r := newRig(t, script, nil)
			n := len(tc.reply)
			if tc.end {
				n = 0
			}
			plain := ask(t, r.direct(), tc.request, n)
			c := r.client()
			for i := range 2 { // keep-alive
				if got := ask(t, c, tc.request, n); got != plain || got != tc.reply {
					t.Fatalf("reply %d differs:\n%.300q\n%.300q", i, got, tc.reply)
				}
				if tc.end {
					break
				}
			}
			want := tc.request
			if !tc.end {
				want += tc.request
			}
			eventually(t, "the request", func() bool { return r.provider.received(1) == want })
			if r.provider.received(0) != tc.request {
				t.Error("the direct run sent something else")
			}
			if n := r.provider.connections(); n != 2 {
				t.Errorf("%d connections, want one direct and one", n)
			}
		})
	}
}

// A chunked request keeps its chunks.
func TestChunkedRequest(t *testing.T) {
	got := make(chan string, 1)
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		var all []byte
		for !strings.HasSuffix(string(all), "0\r\n\r\n") {
			b, err := br.ReadByte()
			if err != nil {
				return
			}
			all = append(all, b)
		}
		got <- string(all)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}, nil)
	head := "POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"
	c := r.client()
	for _, piece := range []string{head[:20], head[20:] + "5;ext=1\r\nhel", "lo\r\n6\r\n world\r", "\n0\r\nX-Sum: x\r\n"} {
		if _, err := io.WriteString(c, piece); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, c, "\r\n", len("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	if g := <-got; g != head+"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" {
		t.Errorf("%q", g)
	}
}
