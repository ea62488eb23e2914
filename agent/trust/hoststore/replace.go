// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

const (
	maxStore  = 8 << 20    // bytes of one file
	fuseMagic = 0x65735546 // linux/magic.h: a file system that a program answers for, and may not answer
)

// errBusy says that somebody writes to a file: it is to be looked at again when he is done.
var errBusy = errors.New("somebody is writing to it: it is looked at again soon")

// file is a regular file, held by descriptors: what was checked is what is read and exchanged.
type file struct {
	path   string
	dir    int // O_PATH
	name   string
	fd     int // for reading
	stat   unix.Stat_t
	leased bool
}

// openDir walks to a folder without following a link.
func openDir(path string) (int, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
	if errors.Is(err, unix.ENOSYS) {
		return -1, &agent.Unsupported{Feature: "changing files without following links (openat2)", MinKernel: "5.6", Err: err}
	}
	if err != nil {
		return -1, err
	}
	var fs unix.Statfs_t
	if err = unix.Fstatfs(fd, &fs); err == nil && fs.Type == fuseMagic {
		err = errors.New("it lies on a FUSE file system")
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openFile opens a regular file by a path in which no part is a link.
func openFile(path string) (_ *file, err error) {
	f := &file{path: path, name: filepath.Base(path), fd: -1}
	if f.dir, err = openDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	at, err := unix.Openat(f.dir, f.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(at)
	if err := unix.Fstat(at, &f.stat); err != nil {
		return nil, err
	}
	if f.stat.Mode&unix.S_IFMT != unix.S_IFREG { // opening one could block, or do something
		return nil, errors.New("it is not a regular file")
	}
	f.fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", at), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	return f, err
}

func (f *file) close() {
	if f.fd >= 0 {
		unix.Close(f.fd) // and with it the lease
	}
	unix.Close(f.dir)
}

// key tells files apart, whatever their names.
type key struct{ dev, ino uint64 }

func (f *file) key() key { return key{f.stat.Dev, f.stat.Ino} }

// read returns the content.
func (f *file) read() ([]byte, error) {
	if f.stat.Size > maxStore {
		return nil, fmt.Errorf("it is larger than %d bytes", maxStore)
	}
	b, err := io.ReadAll(io.LimitReader(reader{f.fd, new(int64)}, maxStore+1))
	if err == nil && len(b) > maxStore {
		err = fmt.Errorf("it is larger than %d bytes", maxStore)
	}
	return b, err
}

// reader reads a descriptor from its beginning, without owning it.
type reader struct {
	fd int
	at *int64
}

func (r reader) Read(p []byte) (int, error) {
	n, err := unix.Pread(r.fd, p, *r.at)
	if n > 0 {
		*r.at += int64(n)
		return n, err
	}
	if err == nil {
		err = io.EOF
	}
	return 0, err
}

// lease asks to be told before somebody writes to the file. It fails if somebody may be writing now.
func (f *file) lease() error {
	_, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETLEASE, unix.F_RDLCK)
	switch {
	case err == nil:
		f.leased = true
		return unix.Fstat(f.fd, &f.stat) // what was written until now
	case errors.Is(err, unix.EAGAIN):
		return errBusy
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("watching for others that write to it needs CAP_LEASE: %w", err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EOPNOTSUPP):
		return &agent.Unsupported{Feature: "changing a file of this file system safely (leases)",
			Err: fmt.Errorf("%w: start the program with `sallyport run -- CMD`", err)}
	}
	return err
}

// untouched says whether nobody has opened the file for writing since the lease, or waits to.
func (f *file) untouched() bool {
	var now unix.Stat_t
	kind, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETLEASE, 0)
	return err == nil && kind == unix.F_RDLCK && unix.Fstat(f.fd, &now) == nil && now.Mtim == f.stat.Mtim && now.Size == f.stat.Size
}

// replace puts data in place of the leased file at once: owner, permissions, extended attributes and time stay, other names
// of the old file keep it. temp is the name under which the new file is written, and the old one stands for a moment.
func (f *file) replace(data []byte, temp string, step func(string)) (err error) {
	if f.stat.Mode&(unix.S_ISUID|unix.S_ISGID|unix.S_ISVTX) != 0 {
		return errors.New("it has permissions that no trust store has")
	}
	if err := f.write(data, temp); err != nil {
		return fmt.Errorf("writing its new content: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Unlinkat(f.dir, temp, 0) // else the record names it, and the next look takes it away
		}
	}()
	step("written")
	if !f.is(f.name) || !f.untouched() {
		return errBusy
	}
	if err := f.exchange(temp); err != nil {
		return err
	}
	step("exchanged")
	// Whoever opened the old file meanwhile would write to what nobody reads.
	if !f.is(temp) || !f.untouched() {
		if err := f.exchange(temp); err != nil {
			return err
		}
		return errBusy
	}
	if err := unix.Unlinkat(f.dir, temp, 0); err != nil {
		return err
	}
	step("unlinked")
	return syncDir(f.dir)
}

func (f *file) exchange(temp string) error {
	err := unix.Renameat2(f.dir, temp, f.dir, f.name, unix.RENAME_EXCHANGE)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return &agent.Unsupported{Feature: "exchanging files on this file system", Err: fmt.Errorf("%w: start the program with `sallyport run -- CMD`", err)}
	case errors.Is(err, unix.EBUSY):
		return errors.New("something is mounted over it: unmount that first")
	}
	return err
}

