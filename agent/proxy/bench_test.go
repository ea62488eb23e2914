// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// The cost of one exchange on a kept connection, TLS on both sides, 1 KB each way. Client and provider cost the same in
// each, so compare the paths by what they add to "direct". cpu-us/op is that of the whole process.
func BenchmarkChat(b *testing.B) {
	prompt, answer := strings.Repeat("p", 1024), strings.Repeat("a", 1024)
	request := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: api.test\r\nAccept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 3.54.0\r\n"+
		"X-Stainless-Lang: python\r\nX-Stainless-OS: Linux\r\nAuthorization: Bearer 0123456789012345678901234567890123456789\r\nContent-Length: %d\r\n\r\n%s", len(prompt), prompt)
	reply := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 01 Jan 2026 00:00:00 GMT\r\nServer: test\r\nX-Request-Id: req_1\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	r := newRig(b, raw(len(request), reply), nil)
	reverse := reverseProxy(b, r)
	for _, path := range []struct {
		name string
		dial func() net.Conn
		size int // of the reply: net/http writes its head in its own way
	}{
		{"direct", func() net.Conn { return r.direct() }, len(reply)},
		{"sallyport", func() net.Conn { return r.client() }, len(reply)},
		{"ReverseProxy", func() net.Conn { return reverse() }, 0},
	} {
		b.Run(path.name, func(b *testing.B) {
			c := path.dial()
			_ = c.SetDeadline(time.Time{})
			defer c.Close()
			buf := make([]byte, 8<<10)
			exchange(b, c, request, answer, buf)
			b.ReportAllocs()
			before := cpu()
			b.ResetTimer()
			for range b.N {
				exchange(b, c, request, answer, buf)
			}
			b.StopTimer()
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
		})
	}
}

// raw answers requests of a known size, as cheaply as possible.
func raw(size int, reply string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, _ *bufio.Reader) {
		c = c.(*tee).Conn
		buf, out := make([]byte, 64<<10), []byte(reply)
		for n := 0; ; {
			k, err := c.Read(buf)
			if err != nil {
				return
			}
			for n += k; n >= size; n -= size {
				if _, err := c.Write(out); err != nil {
					return
				}
			}
		}
	}
}

func exchange(b *testing.B, c net.Conn, request, answer string, buf []byte) {
	if _, err := io.WriteString(c, request); err != nil {
		b.Fatal(err)
	}
	for n := 0; ; {
		k, err := c.Read(buf[n:])
		if err != nil {
			b.Fatal(err)
		}
		n += k
		if i := strings.Index(string(buf[:min(n, 1024)]), "\r\n\r\n"); i > 0 && n >= i+4+len(answer) {
			return
		}
	}
}

// reverseProxy runs net/http's in front of the provider.
func reverseProxy(b *testing.B, r *rig) func() net.Conn {
	leaf := must(r.ours.Leaf(context.Background(), host))(b)
	target := must(url.Parse("https://" + host))(b)
	p := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(q *httputil.ProxyRequest) { q.SetURL(target); q.Out.Host = q.In.Host }}
	tr := &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: r.theirs.pool, ServerName: host},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", r.provider.addr.String())
		}}
	p.Transport = tr
	srv := &http.Server{Handler: p, TLSConfig: &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{"http/1.1"}}, ErrorLog: log.New(io.Discard, "", 0)}
	l := must(net.Listen("tcp", "127.0.0.1:0"))(b)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.ServeTLS(l, "", "")
	}()
	b.Cleanup(func() {
		_ = srv.Close()
		tr.CloseIdleConnections()
		<-done
	})
	return func() net.Conn {
		return must(tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: host, RootCAs: r.ours.pool}))(b)
	}
}

// cpu is the time that this process has spent.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A stream of small events, each a chunk and a write of its own.
func BenchmarkStream(b *testing.B) {
	const events = 100
	event := "100\r\n" + strings.Repeat("e", 256) + "\r\n"
	head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	script := func(c net.Conn, _ *bufio.Reader) {
		c = c.(*tee).Conn
		buf, out := make([]byte, 4<<10), []byte(event)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			_, _ = io.WriteString(c, head)
			for range events {
				_, _ = c.Write(out)
			}
			_, _ = io.WriteString(c, "0\r\n\r\n")
		}
	}
	r := newRig(b, script, nil, func(r *rig) { r.router.table[host] = r.terminate(pipeline.ModeEnforce) })
	c := r.client()
	_ = c.SetDeadline(time.Time{})
	buf := make([]byte, len(head)+events*len(event)+5)
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		if _, err := io.WriteString(c, get); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N)/events, "cpu-us/event")
}
