// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// StaleAfter is how old a heartbeat may be before the programs take the agent for dead.
const StaleAfter = time.Second

// listenerTag is LISTENER_TAG of redirect.bpf.c.
const listenerTag uint64 = 0x53414c4c59504f52

// active reads the configuration in force.
func (k *Kernel) active(into *bpf.RedirectConfig) error {
	slot, err := k.slot()
	if err != nil {
		return err
	}
	if err := k.redirect.Maps[bpf.RedirectMapConfigs].Lookup(slot, into); err != nil {
		return fmt.Errorf("reading the kernel's configuration: %w", err)
	}
	return nil
}

func (k *Kernel) slot() (slot uint32, err error) {
	if err := k.redirect.Maps[bpf.RedirectMapActive].Lookup(uint32(0), &slot); err != nil {
		return 0, fmt.Errorf("reading the kernel's configuration: %w", err)
	}
	return slot & 1, nil
}

// change edits the configuration and puts it in force as a whole.
func (k *Kernel) change(edit func(*bpf.RedirectConfig)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	edit(&k.cfg)
	slot, err := k.slot()
	if err != nil {
		return err
	}
	next := 1 - slot
	if err := k.redirect.Maps[bpf.RedirectMapConfigs].Put(next, k.cfg); err != nil {
		return fmt.Errorf("writing the kernel's configuration: %w", err)
	}
	if err := k.redirect.Maps[bpf.RedirectMapActive].Put(uint32(0), next); err != nil {
		return fmt.Errorf("putting the kernel's configuration in force: %w", err)
	}
	return nil
}

// SetScopes replaces the rows. Their masks (SetCgroup, SetUID, SetExe) should be there already.
func (k *Kernel) SetScopes(rows []agent.ScopeRow) error {
	if len(rows) > agent.MaxScopes {
		return fmt.Errorf("%d scopes, the kernel programs hold %d: join some", len(rows), agent.MaxScopes)
	}
	return k.change(func(c *bpf.RedirectConfig) {
		c.Rows, c.NeedCgroup, c.NeedUid, c.NeedExe, c.NeedMark, c.PendingClosed = 0, 0, 0, 0, 0, 0
		c.Row = [64]bpf.RedirectRow{}
		for i, r := range rows {
			bit := uint64(1) << i
			c.Rows |= bit
			c.Row[i].Mode = uint8(r.Mode)
			if r.Closed {
				c.Row[i].Closed = 1
			}
			for _, need := range []struct {
				is   bool
				mask *uint64
			}{{r.NeedCgroup, &c.NeedCgroup}, {r.NeedUID, &c.NeedUid}, {r.NeedExe, &c.NeedExe}, {r.NeedMark, &c.NeedMark}} {
				if need.is {
					*need.mask |= bit
				}
			}
			if r.NeedCgroup && r.Closed {
				c.PendingClosed = 1
			}
		}
	})
}

// SetDefault says what happens to marked processes that no scope names.
func (k *Kernel) SetDefault(mode agent.Mode, closed bool) error {
	return k.change(func(c *bpf.RedirectConfig) {
		c.DefaultMode, c.DefaultClosed = uint8(mode), 0
		if closed {
			c.DefaultClosed = 1
		}
	})
}

// SetProxy says where the proxy listens; an invalid address means that it does not listen in that family.
func (k *Kernel) SetProxy(v4, v6 netip.AddrPort) error {
	return k.change(func(c *bpf.RedirectConfig) {
		c.Proxy4, c.Port4, c.Proxy6, c.Port6 = [4]uint8{}, 0, [16]uint8{}, 0
		if v4.IsValid() {
			c.Proxy4, c.Port4 = v4.Addr().As4(), v4.Port()
		}
		if v6.IsValid() {
			c.Proxy6, c.Port6 = v6.Addr().As16(), v6.Port()
		}
	})
}

// SetPorts replaces the captured TCP ports.
func (k *Kernel) SetPorts(ports []uint16) error {
	m := k.redirect.Maps[bpf.RedirectMapPorts]
	want := map[uint16]bool{}
	for _, p := range ports {
		want[p] = true
		if err := m.Put(p, uint8(1)); err != nil {
			return fmt.Errorf("capturing port %d: %w", p, err)
		}
	}
	return prune(m, func(p uint16) bool { return want[p] })
}

