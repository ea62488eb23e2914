// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// opener is Python that opens files, forks and executes as it is told; its children answer too.
type opener struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

const openerScript = `
import os, sys
print(os.getpid(), flush=True)
while True:
    f = sys.stdin.readline().split()
    if not f: break
    if f[0] == "open":
        try:
            open(f[1]).close(); print("ok", flush=True)
        except OSError as e:
            print(e, flush=True)
    elif f[0] == "fork": # the child goes on, the parent waits
        pid = os.fork()
        if pid: os.waitpid(pid, 0); break
        print(os.getpid(), flush=True)
    elif f[0] == "exec":
        os.execv(f[1], [f[1], "-u", "-I", "-S", "-c", sys.argv[1], sys.argv[1]])
`

func (w *world) opener(program string) *opener {
	w.t.Helper()
	cmd := exec.Command(program, "-u", "-I", "-S", "-c", openerScript, openerScript)
	cmd.Env, cmd.Stderr = []string{}, os.Stderr
	at, err := os.Open(filepath.Join(w.cgroup, "app"))
	must(w.t, err)
	defer at.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(at.Fd())}
	in, err := cmd.StdinPipe()
	must(w.t, err)
	out, err := cmd.StdoutPipe()
	must(w.t, err)
	must(w.t, cmd.Start())
	o := &opener{w.t, cmd, in, bufio.NewScanner(out)}
	w.t.Cleanup(func() { in.Close(); cmd.Wait() })
	o.said()
	return o
}

func (o *opener) said() string {
	o.t.Helper()
	if !o.out.Scan() {
		o.t.Fatalf("the program ended: %v", o.out.Err())
	}
	return o.out.Text()
}

func (o *opener) do(words ...string) string {
	o.t.Helper()
	_, err := io.WriteString(o.in, strings.Join(words, " ")+"\n")
	must(o.t, err)
	return o.said()
}

// note keeps what the kernel tells.
func (w *markedWorld) note(m agent.Mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.Kind == agent.MarkStarted {
		w.started = append(w.started, m)
	} else {
		w.marks = append(w.marks, m)
	}
}

func startOf(t testing.TB, pid int) uint64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	n, err := strconv.ParseUint(strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))[19], 10, 64)
	must(t, err)
	return n * 10_000_000
}

// proofs is what the kernel knows of a process.
func (w *world) proofs(pid int) agent.Proofs {
	w.t.Helper()
	p, err := w.k.Proofs(pid, startOf(w.t, pid))
	must(w.t, err)
	return p
}

// covered tells the kernel a file as a store.
func (w *world) covered(path string, roots ...agent.RootID) agent.StoreFile {
	w.t.Helper()
	f := agent.StoreFile{File: fileID(w.t, path)}
	must(w.t, w.k.Cover(f, roots))
	return f
}

func fileID(t testing.TB, path string) agent.File {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return agent.File{Dev: st.Dev, Ino: st.Ino}
}

