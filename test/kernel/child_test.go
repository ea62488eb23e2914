// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/kernel/survey"
)

// childEnv makes this test binary act as a process under test.
const childEnv = "SALLYPORT_KTEST_CHILD"

// held are the connections of a child that stay.
var held []net.Conn

// reply is what a child answers to one order.
type reply struct {
	Said   string // first line that the peer sent
	Peer   string // getpeername
	Error  string // errno name
	Pid    int
	Count  map[string]int
	Checks []kernel.Check

	Attached []string
	Refused  map[string]string
}

// child obeys orders from standard input, one JSON list a line.
func child(order string) int {
	if order != "serve" { // one order, and out
		fmt.Println(string(obey([]string{"open", order})))
		return 0
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var o []string
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(string(obey(o)))
	}
	return 0
}

func obey(o []string) []byte {
	var r reply
	switch o[0] {
	case "connect":
		r = connect(o[1], netip.MustParseAddrPort(o[2]))
	case "open":
		fd, err := unix.Open(o[1], unix.O_RDONLY, 0)
		if err != nil {
			r.Error = errno(err)
		} else {
			unix.Close(fd)
		}
	case "openmany":
		n, _ := strconv.Atoi(o[2])
		for range n {
			fd, err := unix.Open(o[1], unix.O_RDONLY, 0)
			if err != nil {
				r.Error = errno(err)
				break
			}
			unix.Close(fd)
		}
	case "hold": // a connection that stays
		c, err := net.Dial(o[1], o[2])
		if err != nil {
			r.Error = errno(err)
		} else {
			held = append(held, c)
		}
	case "held": // waits for the end of the oldest of them
		var b [64]byte
		held[0].SetDeadline(time.Now().Add(20 * time.Second))
		for {
			_, err := held[0].Read(b[:])
			if err == nil {
				continue
			}
			r.Error = errno(err)
			break
		}
		held = held[1:]
	case "many":
		n, _ := strconv.Atoi(o[2])
		r.Count = map[string]int{}
		for range n {
			c := connect("v4", netip.MustParseAddrPort(o[1]))
			r.Count[c.Said+c.Error]++
		}
	case "connectfrom": // from a port of the caller's choice
		r = connect("from "+o[1], netip.MustParseAddrPort(o[2]))
	case "resetfrom": // the same, and leaves at once with RST
		r = connect("reset "+o[1], netip.MustParseAddrPort(o[2]))
	case "churn": // leaves at once, with RST
		n, _ := strconv.Atoi(o[2])
		for range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				break
			}
			unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			a := netip.MustParseAddrPort(o[1])
			unix.Connect(fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()})
			unix.Close(fd)
		}
	case "datagram":
		r = datagram(o[1], netip.MustParseAddrPort(o[2]))
	case "connectfd": // by a socket that somebody else made
		r = connectFD(3, netip.MustParseAddrPort(o[1]))
	case "burn":
		turns, _ := strconv.Atoi(o[2])
		each, _ := strconv.Atoi(o[3])
		r = burn(netip.MustParseAddrPort(o[1]), o[4:], turns, each)
	case "resolve":
		r = resolve(o[1], o[2], o[3], o[4])
	case "resolvemany": // and connects to each address at once
		r = resolveMany(o[1], o[2], o[3], o[4])
	case "openunread": // the path lies in a page that nobody has looked at
		r.Error = openUnread(o[1])
	case "unshare", "setns":
		r.Error = move(o)
	case "doctor":
		r.Checks = kernel.Doctor(o[1])
	case "features":
		for _, f := range survey.Features(survey.Lacking()) {
			r.Said = fmt.Sprint(f.State, " ", f.Detail)
		}
	case "load": // an agent, or one that tries
		r.Refused = map[string]string{}
		k, err := kernel.Load(kernel.Options{PinDir: o[1], Cgroup: o[2], Generation: 7})
		if err == nil {
			err = errors.Join(k.SetPorts([]uint16{originPort}), k.Attach())
			r.Attached = k.Attached()
			for name, rerr := range k.Refused() {
				r.Refused[name] = rerr.Error()
			}
			k.Close()
		}
		if err != nil {
			r.Error = err.Error()
		}
	case "uninstall":
		if err := kernel.Uninstall(o[1]); err != nil {
			r.Error = err.Error()
		}
	case "cgroup root":
		if _, err := kernel.CgroupRoot(); err != nil {
			r.Error = err.Error()
		}
	case "mounts":
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			r.Error = err.Error()
		}
		for line := range strings.Lines(string(b)) { // without the numbers, which differ each time
			f := strings.Fields(line)
			r.Said += f[4] + " " + f[len(f)-2] + "\n"
		}
	case "dieleader": // the thread group goes on without its first thread
		dieLeader()
	case "threadexec": // another thread than the leader executes this program, which then obeys
		threadExec(o[1:])
	case "serve", "keep", "say", "drain", "share", "drop":
		r = keep(o)
	case "fork": // a grandchild connects
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{childEnv + "=serve"}
		b, _ := json.Marshal(o[1:])
		in, _ := cmd.StdinPipe()
		go func() { in.Write(append(b, '\n')); in.Close() }()
		out, err := cmd.Output()
		if err != nil {
			r.Error = err.Error()
		} else {
			return out[:len(out)-1]
		}
	}
	r.Pid = os.Getpid()
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return b
}

