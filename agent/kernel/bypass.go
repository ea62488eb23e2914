// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// slots and maxName are SLOTS and the size of a scope_name of bpf/include/types.h.
const (
	slots   = agent.MaxScopes + 2
	maxName = 64
)

// Bypass lets the connections of a scope go direct for a while, by the pins alone: it works with a dead daemon and ends by
// itself, since the programs compare the deadline with their own clock (CLOCK_BOOTTIME, which goes on in suspend). d <= 0
// ends a bypass at once. scope is an index in the configuration that is in force, agent.ScopeDefault or
// agent.ScopePending; BypassName is safer where the configuration may have changed since.
func Bypass(pinDir string, scope uint32, d time.Duration) error {
	bypass, err := pinned(pinDir, bpf.RedirectMapBypass)
	if err != nil {
		return err
	}
	defer bypass.Close()
	return setBypass(bypass, scopeSlot(scope), d)
}

// BypassName is Bypass for the scope that the running programs know under this name (agent.ScopeRow.Name).
func BypassName(pinDir, name string, d time.Duration) error {
	names, err := pinned(pinDir, bpf.RedirectMapNames)
	if err != nil {
		return err
	}
	defer names.Close()
	for i := range uint32(agent.MaxScopes) {
		var n bpf.RedirectScopeName
		if err := names.Lookup(i, &n); err != nil {
			return fmt.Errorf("reading the names of scopes: %w", err)
		}
		if name != "" && n == scopeName(name) {
			return Bypass(pinDir, i, d)
		}
	}
	return fmt.Errorf("no scope that is in force is called %q", name)
}

func pinned(pinDir, name string) (*ebpf.Map, error) {
	if pinDir == "" {
		pinDir = DefaultPinDir
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(pinDir, name), nil)
	if err != nil {
		return nil, fmt.Errorf("opening the pinned map of %s (is anything installed there?): %w", pinDir, err)
	}
	return m, nil
}

func setBypass(bypass *ebpf.Map, slot uint32, d time.Duration) error {
	var until uint64
	if d > 0 {
		now, err := clock(unix.CLOCK_BOOTTIME)
		if err != nil {
			return err
		}
		until = uint64(now + d)
	}
	if err := bypass.Put(slot, until); err != nil {
		return fmt.Errorf("writing the bypass: %w", err)
	}
	return nil
}

// BypassUntil is how much longer a scope is bypassed; 0 = it is not.
func (k *Kernel) BypassUntil(scope uint32) (time.Duration, error) {
	var until uint64
	if err := k.redirect.Maps[bpf.RedirectMapBypass].Lookup(scopeSlot(scope), &until); err != nil {
		return 0, fmt.Errorf("reading the bypass: %w", err)
	}
	now, err := clock(unix.CLOCK_BOOTTIME)
	if err != nil {
		return 0, err
	}
	return max(0, time.Duration(until)-now), nil
}

// moveBypasses writes the names of new rows and ends the bypasses of slots that change hands; it returns the deadlines
// that hold under the new order. In between, a bypassed scope is guarded: the other way round another would be open.
func (k *Kernel) moveBypasses(rows []agent.ScopeRow) (map[uint32]uint64, error) {
	names, bypass := k.redirect.Maps[bpf.RedirectMapNames], k.redirect.Maps[bpf.RedirectMapBypass]
	var old [agent.MaxScopes]bpf.RedirectScopeName
	var until [agent.MaxScopes]uint64
	for i := range uint32(agent.MaxScopes) {
		if err := errors.Join(names.Lookup(i, &old[i]), bypass.Lookup(i, &until[i])); err != nil {
			return nil, fmt.Errorf("reading the bypasses: %w", err)
		}
	}
	moved := map[uint32]uint64{}
	for i := range uint32(agent.MaxScopes) {
		var name bpf.RedirectScopeName
		if int(i) < len(rows) {
			name = scopeName(rows[i].Name)
		}
		if name == old[i] {
			continue // the same scope, or neither has a name
		}
		for j := range old {
			if old[j] == name && name != (bpf.RedirectScopeName{}) {
				moved[i] = until[j]
			}
		}
		if err := bypass.Put(i, uint64(0)); err != nil {
			return nil, fmt.Errorf("ending a bypass: %w", err)
		}
		if err := names.Put(i, name); err != nil {
			return nil, fmt.Errorf("naming a scope: %w", err)
		}
	}
	return moved, nil
}

func (k *Kernel) setBypasses(deadlines map[uint32]uint64) error {
	for slot, until := range deadlines {
		if err := k.redirect.Maps[bpf.RedirectMapBypass].Put(slot, until); err != nil {
			return fmt.Errorf("writing the bypass: %w", err)
		}
	}
	return nil
}

func scopeName(s string) (n bpf.RedirectScopeName) {
	for i := range min(len(s), len(n.Text)) {
		n.Text[i] = int8(s[i])
	}
	return n
}

// scopeSlot is slot_of of redirect.bpf.c; what is no scope is no slot of the maps either.
func scopeSlot(scope uint32) uint32 {
	switch {
	case scope == agent.ScopeDefault:
		return agent.MaxScopes
	case scope == agent.ScopePending:
		return agent.MaxScopes + 1
	case scope >= agent.MaxScopes:
		return slots
	}
	return scope
}
