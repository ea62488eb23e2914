// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/agent"
)

// vital are the executables without whose connections a host is lost or cannot be repaired, with the unit in which they
// usually run; a name in the first place that ends in "*" is a prefix.
var vital = []struct{ exe, unit string }{
	{"/usr/lib/systemd/systemd", "/init.scope"},
	{"/usr/sbin/sshd", "/system.slice/ssh.service"}, {"/usr/sbin/sshd", "/system.slice/sshd.service"},
	{"/usr/lib/systemd/systemd-journald", "/system.slice/systemd-journald.service"},
	{"/usr/lib/systemd/systemd-networkd", "/system.slice/systemd-networkd.service"},
	{"/usr/lib/systemd/systemd-resolved", "/system.slice/systemd-resolved.service"},
	{"/usr/lib/systemd/systemd-logind", "/system.slice/systemd-logind.service"},
	{"/usr/bin/kubelet", "/system.slice/kubelet.service"}, {"/usr/bin/containerd", "/system.slice/containerd.service"},
	{"/usr/bin/dockerd", "/system.slice/docker.service"}, {"/usr/bin/crio", "/system.slice/crio.service"},
	{"/usr/bin/sallyportd", "/system.slice/sallyport.service"},
}

// vitalNames are the names of such executables, wherever they are.
var vitalNames = []string{"systemd", "systemd-*", "sshd", "sshd-session", "kubelet", "containerd", "containerd-shim*", "dockerd", "crio", "conmon", "sallyportd"}

// lastSystemUID is the last user that belongs to the system and not to a person (login.defs(5), SYS_UID_MAX).
const lastSystemUID = 999

// refuseVital looks whether a scope would match what the host cannot do without: by every process that runs now, and by
// where such programs usually are. A scope that needs the LangChain mark matches none of them, and one that is off does
// nothing.
func (e *Enrol) refuseVital() error {
	for _, v := range vital {
		s := subject{cgroup: v.unit, cgroupKnown: true, exe: func(row int) answer { return is(matches(e.scopes[row].Match.Exe, v.exe)) }}
		if err := e.refuse(&s, path.Base(v.exe)+" in "+v.unit); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(e.o.ProcRoot)
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	ours := e.pidns("self")
	for _, d := range entries {
		pid, err := strconv.ParseUint(d.Name(), 10, 32)
		if err != nil {
			continue
		}
		// A container may run such a program too, and so may any user: only the host's own are vital.
		if s, exe, ok := e.subject(uint32(pid)); ok && e.pidns(d.Name()) == ours &&
			(pid == 1 || pid == uint64(os.Getpid()) || s.uid <= lastSystemUID && isVital(filepath.Base(exe))) {
			if err := e.refuse(s, fmt.Sprintf("%s (process %d)", exe, pid)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Enrol) refuse(s *subject, what string) error {
	for i := range e.scopes {
		scope := &e.scopes[i]
		if scope.Mode == agent.ModeOff || scope.Match.LangChain || !e.attached(s.cgroup) {
			continue
		}
		if e.selects(i, s) == yes {
			return fmt.Errorf("scope %s matches %s, which the host cannot do without: narrow the scope", scope.Name, what)
		}
	}
	return nil
}

func isVital(name string) bool {
	for _, v := range vitalNames {
		if matches(v, name) {
			return true
		}
	}
	return false
}

func (e *Enrol) pidns(pid string) string {
	ns, err := os.Readlink(filepath.Join(e.o.ProcRoot, pid, "ns", "pid"))
	if err != nil {
		return ""
	}
	return ns
}

// subject reads a process. It may end meanwhile, and a kernel thread has no executable: then ok is false.
func (e *Enrol) subject(pid uint32) (s *subject, exe string, ok bool) {
	dir := filepath.Join(e.o.ProcRoot, strconv.FormatUint(uint64(pid), 10))
	exe, err := os.Readlink(filepath.Join(dir, "exe"))
	if err != nil {
		return nil, "", false
	}
	cgroup, err := field(filepath.Join(dir, "cgroup"), "0::")
	if err != nil {
		return nil, "", false
	}
	status, err := field(filepath.Join(dir, "status"), "Uid:")
	if err != nil {
		return nil, "", false
	}
	real, _, _ := strings.Cut(strings.TrimSpace(status), "\t")
	uid, err := strconv.ParseUint(real, 10, 32)
	if err != nil {
		return nil, "", false
	}
	return &subject{cgroup: cgroup, cgroupKnown: true, uid: uint32(uid), exe: e.runs(pid)}, strings.TrimSuffix(exe, " (deleted)"), true
}

// field is what follows a word at the beginning of a line.
func field(file, word string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			return strings.TrimSuffix(rest, "\n"), nil
		}
	}
	return "", fmt.Errorf("%s has no %s", file, word)
}
