// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls that Faults sees.
const (
	Fdatasync = unix.SYS_FDATASYNC
	Fsync     = unix.SYS_FSYNC
	Fallocate = unix.SYS_FALLOCATE
	AIO       = unix.SYS_IO_SETUP // without it, syncs are made by Fdatasync
	BPF       = unix.SYS_BPF      // making maps and writing to them, no other commands
	clock     = unix.SYS_CLOCK_GETTIME
)

// Faults makes system calls of chosen programs fail, and sets their wall clock, without hurting anybody else: a seccomp filter
// (user_notif) asks us about each of these calls. Close it after the programs have ended.
type Faults struct {
	l  *net.UnixListener
	wg sync.WaitGroup

	mu     sync.Mutex
	fail   map[int]fault
	failed map[int]int
	offset time.Duration
	asked  int // for the time
	err    error
	closed bool
	conns  map[*os.File]struct{}
}

// Call is a system call of a program that waits for our answer.
type Call struct {
	PID  int // of the thread
	Args [6]uint64
}

// Read copies from the program's memory.
func (c Call) Read(at uint64, b []byte) error {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	_, err := unix.ProcessVMReadv(c.PID, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
	return err
}

type fault struct {
	errno unix.Errno
	when  func(Call) bool
}

// NewFaults listens in a folder for the programs that are wrapped.
func NewFaults(dir string) (*Faults, error) {
	f := &Faults{fail: map[int]fault{}, failed: map[int]int{}, conns: map[*os.File]struct{}{}}
	var err error
	if f.l, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "faults.sock"), Net: "unix"}); err != nil {
		return nil, fmt.Errorf("listening for programs to be hurt: %w", err)
	}
	f.wg.Go(f.accept)
	return f, nil
}

// wrap changes a command so that it runs under our eyes. The running program must have called Faulty first thing in main.
func (f *Faults) wrap(args, env []string) (wrapped, more []string, err error) {
	self, err := os.Executable()
	return append([]string{self}, args...), append(append([]string(nil), env...), faultsEnv+"="+f.l.Addr().String()), err
}

// Fail makes a system call fail from now on; when, if it is not nil, says which. It must not call f.
func (f *Faults) Fail(call int, errno unix.Errno, when func(Call) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail[call] = fault{errno, when}
}

// Mend makes all system calls work again.
func (f *Faults) Mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.fail)
}

// Failed says how often a call was made to fail.
func (f *Faults) Failed(call int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed[call]
}

// Jump sets the wall clock (CLOCK_REALTIME) of the programs ahead of the host's, or behind it.
func (f *Faults) Jump(offset time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offset = offset
}

// Asked says how often the programs asked for the time.
func (f *Faults) Asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *Faults) accept() {
	for {
		c, err := f.l.AcceptUnix()
		if err != nil {
			return
		}
		listener, err := receive(c)
		if err == nil {
			f.mu.Lock()
			f.conns[listener] = struct{}{}
			f.mu.Unlock()
			f.wg.Go(func() { f.note(f.serve(listener)) })
			_, err = c.Write([]byte{1})
		}
		f.note(errors.Join(err, c.Close()))
	}
}

func (f *Faults) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil && !f.closed {
		f.err = err
	}
}

// receive takes the descriptor that a program sends.
func receive(c *net.UnixConn) (*os.File, error) {
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return nil, fmt.Errorf("a program sent no descriptor: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("a program sent no descriptor: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "seccomp"), nil
}

// notif is struct seccomp_notif of linux/seccomp.h, verdict is struct seccomp_notif_resp.
type notif struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type verdict struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// serve answers for one program and what it starts, until all of these have ended.
func (f *Faults) serve(listener *os.File) error {
	defer func() {
		f.mu.Lock()
		delete(f.conns, listener)
		f.mu.Unlock()
		listener.Close()
	}()
	fd := int(listener.Fd())
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, 100); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		f.mu.Lock()
		closed := f.closed
		f.mu.Unlock()
		switch {
		case closed, fds[0].Revents&unix.POLLIN == 0 && fds[0].Revents&unix.POLLHUP != 0:
			return nil
		case fds[0].Revents&unix.POLLIN == 0: // the kernel says POLLERR if a signal comes
			continue
		}
		var n notif
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			if errno == unix.ENOENT || errno == unix.EINTR { // it was killed meanwhile
				continue
			}
			return fmt.Errorf("hearing about system calls: %w", errno)
		}
		v := f.judge(&n)
		v.id = n.id
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&v))); errno != 0 && errno != unix.ENOENT {
			return fmt.Errorf("answering system call %d: %w", n.nr, errno)
		}
	}
}

func (f *Faults) judge(n *notif) verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	goOn := verdict{flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	if int(n.nr) == clock || slices.Contains(moreClocks, uint32(n.nr)) {
		f.asked++
		var ts unix.Timespec
		if f.offset == 0 || unix.ClockGettime(unix.CLOCK_REALTIME, &ts) != nil {
			return goOn
		}
		words, at, val := tell(int(n.nr), n.args, unix.NsecToTimespec(ts.Nano()+int64(f.offset)))
		if at == 0 {
			return verdict{val: val}
		}
		b := make([]byte, 0, 16)
		for _, w := range words {
			b = binary.NativeEndian.AppendUint64(b, w)
		}
		local := []unix.Iovec{{Base: &b[0]}}
		local[0].SetLen(len(b))
		if _, err := unix.ProcessVMWritev(int(n.pid), local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0); err != nil {
			return verdict{errno: -int32(unix.EFAULT)}
		}
		return verdict{val: val}
	}
	if rule, ok := f.fail[int(n.nr)]; ok && (rule.when == nil || rule.when(Call{int(n.pid), n.args})) {
		f.failed[int(n.nr)]++
		return verdict{errno: -int32(rule.errno)}
	}
	return goOn
}

// Close ends it, and says what went wrong with it.
func (f *Faults) Close() error {
	f.mu.Lock()
	f.closed = true
	err := f.err
	f.mu.Unlock()
	err = errors.Join(err, f.l.Close())
	f.wg.Wait()
	return err
}
