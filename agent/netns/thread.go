// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// apart runs f on a thread of its own and waits. The thread ends with it, unless f says that it is home: nobody else may run
// on a thread that is in another namespace.
func apart(f func() (home bool)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread cannot end, and /proc/self speaks for it. Hold it, so that another one does the work.
			defer runtime.UnlockOSThread()
			apart(f)
			return
		}
		if f() {
			runtime.UnlockOSThread()
		}
	}()
	<-done
}

// visit runs f in the namespace ns on the calling thread, which is locked, and says whether that came home.
func visit(home, ns *os.File, f func() error) (back bool, err error) {
	if err := enter(ns); err != nil {
		return true, err // it never left
	}
	err = f()
	return enter(home) == nil, err
}

// doer runs something in a namespace.
type doer func(ns *os.File, f func() error) error

// elsewhere is a doer for everybody: it uses another thread.
func (s *Spaces) elsewhere(ns *os.File, f func() error) (err error) {
	apart(func() (home bool) {
		home, err = visit(s.home, ns, f)
		return home
	})
	return err
}

func enter(ns *os.File) error {
	err := lend(ns, func(fd int) error { return unix.Setns(fd, unix.CLONE_NEWNET) })
	if errors.Is(err, unix.EPERM) {
		return &agent.Unsupported{Feature: "entering another network namespace", Err: fmt.Errorf("grant CAP_SYS_ADMIN: %w", err)}
	}
	if err != nil {
		return fmt.Errorf("entering a network namespace: %w", err)
	}
	return nil
}

// lend uses a descriptor that nobody closes meanwhile.
func lend(f *os.File, use func(fd int) error) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if rc.Control(func(fd uintptr) { inner = use(int(fd)) }) != nil {
		return os.ErrClosed
	}
	return inner
}

// cookie is that of the namespace in which the calling thread is.
func cookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("making a socket: %w", err)
	}
	defer unix.Close(fd)
	return cookieOf(fd)
}

// Here is the cookie of the namespace of the calling process.
func Here() (uint64, error) { return cookie() }

// cookieOf is that of the namespace of a socket.
func cookieOf(fd int) (uint64, error) {
	n, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, &agent.Unsupported{Feature: "SO_NETNS_COOKIE", MinKernel: "5.14", Err: err}
	}
	return n, nil
}

// inode names a namespace for as long as somebody holds it.
type inode struct{ dev, ino uint64 }

func inodeOf(f *os.File) (id inode, err error) {
	err = lend(f, func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("looking at a network namespace: %w", err)
		}
		id = inode{st.Dev, st.Ino}
		return nil
	})
	return id, err
}
