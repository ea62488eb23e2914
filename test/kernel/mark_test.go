// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel"
)

// byMark selects what carries the LangChain mark.
var byMark = agent.ScopeRow{Mode: agent.ModeEnforce, Closed: true, NeedMark: true}

// markedWorld has a copy of this test binary that is called python3, and files to open.
type markedWorld struct {
	*world
	python, dir string
	deaf        func() // ends the reading of events

	mu             sync.Mutex
	marks, started []agent.Mark
}

func newMarkedWorld(t *testing.T, rows ...agent.ScopeRow) *markedWorld {
	t.Helper()
	w := &markedWorld{world: newWorld(t, rows...)}
	w.sub("app")
	dir := t.TempDir()
	w.python = filepath.Join(dir, "python3.99")
	copyFile(t, "/proc/self/exe", w.python)
	w.dir = dir
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	k := w.k
	done.Go(func() {
		err := k.Listen(ctx, w.note, func(agent.CgroupEvent) {})
		if err != nil {
			t.Error(err)
		}
	})
	w.deaf = func() { stop(); done.Wait() }
	t.Cleanup(w.deaf)
	return w
}

// core is a file whose opening marks.
const core = "site-packages/langchain_core/__init__.py"

// file makes a file and the folders on its way.
func (w *markedWorld) file(path string) string {
	w.t.Helper()
	f := filepath.Join(w.dir, path)
	must(w.t, os.MkdirAll(filepath.Dir(f), 0o755))
	must(w.t, os.WriteFile(f, nil, 0o644))
	return f
}

// told empties the list of marks that the kernel told.
func (w *markedWorld) told() []agent.Mark {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.marks
	w.marks = nil
	return out
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

// TestMarks: which opens mark a process, and what is told about it.
func TestMarks(t *testing.T) {
	w := newMarkedWorld(t, byMark)
	long := strings.Repeat("a/", 100) // with what precedes it, beyond 256 letters
	for _, c := range []struct {
		name, path string
		order      string
		foreign    bool // the program is no interpreter
		absent     bool // there is no such file
		relative   bool
		marks      bool
	}{
		{name: "a package file", path: core, marks: true},
		{name: "a partner package", path: "dist-packages/langchain_google_genai/llms.py", marks: true},
		{name: "the main package", path: "site-packages/langchain/__init__.py", marks: true},
		{name: "a node package", path: "node_modules/@langchain/core/index.js", marks: true},
		{name: "the main node package", path: "node_modules/langchain/index.js", marks: true},
		{name: "a long path", path: long + core, marks: true},
		{name: "a relative path", path: core, relative: true, marks: true},
		{name: "a path that is not in memory yet", path: core, order: "openunread", marks: true},
		{name: "another path that is not in memory yet", path: "x.py", order: "openunread"},
		{name: "the metadata that any plug-in scan reads", path: "site-packages/langchain_core-1.7.2.dist-info/entry_points.txt"},
		{name: "a folder that only ends in the name", path: "site-packages/my-langchain_tools/x.py"},
		{name: "a project of that name", path: "work/langchain/app.py"},
		{name: "another product", path: "node_modules/langchain4j/index.js"},
		{name: "a file of that name", path: "site-packages/langchain_core"},
		{name: "an open that fails", path: "site-packages/langchain_core/missing.py", absent: true},
		{name: "a program that is no interpreter", path: core, foreign: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			defer func() { must(t, os.RemoveAll(filepath.Join(w.dir, "tree"))) }()
			path := filepath.Join(w.dir, "tree", c.path)
			if !c.absent {
				w.file(filepath.Join("tree", c.path))
			}
			var p *process
			switch {
			case c.foreign:
				p = w.spawn("app")
			case c.relative:
				p = w.spawn("app", func(cmd *exec.Cmd) { cmd.Path, cmd.Dir = w.python, filepath.Join(w.dir, "tree", "site-packages") })
				path = "langchain_core/__init__.py"
			default:
				p = w.interpreter()
			}
			if got := p.connect("v4", origin4); got != "ORIGIN" {
				t.Fatalf("before any open: %s", got)
			}
			order := c.order
			if order == "" {
				order = "open"
			}
			if r := p.do(order, path); (r.Error != "") != c.absent {
				t.Fatalf("opening: %s", r.Error)
			}
			want := "ORIGIN"
			if c.marks {
				want = "PROXY"
			}
			if got := p.connect("v4", origin4); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if !c.marks {
				return
			}
			var told []agent.Mark
			wait(t, "the mark to be told", func() bool { told = append(told, w.told()...); return len(told) > 0 })
			m := told[0]
			if len(told) != 1 || m.Path != path || int(m.Proc.TGID) != p.cmd.Process.Pid || m.Proc.Start == 0 || m.Kind != agent.MarkLangChain || m.Proc.Comm != "python3.99" {
				t.Errorf("told %+v", told)
			}
			// What is found by looking, when events were lost, is the same but for the path.
			m.Path = ""
			found, err := w.k.Marks()
			must(t, err)
			if !slices.Contains(found, m) {
				t.Errorf("found %+v, want %+v among them", found, m)
			}
		})
	}
	if told := w.told(); len(told) > 0 {
		t.Errorf("told besides: %+v", told)
	}
}

