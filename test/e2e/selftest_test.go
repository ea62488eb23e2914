// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

type health struct {
	Ready    bool
	Warnings []string
	SelfTest struct {
		Passed   time.Time
		Failures int
		Reason   string
	} `json:"self_test"`
}

// until asks for the status until it is as wanted.
func (w *world) until(what string, ok func(health) bool) health {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	for {
		out, _ := w.d.CLI(ctx, "status", "-o", "json") // an error if it is not ready
		var h health
		if json.Unmarshal([]byte(out), &h) == nil && ok(h) {
			return h
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("waiting for %s: %s", what, out)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestSelfTest: the way from the kernel to the proxy is proven again and again. When somebody took the programs away, that is
// told and recorded, and they are put back; a daemon that cannot prove it twice is not ready.
func TestSelfTest(t *testing.T) {
	w := newWorld(t, "self_test: 1s, ---")
	first := w.until("the first", func(h health) bool { return h.Ready && !h.SelfTest.Passed.IsZero() })
	w.until("the next", func(h health) bool { return h.SelfTest.Passed.After(first.SelfTest.Passed) })

	for _, pin := range []string{"link_connect4", "link_connect6"} {
		must(t, os.Remove(filepath.Join(w.lab.PinDir(), pin)))
	}
	if !w.failed() {
		t.Error("nobody noticed that the programs are gone")
	}
	w.until("the repair", func(h health) bool {
		return h.Ready && h.SelfTest.Failures == 0 && h.SelfTest.Passed.After(first.SelfTest.Passed)
	})
	if got := w.run(w.app(enforced, "current", "plain.py", "hello")); got == "" {
		t.Error("not repaired")
	}
	if n := len(w.exchanges()); n != 1 {
		t.Errorf("%d exchanges on record, want 1", n)
	}

	limit := filepath.Join(w.lab.Cgroup, "cgroup.max.descendants")
	must(t, os.WriteFile(limit, []byte("0"), 0o644))
	h := w.until("two failures", func(h health) bool { return h.SelfTest.Failures >= 2 })
	if h.Ready || !strings.Contains(strings.Join(h.Warnings, "\n"), "the self-test failed") {
		t.Errorf("after two failures: %+v", h)
	}
	must(t, os.WriteFile(limit, []byte("max"), 0o644))
	w.until("its recovery", func(h health) bool { return h.Ready && h.SelfTest.Failures == 0 })

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, w.d.Stop(ctx))
	var failed, passed, own int
	r, err := journal.OpenReader(filepath.Join(w.lab.State(), "journal"), pipeline.Position{})
	must(t, err)
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		switch e.Kind {
		case pipeline.KindGap:
			var g pipeline.Gap
			must(t, e.Decode(&g))
			if strings.HasPrefix(g.Reason, "the self-test failed") {
				failed++
			} else if strings.HasPrefix(g.Reason, "the self-test passes again") {
				passed++
			}
		case pipeline.KindFlow:
			var f pipeline.Flow
			must(t, e.Decode(&f))
			if f.Reason == "self-test" {
				own++
			}
		}
	}
	if failed < 3 || passed < 2 || own != 0 {
		t.Errorf("on record: %d failures, %d recoveries, %d connections of its own", failed, passed, own)
	}
}

// failed waits until the daemon has logged that a self-test failed.
func (w *world) failed() bool {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	return w.d.Logged(ctx, "the self-test failed")
}
