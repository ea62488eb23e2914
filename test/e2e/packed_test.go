// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// packed is one kind of program that opens no file of a LangChain package.
type packed struct {
	kind  string // of test/e2e/packed/build.sh
	name  string
	args  []string // before the questions; {} is build/packed
	env   []string
	found string // how it is recognised
	long  bool   // only in the long form: it is fetched, or takes long to build
}

var packedPrograms = []packed{
	{kind: "go", name: "langchaingo", args: []string{"{}/go/langchaingo"}, found: "Go module github.com/tmc/langchaingo v0.1.14"},
	{kind: "zip", name: "zipapp", args: []string{"{}/../venv-current/bin/python", "{}/zip/app.pyz"}, env: []string{"PYTHONPATH={}/zip/native"}, found: "zip archive {}/zip/app.pyz"},
	{kind: "zip", name: "zipimport", args: []string{"{}/../venv-current/bin/python", "{}/zip/main.py"}, env: []string{"PYTHONPATH={}/zip/lib.zip:{}/zip/native"}, found: "zip archive {}/zip/lib.zip"},
	{kind: "pex", name: "PEX", args: []string{"{}/../venv-current/bin/python", "{}/pex/app.pex"}, env: []string{"PEX_ROOT={tmp}"}, long: true},
	{kind: "pyinstaller", name: "PyInstaller onedir", args: []string{"{}/pyinstaller/app-onedir/app-onedir"}, found: "PyInstaller archive", long: true},
	{kind: "pyinstaller", name: "PyInstaller onefile", args: []string{"{}/pyinstaller/app-onefile"}, env: []string{"TMPDIR={tmp}"}, found: "PyInstaller archive", long: true},
	{kind: "esbuild", name: "esbuild bundle", args: []string{"/usr/bin/node", "{}/esbuild/bundle.mjs"}, found: "JavaScript {}/esbuild/bundle.mjs", long: true},
	{kind: "esbuild", name: "esbuild bundle, minified", args: []string{"/usr/bin/node", "{}/esbuild/bundle--minify.mjs"}, found: "JavaScript {}/esbuild/bundle--minify.mjs", long: true},
}

// build makes the programs that are wanted: those that take seconds, or with PACKED=all also those that are fetched.
func buildPacked(t *testing.T) []packed {
	t.Helper()
	var out []packed
	kinds := []string{}
	for _, p := range packedPrograms {
		if p.long && os.Getenv("PACKED") != "all" {
			continue
		}
		out = append(out, p)
		kinds = append(kinds, p.kind)
	}
	cmd := exec.Command(filepath.Join(root(t), "test/e2e/packed/build.sh"), kinds...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building programs: %v: %s", err, b)
	}
	return out
}

// app is a program of this kind, started in a cgroup with an empty environment but for what it needs to run at all.
func (p *packed) app(w *world, cgroup string, prompts ...string) lab.App {
	w.t.Helper()
	fill := strings.NewReplacer("{}", filepath.Join(root(w.t), "build/packed"), "{tmp}", w.t.TempDir())
	a := w.app(cgroup, "current", "plain.py")
	a.Args = nil
	for _, s := range p.args {
		a.Args = append(a.Args, fill.Replace(s))
	}
	a.Args = append(a.Args, prompts...)
	for _, s := range p.env {
		a.Env = append(a.Env, fill.Replace(s))
	}
	return a
}

// TestPackedPrograms: programs of each kind that no scope names are recognised when they start, and their connections lead to
// the proxy. All must be so from the second start on; of a Go program the first connection of its first start may come before
// anybody has looked at its file.
func TestPackedPrograms(t *testing.T) {
	programs := buildPacked(t)
	w := newWorld(t, "default_mode: discover, ---")
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			w.t = t
			before := len(w.flows())
			for range 2 {
				app := p.app(w, marked, "say: one")
				app.Mounts = w.fakeTrust()
				app.Env = append(app.Env, w.fakeEnv(&p)...)
				if got := w.run(app); got != "one\n" {
					t.Fatalf("got %q", got)
				}
			}
			want := strings.ReplaceAll(p.found, "{}", filepath.Join(root(t), "build/packed"))
			f := w.flow(func(f *pipeline.Flow) bool {
				return f.Disposition == "passed" && strings.Contains(f.Workload.Found, want) && f.Scope == "default"
			})
			t.Logf("%d records of connections; found by %q", len(w.flows())-before, f.Workload.Found)
		})
	}
}

