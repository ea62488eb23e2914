// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// TestGap: with the connect program taken away, a program reaches its provider directly. It is counted, told and on record.
func TestGap(t *testing.T) {
	w := newWorld(t, "")
	say := func(text string) {
		t.Helper()
		if out, errOut, err := w.lab.Run(t.Context(), w.app(enforced, generations[0], "plain.py", "say: "+text)); err != nil || out != text+"\n" {
			t.Fatalf("got %q, %v: %s", out, err, errOut)
		}
	}
	say("through the proxy")
	type covered struct {
		Scope, Unit, Last                            string
		Redirected, Explained, Unexplained, Bypassed uint64
	}
	status := func() (n struct {
		Coverage struct {
			Explained, Unexplained, Bypassed uint64
			Workloads                        []covered
		}
		Warnings []string
	}) {
		w.json(&n, "status", "-o", "json")
		return n
	}
	of := func(rows []covered) (c covered) {
		for _, r := range rows {
			if r.Unit == enforced {
				c = r
			}
		}
		return c
	}
	if s := status(); s.Coverage.Unexplained != 0 || of(s.Coverage.Workloads).Explained != 1 || of(s.Coverage.Workloads).Redirected != 1 {
		t.Errorf("before: %+v", s)
	}
	must(t, os.Remove(filepath.Join(w.lab.PinDir(), "link_connect4")))
	dir, err := os.Open(w.lab.Cgroup)
	must(t, err)
	defer dir.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // a link without a pin goes a moment later
		left, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: ebpf.AttachCGroupInet4Connect})
		must(t, err)
		if len(left.Programs) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the connect program is still attached")
		}
	}
	w.lab.Run(t.Context(), w.app(enforced, generations[0], "plain.py", "say: past the proxy")) // how it ends is of no concern: it trusts us, not the provider
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if !w.d.Logged(ctx, "on which no program of ours decided") || !strings.Contains(w.d.Log(), "level=ERROR") {
		t.Error("no alarm was logged")
	}
	s := status()
	c := of(s.Coverage.Workloads)
	if s.Coverage.Unexplained == 0 || c.Unexplained != s.Coverage.Unexplained || c.Explained != 1 || !strings.Contains(c.Last, ":443") {
		t.Errorf("after: %+v", s)
	}
	if !strings.Contains(strings.Join(s.Warnings, "\n"), "cannot be explained") {
		t.Errorf("warnings: %q", s.Warnings)
	}
	human, err := w.d.CLI(t.Context(), "status")
	must(t, err)
	if !strings.Contains(human, "unexplained: ") {
		t.Errorf("the status says:\n%s", human)
	}
	if out, err := w.d.CLI(t.Context(), "journal", "verify", w.lab.State()+"/journal"); err != nil {
		t.Errorf("verify: %v: %s", err, out)
	}
	must(t, w.d.Stop(ctx))
	segments, err := filepath.Glob(w.lab.State() + "/journal/*.segment")
	must(t, err)
	found := false
	for _, name := range segments {
		raw, err := os.ReadFile(name)
		must(t, err)
		found = found || strings.Contains(string(raw), "on which no program of ours decided")
	}
	if !found {
		t.Error("no gap is in the journal")
	}
}

// covered says that nothing went past us, as far as the daemon knows by now.
func (w *world) covered() {
	w.t.Helper()
	var s struct {
		Coverage struct{ Explained, Unexplained uint64 }
	}
	w.json(&s, "status", "-o", "json")
	if s.Coverage.Unexplained != 0 || strings.Contains(w.d.Log(), `level=ERROR msg="coverage:`) {
		w.t.Errorf("coverage: %+v", s.Coverage)
	}
}
