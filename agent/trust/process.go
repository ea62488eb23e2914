// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tick is the unit of start times in /proc/PID/stat, in nanoseconds (USER_HZ is 100 on every Linux ABI that Go has).
const tick = 10_000_000

const (
	maxEnviron = 1 << 20
	maxTable   = 4 << 20
	maxMaps    = 4 << 20
)

// process is a pinned process: its folder in /proc stays bound to it, so a reused pid gives errors, never another's data.
type process struct {
	pid  int
	proc *os.File // /proc/PID
	root int      // O_PATH descriptor of its root folder; -1 until openRoot
	ns   uint64   // inode of its mount namespace
	comm string
}

// errGone says that the process is no longer there, or that its pid belongs to another one now.
var errGone = errors.New("the process has ended")

// openProcess pins a process; start is its start time in nanoseconds since boot, or 0 to take it as it is.
func openProcess(pid int, start uint64) (*process, error) {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, errGone)
	}
	p := &process{pid: pid, proc: f, root: -1}
	stat, err := p.read("stat", 4096)
	if err != nil {
		p.close()
		return nil, fmt.Errorf("process %d: %w", pid, errGone)
	}
	comm, ticks, err := parseStat(string(stat))
	if err == nil && start != 0 && start/tick != ticks {
		err = errGone
	}
	if err == nil {
		p.comm = comm
		p.ns, err = p.mountNS()
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return p, nil
}

// parseStat returns the name and the start time, in ticks since boot, from /proc/PID/stat.
func parseStat(s string) (comm string, ticks uint64, err error) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')') // the name may hold both
	if open < 0 || end < open {
		return "", 0, errors.New("its stat has no name")
	}
	f := strings.Fields(s[end+1:])
	if len(f) < 20 {
		return "", 0, errors.New("its stat is too short")
	}
	ticks, err = strconv.ParseUint(f[19], 10, 64) // field 22, counted from 3
	return s[open+1 : end], ticks, err
}

// openRoot opens the root folder that the process sees.
func (p *process) openRoot() error {
	fd, err := unix.Openat(int(p.proc.Fd()), "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening the root of process %d: %w", p.pid, err)
	}
	p.root = fd
	return nil
}

func (p *process) close() {
	if p.root >= 0 {
		unix.Close(p.root)
		p.root = -1
	}
	p.proc.Close()
}

// read reads a file of the process's folder; more than max bytes are an error.
func (p *process) read(name string, max int) ([]byte, error) {
	fd, err := unix.Openat(int(p.proc.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return readAll(fd, max)
}

// readAll reads a descriptor and closes it.
func readAll(fd, max int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(max)+1))
	if err == nil && len(b) > max {
		err = fmt.Errorf("larger than %d bytes", max)
	}
	return b, err
}

// link reads a symbolic link of the process's folder as a path below its root; "" if there is none.
func (p *process) link(name string) string {
	target := readlink(int(p.proc.Fd()), name)
	root := readlink(int(p.proc.Fd()), "root")
	if root != "" && root != "/" { // the kernel counts from the namespace's root
		below, ok := strings.CutPrefix(target, root)
		if !ok {
			return ""
		}
		target = below
	}
	if !path.IsAbs(target) {
		return ""
	}
	return target
}

func readlink(dir int, name string) string {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func (p *process) mountNS() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(p.proc.Fd()), "ns/mnt", &st, 0); err != nil {
		return 0, fmt.Errorf("reading its mount namespace: %w", err)
	}
	return st.Ino, nil
}

// openNS opens its mount namespace, which must still be the one it had when it was pinned.
func (p *process) openNS() (int, error) {
	fd, err := unix.Openat(int(p.proc.Fd()), "ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening the mount namespace of process %d: %w", p.pid, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != p.ns {
		unix.Close(fd)
		return -1, fmt.Errorf("process %d changed its mount namespace meanwhile", p.pid)
	}
	return fd, nil
}

// mounts reads the mount table of its namespace: all of it, where /proc/PID/mountinfo leaves out what lies outside the
// root of that process.
func (p *process) mounts() ([]mount, error) {
	fd, err := p.openNS()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return mountsIn(fd)
}

// environ returns the variables with which the process was started.
func (p *process) environ() map[string]string {
	b, err := p.read("environ", maxEnviron)
	if err != nil {
		return nil // it has none, or it is gone, which the next step notices
	}
	out := map[string]string{}
	for v := range strings.SplitSeq(string(b), "\x00") {
		if k, val, ok := strings.Cut(v, "="); ok {
			out[k] = val
		}
	}
	return out
}
