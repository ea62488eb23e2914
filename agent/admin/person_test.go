// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A peer that has ended, or that cannot be seen, is nobody.
func TestNobodyApproves(t *testing.T) {
	s, _ := start(t, &fakeDaemon{}, 0, func(o *Options) { o.People = host })
	child := exec.Command("/bin/true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(child.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*peerConn{
		"ended":       {cred: &unix.Ucred{Pid: int32(child.Process.Pid)}, pidfd: fd},
		"pid reused":  {cred: &unix.Ucred{Pid: int32(os.Getpid())}, pidfd: fd},
		"not visible": {cred: &unix.Ucred{}, pidfd: -1},
	} {
		for _, need := range []access{approver, requester} {
			if c, err := s.admit(p, need); err == nil {
				t.Errorf("%s: access %d granted to %+v", name, need, c)
			}
		}
	}
}

// The host's own user data base knows root.
func TestPeople(t *testing.T) {
	if name, groups, err := people(0); err != nil || name != "root" || !slices.Contains(groups, "root") {
		t.Errorf("%s %v, %v", name, groups, err)
	}
	if name, _, err := people(4_294_967_000); err == nil {
		t.Errorf("nobody is %q", name)
	}
}