// TestNotLangChain: what merely reads such files is not recognised.
func TestNotLangChain(t *testing.T) {
	programs := buildPacked(t)
	w := newWorld(t, "default_mode: discover, ---")
	dir := filepath.Join(root(t), "build/packed")
	py := filepath.Join(root(t), "build/venv-current/bin/python")
	for _, args := range [][]string{
		{"/bin/grep", "-c", "langchain_core", dir + "/zip/app.pyz"},
		{"/bin/tar", "-cf", "/dev/null", dir + "/zip", dir + "/go"},
		{"/bin/cp", dir + "/go/langchaingo", "/dev/null"},
		{py, "-m", "zipfile", "-l", dir + "/zip/app.pyz"},
		{py, "-m", "pip", "--version", dir + "/zip/app.pyz"},
		{filepath.Join(root(t), "build/venv-current/bin/pip"), "--version", dir + "/zip/lib.zip"},
		{py, "-c", "import sys; open(sys.argv[1], 'rb').read()", dir + "/zip/app.pyz"},
	} {
		a := w.app(marked, "current", "plain.py")
		a.Args = args
		w.run(a)
	}
	// One that is, afterwards: whoever was to be recognised before has been.
	a := programs[0].app(w, marked, "say: one")
	a.Mounts = w.fakeTrust()
	w.run(a)
	const line = "a LangChain program was recognised"
	if !w.logged(line) {
		t.Fatal("the last program was not recognised")
	}
	if n := strings.Count(w.d.Log(), line); n != 1 {
		t.Errorf("%d programs were recognised, want 1:\n%s", n, w.d.Log())
	}
}

// TestRanBefore: programs that ran before the agent are recognised by what they run; where a scope says so by their memory,
// and nowhere else.
func TestRanBefore(t *testing.T) {
	programs := buildPacked(t)
	const trusting, distrusting = "memory-1.scope", "memory-2.scope"
	w := newWorld(t, "default_mode: observe, ---")
	must(t, w.d.Stop(t.Context()))
	w.uninstall()
	w.conf = strings.Replace(w.conf, "protect:", fmt.Sprintf("protect:\n  - {name: memory, match: {cgroup: %q, langchain: true}, mode: observe, search_memory: true}", w.lab.Path+"/"+trusting), 1)
	pids := map[int]string{} // how they are to be recognised
	for _, p := range programs {
		if p.long {
			continue
		}
		a := p.app(w, marked)
		a.Mounts = w.fakeTrust()
		run := w.talk(a)
		if got := run.ask("say: one"); got != "one" {
			t.Fatalf("%s: %q", p.name, got)
		}
		pids[run.pid()] = strings.ReplaceAll(p.found, "{}", filepath.Join(root(t), "build/packed"))
	}
	// These show only in their memory. The name is put together in pieces, so that it is there only because of the import.
	python := func(cgroup, module string) int {
		a := w.app(cgroup, "current", "plain.py")
		a.Args = append(a.Args[:1], "-c", "import importlib, sys; importlib.import_module('.'.join(sys.argv[1:]))\nprint('up', flush=True)\nfor line in sys.stdin: print(line, end='', flush=True)")
		a.Args = append(a.Args, strings.Split(module, ".")...)
		run := w.talk(a)
		if got := run.ask("x"); got != "up" {
			t.Fatalf("%s: %q", module, got)
		}
		return run.pid()
	}
	pids[python(trusting, "langchain_core.runnables")] = "its memory"
	control := python(trusting, "json")
	elsewhere := python(distrusting, "langchain_core.runnables")
	w.start()
	for pid, how := range pids {
		line := fmt.Sprintf("pid=%d state=", pid)
		if !w.logged(line) {
			t.Errorf("process %d was not recognised by %q", pid, how)
			continue
		}
		_, rest, _ := strings.Cut(w.d.Log(), line)
		if rest, _, _ = strings.Cut(rest, "\n"); !strings.Contains(rest, how) {
			t.Errorf("process %d was recognised by %s, want %q", pid, rest, how)
		}
		if how == "its memory" {
			continue // it has no connection
		}
		f := w.flow(func(f *pipeline.Flow) bool { return f.Older != nil && f.Workload.PID == uint32(pid) })
		if f.Older.Ended != pipeline.OlderListed || f.Workload.Found != how || f.Scope != "default" {
			t.Errorf("record of process %d: %+v %+v", pid, f, f.Older)
		}
	}
	for _, pid := range []int{control, elsewhere} {
		if strings.Contains(w.d.Log(), fmt.Sprintf("pid=%d state=", pid)) {
			t.Errorf("process %d was recognised:\n%s", pid, w.d.Log())
		}
	}
}

// fakeTrust lets a program whose TLS is not opened trust the fake provider.
func (w *world) fakeTrust() map[string]string {
	return map[string]string{"/etc/ssl/certs/ca-certificates.crt": filepath.Join(filepath.Dir(w.d.Config), "fake-ca.pem")}
}

// fakeEnv is the same for what reads no store of the system: this test is about who is recognised, not about trust.
func (w *world) fakeEnv(p *packed) []string {
	switch p.kind {
	case "esbuild":
		return []string{"NODE_TLS_REJECT_UNAUTHORIZED=0"}
	case "pyinstaller", "pex":
		return []string{"SSL_CERT_FILE=" + filepath.Join(filepath.Dir(w.d.Config), "fake-ca.pem")}
	}
	return nil
}
