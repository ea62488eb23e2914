// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// tailBytes is how much of the journal waits to be written; larger frames are not copied.
const tailBytes = 64 << 10

// write puts a frame behind the last one; gather leaves it to a later call to bring it into the file. There is room
// for it.
func (j *Journal) write(frame []byte, h *header, gather bool) (pipeline.Position, error) {
	h.generation, h.sequence, h.synced, h.prev = j.gen, j.seq+1, j.synced, j.head
	hash := seal(frame, h)
	pos := pipeline.Position{Segment: j.info.number, Offset: uint64(j.off)}
	if len(j.tail)+len(frame) > tailBytes {
		if err := j.flush(); err != nil {
			return pos, err
		}
	}
	if len(frame) > tailBytes {
		if _, err := j.active.WriteAt(frame, j.off); err != nil {
			return pos, j.fail(fmt.Errorf("writing to the journal: %w", err))
		}
		j.off += int64(len(frame))
	} else {
		j.tail = append(j.tail, frame...)
		j.off += int64(len(frame))
		if !gather {
			if err := j.flush(); err != nil {
				return pos, err
			}
		}
	}
	j.seq, j.head = h.sequence, hash
	j.written++
	return pos, nil
}

// flush brings the frames that wait into the file; j.mu is held.
func (j *Journal) flush() error {
	if len(j.tail) == 0 || j.err != nil {
		return j.err
	}
	if _, err := j.active.WriteAt(j.tail, j.off-int64(len(j.tail))); err != nil {
		return j.fail(fmt.Errorf("writing to the journal: %w", err))
	}
	j.tail = j.tail[:0]
	return nil
}

// catchUp brings into the file what the committer has not written yet, for those who read it. A journal that failed can
// still be read as far as it came.
func (j *Journal) catchUp() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		return j.flush()
	}
	return nil
}

// own writes a record of the journal itself; j.mu is held, or nobody else knows j yet. It ignores the quota: there are
// few of them, and without them nothing could be opened or closed.
func (j *Journal) own(kind string, body any) error {
	buf, h, _, err := j.frame(&pipeline.Record{Kind: kind, Time: j.o.Now(), Body: body})
	if err != nil {
		return err
	}
	defer j.release(buf)
	if j.off+int64(buf.Len())+tailGuard > j.size {
		// Only in the last bytes of a segment of minimal size: let the file grow.
		j.size = j.off + int64(buf.Len()) + tailGuard
		if err := j.active.Truncate(j.size); err != nil {
			return j.fail(fmt.Errorf("growing a journal segment: %w", err))
		}
	}
	_, err = j.write(buf.Bytes(), h, false)
	return err
}
