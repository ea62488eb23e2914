// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// onThread runs do on an operating-system thread whose view of the file system is its own; the thread is thrown away,
// because there is no way back from another mount namespace that is worth trusting.
func onThread(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread would be kept, and /proc/self speaks for it. Hold it, so that another one does the work.
			defer runtime.UnlockOSThread()
			done <- onThread(do)
			return
		}
		// Never unlocked: the thread ends with the goroutine.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			done <- fmt.Errorf("separating a thread: %w", err)
			return
		}
		done <- do()
	}()
	return <-done
}

// layer is one planned mount.
type layer struct {
	entry  entry
	target *object
	node   *node
	err    error // why it was not mounted; set by lay
}

// lay mounts the layers in the namespace nsFD. An error means that none is mounted; layers that failed alone say so.
//
// cover is told of the file system before anything of it can be opened.
func lay(nsFD int, tag string, layers []*layer, cover func(fs int) error) error {
	return onThread(func() error {
		trees, err := build(tag, layers, cover)
		defer func() {
			for _, fd := range trees {
				if fd >= 0 {
					unix.Close(fd)
				}
			}
		}()
		if err != nil {
			return err
		}
		if err := unix.Setns(nsFD, unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("entering the mount namespace: %w", err)
		}
		for i, l := range layers {
			if l.err != nil {
				continue
			}
			if err := unix.MoveMount(trees[i], "", l.target.fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
				l.err = fmt.Errorf("mounting over it: %w", err)
			}
		}
		return nil
	})
}

