// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"net/netip"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

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
	k.cfg.Layout = layout
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

// SetScopes replaces the rows. Their masks (SetCgroup, SetUID, SetExe) should be there already. A bypass that is running
// goes with its scope's name; without names, with the row's number.
func (k *Kernel) SetScopes(rows []agent.ScopeRow) error {
	if len(rows) > agent.MaxScopes {
		return fmt.Errorf("%d scopes, the kernel programs hold %d: join some", len(rows), agent.MaxScopes)
	}
	for _, r := range rows {
		if len(r.Name) > maxName {
			return fmt.Errorf("scope name %q: at most %d letters", r.Name, maxName)
		}
	}
	deadlines, err := k.moveBypasses(rows)
	if err != nil {
		return err
	}
	err = k.change(func(c *bpf.RedirectConfig) {
		c.Rows, c.NeedCgroup, c.NeedUid, c.NeedExe, c.NeedMark, c.PendingClosed = 0, 0, 0, 0, 0, 0
		c.Row = [64]bpf.RedirectRow{}
		for i, r := range rows {
			bit := uint64(1) << i
			c.Rows |= bit
			c.Row[i] = bpf.RedirectRow{Mode: uint8(r.Mode), Closed: number(r.Closed)}
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
	if err != nil {
		return err
	}
	return k.setBypasses(deadlines)
}

func number(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// SetDefault says what happens to marked processes that no scope names.
func (k *Kernel) SetDefault(mode agent.Mode, closed bool) error {
	return k.change(func(c *bpf.RedirectConfig) {
		c.DefaultMode, c.DefaultClosed = uint8(mode), number(closed)
	})
}

// SetProxy says where the proxy listens, in every network namespace; an invalid address means that it does not listen in
// that family, and connections of that family do what their scopes say for a dead agent.
func (k *Kernel) SetProxy(v4, v6 netip.AddrPort) error {
	if v4.IsValid() && !v4.Addr().Is4() || v6.IsValid() && (!v6.Addr().Is6() || v6.Addr().Is4In6()) {
		return fmt.Errorf("the proxy's addresses %s and %s: want one of IPv4 and one of IPv6", v4, v6)
	}
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
