// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/test/lab"
)

// managed is a world whose daemon runs under a service manager, with a program of its own that the test may replace.
func managed(t *testing.T) (*world, *lab.Manager) {
	t.Helper()
	w := newWorld(t, "")
	return w, manage(t, w)
}

// manage starts the daemon of a world anew, under a service manager.
func manage(t *testing.T, w *world) *lab.Manager {
	t.Helper()
	must(t, w.d.Stop(t.Context()))
	dir := filepath.Dir(w.d.Config)
	m, err := lab.NewManager(dir)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	w.lab.Manager = m
	w.conf = strings.Replace(w.conf, "proxy: {", "proxy: {drain: 60s, ", 1)
	w.lab.Program = filepath.Join(dir, "sallyportd")
	install(t, w, filepath.Join(root(t), "build", "sallyportd"))
	w.start()
	return m
}

// install puts a program in the place of the daemon's, as a package manager does: under another name first.
func install(t *testing.T, w *world, from string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(w.lab.Program+".new", raw, 0o755))
	must(t, os.Rename(w.lab.Program+".new", w.lab.Program))
}

// upgrade asks for one and waits for it.
func (w *world) upgrade(by syscall.Signal) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	return w.d.Upgrade(ctx, by)
}

// traffic opens connections from eight threads until it is stopped, and says how many were proxied, direct and failed.
func (w *world) traffic(change ...func(*lab.App)) (stop func() (proxied, direct, failed int)) {
	w.t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(w.d.Config), "traffic")
	must(w.t, err)
	file := filepath.Join(dir, "stop")
	py := filepath.Join(root(w.t), "build", "venv-current", "bin", "python")
	a := lab.App{Cgroup: enforced, Args: []string{py, "-c", connects, w.lab.Fake.String(), file}}
	for _, c := range change {
		c(&a)
	}
	cmd, cleanup, err := w.lab.Command(w.t.Context(), a)
	must(w.t, err)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	must(w.t, w.lab.Start(enforced, cmd))
	return func() (proxied, direct, failed int) {
		w.t.Helper()
		defer cleanup()
		must(w.t, os.WriteFile(file, nil, 0o644))
		if err := cmd.Wait(); err != nil {
			w.t.Fatalf("%v: %s", err, errOut.String())
		}
		if n, err := fmt.Sscan(out.String(), &proxied, &direct, &failed); n != 3 {
			w.t.Fatalf("%q: %v", out.String(), err)
		}
		if failed > 0 {
			w.t.Logf("failed: %s", errOut.String())
		}
		return proxied, direct, failed
	}
}

// stream starts a program that reads a long answer and returns once the answer has begun. The channel yields what it
// printed but for the times, and what went wrong.
func (w *world) stream(prompt string) <-chan [2]string {
	w.t.Helper()
	cmd, cleanup, err := w.lab.Command(w.t.Context(), w.app(enforced, "current", "stream.py", prompt))
	must(w.t, err)
	pipe, err := cmd.StdoutPipe()
	must(w.t, err)
	must(w.t, w.lab.Start(enforced, cmd))
	first := make([]byte, 1)
	if _, err := pipe.Read(first); err != nil {
		w.t.Fatal(err)
	}
	out := make(chan [2]string, 1)
	go func() {
		defer cleanup()
		var b output
		why := finish(cmd, tee{pipe, &b})
		text, _, _ := strings.Cut(string(first)+b.b.String(), "\nfirst token:")
		out <- [2]string{text, why}
	}()
	return out
}

// tee notes what is read.
type tee struct {
	from interface{ Read([]byte) (int, error) }
	to   *output
}

func (t tee) Read(b []byte) (int, error) {
	n, err := t.from.Read(b)
	_, _ = t.to.Write(b[:n])
	return n, err
}

// questions asks and streams without pause until it is stopped, over connections that are kept, without trying anything twice.
func (w *world) questions() (stop func() (said string)) {
	w.t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(w.d.Config), "questions")
	must(w.t, err)
	file := filepath.Join(dir, "stop")
	cmd, cleanup, err := w.lab.Command(w.t.Context(), w.app(enforced, "current", "loop.py", file))
	must(w.t, err)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(w.t, w.lab.Start(enforced, cmd))
	return func() string {
		w.t.Helper()
		defer cleanup()
		must(w.t, os.WriteFile(file, nil, 0o644))
		must(w.t, cmd.Wait())
		return out.String()
	}
}

