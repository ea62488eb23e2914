// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sallyport-dev/sallyport/agent"
)

// byMark selects what carries the LangChain mark.
var byMark = agent.ScopeRow{Mode: agent.ModeEnforce, Closed: true, NeedMark: true}

// markedWorld has a copy of this test binary that is called python3, and files to open.
type markedWorld struct {
	*world
	python, core, dist, own string

	mu    sync.Mutex
	marks []agent.Mark
}

func newMarkedWorld(t *testing.T, rows ...agent.ScopeRow) *markedWorld {
	t.Helper()
	w := &markedWorld{world: newWorld(t, rows...)}
	w.sub("app")
	dir := t.TempDir()
	w.python = filepath.Join(dir, "python3.99")
	copyFile(t, "/proc/self/exe", w.python)
	file := func(parts ...string) string {
		f := filepath.Join(append([]string{dir, "site-packages"}, parts...)...)
		must(t, os.MkdirAll(filepath.Dir(f), 0o755))
		must(t, os.WriteFile(f, nil, 0o644))
		return f
	}
	w.core = file("langchain_core", "__init__.py")
	w.dist = file("langchain_core-1.7.2.dist-info", "entry_points.txt")
	w.own = file("my-langchain_tools", "x.py")
	file("@langchain", "core", "index.js")
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		err := w.k.Listen(ctx, func(m agent.Mark) { w.mu.Lock(); w.marks = append(w.marks, m); w.mu.Unlock() }, func(agent.CgroupEvent) {})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
	return w
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, err)
	must(t, out.Close())
}

func (w *markedWorld) interpreter() *process {
	return w.spawn("app", func(c *exec.Cmd) { c.Path = w.python })
}

// TestMarks: which opens mark a process, and what becomes of the mark.
func TestMarks(t *testing.T) {
	w := newMarkedWorld(t, byMark)
	node := filepath.Join(filepath.Dir(filepath.Dir(w.core)), "@langchain", "core", "index.js")
	for _, c := range []struct {
		name, path string
		python     bool
		want       string
	}{
		{"a package file", w.core, true, "PROXY"},
		{"a node package", node, true, "PROXY"},
		{"the metadata that any plug-in scan reads", w.dist, true, "ORIGIN"},
		{"a folder that only ends in the name", w.own, true, "ORIGIN"},
		{"an open that fails", filepath.Join(filepath.Dir(w.core), "missing.py"), true, "ORIGIN"},
		{"a program that is no interpreter", w.core, false, "ORIGIN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p *process
			if c.python {
				p = w.interpreter()
			} else {
				p = w.spawn("app")
			}
			if got := p.connect("v4", origin4); got != "ORIGIN" {
				t.Fatalf("before any open: %s", got)
			}
			p.do("open", c.path)
			if got := p.connect("v4", origin4); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	wait(t, "two marks to be told", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.marks) == 2 })
	if w.marks[0].Path != w.core || w.marks[0].Proc.TGID == 0 || w.marks[0].Proc.Start == 0 || w.marks[0].Kind != agent.MarkLangChain {
		t.Errorf("told %+v", w.marks[0])
	}
}

// TestDescendants: a child of a marked process carries a mark that survives exec.
func TestDescendants(t *testing.T) {
	w := newMarkedWorld(t, byMark)
	p := w.interpreter()
	p.do("open", w.core)
	if r := p.do("fork", "connect", "v4", origin4.String()); r.Said != "PROXY" {
		t.Errorf("a child that executed another program: %+v", r)
	}
	kind, is, err := w.k.Marked(uint32(p.cmd.Process.Pid))
	if err != nil || !is || kind != agent.MarkLangChain {
		t.Errorf("the parent: %v %v %v", kind, is, err)
	}
	q := w.interpreter()
	if r := q.do("fork", "connect", "v4", origin4.String()); r.Said != "ORIGIN" {
		t.Errorf("a child of a process without a mark: %+v", r)
	}
}

// TestDefaultScope: a marked process that no row names gets the default mode.
func TestDefaultScope(t *testing.T) {
	w := newMarkedWorld(t)
	must(t, w.k.SetDefault(agent.ModeDiscover, false))
	p := w.interpreter()
	p.do("open", w.core)
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Fatalf("got %s", got)
	}
	if c := w.taken(); len(c) != 1 || c[0].Scope != agent.ScopeDefault {
		t.Errorf("records %+v", c)
	}
	must(t, w.k.SetDefault(agent.ModeOff, false))
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("default off: %s", got)
	}
}

// TestThousandStarts starts a program a thousand times that opens a LangChain file and connects at once.
func TestThousandStarts(t *testing.T) {
	w := newMarkedWorld(t, byMark)
	const starts = 1000
	said := map[string]int{}
	for range starts {
		p := w.interpreter()
		p.do("open", w.core)
		said[p.connect("v4", origin4)]++
		p.end()
	}
	if said["PROXY"] != starts {
		t.Errorf("%v, want all of %d from the proxy", said, starts)
	}
	errs, err := w.k.Errors()
	must(t, err)
	if errs["record clash"]+errs["mark full"]+errs["event lost"] > 0 {
		t.Errorf("errors: %v", errs)
	}
}

// TestFlagInterpreters: an interpreter that ran before the programs were attached is flagged from user space.
func TestFlagInterpreters(t *testing.T) {
	w := newMarkedWorld(t, byMark)
	cmd := exec.Command(w.python)
	cmd.Env = []string{childEnv + "=serve"}
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	defer func() { in.Close(); cmd.Wait() }()
	n, err := w.k.FlagInterpreters()
	must(t, err)
	t.Logf("%d interpreters flagged", n) // exec has flagged ours already: the call must not disturb that
	p := w.interpreter()
	_, err = w.k.FlagInterpreters()
	must(t, err)
	p.do("open", w.core)
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("got %s", got)
	}
}

// TestCgroupEvents: a new cgroup is told with its path, and is pending until it is resolved.
func TestCgroupEvents(t *testing.T) {
	w := newWorld(t, enforced)
	ctx, stop := context.WithCancel(context.Background())
	events := make(chan agent.CgroupEvent, 100)
	var done sync.WaitGroup
	done.Go(func() {
		if err := w.k.Listen(ctx, func(agent.Mark) {}, func(e agent.CgroupEvent) { events <- e }); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
	id := w.sub("new")
	want := agent.CgroupEvent{ID: id, Path: "/sallyport-ktest/new"}
	for e := range events {
		if e.ID == id {
			if e != want {
				t.Errorf("told %+v, want %+v", e, want)
			}
			break
		}
	}
	p := w.spawn("new")
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("a new cgroup went direct: %s", got)
	}
	must(t, w.k.SetCgroup(id, 0))
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("resolved to no scope: %s", got)
	}
	p.end()
	must(t, os.Remove(filepath.Join(w.cgroup, "new")))
	for e := range events {
		if e.ID == id && e.Removed {
			return
		}
	}
}