// is says whether the name stands for the file that was opened. An overlay gives a file another number when it is first
// written to or renamed, so it is asked again.
func (f *file) is(name string) bool {
	var st, now unix.Stat_t
	return unix.Fstatat(f.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && unix.Fstat(f.fd, &now) == nil && st.Dev == now.Dev && st.Ino == now.Ino
}

// write makes the new file beside the old one. Its owner comes last: from then on it may be somebody else's.
func (f *file) write(data []byte, temp string) (err error) {
	if err := discard(f.dir, temp); err != nil {
		return err
	}
	fd, err := unix.Openat(f.dir, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), temp)
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			_ = unix.Unlinkat(f.dir, temp, 0)
		}
	}()
	if _, err := out.Write(data); err != nil {
		return err
	}
	if err := copyAttributes(f.fd, fd); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, f.stat.Mode&0o777); err != nil {
		return err
	}
	times := []unix.Timespec{f.stat.Atim, f.stat.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), times, 0); err != nil {
		return err
	}
	if int(f.stat.Uid) != os.Geteuid() || int(f.stat.Gid) != os.Getegid() {
		if err := unix.Fchown(fd, int(f.stat.Uid), int(f.stat.Gid)); err != nil {
			return fmt.Errorf("giving it to uid %d: %w", f.stat.Uid, err)
		}
	}
	return out.Sync()
}

// discard takes a file away that a crash left under a name of ours.
func discard(dir int, temp string) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir, temp, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%s is in the way, and is none of ours", temp)
	}
	if err == nil {
		err = unix.Unlinkat(dir, temp, 0)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// copyAttributes gives a new file the extended attributes of the old one, labels and access lists among them, and no others.
func copyAttributes(from, to int) error {
	old, err := attributes(from)
	if err != nil {
		return err
	}
	fresh, err := attributes(to)
	if err != nil {
		return err
	}
	for name, value := range old {
		if name == "security.ima" || name == "security.evm" || name == "security.capability" {
			return fmt.Errorf("it carries %s, which a changed file would not have: start the program with `sallyport run -- CMD`", name)
		}
		if fresh[name] == value {
			continue
		}
		if err := unix.Fsetxattr(to, name, []byte(value), 0); err != nil {
			return fmt.Errorf("keeping its attribute %s: %w", name, err)
		}
	}
	for name := range fresh {
		if _, ok := old[name]; !ok && !strings.HasPrefix(name, "security.") { // inherited from the folder
			if err := unix.Fremovexattr(to, name); err != nil {
				return fmt.Errorf("removing the inherited attribute %s: %w", name, err)
			}
		}
	}
	return nil
}

func attributes(fd int) (map[string]string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Flistxattr(fd, list)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading its attributes: %w", err)
	}
	out := map[string]string{}
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		n, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			return nil, fmt.Errorf("reading its attribute %s: %w", name, err)
		}
		out[name] = string(value[:n])
	}
	return out, nil
}

func syncDir(dir int) error {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fsync(fd)
}
