// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// window is how much a reader reads at once.
const window = 256 << 10

// Reader reads the records of a journal folder in order. It needs no lock: the journal may be written meanwhile. It is
// used by one goroutine.
type Reader struct {
	dir    string
	f      *os.File
	info   segmentInfo
	off    int64
	win    []byte // bytes of the file from winOff
	winOff int64
	entry  Entry
	deep   bool // check contents against their digests, and all that follows the last record

	// The chain as far as it is known: after the first record, or from the start of a segment on.
	known bool
	gen   uint64
	seq   uint64
	head  Hash

	torn int64
}

// OpenReader starts at a position that an Entry had as its Position or End. The zero position is the oldest record
// that the folder has; a folder without any gives io.EOF from Next until there is one.
func OpenReader(dir string, from pipeline.Position) (*Reader, error) {
	r := &Reader{dir: dir}
	if from == (pipeline.Position{}) {
		all, err := listSegments(dir)
		var hole *Damage
		if err != nil && !errors.As(err, &hole) { // a hole is reported when it is reached
			return nil, err
		}
		if len(all) == 0 {
			return r, nil
		}
		from.Segment = all[0]
	}
	if err := r.open(from.Segment); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &Damage{Segment: from.Segment, What: "the segment is missing"}
		}
		return nil, err
	}
	if from.Offset > segmentHeader {
		r.off, r.known = int64(from.Offset), false
		if size, err := r.size(); err != nil || r.off > size {
			return nil, errors.Join(err, r.damage("the position lies behind the end of the segment"), r.Close())
		}
	}
	return r, nil
}

