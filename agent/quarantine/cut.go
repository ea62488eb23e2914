// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Cut is one connection that was ended.
type Cut struct {
	PID   uint32 `json:"pid"`
	Comm  string `json:"comm,omitempty"`
	Proto string `json:"proto"` // "tcp" or "udp"
	Peer  string `json:"peer,omitempty"`
}

// States of TCP (include/net/tcp_states.h).
const (
	tcpClose  = 7
	tcpListen = 10
)

// passes is how often processes are looked through: a connection may change hands while we look.
const passes = 3

// cut ends the connections of the processes that who accepts. Errors about one process do not spare the others.
func cut(who func(uid uint32, cgroup string) bool) (out []Cut, err error) {
	for range passes {
		found, perr := cutOnce(who)
		out = append(out, found...)
		err = perr
		if len(found) == 0 {
			break
		}
	}
	return out, err
}

func cutOnce(who func(uid uint32, cgroup string) bool) (out []Cut, err error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	for _, d := range dirs {
		pid, perr := strconv.Atoi(d.Name())
		if perr != nil || pid == os.Getpid() {
			continue
		}
		found, perr := cutProcess(pid, who)
		out = append(out, found...)
		if perr != nil && !errors.Is(perr, os.ErrNotExist) && !errors.Is(perr, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("cutting the connections of process %d: %w", pid, perr))
		}
	}
	return out, err
}

func cutProcess(pid int, who func(uint32, string) bool) (out []Cut, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	uid, _, cgroup, err := describe(dir)
	if err != nil || !who(uid, cgroup) {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	// From here on the pid is the process's: what it was is read once more.
	uid, comm, cgroup, err := describe(dir)
	if err != nil || !who(uid, cgroup) {
		return nil, err
	}
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return nil, err
	}
	for _, f := range fds {
		link, lerr := os.Readlink(filepath.Join(dir, "fd", f.Name()))
		if lerr != nil || !strings.HasPrefix(link, "socket:") {
			continue
		}
		n, nerr := strconv.Atoi(f.Name())
		if nerr != nil {
			continue
		}
		sock, serr := unix.PidfdGetfd(fd, n, 0)
		if errors.Is(serr, unix.EBADF) {
			continue // closed meanwhile
		}
		if serr != nil {
			err = errors.Join(err, serr)
			continue
		}
		c, ended, cerr := end(sock)
		_ = unix.Close(sock)
		if cerr != nil {
			err = errors.Join(err, cerr)
		}
		if ended {
			c.PID, c.Comm = uint32(pid), comm
			out = append(out, c)
		}
	}
	return out, err
}

// end ends the connection of a socket, if it has one: whoever waits on it is woken, and it is connected no more.
func end(fd int) (c Cut, ended bool, err error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_INET && domain != unix.AF_INET6 {
		return c, false, err
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return c, false, err
	}
	peer, perr := unix.Getpeername(fd)
	switch protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_MPTCP:
		c.Proto = "tcp"
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && (info.State == tcpClose || info.State == tcpListen) || err != nil && perr != nil {
			return c, false, nil
		}
	case unix.IPPROTO_UDP:
		c.Proto = "udp"
		if perr != nil {
			return c, false, nil
		}
	default:
		return c, false, nil
	}
	c.Peer = address(peer)
	_ = unix.Shutdown(fd, unix.SHUT_RDWR) // wakes readers; what follows would not, on some kernels
	var none unix.RawSockaddr             // AF_UNSPEC is 0
	// connect(2) with AF_UNSPEC dissolves the association; TCP resets the connection.
	if _, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none)); e != 0 {
		return c, true, fmt.Errorf("resetting the connection to %s: %w", c.Peer, e)
	}
	return c, true, nil
}

func address(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)).String()
	}
	return ""
}

// describe reads real user, name and cgroup (v2) of a process.
func describe(dir string) (uid uint32, comm, cgroup string, err error) {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0, "", "", err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			f := strings.Fields(rest)
			if len(f) == 0 {
				break
			}
			n, err := strconv.ParseUint(f[0], 10, 32)
			if err != nil {
				return 0, "", "", err
			}
			uid = uint32(n)
		}
		if rest, ok := strings.CutPrefix(line, "Name:"); ok {
			comm = strings.TrimSpace(rest)
		}
	}
	groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		return 0, "", "", err
	}
	for line := range strings.Lines(string(groups)) {
		if rest, ok := strings.CutPrefix(line, "0::"); ok {
			return uid, comm, strings.TrimSuffix(rest, "\n"), nil
		}
	}
	return uid, comm, "", nil
}
