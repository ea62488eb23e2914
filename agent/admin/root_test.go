// SPDX-License-Identifier: Apache-2.0

//go:build root

package admin

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNamespaces puts real processes into real namespaces and asks what they may do, as root on the host's view.
func TestNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test makes namespaces and needs root: run it with sudo")
	}
	s, _ := start(t, &fakeDaemon{}, 0)
	for _, c := range []struct {
		name     string
		flags    uintptr
		operator string // part of the refusal; "" = let in
		self     string
	}{
		{"the host's", 0, "", "shares the host's mounts"},
		{"mounts of its own", syscall.CLONE_NEWNS, "another mnt namespace", ""},
		{"network of its own", syscall.CLONE_NEWNET, "another net namespace", "shares the host's mounts"},
		{"a container", syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, "another mnt namespace", "another pid namespace"},
		{"users of its own", syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, "another mnt namespace", "another user namespace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command("/bin/cat") // ends with its standard input
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: c.flags}
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer in.Close()
			fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			p := &peerConn{cred: &unix.Ucred{Pid: int32(cmd.Process.Pid)}, pidfd: fd}
			for need, want := range map[access]string{operator: c.operator, self: c.self} {
				_, err := s.admit(p, need)
				if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("access %d: %v, want %q", need, err, want)
				}
			}
			if got, err := s.admit(p, anyone); err != nil || got.operator != (c.operator == "") {
				t.Errorf("why: %+v, %v", got, err)
			}
		})
	}
}