// TestProofs: who has opened a store while it held our roots, and who has not.
func TestProofs(t *testing.T) {
	const a, b = agent.RootID(11), agent.RootID(12)
	w := newMarkedWorld(t, byMark)
	python, err := filepath.EvalSymlinks("/usr/bin/python3")
	must(t, err)
	foreign := filepath.Join(w.dir, "tool") // the same program, not called like an interpreter
	copyFile(t, python, foreign)
	proves := func(pid int, root agent.RootID) bool { p := w.proofs(pid); _, ok := p.Opened(root); return ok }

	t.Run("only an open after the change counts, and for its root", func(t *testing.T) {
		w.t = t
		store := w.file("site/cacert.pem")
		p := w.opener(python)
		pid := p.cmd.Process.Pid
		p.do("open", store)
		w.covered(store, a)
		if proves(pid, a) {
			t.Error("an open before the change proves it")
		}
		p.do("open", w.file("site/other.pem"))
		p.do("open", filepath.Join(w.dir, "site/missing.pem"))
		if proves(pid, a) {
			t.Error("another file proves it")
		}
		p.do("open", store)
		if !proves(pid, a) || proves(pid, b) {
			t.Errorf("after the open: %+v", w.proofs(pid))
		}
		// A root that comes later.
		w.covered(store, a, b)
		if !proves(pid, a) || proves(pid, b) {
			t.Errorf("a new root is proven by what was opened before it, or the old one no more: %+v", w.proofs(pid))
		}
		p.do("open", store)
		if !proves(pid, b) {
			t.Errorf("opened with both: %+v", w.proofs(pid))
		}
		if got := w.proofs(pid).Opens; len(got) != 2 || got[0].File != fileID(t, store) || got[0].Since == 0 || !slices.Equal(got[1].Roots, []agent.RootID{a, b}) {
			t.Errorf("opens: %+v", got)
		}
		if _, err := w.k.Proofs(pid, startOf(t, pid)-20_000_000); err == nil {
			t.Error("another process of that number has its proofs")
		}
	})
	t.Run("fork inherits, exec drops", func(t *testing.T) {
		w.t = t
		store := w.file("site/fork.pem")
		w.covered(store, a)
		p := w.opener(python)
		pid := p.cmd.Process.Pid
		p.do("open", store)
		must(t, w.k.Shaken(pid, startOf(t, pid), b, true))
		must(t, w.k.Shaken(pid, startOf(t, pid), a, false))
		must(t, w.k.Shaken(pid, startOf(t, pid), a, false))
		child, err := strconv.Atoi(p.do("fork"))
		must(t, err)
		got := w.proofs(child)
		if !proves(child, a) || !slices.Equal(got.Good, []agent.RootID{b}) || !slices.Equal(got.Bad, []agent.RootID{a}) {
			t.Errorf("the child: %+v", got)
		}
		if p.do("exec", python); len(w.proofs(child).Opens)+len(w.proofs(child).Good)+len(w.proofs(child).Bad) > 0 {
			t.Errorf("after exec: %+v", w.proofs(child))
		}
		if !proves(pid, a) {
			t.Error("the parent lost its own")
		}
	})
	t.Run("a file system as a whole", func(t *testing.T) {
		w.t = t
		dir := filepath.Join(w.dir, "fs")
		must(t, os.Mkdir(dir, 0o755))
		must(t, unix.Mount("x", dir, "tmpfs", 0, ""))
		t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
		must(t, os.WriteFile(filepath.Join(dir, "store"), nil, 0o644))
		var fs unix.Statfs_t
		must(t, unix.Statfs(dir, &fs))
		f := agent.StoreFile{File: agent.File{Dev: fileID(t, dir).Dev}, FSID: uint64(uint32(fs.Fsid.Val[0])) | uint64(uint32(fs.Fsid.Val[1]))<<32}
		wrong := f
		wrong.FSID ^= 1 // one that had this device number before
		p := w.opener(python)
		must(t, w.k.Cover(wrong, []agent.RootID{a}))
		p.do("open", filepath.Join(dir, "store"))
		if proves(p.cmd.Process.Pid, a) {
			t.Error("another file system with the same number proves it")
		}
		must(t, w.k.Cover(f, []agent.RootID{a}))
		p.do("open", filepath.Join(dir, "store"))
		if !proves(p.cmd.Process.Pid, a) {
			t.Error("not proven")
		}
	})
	t.Run("who is watched", func(t *testing.T) {
		w.t = t
		store := w.file("site/watched.pem")
		w.covered(store, a)
		p := w.opener(foreign)
		pid := p.cmd.Process.Pid
		p.do("open", store)
		if proves(pid, a) {
			t.Error("a program that is no interpreter is watched unasked")
		}
		must(t, w.k.Watch(pid, startOf(t, pid)))
		p.do("open", store)
		if !proves(pid, a) {
			t.Error("not watched")
		}
		p.do("exec", foreign)
		p.do("open", store)
		if !proves(pid, a) {
			t.Error("not watched any more after exec")
		}
		wait(t, "its exec to be told", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return slices.ContainsFunc(w.started, func(m agent.Mark) bool { return int(m.Proc.TGID) == pid })
		})
	})
	t.Run("a store that is restored", func(t *testing.T) {
		w.t = t
		store := w.file("site/restored.pem")
		f := w.covered(store, a)
		must(t, w.k.Uncover(f))
		must(t, w.k.Uncover(f))
		p := w.opener(python)
		p.do("open", store)
		if proves(p.cmd.Process.Pid, a) {
			t.Error("proven by a store that holds no root any more")
		}
	})
}
