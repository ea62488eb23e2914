// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ownCgroup puts this process into a cgroup that holds nobody else and returns its id, the inode of its folder: exactly
// that cgroup is exempt from redirection, so it must not be shared with a program that should be redirected. attach is
// the folder at which the programs are attached. A service manager has usually given us one already. kin are processes that
// hand over to this one: they are exempt too.
func ownCgroup(root, attach string, kin []int) (uint64, error) {
	self, err := selfCgroup()
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(root, self)
	inside := dir == attach || strings.HasPrefix(dir, strings.TrimSuffix(attach, "/")+"/")
	if inside {
		alone, err := onlyUs(dir, kin)
		if err != nil {
			return 0, err
		}
		if !alone {
			dir = filepath.Join(attach, "sallyport")
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return 0, fmt.Errorf("making a cgroup of our own: %w", err)
			}
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o644); err != nil {
				return 0, fmt.Errorf("moving into %s: %w", dir, err)
			}
			if alone, err = onlyUs(dir, kin); err != nil {
				return 0, err
			}
			if !alone {
				return 0, fmt.Errorf("other processes run in %s, which would be exempt with us: move them out or stop the other sallyportd", dir)
			}
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, fmt.Errorf("reading our cgroup %s: %w", dir, err)
	}
	return st.Ino, nil
}

func selfCgroup() (string, error) {
	raw, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("reading our own cgroup: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path, nil
		}
	}
	return "", errors.New("this process is in no cgroup v2: the host has cgroup v1 only, which is not supported")
}

// onlyUs says whether a cgroup folder holds this process and at most its kin.
func onlyUs(dir string, kin []int) (bool, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return false, fmt.Errorf("reading the processes of %s: %w", dir, err)
	}
	us := false
	for field := range strings.FieldsSeq(string(raw)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return false, fmt.Errorf("reading the processes of %s: %w", dir, err)
		}
		if pid == os.Getpid() {
			us = true
		} else if !slices.Contains(kin, pid) {
			return false, nil
		}
	}
	return us, nil
}

// hostID names this host among others: what systemd made at its first boot, else its name.
func hostID() string {
	if raw, err := os.ReadFile("/etc/machine-id"); err == nil && len(raw) >= 32 {
		return strings.TrimSpace(string(raw))
	}
	name, err := os.Hostname()
	if err != nil {
		return "" // then units of like hosts fall to the same side
	}
	return name
}
