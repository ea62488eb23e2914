// SPDX-License-Identifier: Apache-2.0

package older

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// destroyIn asks the kernel to end a connection as if the network had failed (SOCK_DESTROY, sock_diag(7)), in a network
// namespace. The cookie makes sure that it is this one.
func destroyIn(ns int, s agent.Socket) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, wherever it stands
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering the network namespace of a connection: %w", err)
			return
		}
		done <- destroyHere(s)
	}()
	return <-done
}

func destroyHere(s agent.Socket) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return fmt.Errorf("destroying a connection: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return fmt.Errorf("destroying a connection: %w", err)
	}
	if err := unix.Sendto(fd, destroyRequest(s), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("destroying a connection: %w", err)
	}
	b := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return fmt.Errorf("destroying a connection: %w", err)
	}
	return acknowledged(b[:n])
}

// destroyRequest is a netlink header and struct inet_diag_req_v2 (linux/inet_diag.h).
func destroyRequest(s agent.Socket) []byte {
	const header, request = 16, 56
	b := make([]byte, 0, header+request)
	e := binary.NativeEndian
	b = e.AppendUint32(b, header+request)
	b = e.AppendUint16(b, unix.SOCK_DESTROY)
	b = e.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b = e.AppendUint32(b, 1) // sequence number
	b = e.AppendUint32(b, 0) // to the kernel
	family := byte(unix.AF_INET)
	if s.Remote.Addr().Is6() {
		family = unix.AF_INET6
	}
	b = append(b, family, unix.IPPROTO_TCP, 0, 0)
	b = e.AppendUint32(b, 0xffffffff) // whatever its state
	b = binary.BigEndian.AppendUint16(b, s.Local.Port())
	b = binary.BigEndian.AppendUint16(b, s.Remote.Port())
	for _, a := range []netip.Addr{s.Local.Addr(), s.Remote.Addr()} {
		var raw [16]byte
		copy(raw[:], a.AsSlice())
		b = append(b, raw[:]...)
	}
	b = e.AppendUint32(b, 0) // any interface
	b = e.AppendUint32(b, uint32(s.Cookie))
	return e.AppendUint32(b, uint32(s.Cookie>>32))
}

// acknowledged reads the answer: NLMSG_ERROR with a negative errno, 0 for success (netlink(7)).
func acknowledged(b []byte) error {
	if len(b) < 20 || binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR {
		return errors.New("destroying a connection: the kernel's answer cannot be read")
	}
	switch e := unix.Errno(-int32(binary.NativeEndian.Uint32(b[16:]))); e {
	case 0:
		return nil
	case unix.ENOENT:
		return errGone
	case unix.EOPNOTSUPP:
		return &agent.Unsupported{Feature: "destroying connections of others (CONFIG_INET_DIAG_DESTROY)", Err: e}
	default:
		return fmt.Errorf("destroying a connection (CAP_NET_ADMIN): %w", e)
	}
}
