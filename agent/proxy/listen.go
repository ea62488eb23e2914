// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// Listen opens a listener for Serve. It is plain TCP: a multipath socket would be none that the programs in the kernel
// recognise. The socket belongs to the network namespace of the calling thread.
func Listen(ctx context.Context, address string) (*net.TCPListener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l.(*net.TCPListener), nil
}

// NetNS returns the cookie of the network namespace that a socket belongs to (SO_NETNS_COOKIE, Linux 5.14).
func NetNS(c syscall.Conn) (uint64, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cookie uint64
	var serr error
	if err := rc.Control(func(fd uintptr) { cookie, serr = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE) }); err != nil {
		return 0, err
	}
	if serr != nil {
		return 0, &agent.Unsupported{Feature: "SO_NETNS_COOKIE", MinKernel: "5.14", Err: serr}
	}
	return cookie, nil
}

// dialOriginal dials from our own network namespace.
func dialOriginal(ctx context.Context, c agent.Conn) (net.Conn, error) {
	var d net.Dialer
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", c.Orig.String())
}

// quiet tells whether nothing waits to be read from a socket and its peer has not closed it.
func quiet(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	idle := false
	err = rc.Control(func(fd uintptr) {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		n, err := unix.Poll(p[:], 0)
		idle = err == nil && n == 0
	})
	return err == nil && idle
}
