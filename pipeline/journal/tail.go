// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// judge looks at bytes that should be a record and are none. A write that a crash tore is no damage: then the error is
// nil and r.torn says how much there is of it. Everything else is a *Damage.
//
// The question is whether the writer ever told anybody that the record at this place is on disk:
//
//   - It did if a later segment exists, since that is begun after a sync of this one.
//   - It did if a later record of the segment says so in its synced field. Later records that do not say so prove
//     nothing: after a loss of power, pages that were never synced may have arrived in any order.
//   - It did if the segment is cut to its records, as a writer does when it closes one, unless the file ends in the
//     middle of the record.
//
// again means that the record has been completed meanwhile.
func (r *Reader) judge(why string) (again bool, err error) {
	_, err = os.Stat(segmentPath(r.dir, r.info.number+1))
	last := errors.Is(err, fs.ErrNotExist)
	if err != nil && !last {
		return false, err
	}
	size, err := r.size()
	if err != nil {
		return false, err
	}
	if size-r.off > 2*maxFrame {
		return false, r.damage(why)
	}
	rest := make([]byte, max(size-r.off, 0))
	n, err := r.f.ReadAt(rest, r.off)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading segment %d: %w", r.info.number, err)
	}
	rest = rest[:n]
	if len(rest) == 0 {
		return false, nil
	}
	var e Entry
	if _, now := parse(rest, &e); now == "" {
		return true, nil
	}
	if !last {
		return false, r.damage(why)
	}
	want := uint64(1) // the sequence that the record has if r does not know the chain: as early as possible
	if r.known {
		want = r.seq + 1
	}
	if acknowledged(rest, r.info.generation, want) {
		return false, r.damage(why)
	}
	used := len(rest)
	for used > 0 && rest[used-1] == 0 {
		used--
	}
	if used > 0 && len(rest)-used < tailGuard && why != whyShort {
		return false, r.damage(why)
	}
	r.torn = int64(used)
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