// TestDescendants: a child of a marked process carries a mark that survives exec, whichever thread executes.
func TestDescendants(t *testing.T) {
	w := newMarkedWorld(t, byMark)
	p := w.interpreter()
	p.do("open", w.file(core))
	for _, c := range []struct {
		name  string
		order []string
	}{
		{"a child that executed another program", []string{"fork", "connect", "v4", origin4.String()}},
		{"its child", []string{"fork", "fork", "connect", "v4", origin4.String()}},
		{"a child in which another thread than the first executed it", []string{"fork", "threadexec", "connect", "v4", origin4.String()}},
	} {
		if r := p.do(c.order...); r.Said != "PROXY" {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	kind, is, err := w.k.Marked(uint32(p.cmd.Process.Pid))
	if err != nil || !is || kind != agent.MarkLangChain {
		t.Errorf("the parent: %v %v %v", kind, is, err)
	}
	q := w.interpreter()
	if r := q.do("fork", "connect", "v4", origin4.String()); r.Said != "ORIGIN" {
		t.Errorf("a child of a process without a mark: %+v", r)
	}
	// Executing something else drops the program's own mark.
	if r := p.do("threadexec", "connect", "v4", origin4.String()); r.Said != "ORIGIN" {
		t.Errorf("after exec: %+v", r)
	}
	if _, is, err := w.k.Marked(uint32(p.cmd.Process.Pid)); err != nil || is {
		t.Errorf("after exec: %v %v", is, err)
	}
}

// TestElsewhere: what is marked outside the cgroup to which the programs are attached is nobody's business.
func TestElsewhere(t *testing.T) {
	w := newMarkedWorld(t, byMark)
	elsewhere := exec.Command(w.python)
	elsewhere.Env = []string{childEnv + "=" + w.file(core)} // opens, and ends
	must(t, elsewhere.Run())
	p := w.interpreter()
	p.do("open", w.file(core))
	var told []agent.Mark
	wait(t, "the mark to be told", func() bool { told = append(told, w.told()...); return len(told) > 0 })
	if len(told) != 1 || int(told[0].Proc.TGID) != p.cmd.Process.Pid {
		t.Errorf("told %+v", told)
	}
}

// TestWorkers: real Python that imports a package and then forks workers, which connect from threads, without exec.
func TestWorkers(t *testing.T) {
	w := newMarkedWorld(t, byMark)
	dir := filepath.Dir(filepath.Dir(w.file(core)))
	script := fmt.Sprintf(`
import sys, os, socket, threading
sys.path.insert(0, %q)
import langchain_core
def say():
    print(socket.create_connection((%q, %d)).makefile().readline(), end="", flush=True)
for _ in range(3):
    if os.fork() == 0:
        t = threading.Thread(target=say); t.start(); t.join(); os._exit(0)
for _ in range(3): os.wait()
`, dir, origin4.Addr(), origin4.Port())
	at, err := os.Open(filepath.Join(w.cgroup, "app"))
	must(t, err)
	defer at.Close()
	cmd := exec.Command("python3", "-I", "-S", "-c", script)
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(at.Fd())}
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != strings.Repeat("PROXY\n", 3) {
		t.Errorf("%v: %s", err, out)
	}
	for _, c := range w.taken() {
		if int(c.Proc.TGID) == cmd.Process.Pid || c.Scope != 0 {
			t.Errorf("record %+v, want one of a worker of %d", c, cmd.Process.Pid)
		}
	}
}

// TestDeadLeader: a thread group whose first thread has exited is still itself.
func TestDeadLeader(t *testing.T) {
	w := newMarkedWorld(t, byMark, agent.ScopeRow{Mode: agent.ModeEnforce, Closed: true, NeedExe: true})
	var st unix.Stat_t
	must(t, unix.Stat(w.python, &st))
	marked, plain := w.interpreter(), w.interpreter()
	marked.do("open", w.file(core))
	for _, c := range []struct {
		what string
		p    *process
		row  uint32
	}{{"mark", marked, 0}, {"executable", plain, 1}} {
		must(t, w.k.SetExe(agent.File{Dev: st.Dev, Ino: st.Ino}, 2))
		c.p.do("dieleader")
		if got := c.p.connect("v4", origin4); got != "PROXY" {
			t.Errorf("%s: %s", c.what, got)
		}
		if conns := w.taken(); len(conns) != 1 || conns[0].Scope != c.row || int(conns[0].Proc.TGID) != c.p.cmd.Process.Pid {
			t.Errorf("%s: records %+v", c.what, conns)
		}
		c.p.cmd.Process.Kill() // without its first thread, the Go runtime does not end in an orderly way
	}
}

// TestDefaultScope: a marked process that no row names gets the default mode.
func TestDefaultScope(t *testing.T) {
	w := newMarkedWorld(t)
	must(t, w.k.SetDefault(agent.ModeDiscover, false))
	p := w.interpreter()
	p.do("open", w.file(core))
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
		p.do("open", w.file(core))
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
	w.stopProxy()
	w.deaf()
	w.k.Close()
	must(t, kernel.Uninstall(w.pins))
	p := w.interpreter() // nobody sees it start
	w.k = w.load(2)
	defer w.k.Close()
	must(t, w.k.SetPorts([]uint16{originPort}))
	must(t, w.k.SetScopes([]agent.ScopeRow{byMark}))
	must(t, w.k.SetProxy(proxy4, proxy6))
	must(t, w.k.Attach())
	w.startProxy()
	defer w.stopProxy()
	path := w.file(core)
	p.do("open", path)
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("not flagged: %s", got)
	}
	if n, err := w.k.FlagInterpreters(); err != nil || n == 0 {
		t.Errorf("%d flagged, %v", n, err)
	}
	p.do("open", path)
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("flagged: %s", got)
	}
	_, err := w.k.FlagInterpreters() // does not take the mark away
	must(t, err)
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("flagged twice: %s", got)
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
	want := agent.CgroupEvent{ID: id, Path: "/" + worldName() + "/new"}
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
