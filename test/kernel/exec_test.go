// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
)

// execWorld reads executions.
type execWorld struct {
	*world
	execs chan agent.Exec
}

func newExecWorld(t *testing.T) *execWorld {
	t.Helper()
	w := &execWorld{world: newWorld(t, byMark), execs: make(chan agent.Exec, 1024)}
	must(t, w.k.SetCgroup(w.sub("app"), 0))
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := w.k.Execs(ctx, func(e agent.Exec) { w.execs <- e }); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
	return w
}

// next is the next execution that is told of.
func (w *execWorld) next() agent.Exec {
	w.t.Helper()
	select {
	case e := <-w.execs:
		return e
	case <-time.After(30 * time.Second):
		w.t.Fatal("no execution was told of")
		panic("unreachable")
	}
}

// TestExecs: each start is told of until the executable is judged; then one that is LangChain carries the mark from its start
// on, one that is not is not told of again, and a file that changes is a new one.
func TestExecs(t *testing.T) {
	w := newExecWorld(t)
	dir := t.TempDir()
	program, sentinel := filepath.Join(dir, "program"), filepath.Join(dir, "sentinel")
	copyFile(t, "/proc/self/exe", program)
	copyFile(t, "/proc/self/exe", sentinel)
	var running []*process
	run := func(path string) *process {
		p := w.spawn("app", func(c *exec.Cmd) { c.Path = path })
		running = append(running, p)
		return p
	}
	told := func(p *process) agent.Exec {
		t.Helper()
		e := w.next()
		if e.PID != uint32(p.cmd.Process.Pid) || e.File.Changed == 0 || e.File.Size == 0 || e.Start == 0 {
			t.Fatalf("told of %+v, want process %d", e, p.cmd.Process.Pid)
		}
		return e
	}

	first := told(run(program))
	if again := told(run(program)); again.File != first.File {
		t.Errorf("one file is two: %+v, %+v", first, again)
	}
	if got := run(program).connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("not judged yet: %q", got)
	}
	w.next()

	must(t, w.k.Judge(first.File, true))
	p := run(program)
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("judged to be LangChain: %q", got)
	}
	told(p)
	if kind, ok, err := w.k.Marked(uint32(p.cmd.Process.Pid)); err != nil || !ok || kind != agent.MarkLangChain {
		t.Errorf("mark %v %v %v", kind, ok, err)
	}

	must(t, w.k.Judge(first.File, false))
	p = run(program)
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("judged to be something else: %q", got)
	}
	told(run(sentinel)) // and not of the one before

	must(t, w.k.Judge(first.File, true))
	for _, p := range running { // a file that is executed cannot be written
		p.end()
	}
	f, err := os.OpenFile(program, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	if _, err := f.WriteString("more"); err != nil {
		t.Fatal(err)
	}
	must(t, f.Close())
	p = run(program)
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("the file was changed: %q", got)
	}
	if e := told(p); e.File == first.File {
		t.Errorf("a changed file is the same: %+v", e)
	}
}

// TestMarkByHand: user space marks a process that runs, and takes the mark back.
func TestMarkByHand(t *testing.T) {
	w := newExecWorld(t)
	p := w.spawn("app")
	e := w.next()
	if is, err := w.k.MarkLangChain(e.PID, e.Start+1e9); err == nil || is {
		t.Errorf("another process of that pid was marked: %v", err)
	}
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("before: %q", got)
	}
	if is, err := w.k.MarkLangChain(e.PID, e.Start); err != nil || !is {
		t.Errorf("marking: %v %v", is, err)
	}
	if is, err := w.k.MarkLangChain(e.PID, e.Start); err != nil || is {
		t.Errorf("marking again: %v %v", is, err)
	}
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("marked: %q", got)
	}
	if r := p.do("fork", "connect", "v4", origin4.String()); r.Said != "PROXY" {
		t.Errorf("its child: %+v", r)
	}
	must(t, w.k.UnmarkLangChain(e.PID, e.Start))
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("unmarked: %q", got)
	}
}

// TestExecsAreBounded: what nobody reads is counted, and the programs run all the same.
func TestExecsAreBounded(t *testing.T) {
	w := newWorld(t, byMark)
	must(t, w.k.SetCgroup(w.sub("app"), 0))
	dir, err := os.Open(filepath.Join(w.cgroup, "app"))
	must(t, err)
	defer dir.Close()
	cmd := exec.Command("/bin/sh", "-c", "i=0; while [ $i -lt 5000 ]; do /bin/true; i=$((i+1)); done")
	cmd.SysProcAttr = inCgroup(dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n, err := w.k.LostExecs(); err != nil || n == 0 {
		t.Errorf("%d lost, %v", n, err)
	}
}

func inCgroup(dir *os.File) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
}
