// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/test/lab"
)

// TestKillInStream kills the daemon while streams run: enforcing scopes are refused then, the others go direct as
// configured; after the restart the chain verifies and what was running is recorded as cut.
func TestKillInStream(t *testing.T) {
	w := newWorld(t, "")
	ctx := t.Context()

	cmd, cleanup, err := w.lab.Command(ctx, w.app(enforced, "current", "stream.py", "pace 100ms long 400"))
	must(t, err)
	defer cleanup()
	pipe, err := cmd.StdoutPipe()
	must(t, err)
	must(t, w.lab.Start(enforced, cmd))
	if _, err := bufio.NewReader(pipe).ReadString(' '); err != nil { // the first word arrived: it is in the middle of its stream
		t.Fatal(err)
	}
	must(t, w.d.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("the program took a stream for complete that was cut")
	}

	_, errOut, err := w.lab.Run(ctx, w.app(enforced, "current", "plain.py", "say: hello"))
	if err == nil || !strings.Contains(errOut, "Connection") {
		t.Errorf("without a daemon, the enforcing scope should be refused: %v %q", err, errOut)
	}
	if code := connectError(t, w, enforced); code != "111" { // ECONNREFUSED
		t.Errorf("connect in the enforcing scope gave errno %q, want 111", code)
	}
	if code := connectError(t, w, observed); code != "0" {
		t.Errorf("connect in the observing scope gave errno %q, want 0: it fails open", code)
	}

	w.start()
	if out, err := w.d.CLI(ctx, "journal", "verify", filepath.Join(w.lab.State(), "journal")); err != nil {
		t.Errorf("verify: %v: %s", err, out)
	}
	all := w.exchanges()
	if len(all) != 1 || all[0].Response.Cut != "agent" {
		t.Errorf("want one exchange cut by the agent's end, got %+v", all)
	}
	if out := w.run(w.app(enforced, "current", "plain.py", "say: again")); out != "again\n" {
		t.Errorf("after the restart: %q", out)
	}
}

// connectError connects once from a scope and returns the errno that connect gave.
func connectError(t *testing.T, w *world, cgroup string) string {
	t.Helper()
	py := filepath.Join(root(t), "build", "venv-current", "bin", "python")
	return strings.TrimSpace(w.run(lab.App{Cgroup: cgroup, Args: []string{py, "-c",
		"import socket,sys; print(socket.socket().connect_ex((sys.argv[1], 443)))", w.lab.Fake.String()}}))
}

// TestRefusesToStart gives the daemon what it cannot work with: one line that says what to do, the documented exit
// code, and nothing left in the kernel.
func TestRefusesToStart(t *testing.T) {
	w := newWorld(t, "")
	must(t, w.d.Stop(t.Context()))
	state := w.lab.State()
	segments, err := filepath.Glob(filepath.Join(state, "journal", "*"))
	must(t, err)
	policy := filepath.Join(filepath.Dir(w.d.Config), "policy.d", "policy.yaml")
	bin := filepath.Join(root(t), "build", "sallyportd")
	if out, err := exec.Command(bin, "uninstall", "--pin-dir", w.lab.PinDir(), "--ledger", filepath.Join(state, "trust.ledger")).CombinedOutput(); err != nil {
		t.Fatalf("uninstall: %v: %s", err, out)
	}

	replace := func(file, old, new string) func(*testing.T) {
		return func(t *testing.T) { rewrite(t, file, func(s string) string { return strings.Replace(s, old, new, 1) }) }
	}
	for _, c := range []struct {
		name  string
		spoil func(*testing.T)
		code  int
		want  string
	}{
		{"unknown key in the configuration", replace(w.d.Config, "protect:", "protekt:"), 2, "protekt"},
		{"unknown key in a policy", replace(policy, "subjects:", "subject:"), 2, "subject"},
		{"binding to a missing role", replace(policy, "role: support-bot", "role: nobody"), 2, "nobody"},
		{"bad expression in a guardrail", replace(policy, `tools: ["delete_*"]`, `regex: "("`), 2, "no-deleting"},
		{"corrupt journal", func(t *testing.T) { flipByte(t, segments) }, 1, "sallyport journal verify"},
		{"unreadable CA key", func(t *testing.T) {
			keys, err := filepath.Glob(filepath.Join(state, "ca", "*key*"))
			more, merr := filepath.Glob(filepath.Join(state, "ca", "*", "*key*"))
			must(t, errors.Join(err, merr))
			for _, k := range append(keys, more...) {
				saveAndRestore(t, k)
				must(t, os.WriteFile(k, []byte("not a key\n"), 0o600))
			}
		}, 1, "ca"},
		{"port in use", func(t *testing.T) {
			ln, err := net.Listen("tcp", listen)
			must(t, err)
			t.Cleanup(func() { ln.Close() })
		}, 1, "listen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.spoil(t)
			cmd := exec.Command(bin, "--config", w.d.Config)
			cmd.Env = []string{}
			timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
			defer timer.Stop()
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.code {
				t.Errorf("ended with %v, want exit code %d: %s", err, c.code, out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(last, c.want) {
				t.Errorf("the message does not name %q: %q", c.want, last)
			}
			if _, err := os.Stat(w.lab.PinDir()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("pins are left in %s", w.lab.PinDir())
			}
		})
	}
}

// saveAndRestore puts a file back as it was when the test ends.
func saveAndRestore(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	must(t, err)
	info, err := os.Stat(file)
	must(t, err)
	t.Cleanup(func() {
		if err := os.WriteFile(file, raw, info.Mode()); err != nil {
			t.Error(err)
		}
	})
}

func rewrite(t *testing.T, file string, f func(string) string) {
	t.Helper()
	saveAndRestore(t, file)
	raw, err := os.ReadFile(file)
	must(t, err)
	changed := f(string(raw))
	if changed == string(raw) {
		t.Fatalf("%s is not changed by this case", file)
	}
	must(t, os.WriteFile(file, []byte(changed), 0o600))
}

// flipByte changes one byte in the middle of the first record of a journal.
func flipByte(t *testing.T, files []string) {
	t.Helper()
	for _, f := range files {
		info, err := os.Stat(f)
		must(t, err)
		if info.Size() < 200 {
			continue
		}
		rewrite(t, f, func(s string) string {
			b := []byte(s)
			b[100] ^= 0x20
			return string(b)
		})
		return
	}
	t.Fatalf("no segment among %q", files)
}
