// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// provider is a scripted server. script runs once for each connection; got are the bytes that it read, by connection.
type provider struct {
	addr netip.AddrPort
	mu   sync.Mutex
	got  []*bytes.Buffer
	wg   sync.WaitGroup
	l    net.Listener

	running, waiting atomic.Int64 // connections that are served, and those of them that wait for bytes
}

type tee struct {
	net.Conn
	p   *provider
	buf *bytes.Buffer
}

func (t *tee) Read(b []byte) (int, error) {
	t.p.waiting.Add(1)
	n, err := t.Conn.Read(b)
	t.p.waiting.Add(-1)
	t.p.mu.Lock()
	t.buf.Write(b[:n])
	t.p.mu.Unlock()
	return n, err
}

func (p *provider) received(i int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i >= len(p.got) {
		return ""
	}
	return p.got[i].String()
}

func (p *provider) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

// quiet tells whether each connection waits for a request, or has ended, and the other side has all that was sent on it.
func (p *provider) quiet() bool {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil || p.waiting.Load() != p.running.Load() {
		return false
	}
	port := fmt.Sprintf(":%04X", p.addr.Port())
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line) // proc_pid_net_tcp(5)
		if len(f) < 5 || !strings.HasSuffix(f[1], port) || f[3] == "0A" {
			continue
		}
		if sent, _, _ := strings.Cut(f[4], ":"); sent != "00000000" || f[3] == "04" || f[3] == "09" || f[3] == "0B" {
			return false // bytes, or the end, are under way
		}
	}
	return p.waiting.Load() == p.running.Load()
}

func newProvider(t testing.TB, ca *authority, script func(net.Conn, *bufio.Reader)) *provider {
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	p := &provider{l: l, addr: l.Addr().(*net.TCPAddr).AddrPort()}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() {
				defer c.Close()
				if ca != nil {
					leaf, _ := ca.Leaf(context.Background(), host)
					c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{"http/1.1"}})
					if c.(*tls.Conn).Handshake() != nil {
						return
					}
				}
				tc := &tee{Conn: c, p: p, buf: new(bytes.Buffer)}
				p.mu.Lock()
				p.got = append(p.got, tc.buf)
				p.mu.Unlock()
				p.running.Add(1)
				script(tc, bufio.NewReader(tc))
				if ca != nil {
					_ = c.Close() // with a close_notify
				}
				p.running.Add(-1)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.wg.Wait()
	})
	return p
}

// readRequest reads a head and Content-Length bytes; "" at the end.
func readRequest(br *bufio.Reader) (head, body string) {
	n := 0
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return "", ""
		}
		head += line
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, "content-length") {
			for _, c := range strings.TrimSpace(v) {
				n = n*10 + int(c-'0')
			}
		}
		if line == "\r\n" {
			b := make([]byte, n)
			if _, err := io.ReadFull(br, b); err != nil {
				return "", ""
			}
			return head, string(b)
		}
	}
}

// always answers each request with the same bytes.
func always(reply string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, br *bufio.Reader) {
		for {
			if head, _ := readRequest(br); head == "" {
				return
			}
			if _, err := io.WriteString(c, reply); err != nil {
				return
			}
		}
	}
}
