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
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// A flood of refused connections is recorded up to a point, then counted: nothing is missing from the sum.
func TestFloodIsCounted(t *testing.T) {
	const n = 320
	r := newRig(t, nil, nil, func(r *rig) {
		r.router.table = map[string]proxy.Route{"*": {Disposition: proxy.Refuse, Reason: "no egress", Scope: "agents", Mode: pipeline.ModeEnforce},
			"": {Disposition: proxy.Refuse, Reason: "no egress", Scope: "agents", Mode: pipeline.ModeEnforce}}
	})
	for range n {
		c := r.raw()
		_, _ = io.WriteString(c, "x\r\n\r\n")
		_, _ = io.ReadAll(c)
		_ = c.Close()
	}
	eventually(t, "the last refusal", func() bool { return r.Stats().Denied == n && r.Stats().Active == 0 })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end", func() bool {
		all := r.ledger.all()
		return len(all) > 0 && all[len(all)-1].Count > 0
	})
	single, counted := 0, int64(0)
	for _, f := range r.ledger.all() {
		if f.Disposition != "refused" || f.Scope != "agents" || f.Workload.UID != 1000 {
			t.Errorf("%+v", f)
		}
		if f.Count > 0 {
			counted += f.Count
			if !strings.Contains(f.Reason, "no egress") || f.Dest != "" || f.ID == "" {
				t.Errorf("%+v", f)
			}
		} else {
			single++
		}
	}
	if single != 300 || single+int(counted) != n {
		t.Errorf("%d recorded, %d counted, want %d together", single, counted, n)
	}
}

func TestScopeLimit(t *testing.T) {
	for _, mode := range []pipeline.Mode{pipeline.ModeEnforce, pipeline.ModeObserve} {
		t.Run(mode.String(), func(t *testing.T) {
			r := newRig(t, always(empty), nil, func(r *rig) {
				r.opts.MaxConns = 2
				r.router.table[host] = r.terminate(mode)
			})
			a, b := r.client(), r.client()
			ask(t, a, get, len(empty))
			ask(t, b, get, len(empty))
			third := tls.Client(r.raw(), &tls.Config{ServerName: host, RootCAs: r.theirs.pool}) // the provider's own certificate
			err := third.Handshake()
			if mode == pipeline.ModeEnforce {
				if err == nil {
					t.Fatal("one connection too many was not refused")
				}
				if f := r.flow("refused"); !strings.Contains(f.Reason, "2 connections open") {
					t.Errorf("%+v", f)
				}
			} else {
				if err != nil {
					t.Fatalf("observe refuses: %v", err)
				}
				ask(t, third, get, len(empty))
				_ = third.Close()
				r.flow("passed")
			}
			_ = a.Close()
			eventually(t, "its place", func() bool { return r.Stats().Active == 1 })
			ask(t, r.client(), get, len(empty))
		})
	}
}

// An application that does not read stalls the provider: nothing piles up here. In the end it is cut.
func TestStalledApplication(t *testing.T) {
	var sent atomic.Int64
	piece := fmt.Sprintf("%x\r\n%s\r\n", 16<<10, strings.Repeat("x", 16<<10))
	failed := make(chan error, 1)
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		if head, _ := readRequest(br); head == "" {
			return
		}
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for err == nil {
			if _, err = io.WriteString(c, piece); err == nil {
				sent.Add(int64(len(piece)))
			}
		}
	}, func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		err := forward(ctx, m, c, u)
		failed <- err
		return err
	}, func(r *rig) { r.opts.StallTimeout = 400 * time.Millisecond })
	c := r.client()
	if _, err := io.WriteString(c, chat); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ended with %v, want a deadline", err)
	}
	eventually(t, "the end", func() bool { return r.Stats().Active == 0 })
	// What fits into the buffers of four sockets, and no more.
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("the provider could send %d bytes to an application that reads none", n)
	}
}

// An application that reads slowly, but reads, is not cut.
func TestSlowReader(t *testing.T) {
	const stall = 300 * time.Millisecond
	r := newRig(t, func(c net.Conn, br *bufio.Reader) {
		if head, _ := readRequest(br); head == "" {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for i := range 8 { // together longer than the limit
			if _, err := fmt.Fprintf(c, "1\r\n%d\r\n", i); err != nil {
				return
			}
			<-time.After(stall / 5)
		}
		_, _ = io.WriteString(c, "0\r\n\r\n")
	}, nil, func(r *rig) { r.opts.StallTimeout = stall })
	got := ask(t, r.client(), strings.Replace(chat, "\r\n", "\r\nConnection: close\r\n", 1), 0)
	if !strings.HasSuffix(got, "\r\n7\r\n0\r\n\r\n") {
		t.Errorf("%q", got)
	}
}
