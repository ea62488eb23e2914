// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// Dial opens a connection to the original destination of another one, from the namespace of the application's socket and
// from nowhere else: with its routes, its rules, its source address, and as a socket of its user. A namespace that is not
// known is a GoneError.
func (s *Spaces) Dial(ctx context.Context, c agent.Conn) (net.Conn, error) {
	if c.Proc.NetNS == s.own {
		var d net.Dialer
		d.SetMultipathTCP(false)
		return d.DialContext(ctx, "tcp", c.Orig.String())
	}
	sp := s.get(c.Proc.NetNS)
	if sp == nil {
		return nil, &GoneError{c.Proc.NetNS}
	}
	fail := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(c.Orig), Err: err}
	}
	family := unix.AF_INET6
	if c.Orig.Addr().Is4() {
		family = unix.AF_INET
	}
	fd := -1
	err := s.elsewhere(sp.file, func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
		return os.NewSyscallError("socket", err)
	})
	switch {
	case errors.Is(err, os.ErrClosed): // it was left meanwhile
		return nil, &GoneError{c.Proc.NetNS}
	case err != nil:
		return nil, fail(err)
	}
	// Rules of the namespace may go by the user of a socket (iptables -m owner, ip rule uidrange).
	if c.Proc.UID != 0 {
		if err := unix.Fchown(fd, int(c.Proc.UID), -1); err != nil {
			unix.Close(fd)
			return nil, fail(fmt.Errorf("giving a socket to the application's user: grant CAP_CHOWN: %w", err))
		}
	}
	conn, err := connect(ctx, fd, c)
	if err != nil {
		return nil, fail(err)
	}
	return conn, nil
}

// connect connects a socket, which it owns.
func connect(ctx context.Context, fd int, c agent.Conn) (net.Conn, error) {
	var to unix.Sockaddr
	if a := c.Orig.Addr(); a.Is4() {
		to = &unix.SockaddrInet4{Addr: a.As4(), Port: int(c.Orig.Port())}
	} else {
		to = &unix.SockaddrInet6{Addr: a.As16(), Port: int(c.Orig.Port())}
	}
	err := unix.Connect(fd, to)
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, os.NewSyscallError("connect", err)
	}
	if err := connected(ctx, f); err != nil {
		return nil, err
	}
	return net.FileConn(f) // a copy
}

// connected waits until a connection is made, or is not.
func connected(ctx context.Context, f *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var cerr error
	err = rc.Write(func(fd uintptr) bool {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(p[:], 0); err != nil || n == 0 {
			return false // woken for nothing
		}
		e, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && e != 0 {
			err = unix.Errno(e)
		}
		if err == nil {
			if _, perr := unix.Getpeername(int(fd)); errors.Is(perr, unix.ENOTCONN) {
				return false
			}
		}
		cerr = os.NewSyscallError("connect", err)
		return true
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, cerr)
}
