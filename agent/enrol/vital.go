// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// vital are the executables without whose connections a host is lost or cannot be repaired, with the unit in which they
// usually run.
var vital = []struct{ exe, unit string }{
	{"/usr/lib/systemd/systemd", "/init.scope"},
	{"/usr/sbin/sshd", "/system.slice/ssh.service"}, {"/usr/sbin/sshd", "/system.slice/sshd.service"},
	{"/usr/lib/openssh/sshd-session", "/system.slice/ssh.service"},
	{"/usr/sbin/sshd", "/system.slice/ssh@0-192.0.2.1:22-192.0.2.2:40000.service"}, // one for each connection, by a socket unit
	{"/usr/sbin/sshd", "/system.slice/system-sshd.slice/sshd@0-192.0.2.1:22-192.0.2.2:40000.service"},
	{"/usr/lib/systemd/systemd-journald", "/system.slice/systemd-journald.service"},
	{"/usr/lib/systemd/systemd-networkd", "/system.slice/systemd-networkd.service"},
	{"/usr/lib/systemd/systemd-resolved", "/system.slice/systemd-resolved.service"},
	{"/usr/lib/systemd/systemd-timesyncd", "/system.slice/systemd-timesyncd.service"},
	{"/usr/lib/systemd/systemd-logind", "/system.slice/systemd-logind.service"},
	{"/usr/bin/udevadm", "/system.slice/systemd-udevd.service"},
	{"/usr/bin/kubelet", "/system.slice/kubelet.service"}, {"/usr/local/bin/kubelet", "/system.slice/kubelet.service"},
	{"/usr/local/bin/k3s", "/system.slice/k3s.service"}, {"/usr/local/bin/k3s", "/system.slice/k3s-agent.service"},
	{"/usr/local/bin/rke2", "/system.slice/rke2-server.service"}, {"/usr/local/bin/rke2", "/system.slice/rke2-agent.service"},
	{"/usr/bin/containerd", "/system.slice/containerd.service"}, {"/usr/local/bin/containerd", "/system.slice/containerd.service"},
	{"/usr/bin/containerd-shim-runc-v2", "/system.slice/containerd.service"},
	{"/usr/bin/dockerd", "/system.slice/docker.service"}, {"/usr/bin/crio", "/system.slice/crio.service"},
	{"/usr/bin/conmon", "/system.slice/crio.service"}, {"/usr/bin/runc", "/system.slice/containerd.service"},
	{"/usr/bin/crun", "/system.slice/crio.service"}, {"/usr/bin/podman", "/system.slice/podman.service"},
	{"/usr/bin/sallyportd", "/system.slice/sallyport.service"}, {"/usr/local/bin/sallyportd", "/system.slice/sallyport.service"},
	{"/usr/local/bin/sallyportd", "/system.slice/sallyport-guard.service"},
}

// vitalNames are the names of such executables, wherever they are; patterns.
var vitalNames = []string{"systemd", "systemd-*", "sshd", "sshd-session", "sshd-auth", "kubelet", "k3s", "k3s-server", "k3s-agent", "rke2", "containerd",
	"containerd-shim*", "dockerd", "docker-proxy", "crio", "conmon", "runc", "crun", "podman", "sallyportd"}

// vitalUnits are the units in which such a program runs as a user of its own.
const vitalUnits = "systemd-*.service"

// refuseVital looks whether a scope would match what the host cannot do without: by every process that runs now, and by
// where such programs usually are, so that it need not run now. A scope that needs the LangChain mark matches none of them,
// and one that is off does nothing.
func (e *Enrol) refuseVital() error {
	for _, v := range vital {
		file, ferr := fileOf(v.exe)
		s := subject{cgroup: v.unit, cgroupKnown: true, exe: func(row int) answer {
			// By its name, or by a link to it: /bin/* names /usr/bin/containerd too.
			return is(matches(e.scopes[row].Match.Exe, v.exe) || ferr == nil && e.exes[file]&(1<<row) != 0)
		}}
		if name, ok := e.governs(&s); ok {
			return refusal(name, path.Base(v.exe)+" in "+v.unit)
		}
	}
	return e.eachVital(func(p vitalProcess) error {
		if name, ok := e.governs(p.subject); ok {
			return refusal(name, p.name)
		}
		return nil
	})
}

func refusal(scope, what string) error {
	return fmt.Errorf("scope %s matches %s, which the host cannot do without: narrow the scope", scope, what)
}

// vitalProcess is a process that the host cannot do without.
type vitalProcess struct {
	*subject
	name string // for people
}

// eachVital calls do for the processes that the host cannot do without.
func (e *Enrol) eachVital(do func(vitalProcess) error) error {
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
		us := pid == 1 || pid == uint64(os.Getpid())
		exe, err := os.Readlink(filepath.Join(e.o.ProcRoot, d.Name(), "exe"))
		if err != nil || !us && !isVital(path.Base(strings.TrimSuffix(exe, " (deleted)"))) {
			continue // also a kernel thread
		}
		s, exe, ok := e.subject(uint32(pid))
		// A container may run such a program too, and so may any user: only the host's own are vital.
		if !ok || e.pidns(d.Name()) != ours || !us && !e.hosts(uint32(pid), s) {
			continue
		}
		if err := do(vitalProcess{s, fmt.Sprintf("%s (process %d)", exe, pid)}); err != nil {
			return err
		}
	}
	return nil
}

// hosts says whether a process with such a name is the host's own, and not a program that calls itself so to be let alone:
// root runs it, or it is a part of systemd in its own unit, and nobody but root may change its file.
func (e *Enrol) hosts(pid uint32, s *subject) bool {
	if s.uid != 0 && !matches(vitalUnits, e.o.Unit(s.cgroup)) {
		return false
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(e.o.ProcRoot, strconv.FormatUint(uint64(pid), 10), "exe"), &st); err != nil {
		return false
	}
	return (st.Uid == 0 || int(st.Uid) == os.Geteuid()) && st.Mode&0o022 == 0
}

// governs finds a scope that matches for sure and would do something.
func (e *Enrol) governs(s *subject) (name string, ok bool) {
	mask := e.governing(s)
	for i := range e.scopes {
		if mask>>i&1 != 0 {
			return e.scopes[i].Name, true
		}
	}
	return "", false
}

func (e *Enrol) governing(s *subject) (mask uint64) {
	for i := range e.scopes {
		scope := &e.scopes[i]
		if scope.Mode == agent.ModeOff || scope.Match.LangChain || !e.attached(s.cgroup) {
			continue
		}
		if e.selects(i, s) == yes {
			mask |= 1 << i
		}
	}
	return mask
}

// Vital says why a selection matches what the host cannot do without; nil = it does not. It needs the places of Options
// and Unit, and tells the kernel nothing.
func Vital(o Options, m agent.Match) error {
	o.Scopes = []agent.Scope{{Name: "of this selection", Match: m, Mode: agent.ModeEnforce}}
	_, err := New(o)
	return err
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
