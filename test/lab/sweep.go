// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sweep takes away what runs of tests left that were killed: labs whose name is prefix and the number of a process that is no
// more. Their kernel programs would go on watching this host, their mounts stand in its table. It must be called in the host's
// own PID namespace.
func Sweep(prefix string) error {
	root, err := cgroupRoot()
	if err != nil {
		return err
	}
	var all error
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading the table of mounts: %w", err)
	}
	for line := range strings.Lines(string(table)) {
		point := strings.Fields(line)[4]
		if tail, ours := strings.CutPrefix(point, filepath.Join(os.TempDir(), prefix)); ours && dead(tail) {
			all = errors.Join(all, unix.Unmount(point, unix.MNT_DETACH))
		}
	}
	for _, dir := range []string{root, "/sys/fs/bpf", os.TempDir()} {
		found, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
		if err != nil {
			return err
		}
		for _, path := range found {
			switch {
			case !dead(strings.TrimPrefix(filepath.Base(path), prefix)):
			case dir == root:
				all = errors.Join(all, removeCgroup(path))
			default:
				all = errors.Join(all, os.RemoveAll(path))
			}
		}
	}
	return all
}

// dead reports whether tail begins with the number of a process that is no more.
func dead(tail string) bool {
	end := 0
	for end < len(tail) && tail[end] >= '0' && tail[end] <= '9' {
		end++
	}
	pid, err := strconv.Atoi(tail[:end])
	return err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}
