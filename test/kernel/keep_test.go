// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// keep is what a child does with connections that it keeps; they are named by their descriptor.
func keep(o []string) (r reply) {
	fail := func(err error) reply { return reply{Error: errno(err), Pid: os.Getpid()} }
	switch o[0] {
	case "serve": // in its own network namespace
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			return fail(err)
		}
		ln, err := net.Listen("tcp", o[1])
		if err != nil {
			return fail(err)
		}
		go answer(ln)
		return r
	case "keep":
		a := netip.MustParseAddrPort(o[2])
		family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()})
		if a.Addr().Is4() && o[1] != "mapped" {
			family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
		}
		proto := 0
		if o[1] == "mptcp" {
			proto = unix.IPPROTO_MPTCP
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM, proto)
		if err == nil {
			err = unix.Connect(fd, sa)
		}
		if err != nil {
			return fail(err)
		}
		return reply{Said: strconv.Itoa(fd)}
	}
	fd, err := strconv.Atoi(o[1])
	if err != nil {
		return fail(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}); err != nil {
		return fail(err)
	}
	b := make([]byte, 4096)
	switch o[0] {
	case "say": // and hear, unless the order says not to
		if _, err := unix.Write(fd, []byte(o[2]+"\n")); err != nil {
			return fail(err)
		}
		if len(o) > 3 {
			return r
		}
		n, err := read(fd, b)
		if err != nil {
			return fail(err)
		}
		return reply{Said: strings.TrimSpace(string(b[:max(n, 0)]))}
	case "drain": // reads to the end, however that comes
		for {
			n, err := read(fd, b)
			if err != nil {
				return fail(err)
			}
			if n == 0 {
				return reply{Said: "EOF"}
			}
		}
	case "share": // with a grandchild that does nothing, and perhaps lives on without us
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{childEnv + "=serve"}
		cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), "shared")}
		if _, err := cmd.StdinPipe(); err != nil {
			return fail(err)
		}
		if err := cmd.Start(); err != nil {
			return fail(err)
		}
		unix.SetNonblock(fd, false)
		return reply{Said: strconv.Itoa(cmd.Process.Pid)}
	case "drop":
		if err := unix.Close(fd); err != nil {
			return fail(err)
		}
	}
	return r
}

// read is read(2) without the interruptions that Go's runtime causes.
func read(fd int, b []byte) (n int, err error) {
	for {
		if n, err = unix.Read(fd, b); err != unix.EINTR {
			return n, err
		}
	}
}

// answer serves connections that are kept: each line is sent back, but to "stream" the answer never ends, and to "think" it
// never begins.
func answer(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			in := bufio.NewScanner(c)
			for in.Scan() {
				switch in.Text() {
				case "think":
				case "stream":
					for {
						if _, err := io.WriteString(c, "."); err != nil {
							return
						}
						time.Sleep(5 * time.Millisecond)
					}
				default:
					if _, err := io.WriteString(c, in.Text()+"\n"); err != nil {
						return
					}
				}
			}
		}()
	}
}
