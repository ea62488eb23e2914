// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// The maps of bpf/maps/quarantine.h, by the names under which they are pinned.
const (
	mapOn    = "quarantine_on"
	mapIDs   = "quarantine_ids"
	mapUIDs  = "quarantine_uids"
	mapPaths = "quarantine_paths"
)

// maxPath and maxDepth are QUARANTINE_PATH without its zero, and QUARANTINE_DEPTH.
const (
	maxPath  = 255
	maxDepth = 16
)

// quarantined is struct quarantined.
type quarantined struct{ Until, Refused uint64 }

// wanted is what the maps should hold.
type wanted struct {
	ids   map[uint64]uint64 // deadlines
	uids  map[uint32]uint64
	paths map[string]uint64

	// What the map of cgroups held before the cgroup tree was looked through: the programs add to it themselves, and what
	// they added meanwhile is not to be taken out.
	before map[uint64]bool
}

func newWanted(pinDir string) (w wanted, err error) {
	w = wanted{map[uint64]uint64{}, map[uint32]uint64{}, map[string]uint64{}, map[uint64]bool{}}
	_, ids, _, _, done, err := open(pinDir)
	if err != nil {
		return w, err
	}
	defer done()
	var id uint64
	var v quarantined
	it := ids.Iterate()
	for it.Next(&id, &v) {
		w.before[id] = true
	}
	if err := it.Err(); err != nil {
		return w, fmt.Errorf("reading who is cut off: %w", err)
	}
	return w, nil
}

// later keeps the later of two deadlines.
func later[K comparable](m map[K]uint64, k K, until uint64) { m[k] = max(m[k], until) }

// write brings the maps in line: what is new first, then the switch, then what is to go, so that nobody is let go in
// between.
func (w wanted) write(pinDir string) error {
	on, ids, uids, paths, done, err := open(pinDir)
	if err != nil {
		return err
	}
	defer done()
	var last uint64
	for id, until := range w.ids {
		last = max(last, until)
		if err := put(ids, id, until); err != nil {
			return err
		}
	}
	for uid, until := range w.uids {
		last = max(last, until)
		if err := put(uids, uid, until); err != nil {
			return err
		}
	}
	keep := map[[maxPath + 1]byte]bool{}
	for p, until := range w.paths {
		last = max(last, until)
		var key [maxPath + 1]byte
		copy(key[:maxPath], p)
		keep[key] = true
		if err := paths.Put(key, until); err != nil {
			return fmt.Errorf("cutting off %s: %w", p, err)
		}
	}
	if err := on.Put(uint32(0), last); err != nil {
		return fmt.Errorf("cutting off: %w", err)
	}
	return errors.Join(prune(ids, func(id uint64) bool { return w.ids[id] != 0 || !w.before[id] }), prune(uids, func(uid uint32) bool { return w.uids[uid] != 0 }),
		prune(paths, func(p [maxPath + 1]byte) bool { return keep[p] }))
}

// put sets a deadline and leaves the count.
func put[K any](m *ebpf.Map, key K, until uint64) error {
	var v quarantined
	if err := m.Lookup(key, &v); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("reading map %s: %w", m, err)
	}
	if v.Until == until {
		return nil // a count that the kernel adds to meanwhile is not lost
	}
	v.Until = until
	if err := m.Put(key, v); err != nil {
		return fmt.Errorf("cutting off %v: %w", key, err)
	}
	return nil
}

func prune[K comparable](m *ebpf.Map, keep func(K) bool) error {
	var key K
	var drop []K
	value := make([]byte, m.ValueSize())
	it := m.Iterate()
	for it.Next(&key, &value) {
		if !keep(key) {
			drop = append(drop, key)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("reading map %s: %w", m, err)
	}
	for _, key := range drop {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("lifting a quarantine: %w", err)
		}
	}
	return nil
}

// refused reads how many connections were refused for an entry.
func refused(pinDir string, ids []uint64, uids []uint32) (n uint64, err error) {
	_, byID, byUID, _, done, err := open(pinDir)
	if err != nil {
		return 0, err
	}
	defer done()
	var v quarantined
	for _, id := range ids {
		if byID.Lookup(id, &v) == nil {
			n += v.Refused
		}
	}
	for _, uid := range uids {
		if byUID.Lookup(uid, &v) == nil {
			n += v.Refused
		}
	}
	return n, nil
}

func open(pinDir string) (on, ids, uids, paths *ebpf.Map, done func(), err error) {
	var all []*ebpf.Map
	done = func() {
		for _, m := range all {
			m.Close()
		}
	}
	for _, name := range []string{mapOn, mapIDs, mapUIDs, mapPaths} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(pinDir, name), nil)
		if err != nil {
			done()
			return nil, nil, nil, nil, nil, fmt.Errorf("opening the pinned maps of %s (is anything installed there?): %w", pinDir, err)
		}
		all = append(all, m)
	}
	return all[0], all[1], all[2], all[3], done, nil
}
