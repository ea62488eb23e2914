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

// A chain reads the records of one generation in order, from segment to segment. It needs no lock: the generation may be
// written meanwhile.
type chain struct {
	cat    *catalog
	f      *os.File
	info   segmentInfo
	off    int64
	win    []byte // bytes of the file from winOff
	winOff int64
	fills  int // how often bytes were read from the file
	entry  Entry
	deep   bool // check contents against their digests, and all that follows the last record
	final  bool // the generation has ended, and its newest segment was cut to its records

	// The chain as far as it is known: after the first record, or from the start of a segment on.
	known bool
	seq   uint64
	head  Hash

	torn int64
}

// openChain starts at a position of a catalogued segment; offset 0 is its first record.
func openChain(cat *catalog, from pipeline.Position) (*chain, error) {
	c := &chain{cat: cat}
	c.entry.keys = &cat.keys
	if err := c.open(from.Segment); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &Damage{Segment: from.Segment, What: "the segment is missing"}
		}
		return nil, err
	}
	if from.Offset > segmentHeader {
		c.off, c.known = int64(from.Offset), false
		if size, err := c.size(); err != nil || c.off > size {
			return nil, errors.Join(err, c.damage("the position lies behind the end of the segment"), c.close())
		}
	}
	return c, nil
}

// open goes to the start of a segment.
func (c *chain) open(number uint64) error {
	f, err := os.Open(segmentPath(c.cat.dir, number))
	if err != nil {
		return fmt.Errorf("opening a journal segment: %w", err)
	}
	info, err := readSegmentHeader(f, number)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if c.f != nil {
		if c.known && (info.first != c.seq+1 || info.prev != c.head) {
			return errors.Join(&Damage{Segment: number, What: "the chain does not continue from the segment before"}, f.Close())
		}
		if err := c.f.Close(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	c.f, c.info, c.off = f, info, segmentHeader
	c.win, c.winOff = c.win[:0], 0
	c.known, c.seq, c.head = true, info.first-1, info.prev
	return nil
}

// next reads the following record into c.entry, valid until the next call. false without an error: there is none yet. A
// *Damage is final.
func (c *chain) next() (bool, error) {
	for {
		if ok, err := c.record(); ok || err != nil {
			return ok, err
		}
		next, ok, err := c.following()
		if err != nil {
			return false, err
		}
		if !ok {
			if c.final {
				return false, c.whole()
			}
			return false, nil
		}
		// A segment is cut to its records before the next one appears: look once more, now that it has appeared.
		c.win = c.win[:0]
		if ok, err := c.record(); ok || err != nil {
			return ok, err
		}
		if err := c.whole(); err != nil {
			return false, err
		}
		if err := c.open(next); err != nil {
			return false, err
		}
	}
}

// following is the next segment of the generation, if it is there.
func (c *chain) following() (uint64, bool, error) {
	if n, ok := c.cat.next(c.info.generation, c.info.number); ok {
		return n, true, nil
	}
	if err := c.cat.grow(); err != nil {
		return 0, false, err
	}
	n, ok := c.cat.next(c.info.generation, c.info.number)
	return n, ok, nil
}

// whole says whether the segment ends with its last record.
func (c *chain) whole() error {
	size, err := c.size()
	if err != nil {
		return err
	}
	if c.off != size {
		return c.damage("the segment does not end with its last record")
	}
	return nil
}

// position is where next reads on.
func (c *chain) position() pipeline.Position {
	return pipeline.Position{Segment: c.info.number, Offset: uint64(c.off)}
}

func (c *chain) close() error {
	if c.f == nil {
		return nil
	}
	err := c.f.Close()
	c.f, c.win = nil, nil
	return err
}

func (c *chain) damage(what string) error {
	return &Damage{Segment: c.info.number, Offset: uint64(c.off), What: what}
}

func (c *chain) size() (int64, error) {
	st, err := c.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// record reads the frame at c.off. false without an error: there is none (yet), in the last segment perhaps a torn one.
func (c *chain) record() (bool, error) {
	e := &c.entry
	for fresh := false; ; fresh = true {
		if fresh || len(c.rest()) < 4 {
			if err := c.fill(window); err != nil {
				return false, err
			}
			fresh = true
		}
		rest := c.rest()
		n, why := parse(rest, e)
		if why == whyShort && len(rest) >= 4 && n <= maxFrame {
			if err := c.fill(n); err != nil {
				return false, err
			}
			fresh = true
			n, why = parse(c.rest(), e)
		}
		if why == "" {
			return true, c.accept(n)
		}
		if !fresh {
			continue // what was read earlier may be outdated
		}
		c.torn = 0
		if len(c.rest()) == 0 || !c.deep && quiet(c.rest()) {
			return false, nil
		}
		again, err := c.judge(why)
		if !again {
			return false, err
		}
		c.win = c.win[:0]
	}
}

// accept checks the chain and steps over the record.
func (c *chain) accept(n int) error {
	e := &c.entry
	if e.Generation != c.info.generation {
		return c.damage("the record belongs to another generation")
	}
	if c.known && (e.Sequence != c.seq+1 || e.Prev != c.head) {
		return c.damage("the hash chain is broken")
	}
	if c.deep && sha256.Sum256(e.content) != e.digest {
		return c.damage("the content does not have its digest")
	}
	c.known, c.seq, c.head = true, e.Sequence, e.Hash
	e.Position = c.position()
	c.off += int64(n)
	e.End = c.position()
	c.torn = 0
	return nil
}

func (c *chain) rest() []byte {
	from := c.off - c.winOff
	if from < 0 || from > int64(len(c.win)) {
		return nil
	}
	return c.win[from:]
}

// fill reads at least n bytes from c.off on, fewer at the end of the file.
func (c *chain) fill(n int) error {
	c.fills++
	size, err := c.size()
	if err != nil {
		return err
	}
	n = int(min(int64(max(n, window)), max(size-c.off, 0)))
	if cap(c.win) < n || cap(c.win) > 8*window && n <= window {
		c.win = make([]byte, n)
	}
	c.win, c.winOff = c.win[:n], c.off
	n, err = c.f.ReadAt(c.win, c.off)
	c.win = c.win[:n]
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading segment %d: %w", c.info.number, err)
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
