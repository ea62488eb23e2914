// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

// Package e2e runs real, unmodified programs through the kernel hook of a real sallyportd, against the fake provider in
// a network namespace of its own. It needs root and fails without it.
package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/test/fakellm"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// rawClientEnv makes this test binary act as the byte-exact client of exact_test.go.
const rawClientEnv = "SALLYPORT_TEST_RAW_CLIENT"

func TestMain(m *testing.M) {
	lab.Faulty()
	if args := os.Getenv(rawClientEnv); args != "" {
		if err := rawClient(os.Stdout, strings.Split(args, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if args := os.Getenv(loadEnv); args != "" {
		if err := loadClient(os.Stdout, strings.Split(args, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(lab.InsideEnv) != "" {
		if err := lab.StandForHost(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e tests attach kernel programs and make namespaces: run them as root (sudo make test-e2e)")
		os.Exit(1)
	}
	if os.Getenv(lab.InsideEnv) == "" {
		if err := lab.Sweep(labs); err != nil {
			fmt.Fprintln(os.Stderr, "taking away what killed runs left:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// labs begins the names of all labs of this package; the number of their process follows.
const labs = "sallyport-e2e-"

// The scopes of every test: their cgroups are named like units, which is where identities come from.
const (
	enforced = "langchain-support.service"
	observed = "langchain-trial.service"
	marked   = "session-7.scope" // no scope names it: only the LangChain mark tells
)

// listen is the proxy's address: one that nobody has, so that two runs do not meet. It is below the ports that the kernel gives
// to clients.
var listen = freeAddress(15900 + os.Getpid()%97)

// freeAddress finds a loopback address whose port is free for both families, from a port on.
func freeAddress(port int) string {
	for ; ; port++ {
		ln4, err4 := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err4 != nil {
			continue
		}
		ln4.Close()
		ln6, err6 := net.Listen("tcp6", fmt.Sprintf("[::1]:%d", port))
		if err6 == nil {
			ln6.Close()
		} else if errors.Is(err6, unix.EADDRINUSE) {
			continue
		}
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
}

const policyDocs = `apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: support-bot}
spec:
  rules:
    - {endpoints: [openai], operations: [chat], models: ["gpt-4o-mini*"], tools: [search, delete_files]}
    - {endpoints: [openai], operations: [embeddings], models: ["text-embedding-*"]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: support-bot}
spec: {role: support-bot, subjects: [{unit: langchain-support.service}, {unit: langchain-trial.service}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: no-deleting}
spec: {on: [toolCall], match: {tools: ["delete_*"]}, action: deny, message: "Deleting is not allowed"}
`

// world is one test's lab with the fake provider and a running daemon.
type world struct {
	t    *testing.T
	lab  *lab.Lab
	fake *fakellm.Server
	d    *lab.Daemon
	conf string
}

// root is the top of the checkout.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// newWorld builds a world with the fake provider in it. What stands before "---" in more is added to capture, the rest to
// the configuration.
func newWorld(t *testing.T, more string) *world {
	t.Helper()
	fake, err := fakellm.New(fakellm.Options{Pace: 2 * time.Millisecond, Clock: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldWith(t, more, fake.CA(), func(ln net.Listener) error { return fake.Serve(ln) }, fake.Close)
	w.fake = fake
	return w
}

// newWorldWith builds a world around any provider: its CA, what serves a listener, and what ends that.
func newWorldWith(t *testing.T, more string, caPEM []byte, serve func(net.Listener) error, stop func() error) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", labs, os.Getpid())) // not t.TempDir: unix socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	w.lab, err = lab.New(lab.Options{Name: fmt.Sprint(labs, os.Getpid()), Dir: dir, Bin: filepath.Join(root(t), "build"), Net: byte(80 + os.Getpid()%100)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.lab.Close(); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
		if t.Failed() && w.d != nil {
			t.Logf("the daemon said:\n%s", w.d.Log())
		}
		os.RemoveAll(dir)
	})
	ln, err := w.lab.Listen(443)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(ln) }()
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("fake provider: %v", err)
		}
		<-served
	})
	policy := filepath.Join(dir, "policy.d")
	must(t, os.Mkdir(policy, 0o755))
	must(t, os.WriteFile(filepath.Join(policy, "policy.yaml"), []byte(policyDocs), 0o644))
	capture, more, _ := strings.Cut(more, "---")
	ca := filepath.Join(dir, "fake-ca.pem")
	must(t, os.WriteFile(ca, caPEM, 0o644))
	for _, c := range []string{enforced, observed, marked} {
		if _, err := w.lab.Child(c); err != nil {
			t.Fatal(err)
		}
	}
	w.conf = strings.Replace(w.lab.BaseConfig(), "capture: {", "capture: {"+capture, 1) + fmt.Sprintf(`
protect:
  - {name: support, match: {unit: %q}, mode: enforce}
  - {name: trial, match: {unit: %q}, mode: observe, fail: open}
endpoints: [{name: openai, host: api.openai.com, port: 443, protocol: openai, upstream_ca: %q}]
identity: {trust_domain: example.org, template: "unit/{unit}"}
policy: {dir: %q}
proxy: {listen: %q}
%s`, enforced, observed, ca, policy, listen, more)
	w.start()
	return w
}

// newWorldOfAll builds a world whose provider stands in for all that fakellm knows. Its daemon does not run: the configuration is the
// caller's to complete.
func newWorldOfAll(t *testing.T) *world {
	t.Helper()
	fake, err := fakellm.New(fakellm.Options{Names: fakellm.Hosts(), Clock: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	must(t, err)
	w := newWorldWith(t, "", fake.CA(), func(ln net.Listener) error { return fake.Serve(ln) }, fake.Close)
	w.fake = fake
	must(t, w.d.Stop(t.Context()))
	return w
}

// policy writes another policy; who reads it is up to the caller.
func (w *world) policy(docs string) {
	w.t.Helper()
	must(w.t, os.WriteFile(filepath.Join(filepath.Dir(w.d.Config), "policy.d", "policy.yaml"), []byte(docs), 0o644))
}

func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	d, err := w.lab.StartDaemon(ctx, w.conf)
	if err != nil {
		w.t.Fatal(err)
	}
	w.d = d
}

// app is a LangChain program of test/e2e/python in one of the virtual environments.
func (w *world) app(cgroup, venv string, args ...string) lab.App {
	py := filepath.Join(root(w.t), "build", "venv-"+venv, "bin", "python")
	script := filepath.Join(root(w.t), "test", "e2e", "python", args[0])
	return lab.App{Cgroup: cgroup, Hosts: map[string]string{"api.openai.com": w.lab.Fake.String()},
		Env: []string{"OPENAI_API_KEY=sk-test-not-a-key"}, Args: append([]string{py, script}, args[1:]...)}
}

// run runs a program that is expected to end well.
func (w *world) run(a lab.App) string {
	w.t.Helper()
	out, errOut, err := w.lab.Run(w.t.Context(), a)
	if err != nil {
		w.t.Fatalf("%v\nstdout: %s\nstderr: %s", err, out, errOut)
	}
	return out
}

// exchange is what the tests read of `sessions show -o json`.
type exchange struct {
	SessionID  string `json:"session_id"`
	ExchangeID string `json:"exchange_id"`
	Model      string
	Operation  string
	Stream     bool
	Principal  struct {
		SPIFFEID string `json:"spiffe_id"`
	}
	Workload struct {
		PID            uint32
		Unit           string
		Container, Pod string
	}
	Response struct {
		Status int
		Text   string
		Cut    string
	}
	Tools []struct {
		Name   string
		Action string
		Rule   string
	}
	Verdict struct {
		Action, Stage, Rule, Reason, Mode string
		Enforced                          bool
	}
	Masked []struct{ Type string }
}

// exchanges lists everything that was recorded, oldest first.
func (w *world) exchanges() []exchange {
	w.t.Helper()
	var sessions []struct {
		ID string `json:"session_id"`
	}
	w.json(&sessions, "sessions", "list", "--limit", "1000", "-o", "json")
	var all []exchange
	for i := len(sessions) - 1; i >= 0; i-- {
		var s struct{ Exchanges []exchange }
		w.json(&s, "sessions", "show", sessions[i].ID, "-o", "json")
		all = append(all, s.Exchanges...)
	}
	return all
}

func (w *world) json(into any, args ...string) {
	w.t.Helper()
	out, err := w.d.CLI(w.t.Context(), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(into); err != nil && err != io.EOF {
		w.t.Fatalf("sallyport %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// logged says whether the daemon has logged a text, or does so soon.
func (w *world) logged(text string) bool {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	return w.d.Logged(ctx, text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
