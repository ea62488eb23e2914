// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/bpf"
)

// Bypass lets the connections of a scope go direct for a while, by the pins alone: it works with a dead daemon and ends by
// itself, since the programs compare the deadline with their own clock (CLOCK_BOOTTIME, which goes on in suspend). for 0
// ends a bypass at once.
func Bypass(pinDir string, scope uint32, d time.Duration) error {
	if pinDir == "" {
		pinDir = DefaultPinDir
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(pinDir, bpf.RedirectMapBypass), nil)
	if err != nil {
		return fmt.Errorf("opening the pinned map of %s (is anything installed there?): %w", pinDir, err)
	}
	defer m.Close()
	var until uint64
	if d > 0 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
			return err
		}
		until = uint64(now.Nano()) + uint64(d)
	}
	if err := m.Put(scopeSlot(scope), until); err != nil {
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
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, err
	}
	return max(0, time.Duration(until)-time.Duration(now.Nano())), nil
}