// Exempt makes exactly these cgroups exempt from redirection: the agent's own, by the inode of its folder.
func (k *Kernel) Exempt(ids ...uint64) error {
	m := k.redirect.Maps[bpf.RedirectMapExempt]
	want := map[uint64]bool{}
	for _, id := range ids {
		want[id] = true
		if err := m.Put(id, uint8(1)); err != nil {
			return fmt.Errorf("exempting our own cgroup: %w", err)
		}
	}
	return prune(m, func(id uint64) bool { return want[id] })
}

// prune deletes the keys that are not to be kept.
func prune[K comparable](m *ebpf.Map, keep func(K) bool) error {
	var drop []K
	var key K
	value := make([]byte, m.ValueSize())
	it := m.Iterate()
	for it.Next(&key, &value) {
		if !keep(key) {
			drop = append(drop, key)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("reading map %s: %w", m.String(), err)
	}
	for _, key := range drop {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("cleaning map %s: %w", m.String(), err)
		}
	}
	return nil
}

// SetCgroup says which rows a cgroup (by the inode of its folder) satisfies; it is no longer pending then.
func (k *Kernel) SetCgroup(id, mask uint64) error {
	if err := k.redirect.Maps[bpf.RedirectMapCgroups].Put(id, bpf.RedirectCgroupState{Mask: mask}); err != nil {
		return fmt.Errorf("naming cgroup %d: %w", id, err)
	}
	return nil
}

// DelCgroup forgets a cgroup; one that is not known is fine.
func (k *Kernel) DelCgroup(id uint64) error {
	return ignoreMissing(k.redirect.Maps[bpf.RedirectMapCgroups].Delete(id))
}

// SetUID says which rows a user satisfies; 0 = none.
func (k *Kernel) SetUID(uid uint32, mask uint64) error {
	m := k.redirect.Maps[bpf.RedirectMapUids]
	if mask == 0 {
		return ignoreMissing(m.Delete(uid))
	}
	if err := m.Put(uid, mask); err != nil {
		return fmt.Errorf("naming uid %d: %w", uid, err)
	}
	return nil
}

// SetExe says which rows an executable satisfies; 0 = none.
func (k *Kernel) SetExe(f agent.File, mask uint64) error {
	m := k.redirect.Maps[bpf.RedirectMapExes]
	// The kernel's own form of a device number differs from the one that stat gives.
	key := bpf.RedirectExeKey{Dev: uint64(unix.Major(f.Dev))<<20 | uint64(unix.Minor(f.Dev)), Ino: f.Ino}
	if mask == 0 {
		return ignoreMissing(m.Delete(key))
	}
	if err := m.Put(key, mask); err != nil {
		return fmt.Errorf("naming an executable: %w", err)
	}
	return nil
}

// ResetSelection forgets which users and executables satisfy which rows.
func (k *Kernel) ResetSelection() error {
	return errors.Join(prune(k.redirect.Maps[bpf.RedirectMapUids], func(uint32) bool { return false }),
		prune(k.redirect.Maps[bpf.RedirectMapExes], func(bpf.RedirectExeKey) bool { return false }))
}

func ignoreMissing(err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// TagListener marks a listener as ours, so that another program on its port is not taken for us. The tag goes with the
// socket.
func (k *Kernel) TagListener(l *net.TCPListener) error {
	rc, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var terr error
	err = rc.Control(func(fd uintptr) {
		terr = k.redirect.Maps[bpf.RedirectMapListeners].Update(uint32(fd), listenerTag, ebpf.UpdateAny)
	})
	if err := errors.Join(err, terr); err != nil {
		return fmt.Errorf("marking our listener: %w", err)
	}
	return nil
}

// Beat tells the programs that the agent is alive now.
func (k *Kernel) Beat() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	if err := k.redirect.Maps[bpf.RedirectMapHeartbeat].Put(uint32(0), uint64(now.Nano())); err != nil {
		return fmt.Errorf("writing the heartbeat: %w", err)
	}
	return nil
}

// Heartbeat beats until ctx ends, as long as alive says so, and then lets the heartbeat go stale at once.
func (k *Kernel) Heartbeat(ctx context.Context, alive func() bool) error {
	t := time.NewTicker(StaleAfter / 5)
	defer t.Stop()
	for {
		if alive() {
			if err := k.Beat(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return k.StopHeart()
		case <-t.C:
		}
	}
}

// StopHeart lets the heartbeat go stale at once: the programs then do what their scopes say for a dead agent.
func (k *Kernel) StopHeart() error {
	if err := k.redirect.Maps[bpf.RedirectMapHeartbeat].Put(uint32(0), uint64(0)); err != nil {
		return fmt.Errorf("ending the heartbeat: %w", err)
	}
	return nil
}
