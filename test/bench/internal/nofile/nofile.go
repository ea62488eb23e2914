// SPDX-License-Identifier: Apache-2.0

// Package nofile lets this process, and what it starts from then on, open more files.
package nofile

import (
	"fmt"
	"syscall"
)

// Raise sets both limits on open files (RLIMIT_NOFILE) to at least n. Above the hard limit only root may.
func Raise(n uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	want := syscall.Rlimit{Cur: max(l.Cur, n), Max: max(l.Max, n)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want); err != nil {
		return fmt.Errorf("raising the limit of open files from %d to %d: %w (it takes CAP_SYS_RESOURCE)", l.Max, n, err)
	}
	return nil
}
