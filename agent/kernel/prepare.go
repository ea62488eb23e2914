// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// prepare mounts bpffs and tracefs where they belong if nothing is mounted there, as systemd would have done.
func prepare(pinDir string) error {
	if err := mounted("/sys/fs/bpf", "bpf", unix.BPF_FS_MAGIC); err != nil {
		return err
	}
	if err := mounted("/sys/kernel/tracing", "tracefs", unix.TRACEFS_MAGIC); err != nil {
		return err
	}
	var st unix.Statfs_t
	parent := filepath.Dir(pinDir)
	if err := unix.Statfs(parent, &st); err != nil {
		return fmt.Errorf("looking at the folder for pins, %s: %w", parent, err)
	}
	if st.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%s is not in a bpf file system: choose a folder directly below /sys/fs/bpf (capture.pin_dir)", pinDir)
	}
	return nil
}

func mounted(at, fstype string, magic int64) error {
	var st unix.Statfs_t
	if unix.Statfs(at, &st) == nil && st.Type == magic {
		return nil
	}
	if err := os.MkdirAll(at, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making %s: %w", at, err)
	}
	if err := unix.Mount(fstype, at, fstype, 0, ""); err != nil {
		return fmt.Errorf("mounting %s at %s: %w: mount it by hand, or grant CAP_SYS_ADMIN", fstype, at, err)
	}
	return nil
}
