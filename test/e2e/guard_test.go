// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// sallyportd runs the daemon's program to its end.
func (w *world) sallyportd(args ...string) (string, error) {
	w.t.Helper()
	cmd := exec.Command(filepath.Join(root(w.t), "build", "sallyportd"), args...)
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// uninstall takes everything out again, as an operator would.
func (w *world) uninstall() {
	w.t.Helper()
	if out, err := w.sallyportd("uninstall", "--pin-dir", w.lab.PinDir(), "--ledger", filepath.Join(w.lab.State(), "trust.ledger")); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
}

// dial opens a connection to the provider from a cgroup, and says "connected" or the error.
func (w *world) dial(cgroup string) string {
	w.t.Helper()
	const code = `import socket, sys
try:
    socket.create_connection((sys.argv[1], 443), 20).close()
    print("connected")
except OSError as e:
    print(type(e).__name__)
`
	py := filepath.Join(root(w.t), "build", "venv-current", "bin", "python")
	return strings.TrimSpace(w.run(lab.App{Cgroup: cgroup, Shared: true, Args: []string{py, "-I", "-c", code, w.lab.Fake.String()}}))
}

// guard starts the guard and waits until it guards. What it returns waits for its end.
func (w *world) guard() (wait func() error) {
	w.t.Helper()
	cmd := exec.Command(filepath.Join(root(w.t), "build", "sallyportd"), "guard", "--config", w.d.Config)
	cmd.Env = []string{}
	pipe, err := cmd.StderrPipe()
	must(w.t, err)
	must(w.t, cmd.Start())
	lines, log, rest := bufio.NewScanner(pipe), "", make(chan struct{})
	for !strings.Contains(log, "guarding until") {
		if !lines.Scan() {
			w.t.Fatalf("the guard ended: %v: %s", cmd.Wait(), log)
		}
		log += lines.Text() + "\n"
	}
	go func() { defer close(rest); _, _ = io.Copy(io.Discard, pipe) }()
	ended := make(chan error, 1)
	go func() { <-rest; ended <- cmd.Wait() }()
	w.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return func() error {
		select {
		case err := <-ended:
			return err
		case <-time.After(30 * time.Second):
			w.t.Fatal("the guard goes on")
			return nil
		}
	}
}

// traces lists what a daemon may leave on this host: cgroups and pins of the lab, and mounts.
func (w *world) traces() (out []string) {
	w.t.Helper()
	for _, dir := range []string{w.lab.Cgroup, w.lab.PinDir()} {
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && (d.IsDir() || dir == w.lab.PinDir()) {
				out = append(out, p)
			}
			return nil
		})
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(w.t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "sallyport") || strings.Contains(line, "/sys/fs/bpf") || strings.Contains(line, "/sys/kernel/tracing") || strings.Contains(line, "/etc/ssl") {
			out = append(out, line)
		}
	}
	return out
}

// TestGuard is a boot: the guard, then programs, then the daemon, which takes over without a moment in between. With the
// guard alone enforcing scopes are refused and others pass, also in cgroups that are made meanwhile.
func TestGuard(t *testing.T) {
	w := newWorld(t, "")
	must(t, w.d.Kill())
	w.uninstall()
	before := w.traces()
	if got := w.dial(enforced); got != "connected" {
		t.Fatalf("with nothing installed: %s", got)
	}
	wait := w.guard()
	const late = "cron.service"
	for _, c := range []struct{ name, cgroup, want string }{
		{"enforcing", enforced, "ConnectionRefusedError"}, {"observing", observed, "connected"},
		{"enforcing, started again", enforced, "ConnectionRefusedError"}, {"in no scope, started later", late, "connected"},
	} {
		cgroup, want := c.cgroup, c.want
		if strings.Contains(c.name, "again") {
			must(t, os.Remove(filepath.Join(w.lab.Cgroup, cgroup)))
		}
		deadline := time.Now().Add(20 * time.Second) // a new cgroup is closed until it was looked at
		got := w.dial(cgroup)
		for got != want && time.Now().Before(deadline) {
			got = w.dial(cgroup)
		}
		if got != want {
			t.Errorf("guarded: %s: %s, want %s", c.name, got, want)
		}
	}
	if out, err := w.sallyportd("guard", "--config", w.d.Config); err != nil || !strings.Contains(out, "nothing to do") {
		t.Errorf("a second guard: %v: %s", err, out)
	}
	w.start()
	if err := wait(); err != nil {
		t.Errorf("the guard that was relieved: %v", err)
	}
	if got := w.run(w.app(enforced, "current", "plain.py", "hello")); got == "" {
		t.Error("the daemon serves nothing")
	}
	if out, err := w.sallyportd("guard", "--config", w.d.Config); err != nil || !strings.Contains(out, "nothing to do") {
		t.Errorf("a guard beside the daemon: %v: %s", err, out)
	}
	if got := w.run(w.app(enforced, "current", "plain.py", "hello")); got == "" {
		t.Error("the daemon serves nothing any more")
	}
	// A guard that is killed leaves what it put in force; so does the daemon.
	must(t, w.d.Kill())
	if got := w.dial(enforced); got != "ConnectionRefusedError" {
		t.Errorf("after kill -9: %s", got)
	}
	w.uninstall()
	must(t, os.Remove(filepath.Join(w.lab.Cgroup, late)))
	if after := w.traces(); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter kill -9 and uninstall:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if got := w.dial(enforced); got != "connected" {
		t.Errorf("uninstalled: %s", got)
	}
}

