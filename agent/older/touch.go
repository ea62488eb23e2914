// SPDX-License-Identifier: Apache-2.0

package older

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// errGone says that a process does not hold a socket any more.
var errGone = errors.New("the process does not hold this connection any more")

// nsPerTick is a clock tick of /proc.
const nsPerTick = 10_000_000

// system reaches sockets by taking a copy of the descriptor (pidfd_getfd(2), which needs CAP_SYS_PTRACE). A copy is held for
// some microseconds: a process that closes its own meanwhile closes the connection that much later.
type system struct {
	proc       string
	ports      []uint16
	redirected func(fd int) (bool, error)
}

// borrow calls do with a copy of a process's descriptor, if it is still the socket that is meant.
func (y *system) borrow(s agent.Socket, do func(fd int) error) error {
	p, err := y.open(s.PID, s.Start)
	if err != nil {
		return err
	}
	defer unix.Close(p)
	fd, err := getfd(p, s.FD)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil || cookie != s.Cookie {
		return errGone // another file has this number now
	}
	return do(fd)
}

// open opens a process that is the one that was meant, not the next one of that pid.
func (y *system) open(pid uint32, start uint64) (int, error) {
	p, err := unix.PidfdOpen(int(pid), 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) { // it ended, or only its leader did
		return -1, errGone
	}
	if err != nil {
		return -1, fmt.Errorf("opening process %d: %w", pid, err)
	}
	if ticks, err := startTicks(y.proc, pid); err != nil || ticks != start/nsPerTick {
		unix.Close(p)
		return -1, errGone
	}
	return p, nil
}

func getfd(pidfd, fd int) (int, error) {
	got, err := unix.PidfdGetfd(pidfd, fd, 0)
	if errors.Is(err, unix.EBADF) || errors.Is(err, unix.ESRCH) {
		return -1, errGone
	}
	if err != nil {
		return -1, fmt.Errorf("taking a copy of a descriptor of another process (CAP_SYS_PTRACE): %w", err)
	}
	return got, nil
}

func (y *system) look(s agent.Socket) (st state, err error) {
	err = y.borrow(s, func(fd int) (err error) {
		if st.redirected, err = y.redirected(fd); err != nil {
			return err
		}
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return fmt.Errorf("reading the state of a connection: %w", err)
		}
		unread, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
		if err != nil {
			return fmt.Errorf("reading the state of a connection: %w", err)
		}
		st.closed = !carries(fd, info.State)
		st.peerClosed = info.State == tcpCloseWait
		st.queued = info.Unacked > 0 || info.Notsent_bytes > 0 || unread > 0 && !st.peerClosed
		st.sinceSent, st.sinceReceived = time.Duration(info.Last_data_sent)*time.Millisecond, time.Duration(info.Last_data_recv)*time.Millisecond
		st.sent, st.received = info.Bytes_sent, info.Bytes_received
		return nil
	})
	return st, err
}

// States of a connection (include/net/tcp_states.h, part of the interface by way of TCP_INFO).
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpCloseWait   = 8
)

// carries says whether bytes can still go, one way or the other, or will soon. One that has said all may still read.
func carries(fd int, s uint8) bool {
	switch s {
	case tcpEstablished, tcpSynSent, tcpCloseWait:
		return true
	case tcpFinWait1, tcpFinWait2:
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		_, err := unix.Poll(p, 0)
		return err != nil || p[0].Revents&unix.POLLRDHUP == 0
	}
	return false
}

func (y *system) shut(s agent.Socket) error {
	return y.borrow(s, func(fd int) error {
		if is, err := y.redirected(fd); err != nil || is {
			return errors.Join(err, errGone)
		}
		if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil && !errors.Is(err, unix.ENOTCONN) {
			return fmt.Errorf("closing an older connection: %w", err)
		}
		return nil
	})
}

// destroy works in the network namespace of the socket, which its descriptor names; without a descriptor it is looked for at
// the process.
func (y *system) destroy(s agent.Socket) error {
	ns := -1
	err := y.borrow(s, func(fd int) error {
		is, err := y.redirected(fd)
		if err == nil && is {
			return errGone
		}
		ns, err = unix.IoctlRetInt(fd, unix.SIOCGSKNS)
		return err
	})
	if errors.Is(err, errGone) {
		return err
	}
	if err != nil {
		path := filepath.Join(y.proc, strconv.FormatUint(uint64(s.PID), 10), "ns", "net")
		if ns, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("entering the network namespace of process %d: %w", s.PID, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(ns, &st); err != nil || st.Ino != uint64(s.NetNSInode) {
			unix.Close(ns)
			return fmt.Errorf("the connection is in another network namespace than process %d", s.PID)
		}
	}
	defer unix.Close(ns)
	return destroyIn(ns, s)
}

// list lists the connections of one process to captured ports.
func (y *system) list(pid uint32) (out []agent.Socket, err error) {
	ticks, err := startTicks(y.proc, pid)
	if err != nil {
		return nil, errGone
	}
	start := ticks * nsPerTick
	p, err := y.open(pid, start)
	if err != nil {
		return nil, err
	}
	defer unix.Close(p)
	dir := filepath.Join(y.proc, strconv.FormatUint(uint64(pid), 10), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing the descriptors of process %d: %w", pid, err)
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err != nil || !strings.HasPrefix(to, "socket:") {
			continue
		}
		fd, err := getfd(p, n)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return out, err
		}
		if s, ok := y.describe(fd); ok {
			s.PID, s.Start, s.FD = pid, start, n
			out = append(out, s)
		}
		unix.Close(fd)
	}
	return out, nil
}

// describe reads what List of the kernel gives from a descriptor; false for what is no connection to a captured port. The
// peer's name is the one that the application asked for, also where we redirected it, which is asked for apart.
func (y *system) describe(fd int) (s agent.Socket, ok bool) {
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || proto != unix.IPPROTO_TCP && proto != unix.IPPROTO_MPTCP {
		return s, false
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || !carries(fd, info.State) {
		return s, false
	}
	// A connection that is being made has no peer's name yet: the next scan sees it.
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return s, false
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return s, false
	}
	s.Local, s.Remote = address(local), address(peer)
	if !slices.Contains(y.ports, s.Remote.Port()) {
		return s, false
	}
	if s.Redirected, err = y.redirected(fd); err != nil {
		return s, false
	}
	s.Cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return s, false
	}
	s.NetNS, _ = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE) // since Linux 5.14; only shown
	if ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS); err == nil {
		var st unix.Stat_t
		if unix.Fstat(ns, &st) == nil {
			s.NetNSInode = uint32(st.Ino)
		}
		unix.Close(ns)
	}
	return s, true
}

func address(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
