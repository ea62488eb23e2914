// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// Take looks up the record of an accepted connection and deletes it. netns is the cookie of the listener's namespace; the
// listener was tagged by TagListener. Without a record the error is ErrMiss. A connection can be asked for once: the kernel
// forgets its SYN then.
func (k *Kernel) Take(netns uint64, conn *net.TCPConn) (agent.Conn, error) {
	isn, err := sequence(conn)
	if err != nil {
		return agent.Conn{}, err
	}
	client, local := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn.LocalAddr().(*net.TCPAddr).AddrPort()
	key := bpf.RedirectFlowKey{Netns: netns, ClientPort: client.Port(), ProxyPort: local.Port(), Isn: isn}
	c, l := client.Addr().Unmap(), local.Addr().Unmap()
	if c.Is4() {
		key.Family = unix.AF_INET
		copy(key.Client[:], c.AsSlice())
		copy(key.Proxy[:], l.AsSlice())
	} else {
		key.Family, key.Client, key.Proxy = unix.AF_INET6, c.As16(), l.As16()
	}
	var v bpf.RedirectConn
	err = k.redirect.Maps[bpf.RedirectMapConns].LookupAndDelete(key, &v)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return agent.Conn{}, ErrMiss
	}
	if err != nil {
		return agent.Conn{}, fmt.Errorf("taking the record of %s: %w", client, err)
	}
	orig := netip.AddrFrom16(v.Addr)
	if v.Family == unix.AF_INET {
		orig = netip.AddrFrom4([4]byte(v.Addr[:4]))
	}
	return agent.Conn{Orig: netip.AddrPortFrom(orig, v.Port), Cookie: v.Cookie, Scope: v.Scope, Generation: v.Generation,
		Proc: agent.Process{TGID: v.Tgid, Start: v.Start, UID: v.Uid, LoginUID: v.Loginuid, Comm: text(v.Comm[:]), CgroupID: v.Cgroup, NetNS: v.Netns}}, nil
}

func text(c []int8) string {
	b := make([]byte, 0, len(c))
	for _, x := range c {
		if x == 0 {
			break
		}
		b = append(b, byte(x))
	}
	return string(b)
}

// Records is the number of records that nobody has taken yet.
func (k *Kernel) Records() (int, error) {
	var key bpf.RedirectFlowKey
	var v bpf.RedirectConn
	n := 0
	it := k.redirect.Maps[bpf.RedirectMapConns].Iterate()
	for it.Next(&key, &v) {
		n++
	}
	return n, it.Err()
}

// errorNames are enum error of bpf/include/types.h.
var errorNames = []string{"no config", "origin full", "record full", "record clash", "no listener", "foreign listener", "stale heartbeat",
	"event lost", "cgroup full", "mark full", "fault", "unknown cgroup", "ask lost"}

// The slots of what makes the agent's picture of cgroups and marks incomplete.
const (
	errEventLost  = 7
	errCgroupFull = 8
)

// Errors counts what the programs could not do, by name; what never happened is left out.
func (k *Kernel) Errors() (map[string]uint64, error) {
	out := map[string]uint64{}
	for i, name := range errorNames {
		n, err := k.errorCount(uint32(i))
		if err != nil {
			return nil, err
		}
		if n > 0 {
			out[name] = n
		}
	}
	return out, nil
}

// Lost counts the events of cgroups and marks that did not reach Listen. It is for those who ask again and again.
func (k *Kernel) Lost() (uint64, error) {
	events, err := k.errorCount(errEventLost)
	if err != nil {
		return 0, err
	}
	cgroups, err := k.errorCount(errCgroupFull)
	return events + cgroups, err
}

func (k *Kernel) errorCount(slot uint32) (n uint64, err error) {
	if err := k.redirect.Maps[bpf.RedirectMapErrors].Lookup(slot, &n); err != nil {
		return 0, fmt.Errorf("reading the kernel's error counters: %w", err)
	}
	return n, nil
}

// Counters counts the connections of one scope to captured ports.
type Counters struct{ Seen, Redirected, Bypassed, Refused, Opened uint64 }

// Scope reads the counters of a scope: an index, agent.ScopeDefault or agent.ScopePending.
func (k *Kernel) Scope(scope uint32) (Counters, error) {
	var c bpf.RedirectScopeCounters
	if err := k.redirect.Maps[bpf.RedirectMapScopes].Lookup(scopeSlot(scope), &c); err != nil {
		return Counters{}, fmt.Errorf("reading the kernel's counters: %w", err)
	}
	return Counters{c.Seen, c.Redirected, c.Bypassed, c.Refused, c.Opened}, nil
}
