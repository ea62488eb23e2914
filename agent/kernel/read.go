// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// Flags of a thread group (FLAG_* of bpf/include/types.h).
const (
	flagInterpreter = 1
	flagLangChain   = 2
	flagDescendant  = 4
)

// Kinds of event (EVENT_* of bpf/include/types.h).
const (
	eventMark       = 1
	eventCgroupMade = 2
	eventCgroupGone = 3
)

// Take looks up the record of an accepted connection and deletes it. netns is the cookie of the listener's namespace,
// client and local are the two ends as accept shows them. Without a record the error is ErrMiss.
func (k *Kernel) Take(netns uint64, client, local netip.AddrPort) (agent.Conn, error) {
	key := bpf.RedirectFlowKey{Netns: netns, ClientPort: client.Port(), ProxyPort: local.Port()}
	c, l := client.Addr().Unmap(), local.Addr().Unmap()
	if c.Is4() {
		key.Family = unix.AF_INET
		copy(key.Client[:], c.AsSlice())
		copy(key.Proxy[:], l.AsSlice())
	} else {
		key.Family, key.Client, key.Proxy = unix.AF_INET6, c.As16(), l.As16()
	}
	var v bpf.RedirectConn
	err := k.redirect.Maps[bpf.RedirectMapConns].LookupAndDelete(key, &v)
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

// Listen reads events until ctx ends. The functions are called one after the other and must not block for long: while
// they do, the kernel drops what does not fit (Errors "event lost").
func (k *Kernel) Listen(ctx context.Context, mark func(agent.Mark), cgroup func(agent.CgroupEvent)) error {
	var events *ebpf.Map
	for _, c := range []*ebpf.Collection{k.track, k.cgroup} {
		if c != nil && events == nil {
			events = c.Maps[bpf.TrackMapEvents]
		}
	}
	if events == nil {
		<-ctx.Done()
		return nil
	}
	r, err := ringbuf.NewReader(events)
	if err != nil {
		return fmt.Errorf("reading kernel events: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer func() {
		if stop() {
			r.Close()
		}
	}()
	var rec ringbuf.Record
	var e bpf.TrackEvent
	for {
		if err := r.ReadInto(&rec); err != nil {
			if errors.Is(err, ringbuf.ErrClosed) && ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("reading kernel events: %w", err)
		}
		if err := binary.Read(bytes.NewReader(rec.RawSample), binary.NativeEndian, &e); err != nil {
			return fmt.Errorf("a kernel event of %d bytes: %w", len(rec.RawSample), err)
		}
		switch path := text(e.Path[:]); e.Kind {
		case eventMark:
			mark(agent.Mark{Kind: agent.MarkLangChain, Path: path,
				Proc: agent.Process{TGID: e.Tgid, Start: e.Start, UID: e.Uid, LoginUID: e.Loginuid, Comm: text(e.Comm[:]), CgroupID: e.Cgroup}})
		case eventCgroupMade, eventCgroupGone:
			cgroup(agent.CgroupEvent{ID: e.Cgroup, Path: path, Removed: e.Kind == eventCgroupGone})
		}
	}
}

// Marked says whether a thread group carries a mark of LangChain, and which.
func (k *Kernel) Marked(tgid uint32) (agent.MarkKind, bool, error) {
	fd, err := unix.PidfdOpen(int(tgid), 0)
	if err != nil {
		return 0, false, fmt.Errorf("opening process %d: %w", tgid, err)
	}
	defer unix.Close(fd)
	var flags uint32
	err = k.redirect.Maps[bpf.RedirectMapFlags].Lookup(uint32(fd), &flags)
	switch {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("reading the mark of process %d: %w", tgid, err)
	case flags&flagLangChain != 0:
		return agent.MarkLangChain, true, nil
	}
	return agent.MarkDescendant, flags&flagDescendant != 0, nil
}

// FlagInterpreters sets the interpreter flag of programs that ran before the exec program was attached, so that a
// LangChain file that they open from now on counts. It returns how many it flagged.
func (k *Kernel) FlagInterpreters() (int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("listing processes: %w", err)
	}
	n := 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if err != nil || !runsScripts(filepath.Base(exe)) {
			continue // it ended, or is a kernel thread
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		err = k.redirect.Maps[bpf.RedirectMapFlags].Update(uint32(fd), uint32(flagInterpreter), ebpf.UpdateNoExist)
		unix.Close(fd)
		if err == nil {
			n++
		}
	}
	return n, nil
}

// runsScripts is runs_scripts of track.bpf.c.
func runsScripts(name string) bool {
	for _, p := range []string{"python", "pypy", "node"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return name == "bun" || name == "deno"
}

// errorNames are enum error of bpf/include/types.h.
var errorNames = []string{"no config", "origin full", "record full", "record clash", "no listener", "foreign listener", "stale heartbeat",
	"event lost", "cgroup full", "mark full", "fault", "unknown cgroup"}

// Errors counts what the programs could not do, by name; what never happened is left out.
func (k *Kernel) Errors() (map[string]uint64, error) {
	out := map[string]uint64{}
	for i, name := range errorNames {
		var n uint64
		if err := k.redirect.Maps[bpf.RedirectMapErrors].Lookup(uint32(i), &n); err != nil {
			return nil, fmt.Errorf("reading the kernel's error counters: %w", err)
		}
		if n > 0 {
			out[name] = n
		}
	}
	return out, nil
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

func scopeSlot(scope uint32) uint32 {
	switch scope {
	case agent.ScopeDefault:
		return 64
	case agent.ScopePending:
		return 65
	}
	return scope
}
