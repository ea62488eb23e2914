// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// judge looks at bytes that should be a record and are none. A write that a crash tore is no damage: then the error is
// nil and c.torn says how much there is of it. Everything else is a *Damage.
//
// The question is whether the writer ever told anybody that the record at this place is on disk:
//
//   - It did if a later segment of the generation exists, since that is begun after a sync of this one.
//   - It did if a later record of the segment says so in its synced field. Later records that do not say so prove
//     nothing: after a loss of power, pages that were never synced may have arrived in any order.
//   - It did if the segment is cut to its records, as a writer does when it closes one, unless the file ends in the
//     middle of the record.
//
// again means that the record has been completed meanwhile.
func (c *chain) judge(why string) (again bool, err error) {
	_, later, err := c.following()
	if err != nil {
		return false, err
	}
	size, err := c.size()
	if err != nil {
		return false, err
	}
	if size-c.off > 2*maxFrame {
		return false, c.damage(why)
	}
	rest := make([]byte, max(size-c.off, 0))
	n, err := c.f.ReadAt(rest, c.off)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading segment %d: %w", c.info.number, err)
	}
	rest = rest[:n]
	if len(rest) == 0 {
		return false, nil
	}
	var e Entry
	if _, now := parse(rest, &e); now == "" {
		return true, nil
	}
	if later || c.final {
		return false, c.damage(why)
	}
	want := uint64(1) // the sequence that the record has if c does not know the chain: as early as possible
	if c.known {
		want = c.seq + 1
	}
	if acknowledged(rest, c.info.generation, want) {
		return false, c.damage(why)
	}
	used := len(rest)
	for used > 0 && rest[used-1] == 0 {
		used--
	}
	if used > 0 && len(rest)-used < tailGuard && why != whyShort {
		return false, c.damage(why)
	}
	c.torn = int64(used)
	return false, nil
}

// acknowledged looks for a sound record of the generation, anywhere in b, that was written when the record with sequence
// want was on disk.
func acknowledged(b []byte, generation, want uint64) bool {
	le := binary.LittleEndian
	var e Entry
	for i := 1; i+frameHeader <= len(b); i++ {
		// Cheap tests first: nearly all offsets fail here.
		if le.Uint64(b[i+16:]) != generation || le.Uint32(b[i+12:]) != 0 || le.Uint64(b[i+24:]) <= want {
			continue
		}
		if _, why := parse(b[i:], &e); why == "" && e.synced >= want {
			return true
		}
	}
	return false
}
