// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"fmt"
	"time"
)

// Verifier compares a stream, line by line, with what the mock sends for a spec. The only bytes that it takes from the
// stream itself are the times of the mock's writes.
type Verifier struct {
	spec Spec
	buf  []byte // the event that has begun
	want []byte // what is still to come of it
	next int    // delta that the next event holds; Deltas: the end, more: nothing
}

// NewVerifier is for one stream of at least one delta.
func NewVerifier(s Spec) *Verifier {
	return &Verifier{spec: s, want: AppendFirst(nil, s.ID)}
}

// Line takes one line, its end included.
func (v *Verifier) Line(line []byte) error {
	if len(v.want) == 0 {
		switch {
		case v.next < v.spec.Deltas:
			i, at, ok := ParseDelta(line)
			if !ok || i != v.next {
				return fmt.Errorf("in place of delta %d: %.120q", v.next, line)
			}
			v.buf = AppendChunk(v.buf[:0], v.spec, i, time.Unix(0, at))
		case v.next == v.spec.Deltas:
			v.buf = AppendLast(v.buf[:0], v.spec.ID)
		default:
			return fmt.Errorf("after the end: %.120q", line)
		}
		v.want = v.buf
		v.next++
	}
	end := bytes.IndexByte(v.want, '\n') + 1
	if !bytes.Equal(line, v.want[:end]) {
		return fmt.Errorf("delta %d is not as it was sent: %.200q", v.next-1, line)
	}
	v.want = v.want[end:]
	return nil
}

// Ended tells whether all of it came.
func (v *Verifier) Ended() bool { return len(v.want) == 0 && v.next > v.spec.Deltas }
