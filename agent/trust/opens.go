// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// cover tells that an open file or folder holds our roots. fs says that everything on its file system does.
func (t *Trust) cover(fd int, fs bool) error {
	if t.opts.Opens == nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	f := agent.StoreFile{File: agent.File{Dev: st.Dev, Ino: st.Ino}}
	if fs {
		var s unix.Statfs_t
		if err := unix.Fstatfs(fd, &s); err != nil {
			return err
		}
		f.Ino, f.FSID = 0, uint64(uint32(s.Fsid.Val[0]))|uint64(uint32(s.Fsid.Val[1]))<<32
	}
	return supported(t.opts.Opens.Cover(f, t.ids))
}

// supported drops the error of a kernel that cannot see opens: trust is proven by handshakes alone there.
func supported(err error) error {
	var no *agent.Unsupported
	if errors.As(err, &no) {
		return nil
	}
	return err
}

// CoverRootsFile tells that whoever opens the file of our roots trusts them. Call it once Opens works.
func (t *Trust) CoverRootsFile() error {
	if t.opts.RootsFile == "" || len(t.roots) == 0 {
		return nil
	}
	fd, err := unix.Open(t.opts.RootsFile, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", t.opts.RootsFile, err)
	}
	defer unix.Close(fd)
	return t.cover(fd, false)
}
