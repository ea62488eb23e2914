// SPDX-License-Identifier: Apache-2.0

// Package sockets lists the TCP connections that processes hold open, in every network namespace, by an iterator in the
// kernel. It is a capability of its own: a kernel that refuses it still redirects.
package sockets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// Sockets is the iterator. Its methods may be used by several goroutines until Close.
type Sockets struct {
	programs *ebpf.Collection
	iterator *link.Iter
	origins  *ebpf.Map
}

// Load loads the iterator, which reads the maps of the redirection programs. Close leaves those open.
func Load(origins, ports *ebpf.Map) (_ *Sockets, err error) {
	spec, err := bpf.LoadOlder()
	if err != nil {
		return nil, err
	}
	s := &Sockets{origins: origins}
	s.programs, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: map[string]*ebpf.Map{bpf.OlderMapOrigins: origins, bpf.OlderMapPorts: ports}})
	if err != nil {
		return nil, err
	}
	if s.iterator, err = link.AttachIter(link.IterOptions{Program: s.programs.Programs[bpf.OlderProgHeldSockets]}); err != nil {
		s.programs.Close()
		return nil, err
	}
	return s, nil
}

// Close lets go of the iterator.
func (s *Sockets) Close() {
	_ = s.iterator.Close() // nothing is written
	s.programs.Close()
}

// List lists the connections to captured ports, one for each descriptor, that still carry bytes or will.
func (s *Sockets) List() ([]agent.Socket, error) {
	r, err := s.iterator.Open()
	if err != nil {
		return nil, fmt.Errorf("listing open connections: %w", err)
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("listing open connections: %w", err)
	}
	out, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("listing open connections: %w", err)
	}
	return out, nil
}

func parse(b []byte) (out []agent.Socket, err error) {
	var h bpf.OlderHeldSocket
	size := binary.Size(&h)
	if len(b)%size != 0 {
		return nil, fmt.Errorf("%d bytes are not a number of records of %d", len(b), size)
	}
	for ; len(b) > 0; b = b[size:] {
		if err := binary.Read(bytes.NewReader(b[:size]), binary.NativeEndian, &h); err != nil {
			return nil, err
		}
		out = append(out, agent.Socket{Cookie: h.Cookie, NetNS: h.Netns, NetNSInode: h.NetnsInode, Redirected: h.Redirected != 0,
			Local: address(&h.Local, h.Family, h.LocalPort), Remote: address(&h.Remote, h.Family, h.RemotePort),
			PID: h.Tgid, Start: h.Start, FD: int(h.Fd)})
	}
	return out, nil
}

func address(a *[16]byte, family, port uint16) netip.AddrPort {
	if family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[:4])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(*a).Unmap(), port)
}

// Redirected says whether our programs redirected the connection of a descriptor of this process.
func (s *Sockets) Redirected(fd int) (bool, error) { return Redirected(s.origins, fd) }

// Redirected is the same without an iterator.
func Redirected(origins *ebpf.Map, fd int) (bool, error) {
	b := make([]byte, origins.ValueSize())
	err := origins.Lookup(uint32(fd), &b)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking whether a connection was redirected: %w", err)
	}
	return true, nil
}
