// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// tick is the unit of start times in /proc/PID/stat, in nanoseconds (USER_HZ is 100 on every Linux ABI that Go has).
const tick = 10_000_000

// proofMap is a map of the object that notes opened stores.
func (k *Kernel) proofMap(name string) (*ebpf.Map, error) {
	if k.track == nil {
		return nil, &agent.Unsupported{Feature: "seeing which trust stores a program opens", MinKernel: minTracing, Err: k.Refused()["track"]}
	}
	return k.track.Maps[name], nil
}

// SetID names a set of roots, whatever their order.
func SetID(roots []agent.RootID) uint64 {
	roots = slices.Clone(roots)
	slices.Sort(roots)
	h := uint64(14695981039346656037) // FNV-1a; the roots are hashes themselves
	for _, r := range roots {
		for i := range 8 {
			h = (h ^ uint64(r)>>(8*i)&0xff) * 1099511628211
		}
	}
	return max(h, 1)
}

// Cover says that a store holds roots from now on: who opens it is noted. Tell it before the store can be opened with our roots in
// it, or an open in between proves nothing.
func (k *Kernel) Cover(f agent.StoreFile, roots []agent.RootID) error {
	sets, err := k.proofMap(bpf.TrackMapSets)
	if err != nil {
		return err
	}
	var set bpf.TrackRootSet
	if len(roots) > len(set.Root) {
		roots = roots[:len(set.Root)] // the others are proven by handshakes alone
	}
	for i, r := range roots {
		set.Root[i] = uint64(r)
	}
	id := SetID(roots)
	if err := sets.Put(id, set); err != nil {
		return fmt.Errorf("telling the kernel a set of roots: %w", err)
	}
	if err := k.track.Maps[bpf.TrackMapStores].Put(storeKey(f.File), bpf.TrackStore{Set: id, Fsid: f.FSID}); err != nil {
		return fmt.Errorf("telling the kernel a covered trust store: %w", err)
	}
	return nil
}

// Uncover is the opposite of Cover. What was opened before stays known.
func (k *Kernel) Uncover(f agent.StoreFile) error {
	stores, err := k.proofMap(bpf.TrackMapStores)
	if err != nil {
		return err
	}
	if err := stores.Delete(storeKey(f.File)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("telling the kernel a restored trust store: %w", err)
	}
	return nil
}

// storeKey is the kernel's name of a file: it keeps device numbers in another form than stat.
func storeKey(f agent.File) bpf.TrackStoreKey {
	return bpf.TrackStoreKey{Dev: uint64(unix.Major(f.Dev))<<20 | uint64(unix.Minor(f.Dev)), Ino: f.Ino}
}

// Watch has the opens of a process noted that is no interpreter; its children and what it executes too.
func (k *Kernel) Watch(pid int, start uint64) error {
	fd, err := pinProcess(pid, start)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return k.watch(fd, pid)
}

func (k *Kernel) watch(fd, pid int) error {
	marks := k.redirect.Maps[bpf.RedirectMapMarks]
	var m bpf.RedirectMarking
	err := marks.Lookup(uint32(fd), &m)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("reading the mark of process %d: %w", pid, err)
	}
	if m.Flags&flagWatched != 0 || m.Flags&flagInterpreter != 0 {
		return nil // interpreters are watched as they are; so no mark that is set meanwhile gets lost
	}
	m.Flags |= flagWatched
	if err := marks.Put(uint32(fd), m); err != nil {
		return fmt.Errorf("watching process %d: %w", pid, err)
	}
	return nil
}

// pinProcess opens a process; start is in nanoseconds since boot, or 0 to take it as it is. A process that was pinned when its start time was right is
// the right one, whatever becomes of its number.
func pinProcess(pid int, start uint64) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("opening process %d: %w", pid, err)
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err == nil {
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(f) < 20 || start != 0 && f[19] != strconv.FormatUint(start/tick, 10) {
			err = unix.ESRCH
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("process %d has ended: %w", pid, err)
	}
	return fd, nil
}

// Proofs is what is known of a process's trust.
func (k *Kernel) Proofs(pid int, start uint64) (out agent.Proofs, err error) {
	opens, err := k.proofMap(bpf.TrackMapOpens)
	if err != nil {
		return out, err
	}
	fd, err := pinProcess(pid, start)
	if err != nil {
		return out, err
	}
	defer unix.Close(fd)
	var o bpf.TrackStoreOpens
	if err := opens.Lookup(uint32(fd), &o); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return out, fmt.Errorf("reading what process %d opened: %w", pid, err)
	}
	for _, x := range o.Of {
		if x.Set == 0 {
			continue
		}
		var set bpf.TrackRootSet
		if err := k.track.Maps[bpf.TrackMapSets].Lookup(x.Set, &set); err != nil {
			return out, fmt.Errorf("reading the roots of a trust store: %w", err)
		}
		out.Opens = append(out.Opens, agent.StoreOpen{File: agent.File{Dev: unix.Mkdev(uint32(x.File.Dev>>20), uint32(x.File.Dev&0xfffff)), Ino: x.File.Ino}, Roots: ids(set.Root[:]), Since: x.Ns})
	}
	s, err := k.shaken(fd, pid)
	out.Good, out.Bad = ids(s.Good[:]), ids(s.Bad[:])
	return out, err
}

func (k *Kernel) shaken(fd, pid int) (s bpf.TrackShaken, err error) {
	err = k.track.Maps[bpf.TrackMapShakes].Lookup(uint32(fd), &s)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return s, fmt.Errorf("reading the handshakes of process %d: %w", pid, err)
	}
	return s, nil
}

func ids(list []uint64) (out []agent.RootID) {
	for _, r := range list {
		if r != 0 {
			out = append(out, agent.RootID(r))
		}
	}
	return out
}

// Shaken notes how a handshake under a root ended, for the process and for what it forks from now on, until they execute
// another program.
func (k *Kernel) Shaken(pid int, start uint64, root agent.RootID, good bool) error {
	shakes, err := k.proofMap(bpf.TrackMapShakes)
	if err != nil {
		return err
	}
	fd, err := pinProcess(pid, start)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	k.mu.Lock() // reading and writing again must not cross another one's
	defer k.mu.Unlock()
	s, err := k.shaken(fd, pid)
	if err != nil {
		return err
	}
	list := &s.Bad
	if good {
		list = &s.Good
	}
	if slices.Contains(list[:], uint64(root)) {
		return nil
	}
	copy(list[1:], list[:]) // the oldest is forgotten
	list[0] = uint64(root)
	if err := shakes.Put(uint32(fd), s); err != nil {
		return fmt.Errorf("noting a handshake of process %d: %w", pid, err)
	}
	return k.watch(fd, pid) // what carries no flag is not looked at by fork
}
