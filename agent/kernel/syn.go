// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sequence is the sequence number of the SYN that opened an accepted connection. It tells the connection from an earlier
// one with the same addresses and ports. The kernel keeps the SYN because TagListener asked for it (TCP_SAVE_SYN, tcp(7));
// a connection whose SYN was answered with a cookie has none, which is ErrMiss.
func sequence(conn *net.TCPConn) (isn uint32, err error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("reading the SYN: %w", err)
	}
	var syn [256]byte
	size := uint32(len(syn))
	var serr error
	err = rc.Control(func(fd uintptr) {
		if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_SAVED_SYN, uintptr(unsafe.Pointer(&syn)), uintptr(unsafe.Pointer(&size)), 0); e != 0 {
			serr = e
		}
	})
	if err := errors.Join(err, serr); err != nil {
		return 0, fmt.Errorf("reading the SYN: %w", err)
	}
	return synSequence(syn[:min(size, uint32(len(syn)))])
}

// synSequence reads the sequence number from an IP header and the TCP header behind it (RFC 791, 8200, 9293).
func synSequence(b []byte) (uint32, error) {
	const tcpHeader = 20
	at := 0
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && b[9] == unix.IPPROTO_TCP:
		at = int(b[0]&15) * 4
	case len(b) >= 40 && b[0]>>4 == 6 && b[6] == unix.IPPROTO_TCP:
		at = 40
	default:
		return 0, ErrMiss
	}
	if at < 20 || len(b) < at+tcpHeader {
		return 0, ErrMiss
	}
	return binary.BigEndian.Uint32(b[at+4:]), nil
}
