// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/test/fakellm"
	"github.com/sallyport-dev/sallyport/test/lab"
)

const second = "llm.example.net"

// asHost runs the test that calls it again where nothing of the host is changed, and says whether this is there.
func asHost(t *testing.T) bool {
	t.Helper()
	if os.Getenv(lab.InsideEnv) != "" {
		return true
	}
	out, err := lab.Again(t.Context(), t.Name())
	t.Logf("inside:\n%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// hostWorld is a world whose programs run in the same mount namespace as the daemon, with virtual environments that may be
// changed. The daemon is not started yet.
func hostWorld(t *testing.T) *world {
	t.Helper()
	fake, err := fakellm.New(fakellm.Options{Names: []string{"api.openai.com", second}, Pace: 2 * time.Millisecond})
	must(t, err)
	w := newWorldWith(t, "", fake.CA(), func(ln net.Listener) error { return fake.Serve(ln) }, fake.Close)
	w.fake = fake
	must(t, w.d.Stop(t.Context()))
	hosts := fmt.Sprintf("127.0.0.1 localhost\n%s api.openai.com %s\n", w.lab.Fake, second)
	must(t, os.WriteFile("/etc/hosts", []byte(hosts), 0o644))
	for _, v := range generations {
		dir, err := filepath.EvalSymlinks(filepath.Join(root(t), "build", "venv-"+v))
		must(t, err)
		must(t, lab.Layer(dir, dir))
		t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	}
	w.conf = strings.Replace(w.conf, "trust: {host: none,", "trust: {host: files,", 1)
	return w
}

// shared is a program in the host's mount namespace.
func (w *world) shared(venv string, args ...string) lab.App {
	a := w.app(enforced, venv, args...)
	a.Shared, a.Hosts = true, nil
	return a
}

// stores is what the trust stores of the host hold.
func (w *world) stores() string {
	var out strings.Builder
	var all []string
	for _, pattern := range []string{"/etc/ssl/certs/*", "/usr/local/share/ca-certificates/*", filepath.Join(root(w.t), "build/venv-*/lib/python3*/site-packages/certifi/*"),
		filepath.Join(root(w.t), "build/venv-*/lib/python3*/site-packages/pip/_vendor/certifi/*")} {
		list, err := filepath.Glob(pattern)
		must(w.t, err)
		all = append(all, list...)
	}
	for _, path := range all {
		var st unix.Stat_t
		must(w.t, unix.Lstat(path, &st))
		fmt.Fprintf(&out, "%s %o %d:%d", path, st.Mode, st.Uid, st.Gid)
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			b, err := os.ReadFile(path)
			must(w.t, err)
			fmt.Fprintf(&out, " %x", sha256.Sum256(b))
		}
		fmt.Fprintln(&out)
	}
	return out.String()
}

// trustEntries reads `trust status -o json`.
func (w *world) trustEntries() (out struct {
	Host    struct{ Mode, Tool string }
	Entries []struct {
		Kind, Store, Path, State string
		Current                  bool
	}
}) {
	w.t.Helper()
	w.json(&out, "trust", "status", "-o", "json")
	return out
}

// TestHostTrust: with trust.host: files, unmodified programs of the host's own namespace call the provider through an
// enforcing scope, in both Python worlds and with an empty environment, also after pip and apt brought their stores anew
// while no daemon was there; and in the end nothing is left.
func TestHostTrust(t *testing.T) {
	if !asHost(t) {
		return
	}
	w := hostWorld(t)
	must(t, exec.Command("/usr/sbin/update-ca-certificates").Run())
	before := w.stores()
	w.start()
	for _, v := range generations {
		for _, n := range []string{"first", "second"} {
			if out := w.run(w.shared(v, "plain.py", "say: "+n)); out != n+"\n" {
				t.Errorf("%s: %q", v, out)
			}
		}
	}
	st := w.trustEntries()
	kinds := map[string]int{}
	for _, e := range st.Entries {
		if kinds[e.Kind]++; e.State != "applied" || !e.Current {
			t.Errorf("%+v", e)
		}
	}
	if st.Host.Mode != "files" || !strings.Contains(st.Host.Tool, "update-ca-certificates") || kinds["anchor"] != 1 || kinds["block"] < 2 || kinds["mount"] != 0 {
		t.Errorf("%+v", st)
	}

	must(t, w.d.Kill())
	for _, v := range generations {
		cmd := exec.Command(filepath.Join(root(t), "build", "venv-"+v, "bin", "python"), "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", "--disable-pip-version-check", "certifi==2024.8.30")
		cmd.Env = []string{"PATH=/usr/bin:/bin", "PIP_CERT=/etc/ssl/certs/ca-certificates.crt"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	w.start()
	for _, v := range generations {
		if out := w.run(w.shared(v, "plain.py", "say: again")); out != "again\n" {
			t.Errorf("%s: %q", v, out)
		}
	}
	if _, err := w.d.CLI(t.Context(), "trust", "remove"); err != nil {
		t.Error(err)
	}
	w.unchanged(before, "trust remove")
	if out := w.run(w.shared("current", "plain.py", "say: anew")); out != "anew\n" { // a new program is given trust anew
		t.Errorf("%q", out)
	}
	must(t, w.d.Kill())
	out, err := exec.Command(filepath.Join(root(t), "build", "sallyportd"), "uninstall", "--pin-dir", w.lab.PinDir(), "--ledger", filepath.Join(w.lab.State(), "trust.ledger")).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	w.unchanged(before, "uninstall")
}

// unchanged compares the stores; certifi itself may be another version by now.
func (w *world) unchanged(before, when string) {
	w.t.Helper()
	after := w.stores()
	if strings.Contains(after, "sallyport") {
		w.t.Errorf("after %s: something of ours is left: %s", when, after)
	}
	keep := func(s string) string {
		var out []string
		for line := range strings.Lines(s) {
			if !strings.Contains(line, "site-packages/certifi/") {
				out = append(out, line)
			}
		}
		return strings.Join(out, "")
	}
	if d := cmp.Diff(keep(before), keep(after)); d != "" {
		w.t.Errorf("after %s: %s", when, d)
	}
	files, err := filepath.Glob(filepath.Join(root(w.t), "build/venv-*/lib/python3*/site-packages/certifi/cacert.pem"))
	must(w.t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(w.t, err)
		if strings.Contains(string(b), "sallyport") || len(b) < 100_000 {
			w.t.Errorf("after %s: %s: %d bytes", when, f, len(b))
		}
	}
}

// asker is a running ask.py.
type asker struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func (w *world) asker(a lab.App) *asker {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background()) // it ends with its input, after the test
	cmd, cleanup, err := w.lab.Command(ctx, a)
	must(w.t, err)
	in, err := cmd.StdinPipe()
	must(w.t, err)
	out, err := cmd.StdoutPipe()
	must(w.t, err)
	must(w.t, w.lab.Start(a.Cgroup, cmd))
	w.t.Cleanup(func() {
		in.Close()
		defer cancel()
		defer time.AfterFunc(20*time.Second, cancel).Stop()
		if err := cmd.Wait(); err != nil {
			w.t.Errorf("ask.py: %v", err)
		}
		cleanup()
	})
	r := &asker{in, bufio.NewScanner(out)}
	if got := r.line(); got != "ready" {
		w.t.Fatalf("ask.py says %q", got)
	}
	return r
}

func (a *asker) line() string {
	if !a.out.Scan() {
		return fmt.Sprintf("ask.py ended: %v", a.out.Err())
	}
	return a.out.Text()
}

func (a *asker) ask(host, text string) string {
	if _, err := fmt.Fprintf(a.in, "%s say: %s\n", host, text); err != nil {
		return err.Error()
	}
	return a.line()
}

// TestAddedEndpoint: a further endpoint makes a further root. Programs that started before go on calling the first endpoint,
// while the daemon hands over and afterwards, and reach the further one with the next client that they make.
func TestAddedEndpoint(t *testing.T) {
	if !asHost(t) {
		return
	}
	w := hostWorld(t)
	dir := filepath.Dir(w.d.Config)
	m, err := lab.NewManager(dir)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	w.lab.Manager, w.lab.Program = m, filepath.Join(dir, "sallyportd")
	install(t, w, filepath.Join(root(t), "build", "sallyportd"))
	w.start()
	programs := map[string]*asker{}
	for _, v := range generations {
		programs[v+" of the host"] = w.asker(w.shared(v, "ask.py"))
		own := w.app(enforced, v, "ask.py")
		own.Hosts[second] = w.lab.Fake.String()
		programs[v+" in its own namespace"] = w.asker(own)
	}
	all := func(host, text string) {
		t.Helper()
		for name, p := range programs {
			if got := p.ask(host, text); got != text {
				t.Errorf("%s, %s: %s", name, host, got)
			}
		}
	}
	all("api.openai.com", "before")
	one := w.roots()
	stop, asked := make(chan struct{}), make(chan int)
	go func() { // calls go on all the time
		n := 0
		for {
			select {
			case <-stop:
				asked <- n
				return
			default:
				all("api.openai.com", fmt.Sprintf("meanwhile %d", n))
				n++
			}
		}
	}()
	ca := filepath.Join(dir, "fake-ca.pem")
	w.conf = strings.Replace(w.conf, "endpoints: [", fmt.Sprintf("endpoints: [{name: second, host: %s, port: 443, protocol: openai, upstream_ca: %q}, ", second, ca), 1)
	must(t, os.WriteFile(w.d.Config, []byte(w.conf), 0o600))
	policy, err := os.ReadFile(filepath.Join(dir, "policy.d/policy.yaml"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "policy.d/policy.yaml"), []byte(strings.ReplaceAll(string(policy), "endpoints: [openai]", "endpoints: [openai, second]")), 0o644))
	must(t, w.upgrade(syscall.SIGHUP))
	close(stop)
	if n := <-asked; n == 0 {
		t.Error("nothing was asked during the upgrade")
	}
	all("api.openai.com", "after")
	if two := w.roots(); len(one) != 1 || len(two) != 2 || one[0] != two[0] {
		t.Errorf("roots before %v, after %v", one, two)
	}
	all(second, "further")
	for _, v := range generations {
		fresh := w.asker(w.shared(v, "ask.py"))
		for _, h := range []string{"api.openai.com", second} {
			if got := fresh.ask(h, "new"); got != "new" {
				t.Errorf("%s, %s: %s", v, h, got)
			}
		}
	}
	for _, e := range w.trustEntries().Entries {
		if e.Kind != "mount" && (e.State != "applied" || !e.Current) {
			t.Errorf("%+v", e)
		}
	}
}

// roots are the fingerprints of the roots that are honoured.
func (w *world) roots() (out []string) {
	w.t.Helper()
	text, err := w.d.CLI(w.t.Context(), "trust", "status", "-o", "json")
	must(w.t, err)
	var st struct {
		Roots []struct {
			SHA256 string `json:"sha256"`
		}
	}
	must(w.t, json.Unmarshal([]byte(text), &st))
	for _, r := range st.Roots {
		out = append(out, r.SHA256)
	}
	return out
}
