// SPDX-License-Identifier: Apache-2.0

//go:build root

package enrol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// realCgroups makes a folder of the test's own in the host's cgroup v2 tree.
func realCgroups(t *testing.T) (root, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes cgroups and needs root: run it with sudo")
	}
	for _, root = range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(root, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			break
		}
	}
	dir = filepath.Join(root, fmt.Sprintf("sallyport-enrol-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return root, dir
}

// TestRealCgroups: the ids that we tell the kernel are its own, and a process in a cgroup of which no event told is found
// by it.
func TestRealCgroups(t *testing.T) {
	root, dir := realCgroups(t)
	service := filepath.Join(dir, "app.service")
	k := newFakeKernel()
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{CgroupRoot: root, Attach: dir, Kernel: k, Trust: fakeTrust{}, Unit: unit, DefaultMode: agent.ModeDiscover, Scopes: []agent.Scope{
		{Name: "both", Match: agent.Match{Unit: "app.service", Exe: cat}, Mode: agent.ModeEnforce, Deny: true},
		{Name: "unit", Match: agent.Match{Unit: "app.service"}, Mode: agent.ModeObserve},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(service, 0o755); err != nil { // after the walk, without an event
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(service); err != nil {
			t.Error(err)
		}
	})
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, service, 0)
	if err != nil {
		t.Fatal(err)
	}
	id := binary.NativeEndian.Uint64(handle.Bytes()) // the cgroup id, as bpf_get_current_cgroup_id gives it
	if got, err := inode(service); err != nil || got != id {
		t.Fatalf("the inode is %d, the id %d, %v", got, id, err)
	}
	for _, program := range []string{cat, "/bin/sh"} {
		pid := start(t, service, program)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, path, ok := strings.Cut(string(b), "0::")
		if !ok {
			t.Fatalf("got %s", b)
		}
		path, _, _ = strings.Cut(path, "\n")
		conn := agent.Conn{Scope: agent.ScopePending, Orig: netip.MustParseAddrPort("1.2.3.4:443"), Proc: agent.Process{TGID: uint32(pid), CgroupID: id}}
		r := e.Route(conn, &pipeline.Workload{PID: uint32(pid), Cgroup: path}, "example.org", true)
		if want := map[bool]string{true: "both", false: "unit"}[program == cat]; r.Scope != want {
			t.Errorf("%s: got %+v, want scope %s", program, r, want)
		}
	}
	if k.cgroups[id] != 3 {
		t.Errorf("the kernel learned %b", k.cgroups[id])
	}
}

// start runs a program in a cgroup until the end of the test.
func start(t *testing.T, cgroup, program string) int {
	t.Helper()
	f, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(program)
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	return cmd.Process.Pid
}

// TestHostIsFine: scopes of the usual kind are accepted on the host that runs this.
func TestHostIsFine(t *testing.T) {
	root, dir := realCgroups(t)
	for _, m := range []agent.Match{{Unit: "langchain-*.service"}, {LangChain: true}, {Cgroup: strings.TrimPrefix(dir, root) + "/x"}} {
		if _, err := New(Options{CgroupRoot: root, Kernel: newFakeKernel(), Trust: fakeTrust{}, Unit: unit,
			Scopes: []agent.Scope{{Name: "s", Match: m, Mode: agent.ModeEnforce}}}); err != nil {
			t.Error(err)
		}
	}
}
