// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/netns"
)

// says serves an address in the namespace of the calling thread: who it is, and who asked.
func says(t *testing.T, who string, at string) *atomic.Int64 {
	t.Helper()
	ln := listen(t, netip.MustParseAddrPort(at))
	t.Cleanup(func() { ln.Close() })
	n := &atomic.Int64{}
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			io.WriteString(c, who+" to "+c.RemoteAddr().(*net.TCPAddr).IP.String())
			c.Close()
		}
	}()
	return n
}

// TestDial: an upstream connection begins in the namespace of the application, with its routes, rules and source address,
// and ends in an error where a connection of the application itself would have.
func TestDial(t *testing.T) {
	w := inScope(t, enforced)
	metadata := netip.MustParseAddr("169.254.169.254")
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	addr, err := netlink.ParseAddr(metadata.String() + "/32")
	must(t, errors.Join(err, netlink.AddrAdd(lo, addr)))
	t.Cleanup(func() { must(t, netlink.AddrDel(lo, addr)) })
	host := []*atomic.Int64{says(t, "HOST", "127.0.0.2:9001"), says(t, "HOST", "[::1]:9001"), says(t, "HOST", "127.0.0.1:9003")}
	says(t, "METADATA", "169.254.169.254:9001")
	says(t, "PROVIDER", "203.0.113.7:9001")
	r := newRoom(t, 0)
	r.do(func() {
		says(t, "POD", "127.0.0.2:9001")
		says(t, "POD", "[::1]:9001")
	})
	p := w.spawnIn(r, "app")
	s := w.spaces()
	must(t, s.Scan())
	table := netlink.NewRule()
	table.Table, table.Priority, table.UIDRange, table.Family = 77, 77, netlink.NewRuleUIDRange(12345, 12345), netlink.FAMILY_V4
	must(t, r.h.RuleAdd(table))
	must(t, r.h.RouteAdd(&netlink.Route{Dst: anywhere, Table: 77, Type: unix.RTN_PROHIBIT}))
	for _, block := range []struct {
		to   string
		kind int
	}{{"198.51.100.1/32", unix.RTN_PROHIBIT}, {"198.51.100.2/32", unix.RTN_BLACKHOLE}, {"198.51.100.3/32", unix.RTN_UNREACHABLE}} {
		dst, err := netlink.ParseIPNet(block.to)
		must(t, errors.Join(err, r.h.RouteAdd(&netlink.Route{Dst: dst, Type: block.kind})))
	}
	from := r.addr.String()
	for _, c := range []struct {
		name, to, want string
		uid            uint32
		err            error
	}{
		{"by its routes, from its address", "203.0.113.7:9001", "PROVIDER to " + from, 0, nil},
		{"as another user", "203.0.113.7:9001", "PROVIDER to " + from, 12346, nil},
		{"metadata", "169.254.169.254:9001", "METADATA to " + from, 0, nil},
		{"its own loopback", "127.0.0.2:9001", "POD to 127.0.0.1", 0, nil},
		{"its own loopback, IPv6", "[::1]:9001", "POD to ::1", 0, nil},
		{"what only the host's loopback has", "127.0.0.1:9003", "", 0, unix.ECONNREFUSED},
		{"nobody listens", "203.0.113.7:9002", "", 0, unix.ECONNREFUSED},
		{"prohibited", "198.51.100.1:9001", "", 0, unix.EACCES},
		{"black hole", "198.51.100.2:9001", "", 0, unix.EINVAL},
		{"unreachable", "198.51.100.3:9001", "", 0, unix.EHOSTUNREACH},
		{"prohibited for this user", "203.0.113.7:9001", "", 12345, unix.EACCES},
		{"no route of IPv6", "[2001:db8::7]:9001", "", 0, unix.ENETUNREACH},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := s.Dial(t.Context(), agent.Conn{Orig: netip.MustParseAddrPort(c.to), Proc: agent.Process{NetNS: r.cookie, UID: c.uid}})
			if c.err != nil {
				var op *net.OpError
				if !errors.Is(err, c.err) || !errors.As(err, &op) {
					t.Errorf("%v, want %v", err, c.err)
				}
				return
			}
			if got := said(conn, err); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	t.Run("from our own namespace", func(t *testing.T) {
		conn, err := s.Dial(t.Context(), agent.Conn{Orig: netip.MustParseAddrPort("127.0.0.2:9001"), Proc: agent.Process{NetNS: w.netns}})
		if got := said(conn, err); got != "HOST to 127.0.0.1" {
			t.Errorf("%q", got)
		}
		host[0].Store(0)
	})
	t.Run("whoever does not answer is not waited for", func(t *testing.T) {
		neigh := &netlink.Neigh{State: netlink.NUD_PERMANENT, IP: net.IPv4(198, 51, 100, 9), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
		eth, err := r.h.LinkByName("eth0")
		must(t, err)
		neigh.LinkIndex = eth.Attrs().Index
		dst, _ := netlink.ParseIPNet("198.51.100.9/32")
		must(t, errors.Join(r.h.RouteAdd(&netlink.Route{Dst: dst, LinkIndex: neigh.LinkIndex}), r.h.NeighAdd(neigh)))
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		go func() {
			_, err := s.Dial(ctx, agent.Conn{Orig: netip.MustParseAddrPort("198.51.100.9:9001"), Proc: agent.Process{NetNS: r.cookie}})
			failed <- err
		}()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	p.end()
	if n := s.Sweep(); n != 1 {
		t.Errorf("%d were left", n)
	}
	for _, unknown := range []uint64{r.cookie, 0, 1 << 62} {
		_, err := s.Dial(t.Context(), agent.Conn{Orig: netip.MustParseAddrPort("127.0.0.2:9001"), Proc: agent.Process{NetNS: unknown}})
		var gone *netns.GoneError
		if !errors.As(err, &gone) || gone.NetNS != unknown {
			t.Errorf("a namespace that is gone: %v", err)
		}
	}
	for i, n := range host {
		if n.Load() != 0 {
			t.Errorf("the host was dialled for another namespace, %d", i)
		}
	}
}

var anywhere = &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
