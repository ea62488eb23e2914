// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A syncer brings files to disk without a thread that waits for it: the kernel's own workers do the work and write to an
// eventfd (io_submit(2) with IOCB_CMD_FDSYNC, Linux 4.18). A thread that sits in fdatasync makes Go's scheduler look for it
// every 20 µs; at some thousand commits a second that was a tenth of the daemon's time. Where the kernel refuses,
// fdatasync is used, and also where many wait: the worker and the poller answer some 50 µs later, and what a group of records
// costs is far more than that look.
type syncer struct {
	mu    sync.Mutex
	calls int
	ctx   uintptr  // 0: refused by the kernel
	event *os.File // eventfd, watched by Go's poller
}

// iocb is struct iocb of linux/aio_abi.h, little endian.
type iocb struct {
	_      uint64 // data
	_      uint32 // key
	_      uint32 // rw_flags
	opcode uint16
	_      int16 // reqprio
	fd     uint32
	_      [4]uint64 // buf, nbytes, offset, reserved2
	flags  uint32
	resFD  uint32
}

// ioEvent is struct io_event of linux/aio_abi.h.
type ioEvent struct {
	_   [2]uint64 // data, obj
	res int64
	_   int64 // res2
}

const (
	aioFdsync = 3 // IOCB_CMD_FDSYNC
	aioResFD  = 1 // IOCB_FLAG_RESFD
)

// aioAfter is how many syncs are made with fdatasync first: taking a context down again costs the kernel some 50 ms, which
// a journal that is opened to write a few records should not pay.
const aioAfter = 64

// crowd is how many waiters make a group for which fdatasync is the better way.
const crowd = 4

// setup asks the kernel for what submit needs. Without it ctx stays 0.
func (s *syncer) setup() {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return
	}
	s.event = os.NewFile(uintptr(fd), "eventfd")
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&s.ctx)), 0); errno != 0 {
		s.ctx = 0
	}
}

// datasync is fdatasync(2) for so many who wait for it. It may be called at any time, also after close.
func (s *syncer) datasync(f *os.File, waiters int) error {
	if waiters >= crowd {
		return datasync(f)
	}
	if !s.mu.TryLock() { // two at once are rare: a rotation beside a commit
		return datasync(f)
	}
	defer s.mu.Unlock()
	if s.calls++; s.calls == aioAfter {
		s.setup()
	}
	if s.ctx == 0 {
		return datasync(f)
	}
	if err := s.submit(f); err != nil {
		return datasync(f) // nothing was begun: of a file system without it, or of a kernel short of memory
	}
	var n [8]byte
	if _, err := s.event.Read(n[:]); err != nil {
		return fmt.Errorf("waiting for a sync: %w", err)
	}
	var done [1]ioEvent
	got, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, s.ctx, 1, 1, uintptr(unsafe.Pointer(&done)), 0, 0)
	switch {
	case errno != 0:
		return os.NewSyscallError("io_getevents", errno)
	case got != 1:
		return errors.New("waiting for a sync: the kernel has lost it")
	case done[0].res != 0:
		return os.NewSyscallError("fdatasync", unix.Errno(-done[0].res))
	}
	return nil
}

func (s *syncer) submit(f *os.File) error {
	return withFD(f, func(fd int) error {
		return withFD(s.event, func(event int) error {
			cb := &iocb{opcode: aioFdsync, fd: uint32(fd), flags: aioResFD, resFD: uint32(event)}
			var pin runtime.Pinner
			pin.Pin(cb)
			defer pin.Unpin()
			list := [1]*iocb{cb}
			got, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, s.ctx, 1, uintptr(unsafe.Pointer(&list)))
			if errno != 0 {
				return errno
			}
			if got != 1 {
				return unix.EAGAIN
			}
			return nil
		})
	})
}

func (s *syncer) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.event == nil {
		return nil
	}
	var err error
	if s.ctx != 0 {
		if _, _, errno := unix.Syscall(unix.SYS_IO_DESTROY, s.ctx, 0, 0); errno != 0 {
			err = os.NewSyscallError("io_destroy", errno)
		}
	}
	err = errors.Join(err, s.event.Close())
	s.ctx, s.event, s.calls = 0, nil, aioAfter
	return err
}
