// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// growing is a daemon of which any number of starts find the same.
type growing struct {
	fakeDaemon
	mu  sync.Mutex
	ids []string // oldest first
}

func (g *growing) Search(context.Context, adminapi.Search) (out adminapi.Found, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, id := range slices.Backward(g.ids) {
		out.Exchanges = append(out.Exchanges, adminapi.Hit{ExchangeID: id, Time: second(i), Action: "allow"})
	}
	return out, nil
}

func (g *growing) end(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids = append(g.ids, id)
}

// watched is a writer that tells when something was written.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // capacity 1
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(b)
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

// until waits for a text.
func (w *watched) until(t *testing.T, text string) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		w.mu.Lock()
		have := w.text.String()
		w.mu.Unlock()
		if strings.Contains(have, text) {
			return
		}
		select {
		case <-w.more:
		case <-late:
			t.Fatalf("no %q in %q", text, have)
		}
	}
}

// TestTailSocket: the same over a real socket, which goes away and comes back.
func TestTailSocket(t *testing.T) {
	g := &growing{}
	socket := t.TempDir() + "/admin.sock"
	serve := func() (stop func()) {
		s, err := admin.New(admin.Options{Socket: socket, Archive: g, Recorder: g, Admins: []uint32{0, uint32(os.Getuid())}})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve() }()
		return func() {
			if err := errors.Join(s.Shutdown(context.Background()), <-served); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.end("exc_a")
	stop := serve()
	out, errs := &watched{more: make(chan struct{}, 1)}, &watched{more: make(chan struct{}, 1)}
	a := &app{out: out, err: errs, getenv: func(string) string { return "" }, format: "table"}
	c := adminapi.NewClient(socket)
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	asked := &first{searcher: c, done: make(chan struct{})}
	go func() { done <- a.tail(ctx, asked, "") }()
	select {
	case <-asked.done:
	case err := <-done:
		t.Fatal(err)
	}
	g.end("exc_b")
	out.until(t, "exc_b")
	stop()
	errs.until(t, "waiting for it")
	g.end("exc_c")
	stop = serve()
	errs.until(t, "answers again")
	out.until(t, "exc_c")
	g.end("exc_d")
	out.until(t, "exc_d")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	stop()
	if all := out.text.String(); strings.Count(all, "exc_") != 3 {
		t.Errorf("shown:\n%s", all)
	}
}

// first tells when the first answer has come.
type first struct {
	searcher
	once sync.Once
	done chan struct{}
}

func (f *first) Search(ctx context.Context, s adminapi.Search) (adminapi.Found, error) {
	out, err := f.searcher.Search(ctx, s)
	f.once.Do(func() { close(f.done) })
	return out, err
}