// settled waits until all processes that handed over have ended, and checks the record: whole, each exchange with an end,
// none of them cut.
func (w *world) settled() {
	w.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); len(w.d.Former()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("processes that handed over still run: %v", w.d.Former())
		}
	}
	must(w.t, w.d.Stop(w.t.Context()))
	dir := filepath.Join(w.lab.State(), "journal")
	if log, err := exec.Command(filepath.Join(root(w.t), "build", "sallyport"), "journal", "verify", dir).CombinedOutput(); err != nil {
		w.t.Errorf("verify: %v: %s", err, log)
	}
	asked, open, cut := recorded(w.t, dir)
	if len(open) > 0 || cut > 0 {
		w.t.Errorf("%d exchanges have no outcome, %d were cut", len(open), cut)
	}
	for _, r := range w.fake.Requests() {
		if !asked[r.BodySHA256] {
			w.t.Errorf("the provider was asked (%s), and there is no record of it", r.Path)
		}
	}
	if locks, err := filepath.Glob(filepath.Join(dir, "*.lock")); err != nil || len(locks) != 1 {
		w.t.Errorf("generations without an end on record: %v", locks)
	}
}

// TestUpgradesLoseNothing upgrades the daemon in place, again and again, while programs connect and a stream runs across
// each: none goes direct, none is refused, each stream is whole. UPGRADES says how often (4).
func TestUpgradesLoseNothing(t *testing.T) {
	upgrades := 4
	if n, err := strconv.Atoi(os.Getenv("UPGRADES")); err == nil && n > 0 {
		upgrades = n
	}
	w, m := managed(t)
	const prompt = "pace 20ms long 300" // longer than an upgrade takes, on a busy machine too
	whole := <-w.stream(prompt)
	if whole[1] != "" || len(whole[0]) < 300 {
		t.Fatalf("without an upgrade: %q", whole)
	}
	stop, quiet := w.traffic(), w.questions()
	var streams []<-chan [2]string
	var took time.Duration
	for range upgrades {
		streams = append(streams, w.stream(prompt))
		before := w.d.PID()
		start := time.Now()
		must(t, w.upgrade(syscall.SIGUSR2))
		took += time.Since(start)
		if !slices.Contains(w.d.Former(), before) {
			t.Error("the process with the stream has ended before it")
		}
		if out := w.run(w.app(enforced, "current", "plain.py", "say: after")); out != "after\n" {
			t.Errorf("the new process answers %q", out)
		}
	}
	for i, s := range streams {
		if got := <-s; got != whole {
			t.Errorf("stream %d across an upgrade: %q", i, got)
		}
	}
	said := strings.Split(strings.TrimSpace(quiet()), "\n")
	if last := said[len(said)-1]; !strings.HasSuffix(last, " failed 0") || strings.HasPrefix(last, "fine 0") {
		t.Errorf("questions during the upgrades: %s", last)
		for _, line := range said {
			if strings.Contains(line, "Error") {
				t.Log(line)
			}
		}
	} else {
		t.Logf("questions during the upgrades: %s", last)
	}
	proxied, direct, failed := stop()
	if proxied == 0 || direct != 0 || failed != 0 {
		t.Errorf("proxied %d, direct %d, failed %d", proxied, direct, failed)
	}
	t.Logf("%d upgrades, %s each; %d connections proxied, %d direct, %d failed", upgrades, (took / time.Duration(upgrades)).Round(time.Millisecond), proxied, direct, failed)

	// What the old processes recorded is in the listings of the new one.
	for deadline := time.Now().Add(60 * time.Second); ; { // it follows what the old ones still write
		n := 0
		for _, x := range w.exchanges() {
			if x.Stream && strings.HasPrefix(x.Response.Text, whole[0][:200]) && x.Response.Cut == "" {
				n++
			}
		}
		if n == upgrades+1 {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%d long streams are listed, want %d", n, upgrades+1)
			break
		}
	}
	for _, want := range []string{"RELOADING=1\nMONOTONIC_USEC=", "MAINPID=" + strconv.Itoa(w.d.PID())} {
		if !slices.ContainsFunc(m.States(), func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("the manager did not hear %q: %q", want, m.States())
		}
	}
	w.covered()
	w.settled()
}

