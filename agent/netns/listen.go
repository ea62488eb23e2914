// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// errNoLoopback says that the loopback interface is down. A listener would be worse than none: the kernel would send what is
// redirected to it out by the default route, and the application would wait.
var errNoLoopback = errors.New("its loopback interface is down")

// listen opens listeners in the namespace of the calling thread. A family that the namespace does not have is left out.
func listen(addresses []netip.AddrPort) (_ []*net.TCPListener, err error) {
	var out []*net.TCPListener
	defer func() {
		if err != nil {
			closeListeners(out)
		}
	}()
	if up, err := loopbackIsUp(); err != nil || !up {
		return nil, fmt.Errorf("listening in a network namespace: %w", cmp.Or(err, errNoLoopback))
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	for _, at := range addresses {
		l, err := lc.Listen(context.Background(), "tcp", at.String())
		switch {
		case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EAFNOSUPPORT):
			continue
		case errors.Is(err, unix.EADDRINUSE):
			err = fmt.Errorf("%w: a program there uses our address: choose another proxy.listen", err)
			fallthrough
		case err != nil:
			return out, fmt.Errorf("listening in a network namespace: %w", err)
		}
		out = append(out, l.(*net.TCPListener))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("listening in a network namespace: %w", errNoLoopback)
	}
	return out, nil
}

// loopbackIsUp asks for the namespace of the calling thread (netdevice(7)).
func loopbackIsUp() (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return false, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return false, fmt.Errorf("looking at its loopback interface: %w", err)
	}
	return ifr.Uint16()&unix.IFF_UP != 0, nil
}

// addressOf is where a listener listens.
func addressOf(l *net.TCPListener) netip.AddrPort {
	a := l.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// namespaceOf opens the namespace of a socket (ioctl SIOCGSKNS, Linux 4.9).
func namespaceOf(l *net.TCPListener) (f *os.File, netns uint64, err error) {
	rc, err := l.SyscallConn()
	if err != nil {
		return nil, 0, err
	}
	var ierr error
	err = rc.Control(func(fd uintptr) {
		if netns, ierr = cookieOf(int(fd)); ierr != nil {
			return
		}
		ns, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SIOCGSKNS, 0)
		if errno != 0 {
			ierr = fmt.Errorf("opening the network namespace of a socket: %w", errno)
			return
		}
		unix.CloseOnExec(int(ns))
		f = os.NewFile(ns, "netns")
	})
	return f, netns, errors.Join(err, ierr)
}
