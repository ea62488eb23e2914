// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent/netns"
)

// room is a network namespace of its own, joined to that of the test by a pair of interfaces. The near one goes when the
// namespace does.
type room struct {
	t          *testing.T
	ns         vnetns.NsHandle
	h          *netlink.Handle
	near       string
	addr, gate netip.Addr
	cookie     uint64
}

func newRoom(t *testing.T, n int) *room {
	t.Helper()
	at := netip.AddrFrom4([4]byte{10, 77, byte(n >> 6), byte(n << 2)})
	r := &room{t: t, near: fmt.Sprintf("room%d", n), gate: at.Next(), addr: at.Next().Next()}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := vnetns.Get()
	must(t, err)
	defer old.Close()
	r.ns, err = vnetns.New()
	must(t, err)
	r.cookie, err = netnsCookie()
	must(t, errors.Join(err, vnetns.Set(old)))
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: r.near}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(r.ns))}))
	r.h, err = netlink.NewHandleAt(r.ns)
	must(t, err)
	here, err := netlink.NewHandle()
	must(t, err)
	defer here.Close()
	for _, side := range []struct {
		h       *netlink.Handle
		name    string
		address netip.Addr
	}{{here, r.near, r.gate}, {r.h, "eth0", r.addr}, {r.h, "lo", netip.Addr{}}} {
		link, err := side.h.LinkByName(side.name)
		must(t, err)
		if side.address.IsValid() {
			a, err := netlink.ParseAddr(side.address.String() + "/30")
			must(t, errors.Join(err, side.h.AddrAdd(link, a)))
		}
		must(t, side.h.LinkSetUp(link))
	}
	must(t, r.h.RouteAdd(&netlink.Route{Gw: net.IP(r.gate.AsSlice())}))
	t.Cleanup(r.leave)
	return r
}

// leave lets go of the namespace.
func (r *room) leave() {
	if r.ns.IsOpen() {
		r.h.Close()
		must(r.t, r.ns.Close())
	}
}

func (r *room) do(f func()) {
	r.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := vnetns.Get()
	must(r.t, err)
	defer old.Close()
	must(r.t, vnetns.Set(r.ns))
	f()
	if err := vnetns.Set(old); err != nil {
		panic(err) // this thread must not go on elsewhere
	}
}

// gone waits until the namespace is no more.
func (r *room) gone() {
	r.t.Helper()
	wait(r.t, "the namespace to go", func() bool {
		_, err := netlink.LinkByName(r.near)
		return err != nil
	})
}

// spawnIn starts a child in the namespace from its first instruction on.
func (w *world) spawnIn(r *room, cgroup string, options ...func(*exec.Cmd)) (p *process) {
	w.t.Helper()
	r.do(func() { p = w.spawn(cgroup, options...) })
	return p
}

// Attend and the others make the world a netns.Server.
func (w *world) Attend(l *net.TCPListener) error {
	w.group.Go(func() { w.accept(l) })
	return nil
}
func (w *world) Dismiss(l *net.TCPListener) { l.Close() }
func (w *world) Forget(uint64)              {}

// spaces makes Spaces that serve as the world's proxy does.
func (w *world) spaces(change ...func(*netns.Options)) *netns.Spaces {
	w.t.Helper()
	o := netns.Options{Addresses: []netip.AddrPort{proxy4, proxy6}, Max: 100, Kernel: w.k, Server: w, Wanted: func(pid uint32) bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		return err == nil && strings.Contains(string(b), worldName()+"/app")
	}}
	for _, c := range change {
		c(&o)
	}
	s, err := netns.New(o)
	must(w.t, err)
	must(w.t, s.Begin())
	w.t.Cleanup(func() { must(w.t, s.Close()) })
	return s
}

// answer has Spaces answer the questions of the kernel until the function that it returns is called.
func (w *world) answer(s *netns.Spaces) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Answer(ctx, w.k.Asks); err != nil {
			w.t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	w.t.Cleanup(stop)
	return stop
}

func descriptors(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(e)
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	must(t, err)
	return n
}

// said reads a line from a connection, or says the error of the dial.
func said(c net.Conn, err error) string {
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// move takes this thread, and so all later orders, to a new namespace or to that of a descriptor. It returns what went wrong.
func move(o []string) string {
	runtime.LockOSThread()
	if o[0] == "setns" {
		fd, _ := strconv.Atoi(o[1])
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return errno(err)
		}
		return ""
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return errno(err)
	}
	if lo, err := netlink.LinkByName("lo"); err != nil || netlink.LinkSetUp(lo) != nil {
		return "no loopback"
	}
	return ""
}