func errno(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		return unix.ErrnoName(e)
	}
	return err.Error()
}

// connect makes one connection of the named kind and reads what the other end says.
func connect(kind string, a netip.AddrPort) (r reply) {
	family, sa := unix.AF_INET, unix.Sockaddr(nil)
	if a.Addr().Is4() && kind != "mapped" {
		sa = &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	} else {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	typ, proto := unix.SOCK_STREAM, 0
	if kind == "udp" || kind == "unconnected" {
		typ = unix.SOCK_DGRAM
	}
	if kind == "mptcp" {
		proto = 262
	}
	fd, err := unix.Socket(family, typ, proto)
	if err != nil {
		return reply{Error: errno(err)}
	}
	what, port, _ := strings.Cut(kind, " ")
	if port != "" {
		n, _ := strconv.Atoi(port)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 3}, Port: n}); err != nil {
			return reply{Error: errno(err)}
		}
	}
	switch kind {
	case "nonblocking":
		unix.SetNonblock(fd, true)
	case "bound": // from another loopback address
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 3}}); err != nil {
			return reply{Error: errno(err)}
		}
	case "routed": // from an address that is no loopback address
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: other4.As4()}); err != nil {
			return reply{Error: errno(err)}
		}
	case "routed6":
		if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: other6.As16()}); err != nil {
			return reply{Error: errno(err)}
		}
	case "deferred": // Fast Open: the SYN leaves with the first data
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1); err != nil {
			return reply{Error: errno(err)}
		}
	case "again": // a second try on the same socket, after one that is refused
		unix.Connect(fd, &unix.SockaddrInet4{Port: 1, Addr: [4]byte{127, 0, 0, 1}})
	}
	if kind == "unconnected" {
		err = unix.Sendto(fd, []byte("hello"), 0, sa)
		unix.Close(fd)
		if err != nil {
			return reply{Error: errno(err)}
		}
		return r
	}
	if kind == "fastopen" {
		err = unix.Sendto(fd, []byte("hello"), unix.MSG_FASTOPEN, sa)
	} else {
		err = unix.Connect(fd, sa)
	}
	if err != nil && !(kind == "nonblocking" && errors.Is(err, unix.EINPROGRESS)) {
		unix.Close(fd)
		return reply{Error: errno(err)}
	}
	if kind == "udp" {
		unix.Close(fd)
		return r
	}
	if what == "reset" {
		unix.Write(fd, []byte("said by the first"))
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(fd)
		return r
	}
	if kind == "nonblocking" {
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 5000)
		if e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || e != 0 {
			unix.Close(fd)
			return reply{Error: unix.ErrnoName(unix.Errno(e))}
		}
		unix.SetNonblock(fd, false)
	}
	if kind == "deferred" {
		if _, err := unix.Write(fd, []byte("hello")); err != nil {
			unix.Close(fd)
			return reply{Error: errno(err)}
		}
	}
	if peer, err := unix.Getpeername(fd); err == nil {
		switch p := peer.(type) {
		case *unix.SockaddrInet4:
			r.Peer = netip.AddrPortFrom(netip.AddrFrom4(p.Addr), uint16(p.Port)).String()
		case *unix.SockaddrInet6:
			r.Peer = netip.AddrPortFrom(netip.AddrFrom16(p.Addr), uint16(p.Port)).String()
		}
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && err != io.EOF {
		r.Error = errno(err)
	}
	if len(line) > 0 {
		r.Said = line[:len(line)-1]
	}
	return r
}

// openUnread opens a path through a pointer into a fresh mapping: it is not in memory when the open begins.
func openUnread(path string) string {
	f, err := os.CreateTemp("", "path")
	if err != nil {
		return err.Error()
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(path + "\x00"); err != nil {
		return err.Error()
	}
	m, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err.Error()
	}
	defer unix.Munmap(m)
	at := unix.AT_FDCWD
	fd, _, e := unix.Syscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(unsafe.SliceData(m))), unix.O_RDONLY, 0, 0, 0)
	if e != 0 {
		return unix.ErrnoName(e)
	}
	unix.Close(int(fd))
	return ""
}
