// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"net"
	"net/netip"
	"os"
	"slices"
)

// Adopt takes over listeners that a predecessor made in other namespaces, and owns them. Those of namespaces that are served
// already, or that cannot be served, are closed. The next Sweep finds out whether anybody is there.
func (s *Spaces) Adopt(listeners []*net.TCPListener) {
	s.write.Lock()
	defer s.write.Unlock()
	found := map[uint64]*space{}
	for _, l := range listeners {
		f, netns, err := namespaceOf(l)
		if err != nil {
			_ = l.Close()
			s.complain(err)
			continue
		}
		sp := found[netns]
		if sp != nil || netns == s.own {
			_ = f.Close()
		}
		if netns == s.own {
			_ = l.Close() // of an address that is not ours any more
			continue
		}
		if sp == nil {
			sp = &space{cookie: netns, file: f}
			found[netns] = sp
		}
		sp.listeners = append(sp.listeners, l)
	}
	for _, sp := range found {
		err := s.adopt(sp)
		if err != nil {
			closeListeners(sp.listeners)
			_ = sp.file.Close()
			s.complain(err)
		}
	}
}

func (s *Spaces) adopt(sp *space) (err error) {
	if sp.id, err = inodeOf(sp.file); err != nil {
		return err
	}
	if n := s.Stats().Served; n >= s.o.Max {
		return &LimitError{s.o.Max}
	}
	have := map[netip.AddrPort]bool{}
	sp.listeners = slices.DeleteFunc(sp.listeners, func(l *net.TCPListener) bool {
		at := addressOf(l)
		if have[at] || !slices.Contains(s.o.Addresses, at) { // of another configuration
			_ = l.Close()
			return true
		}
		have[at] = true
		return false
	})
	more, err := s.missing(sp)
	if err != nil && len(sp.listeners) == 0 {
		return err
	}
	sp.listeners = append(sp.listeners, more...)
	return s.serve(sp)
}

// missing makes the listeners that a namespace does not have.
func (s *Spaces) missing(sp *space) (more []*net.TCPListener, err error) {
	want := slices.DeleteFunc(slices.Clone(s.o.Addresses), func(a netip.AddrPort) bool {
		return slices.ContainsFunc(sp.listeners, func(l *net.TCPListener) bool { return addressOf(l) == a })
	})
	if len(want) == 0 {
		return nil, nil
	}
	err = s.elsewhere(sp.file, func() (err error) { more, err = listen(want); return err })
	return more, err
}

// Files copies the listeners, for a successor. They are the caller's to close.
func (s *Spaces) Files() (out []*os.File, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sp := range s.m {
		for _, l := range sp.listeners {
			f, err := l.File()
			if err != nil {
				return out, err
			}
			out = append(out, f)
		}
	}
	return out, nil
}