// open goes to the start of a segment.
func (r *Reader) open(number uint64) error {
	f, err := os.Open(segmentPath(r.dir, number))
	if err != nil {
		return fmt.Errorf("opening a journal segment: %w", err)
	}
	info, err := readSegmentHeader(f, number)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if r.f != nil {
		if r.known {
			if why := r.follows(&info); why != "" {
				return errors.Join(&Damage{Segment: number, What: why}, f.Close())
			}
		}
		if err := r.f.Close(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	r.f, r.info, r.off = f, info, segmentHeader
	r.win, r.winOff = r.win[:0], 0
	r.known, r.gen, r.seq, r.head = true, info.generation, info.first-1, info.prev
	return nil
}

// follows says why a segment cannot come after what was read, "" if it can.
func (r *Reader) follows(next *segmentInfo) string {
	switch {
	case next.generation == r.gen && (next.first != r.seq+1 || next.prev != r.head):
		return "the chain does not continue from the segment before"
	case next.generation < r.gen:
		return "its generation is older than that of the segment before"
	case next.generation > r.gen && (next.first != 1 || next.prev != Hash{}):
		return "its generation does not begin with it"
	}
	return ""
}

// Next returns the following record, valid until the next call. io.EOF means that there is none yet; it may be called
// again. A *Damage is final.
func (r *Reader) Next() (*Entry, error) {
	for {
		if r.f == nil {
			all, err := listSegments(r.dir)
			if err != nil {
				return nil, err
			}
			if len(all) == 0 {
				return nil, io.EOF
			}
			if err := r.open(all[0]); err != nil {
				return nil, err
			}
		}
		ok, err := r.record()
		if ok || err != nil {
			return &r.entry, err
		}
		next := r.info.number + 1
		if _, err := os.Stat(segmentPath(r.dir, next)); errors.Is(err, fs.ErrNotExist) {
			if err := r.missing(next); err != nil {
				return nil, err
			}
			return nil, io.EOF
		} else if err != nil {
			return nil, fmt.Errorf("looking for segment %d: %w", next, err)
		}
		// A segment is cut to its records before the next one appears: look once more, now that it has appeared.
		r.win = r.win[:0]
		if ok, err := r.record(); ok || err != nil {
			return &r.entry, err
		}
		if size, err := r.size(); err != nil {
			return nil, err
		} else if r.off != size {
			return nil, r.damage("the segment does not end with its last record")
		}
		if err := r.open(next); err != nil {
			return nil, err
		}
	}
}

// missing says whether a later segment proves that one is missing.
func (r *Reader) missing(next uint64) error {
	all, err := listSegments(r.dir)
	if err != nil {
		var d *Damage
		if !errors.As(err, &d) || d.Segment < next {
			return err
		}
	}
	if len(all) > 0 && all[len(all)-1] > next {
		return &Damage{Segment: next, What: "the segment is missing"}
	}
	return nil
}

// Position is where Next reads on.
func (r *Reader) Position() pipeline.Position {
	return pipeline.Position{Segment: r.info.number, Offset: uint64(r.off)}
}

// Torn is how many bytes follow the last record that are no record, once Next has returned io.EOF: what a crash left
// behind, or a write that is going on.
func (r *Reader) Torn() int64 { return r.torn }

// Close releases the file.
func (r *Reader) Close() error {
	if r.f == nil {
		return nil
	}
	err := r.f.Close()
	r.f = nil
	r.win = nil
	return err
}

func (r *Reader) damage(what string) error {
	return &Damage{Segment: r.info.number, Offset: uint64(r.off), What: what}
}

func (r *Reader) size() (int64, error) {
	st, err := r.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// record reads the frame at r.off. false without an error: there is none (yet), in the last segment perhaps a torn one.
func (r *Reader) record() (bool, error) {
	e := &r.entry
	for fresh := false; ; fresh = true {
		if fresh || len(r.rest()) < 4 {
			if err := r.fill(window); err != nil {
				return false, err
			}
			fresh = true
		}
		rest := r.rest()
		n, why := parse(rest, e)
		if why == whyShort && len(rest) >= 4 && n <= maxFrame {
			if err := r.fill(n); err != nil {
				return false, err
			}
			fresh = true
			n, why = parse(r.rest(), e)
		}
		if why == "" {
			return true, r.accept(n)
		}
		if !fresh {
			continue // what was read earlier may be outdated
		}
		r.torn = 0
		if len(r.rest()) == 0 || !r.deep && quiet(r.rest()) {
			return false, nil
		}
		again, err := r.judge(why)
		if !again {
			return false, err
		}
		r.win = r.win[:0]
	}
}

// accept checks the chain and steps over the record.
func (r *Reader) accept(n int) error {
	e := &r.entry
	if e.Generation != r.info.generation {
		return r.damage("the record belongs to another generation")
	}
	if r.known && (e.Sequence != r.seq+1 || e.Prev != r.head) {
		return r.damage("the hash chain is broken")
	}
	if r.deep && sha256.Sum256(e.content) != e.digest {
		return r.damage("the content does not have its digest")
	}
	r.known, r.gen, r.seq, r.head = true, e.Generation, e.Sequence, e.Hash
	e.Position = r.Position()
	r.off += int64(n)
	e.End = r.Position()
	r.torn = 0
	return nil
}

func (r *Reader) rest() []byte {
	from := r.off - r.winOff
	if from < 0 || from > int64(len(r.win)) {
		return nil
	}
	return r.win[from:]
}

// fill reads at least n bytes from r.off on, fewer at the end of the file.
func (r *Reader) fill(n int) error {
	size, err := r.size()
	if err != nil {
		return err
	}
	n = int(min(int64(max(n, window)), max(size-r.off, 0)))
	if cap(r.win) < n || cap(r.win) > 8*window && n <= window {
		r.win = make([]byte, n)
	}
	r.win, r.winOff = r.win[:n], r.off
	n, err = r.f.ReadAt(r.win, r.off)
	r.win = r.win[:n]
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading segment %d: %w", r.info.number, err)
	}
	return nil
}

// quiet says that no record begins here: nothing follows, or zeros where its length would be and beyond.
func quiet(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