// TestQuarantine cuts a principal off through the daemon and through the pins, across a restart; each is recorded.
func TestQuarantine(t *testing.T) {
	w := newWorld(t, "")
	ctx := t.Context()
	if _, err := w.d.CLI(ctx, "quarantine", "uid:0", "--reason", "r"); err == nil || !strings.Contains(err.Error(), "cannot do without") {
		t.Errorf("root was cut off: %v", err)
	}
	out, err := w.d.CLI(ctx, "quarantine", "spiffe://example.org/unit/"+observed, "--for", "1h", "--reason", "it runs a miner")
	if err != nil || !strings.Contains(out, "is cut off until") {
		t.Fatalf("%v: %s", err, out)
	}
	if got := w.dial(observed); got != "ConnectionRefusedError" {
		t.Errorf("cut off: %s", got)
	}
	must(t, w.d.Kill())
	if got := w.dial(observed); got != "ConnectionRefusedError" {
		t.Errorf("cut off, and the daemon is dead: %s", got)
	}
	const other = "session-9.scope"
	_, err = w.lab.Child(other)
	must(t, err)
	if out, err := w.sallyportd("quarantine", "unit:"+other, "--config", w.d.Config, "--reason", "found at night"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := w.dial(other); got != "ConnectionRefusedError" {
		t.Errorf("cut off without a daemon: %s", got)
	}
	w.start()
	var st struct {
		Quarantine []struct {
			Selector, Reason string
			Refused          uint64
			UID              int
		}
	}
	w.json(&st, "status", "-o", "json")
	if len(st.Quarantine) != 2 || st.Quarantine[0].Refused < 2 || st.Quarantine[1].Reason != "found at night" {
		t.Errorf("status: %+v", st)
	}
	if _, err := w.d.CLI(ctx, "quarantine", "--lift", "unit:"+other); err != nil {
		t.Error(err)
	}
	if got := w.dial(other); got != "connected" {
		t.Errorf("lifted: %s", got)
	}
	if got := w.dial(observed); got != "ConnectionRefusedError" {
		t.Errorf("still cut off, after a restart: %s", got)
	}
	w.logged("quarantine.end")
	stop, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	must(t, w.d.Stop(stop))
	var seen []string
	r, err := journal.OpenReader(filepath.Join(w.lab.State(), "journal"), pipeline.Position{})
	must(t, err)
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if e.Kind != pipeline.KindAdmin {
			continue
		}
		var c struct{ Action, Reason string }
		must(t, e.Decode(&c))
		if strings.HasPrefix(c.Action, "quarantine") {
			seen = append(seen, c.Action+" "+c.Reason)
		}
	}
	if len(seen) != 3 || !strings.Contains(seen[0], "it runs a miner") || !strings.Contains(seen[1], "found at night") || !strings.Contains(seen[2], "quarantine.end") {
		t.Errorf("on record: %q", seen)
	}
}
