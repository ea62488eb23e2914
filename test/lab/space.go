// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Space is a network namespace of its own, as a container has one, from which the fake provider can be reached and the host
// cannot.
type Space struct {
	Addr netip.Addr // its own address
	Gate netip.Addr // the other end of its only link, in the namespace of the fake provider
	ns   netns.NsHandle
	h    *netlink.Handle
}

// NewSpace makes one. n tells several of one lab apart: 0 to 63. The caller closes it.
func (l *Lab) NewSpace(n int) (_ *Space, err error) {
	at := netip.AddrFrom4([4]byte{198, 19, l.opts.Net, byte(4 * n)})
	s := &Space{Gate: at.Next(), Addr: at.Next().Next()}
	if s.ns, err = newNetNS(); err != nil {
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	far, err := netlink.NewHandleAt(l.ns)
	if err != nil {
		return nil, err
	}
	defer far.Close()
	if s.h, err = netlink.NewHandleAt(s.ns); err != nil {
		return nil, err
	}
	gate := fmt.Sprintf("gate%d", n)
	if old, err := far.LinkByName(gate); err == nil { // of a space that is being taken away
		if err := far.LinkDel(old); err != nil {
			return nil, err
		}
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: gate}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(s.ns))}
	if err := far.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("making interfaces: %w", err)
	}
	for _, side := range []struct {
		h          *netlink.Handle
		name, addr string
	}{{far, gate, s.Gate.String() + "/30"}, {s.h, "eth0", s.Addr.String() + "/30"}, {s.h, "lo", ""}} {
		link, err := side.h.LinkByName(side.name)
		if err != nil {
			return nil, fmt.Errorf("finding interface %s: %w", side.name, err)
		}
		if err := up(side.h, link, side.addr); err != nil {
			return nil, err
		}
	}
	if err := s.h.RouteAdd(&netlink.Route{Gw: net.IP(s.Gate.AsSlice())}); err != nil {
		return nil, fmt.Errorf("adding a route: %w", err)
	}
	return s, nil
}

// Path names the namespace for setns, for as long as this process holds it.
func (s *Space) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(s.ns)) }

// Netlink talks to the namespace.
func (s *Space) Netlink() *netlink.Handle { return s.h }

// Do runs f on a thread in the namespace.
func (s *Space) Do(f func() error) error { return inside(s.ns, f) }

// Do runs f on a thread in the namespace of the fake provider.
func (l *Lab) Do(f func() error) error { return inside(l.ns, f) }

func inside(ns netns.NsHandle, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := netns.Get()
	if err != nil {
		return err
	}
	defer old.Close()
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("entering a namespace: %w", err)
	}
	err = f()
	if err := netns.Set(old); err != nil {
		panic("cannot leave a namespace: " + err.Error()) // this thread must not go on elsewhere
	}
	return err
}

// Close lets go of the namespace: it ends with whatever else holds it.
func (s *Space) Close() error {
	if s.h != nil {
		s.h.Close()
	}
	return s.ns.Close()
}