// build makes the tmpfs with everything that layers need and returns a detached clone for each. It leaves the thread in
// a mount namespace of its own.
func build(tag string, layers []*layer, cover func(fs int) error) (trees []int, err error) {
	step := func(what string, e error) error {
		if errors.Is(e, unix.ENOSYS) {
			return &agent.Unsupported{Feature: "mounting trust stores into a running namespace", MinKernel: "5.6", Err: e}
		}
		return fmt.Errorf("%s: %w", what, e)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, step("making a mount namespace", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, step("separating a mount namespace", err)
	}
	ctx, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, step("making a tmpfs", err)
	}
	defer unix.Close(ctx)
	size := 1 << 20
	for _, l := range layers {
		size += l.node.size()
	}
	for _, o := range [][2]string{{"source", tag}, {"mode", "0755"}, {"size", strconv.Itoa(size)}} {
		if err := unix.FsconfigSetString(ctx, o[0], o[1]); err != nil {
			return nil, step("setting up a tmpfs", err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return nil, step("making a tmpfs", err)
	}
	fs, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, step("making a tmpfs", err)
	}
	defer unix.Close(fs)
	// A clone can be made only of a mount that is attached in the caller's namespace (before Linux 6.15).
	if err := unix.MoveMount(fs, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, step("attaching a tmpfs", err)
	}
	for i, l := range layers {
		l.node.name = strconv.Itoa(i)
		if err := l.node.write(fs); err != nil {
			l.err = fmt.Errorf("copying it: %w", err)
		}
	}
	if err := cover(fs); err != nil {
		return nil, err
	}
	pick, err := unix.Fspick(fs, "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return nil, step("closing a tmpfs", err)
	}
	defer unix.Close(pick)
	if err := unix.FsconfigSetFlag(pick, "ro"); err != nil {
		return nil, step("closing a tmpfs", err)
	}
	if err := unix.FsconfigReconfigure(pick); err != nil {
		return nil, step("closing a tmpfs", err)
	}
	for _, l := range layers {
		if l.err != nil {
			trees = append(trees, -1)
			continue
		}
		fd, err := unix.OpenTree(fs, l.node.name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return trees, step("cloning a tmpfs", err)
		}
		trees = append(trees, fd)
	}
	return trees, nil
}

// size bounds the room that a node takes in a tmpfs, in bytes.
func (n *node) size() int {
	const page = 4096 // also stands for what a name takes
	s := (len(n.data)+page-1)/page*page + page
	for _, c := range n.folder {
		s += c.size()
	}
	return s
}

// write makes the node below the folder dir, with the permissions, owner and time of the original.
func (n *node) write(dir int) error {
	perm := n.stat.Mode & 0o777
	if n.kind() == unix.S_IFLNK {
		if err := unix.Symlinkat(n.link, dir, n.name); err != nil {
			return err
		}
		return n.own(dir)
	}
	var fd int
	var err error
	if n.kind() == unix.S_IFDIR {
		if err = unix.Mkdirat(dir, n.name, 0o700); err == nil {
			fd, err = unix.Openat(dir, n.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		}
	} else {
		fd, err = unix.Openat(dir, n.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), n.name)
	defer f.Close()
	for _, c := range n.folder {
		if err := c.write(fd); err != nil {
			return err
		}
	}
	if len(n.data) > 0 {
		if _, err := f.Write(n.data); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(fd, perm); err != nil {
		return err
	}
	return n.own(dir)
}

// own gives a written node the owner and the time of the original. Without CAP_CHOWN the owner stays ours, which is
// harmless for what everybody may read; the rest must not become unreadable to its owner.
func (n *node) own(dir int) error {
	if n.stat.Uid != 0 || n.stat.Gid != 0 {
		err := unix.Fchownat(dir, n.name, int(n.stat.Uid), int(n.stat.Gid), unix.AT_SYMLINK_NOFOLLOW)
		if err != nil && n.kind() != unix.S_IFLNK && n.stat.Mode&0o004 == 0 {
			return fmt.Errorf("giving it to uid %d: %w", n.stat.Uid, err)
		}
	}
	return unix.UtimesNanoAt(dir, n.name, []unix.Timespec{n.stat.Mtim, n.stat.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// mountsIn reads the mount table of the namespace nsFD.
func mountsIn(nsFD int) (table []mount, err error) {
	err = inside(nsFD, func(proc int) error {
		table, err = ownMounts(proc)
		return err
	})
	return table, err
}

// inside runs do on a thread in the mount namespace nsFD, with a descriptor of our own /proc.
func inside(nsFD int, do func(proc int) error) error {
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(proc)
	return onThread(func() error {
		if err := unix.Setns(nsFD, unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("entering the mount namespace: %w", err)
		}
		return do(proc)
	})
}

// lift unmounts, in the namespace nsFD, every mount whose tag is in tags. It returns what became of each mount point: nil
// once it is gone.
func lift(nsFD int, tags map[string]bool) (map[string]error, error) {
	out := map[string]error{}
	err := inside(nsFD, func(proc int) error {
		table, err := ownMounts(proc)
		if err != nil {
			return err
		}
		for i := len(table) - 1; i >= 0; i-- { // the upper ones first
			m := table[i]
			if tag, ok := m.ours(); ok && tags[tag] {
				err := unmount(proc, m)
				if prev, done := out[tag+m.point]; !done || prev == nil {
					out[tag+m.point] = err
				}
			}
		}
		return nil
	})
	return out, err
}

// ownMounts reads the mount table of this thread through our own /proc, wherever the thread is.
func ownMounts(proc int) ([]mount, error) {
	fd, err := unix.Openat(proc, fmt.Sprintf("self/task/%d/mountinfo", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	b, err := readAll(fd, maxTable)
	if err != nil {
		return nil, err
	}
	return parseMounts(string(b))
}

var errCovered = errors.New("something else was mounted over it: unmount that first")

// unmount takes away exactly the mount m. The way to it is walked without following links, and what lies there is
// compared with m, so that a program that moves folders about cannot make us unmount something else. The thread's
// working folder changes.
func unmount(proc int, m mount) error {
	parent, err := unix.Openat2(unix.AT_FDCWD, path.Dir(m.point), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return fmt.Errorf("finding it again: %w", err)
	}
	defer unix.Close(parent)
	name := path.Base(m.point)
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("finding it again: %w", err)
	}
	defer unix.Close(fd)
	b, err := readInfo(proc, fd)
	if err != nil {
		return err
	}
	if b != m.id {
		return errCovered
	}
	if err := unix.Fchdir(parent); err != nil {
		return err
	}
	if err := unix.Unmount(name, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		if errors.Is(err, unix.EINVAL) {
			return errors.New("the kernel keeps it locked in this namespace, which a less privileged program copied: it goes when its processes end")
		}
		return err
	}
	return nil
}
