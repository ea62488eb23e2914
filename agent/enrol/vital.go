// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// vital are the executables without whose connections a host is lost or cannot be repaired.
var vital = []string{"systemd", "sshd", "kubelet", "containerd", "containerd-shim*", "dockerd", "crio", "conmon"}

// refuseVital looks at every process that runs now.
func (e *Enrol) refuseVital() error {
	entries, err := os.ReadDir(e.o.ProcRoot)
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	for _, d := range entries {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join(e.o.ProcRoot, d.Name())
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil {
			continue // a kernel thread, or it ended
		}
		exe = strings.TrimSuffix(exe, " (deleted)")
		if pid != 1 && pid != os.Getpid() && !isVital(filepath.Base(exe)) {
			continue
		}
		cgroup, uid, err := cgroupAndUID(dir)
		if err != nil {
			continue // it ended meanwhile
		}
		for i := range e.o.Scopes {
			s := &e.o.Scopes[i]
			if s.Mode == agent.ModeOff || s.Match.LangChain {
				continue
			}
			if e.selects(&s.Match, cgroup, uid, exe) && e.attached(cgroup) {
				return fmt.Errorf("scope %s matches %s (process %d), which the host cannot do without: narrow the scope", s.Name, exe, pid)
			}
		}
	}
	return nil
}

func isVital(name string) bool {
	if strings.HasPrefix(name, "systemd-") {
		return true
	}
	for _, v := range vital {
		if matches(v, name) {
			return true
		}
	}
	return false
}

// attached says whether the programs see a cgroup at all.
func (e *Enrol) attached(cgroup string) bool {
	at := "/" + strings.Trim(strings.TrimPrefix(e.o.Attach, e.o.CgroupRoot), "/")
	return at == "/" || cgroup == at || strings.HasPrefix(cgroup, at+"/")
}

// selects says whether all criteria but the mark hold.
func (e *Enrol) selects(m *agent.Match, cgroup string, uid uint32, exe string) bool {
	if !e.inCgroup(m, cgroup) || m.UID != nil && *m.UID != uid {
		return false
	}
	return m.Exe == "" || executable(m.Exe, exe)
}

func cgroupAndUID(dir string) (cgroup string, uid uint32, err error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", 0, err
	}
	f, err := os.Open(filepath.Join(dir, "cgroup"))
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if path, ok := strings.CutPrefix(sc.Text(), "0::"); ok {
			return path, st.Uid, nil
		}
	}
	return "", 0, fmt.Errorf("%s is in no cgroup v2", dir)
}