// TestReloadUpgrades: a reload with nothing new is one of the policy; with another program or configuration it is an upgrade.
func TestReloadUpgrades(t *testing.T) {
	w, _ := managed(t)
	stop := w.traffic()
	before := w.d.PID()
	if err := w.upgrade(syscall.SIGHUP); !errors.Is(err, lab.ErrNotUpgraded) {
		t.Errorf("nothing new: %v", err)
	}
	if !w.logged("policy reloaded") {
		t.Error("the policy was not reloaded")
	}
	install(t, w, filepath.Join(root(t), "build", "sallyportd"))
	must(t, w.upgrade(syscall.SIGHUP))
	// A scope more, before the others: connections of the old numbering are in the queue.
	more := strings.Replace(w.conf, "protect:\n", "protect:\n  - {name: later, match: {unit: \"langchain-later.service\"}, mode: enforce}\n", 1)
	must(t, os.WriteFile(w.d.Config, []byte(more), 0o600))
	must(t, w.upgrade(syscall.SIGHUP))
	if w.d.PID() == before {
		t.Error("the process is the same")
	}
	var st struct{ Scopes []struct{ Name string } }
	w.json(&st, "status", "-o", "json")
	if len(st.Scopes) != 3 || st.Scopes[0].Name != "later" {
		t.Errorf("scopes %+v", st.Scopes)
	}
	if proxied, direct, failed := stop(); proxied == 0 || direct != 0 || failed != 0 {
		t.Errorf("proxied %d, direct %d, failed %d", proxied, direct, failed)
	}
	if out := w.run(w.app(enforced, "current", "plain.py", "say: again")); out != "again\n" {
		t.Errorf("after the reloads: %q", out)
	}
	w.settled()
}

// TestUpgradeThatFails: whatever is wrong with a successor, nobody notices but the log.
func TestUpgradeThatFails(t *testing.T) {
	w, m := managed(t)
	stop := w.traffic()
	stream := w.stream("pace 20ms long 200")
	before := w.d.PID()
	broken := func(script string) {
		t.Helper()
		must(t, os.WriteFile(w.lab.Program+".new", []byte(script), 0o755))
		must(t, os.Rename(w.lab.Program+".new", w.lab.Program))
	}
	for name, prepare := range map[string]func(){
		"a program that does not start": func() { broken("#!/no/such/interpreter\n") },
		"a program that ends":           func() { broken("#!/bin/sh\nexit 7\n") },
		"a program that is not ours":    func() { broken("#!/bin/sh\nexec 3>&-\nsleep 60\n") },
		"a configuration that is wrong": func() { must(t, os.WriteFile(w.d.Config, []byte("protect: [{name: x}]\n"), 0o600)) },
		"a policy that is wrong": func() {
			must(t, os.WriteFile(filepath.Join(filepath.Dir(w.d.Config), "policy.d", "more.yaml"), []byte("kind: Nothing\n"), 0o600))
		},
	} {
		install(t, w, filepath.Join(root(t), "build", "sallyportd"))
		prepare()
		if err := w.upgrade(syscall.SIGUSR2); !errors.Is(err, lab.ErrNotUpgraded) {
			t.Errorf("%s: %v", name, err)
		}
		_ = os.Remove(filepath.Join(filepath.Dir(w.d.Config), "policy.d", "more.yaml"))
		must(t, os.WriteFile(w.d.Config, []byte(w.conf), 0o600))
	}
	if w.d.PID() != before {
		t.Error("another process leads")
	}
	// This one takes over and then fails its self-test, whose child it may not start: the program that ran before leads again.
	broken("#!/bin/bash\nulimit -u 0\nexec " + filepath.Join(root(t), "build", "sallyportd") + ` "$@"` + "\n")
	if err := w.upgrade(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	if !w.logged("trying the program of this process") {
		t.Error("the successor did not fail as it should")
	}
	if got := <-stream; got[1] != "" || len(got[0]) < 600 {
		t.Errorf("the stream across all of it: %q", got)
	}
	if proxied, direct, failed := stop(); proxied == 0 || direct != 0 || failed != 0 {
		t.Errorf("proxied %d, direct %d, failed %d", proxied, direct, failed)
	}
	if out := w.run(w.app(enforced, "current", "plain.py", "say: again")); out != "again\n" {
		t.Errorf("after the failures: %q", out)
	}
	if slices.Contains(m.States(), "STOPPING=1") {
		// Only the daemon that managed has stopped may have said so, before the manager was there.
		t.Errorf("a process that never led said that it stops: %q", m.States())
	}
	w.settled()
}
