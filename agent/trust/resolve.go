// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

const (
	maxStore  = 8 << 20  // bytes of one file
	maxFolder = 16 << 20 // bytes of one folder
	maxNames  = 4096     // names in one folder, with those below it
	maxDepth  = 3

	fuseMagic = 0x65735546 // linux/magic.h: a file system that a program answers for, and may not answer
)

// object is a file or folder inside a process's root, held by an O_PATH descriptor: what was checked is what is mounted.
type object struct {
	fd    int
	path  string // real path from the namespace's root, for people and the ledger
	mount int    // mount ID
	stat  unix.Stat_t
}

// key tells objects apart, whatever name they were found under.
type key struct {
	dev, ino uint64
	mount    int
}

func (o *object) key() key { return key{o.stat.Dev, o.stat.Ino, o.mount} }

func (o *object) close() { unix.Close(o.fd) }

// resolve opens name as the process would see it. Links are followed inside its root only, links into /proc not at all.
func resolve(root int, name string) (*object, error) {
	fd, err := unix.Openat2(root, name, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOSYS) {
		return nil, &agent.Unsupported{Feature: "changing trust stores inside a namespace (openat2)", MinKernel: "5.6", Err: err}
	}
	if err != nil {
		return nil, err
	}
	o := &object{fd: fd, path: readlink(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd))}
	var fs unix.Statfs_t
	if err = unix.Fstat(fd, &o.stat); err == nil {
		err = unix.Fstatfs(fd, &fs)
	}
	if err == nil && fs.Type == fuseMagic {
		err = errors.New("it lies on a FUSE file system")
	}
	if err == nil {
		o.mount, err = mountID(fd)
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// mountID returns the ID of the mount that fd lies on.
func mountID(fd int) (int, error) { return readInfo(unix.AT_FDCWD, fd) }

// readInfo does the same from a thread that may be in another namespace: proc is our /proc, or AT_FDCWD.
func readInfo(proc, fd int) (int, error) {
	name := fmt.Sprintf("self/task/%d/fdinfo/%d", unix.Gettid(), fd)
	if proc == unix.AT_FDCWD {
		name = fmt.Sprintf("/proc/self/fdinfo/%d", fd)
	}
	info, err := unix.Openat(proc, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	b, err := readAll(info, 4096)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strconv.Atoi(strings.TrimSpace(v))
		}
	}
	return 0, errors.New("the kernel does not tell its mount")
}

// bytes reads a regular file of at most max bytes.
func (o *object) bytes(max int) ([]byte, error) {
	if o.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.New("it is not a regular file")
	}
	if o.stat.Size > int64(max) {
		return nil, fmt.Errorf("it is larger than %d bytes", max)
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", o.fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return readAll(fd, max)
}

// names lists a folder inside root, at most limit of them; nothing if it is none.
func names(root int, name string, limit int) []string {
	o, err := resolve(root, name)
	if err != nil {
		return nil
	}
	defer o.close()
	fd, err := unix.Openat(o.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	out, err := f.Readdirnames(limit)
	if err != nil {
		return nil
	}
	return out
}

// node is a file, link or folder as it will stand in our tmpfs.
type node struct {
	name    string
	data    []byte // of a file
	link    string // of a symbolic link
	folder  []*node
	stat    unix.Stat_t // type, permissions, owner, time
	changed bool        // our roots were added, here or below
}

func (n *node) kind() uint32 { return n.stat.Mode & unix.S_IFMT }

// budget bounds what is read for one folder.
type budget struct{ bytes, names int }

// snapshot reads a folder. bundles are the files in it that get our roots.
func snapshot(o *object, bundles map[key]bool, roots [][]byte, b *budget, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is deeper than %d folders", maxDepth)
	}
	fd, err := unix.Openat(o.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	list, err := f.Readdirnames(maxNames + 1)
	if err != nil && len(list) > 0 {
		return nil, err
	}
	if b.names -= len(list); b.names < 0 {
		return nil, fmt.Errorf("it holds more than %d names", maxNames)
	}
	out := &node{stat: o.stat}
	for _, name := range list {
		child, err := o.child(name, bundles, roots, b, depth)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if child != nil {
			child.name = name
			out.folder = append(out.folder, child)
			out.changed = out.changed || child.changed
		}
	}
	return out, nil
}

// child reads one name of a folder; nil if it vanished meanwhile or is of a type that no store has.
func (o *object) child(name string, bundles map[key]bool, roots [][]byte, b *budget, depth int) (*node, error) {
	fd, err := unix.Openat(o.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &object{fd: fd, path: path.Join(o.path, name)}
	defer c.close()
	if err := unix.Fstat(fd, &c.stat); err != nil {
		return nil, err
	}
	n := &node{stat: c.stat}
	switch n.kind() {
	case unix.S_IFLNK:
		n.link = readlink(fd, "")
		return n, nil
	case unix.S_IFDIR:
		return snapshot(c, bundles, roots, b, depth+1)
	case unix.S_IFREG:
		if n.data, err = c.bytes(b.bytes); err != nil {
			return nil, err
		}
		b.bytes -= len(n.data)
		if c.mount, err = mountID(fd); err != nil {
			return nil, err
		}
		if bundles[c.key()] {
			merged, added, err := mergeStore(n.data, roots)
			if errors.Is(err, errKeyStore) {
				return n, nil // what a Java machine does not get is no reason to leave the others out
			}
			if err != nil {
				return nil, err
			}
			n.data, n.changed = merged, added
		}
		return n, nil
	}
	return nil, nil
}
