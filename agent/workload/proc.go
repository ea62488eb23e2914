// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// nsPerTick is a clock tick of /proc: USER_HZ is 100 for user space on every architecture we build for.
const nsPerTick = 10_000_000

// proc reads a proc file system (proc(5)).
type proc struct{ root string }

type stat struct {
	comm       string
	startTicks uint64 // since boot
}

func (p proc) file(pid uint32, name string) string {
	return filepath.Join(p.root, strconv.FormatUint(uint64(pid), 10), name)
}

func (p proc) read(pid uint32, name string) (string, error) {
	b, err := os.ReadFile(p.file(pid, name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return "", fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	if err != nil {
		return "", fmt.Errorf("reading process %d: %w", pid, err)
	}
	return string(b), nil
}

// stat reads the name and field 22, the start time. The name may hold spaces and parentheses.
func (p proc) stat(pid uint32) (stat, error) {
	s, err := p.read(pid, "stat")
	if err != nil {
		return stat{}, err
	}
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("process %d: unreadable stat line", pid)
	}
	f := strings.Fields(s[end+1:])
	if len(f) < 20 {
		return stat{}, fmt.Errorf("process %d: short stat line", pid)
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("process %d: start time: %w", pid, err)
	}
	return stat{s[open+1 : end], start}, nil
}

// users reads the real uid, which is what the kernel programs see, and the login uid.
func (p proc) users(pid uint32) (uid, login uint32, err error) {
	s, err := p.read(pid, "status")
	if err != nil {
		return 0, 0, err
	}
	found := false
	for line := range strings.Lines(s) {
		rest, ok := strings.CutPrefix(line, "Uid:")
		if !ok {
			continue
		}
		if f := strings.Fields(rest); len(f) == 4 {
			n, err := strconv.ParseUint(f[0], 10, 32)
			if err != nil {
				return 0, 0, fmt.Errorf("process %d: uid: %w", pid, err)
			}
			uid, found = uint32(n), true
		}
	}
	if !found {
		return 0, 0, fmt.Errorf("process %d: status has no uid", pid)
	}
	login = ^uint32(0)
	if s, err := p.read(pid, "loginuid"); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32); err == nil {
			login = uint32(n)
		}
	}
	return uid, login, nil
}

// exe is the path of the executable as the process sees it; "" if it cannot be read. A file that was removed or replaced
// keeps its name. sure says that this is the file that we too find there: a process with mounts of its own can run any
// file under any name.
func (p proc) exe(pid uint32) (path string, sure bool) {
	link := p.file(pid, "exe")
	path, err := os.Readlink(link)
	if err != nil {
		return "", false
	}
	var theirs, ours unix.Stat_t
	if unix.Stat(link, &theirs) != nil {
		return path, false
	}
	if theirs.Nlink == 0 {
		return strings.TrimSuffix(path, " (deleted)"), false
	}
	return path, unix.Stat(path, &ours) == nil && theirs.Dev == ours.Dev && theirs.Ino == ours.Ino
}

// cgroup is the path below the cgroup v2 root: the line of hierarchy 0, which hybrid hosts have among others.
func (p proc) cgroup(pid uint32) (string, error) {
	s, err := p.read(pid, "cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(s) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			if strings.HasPrefix(path, "/..") {
				return "", fmt.Errorf("process %d is in cgroup %s, above ours: run the agent in the host's cgroup namespace", pid, path)
			}
			return strings.TrimSuffix(path, " (deleted)"), nil
		}
	}
	return "", fmt.Errorf("process %d is in no cgroup v2", pid)
}
