// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// SetPorts replaces the captured TCP ports.
func (k *Kernel) SetPorts(ports []uint16) error {
	m := k.redirect.Maps[bpf.RedirectMapPorts]
	want := map[uint16]bool{}
	for _, p := range ports {
		want[p] = true
		var flags uint8 // what else is said of it (agent/kernel/learn) stays
		if err := ignoreMissing(m.Lookup(p, &flags)); err != nil {
			return fmt.Errorf("capturing port %d: %w", p, err)
		}
		if err := m.Put(p, flags|1); err != nil {
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

// SetExe says which rows an executable satisfies; 0 = none. Files gives the names of an executable.
func (k *Kernel) SetExe(f agent.File, mask uint64) error {
	m := k.redirect.Maps[bpf.RedirectMapExes]
	key := exeKey(f)
	if mask == 0 {
		return ignoreMissing(m.Delete(key))
	}
	if err := m.Put(key, mask); err != nil {
		return fmt.Errorf("naming an executable: %w", err)
	}
	return nil
}

// exeKey names a file as the kernel does, whose own form of a device number differs from the one that stat gives.
func exeKey(f agent.File) bpf.RedirectExeKey {
	return bpf.RedirectExeKey{Dev: uint64(unix.Major(f.Dev))<<20 | uint64(unix.Minor(f.Dev)), Ino: f.Ino}
}

// KeepSelection forgets which rows users and executables satisfy, but for these: what the new scopes name too stays in
// force while they are exchanged.
func (k *Kernel) KeepSelection(uids []uint32, exes []agent.File) error {
	users, files := map[uint32]bool{}, map[bpf.RedirectExeKey]bool{}
	for _, u := range uids {
		users[u] = true
	}
	for _, f := range exes {
		files[exeKey(f)] = true
	}
	return errors.Join(prune(k.redirect.Maps[bpf.RedirectMapUids], func(u uint32) bool { return users[u] }),
		prune(k.redirect.Maps[bpf.RedirectMapExes], func(f bpf.RedirectExeKey) bool { return files[f] }))
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
