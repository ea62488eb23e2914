// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// A catalog knows which segment of a folder belongs to which generation. Numbers are given in the order in which segments
// appear, so those of two generations that are written side by side alternate.
type catalog struct {
	dir   string
	infos []segmentInfo // by number, without holes
	bad   error         // why what follows them cannot be catalogued
	keys  keyring
}

// openCatalog reads the headers of all segments. What is wrong with one is reported by grow once all before it is used up.
func openCatalog(dir string) (*catalog, error) {
	c := &catalog{dir: dir, keys: keyring{dir: dir}}
	return c, c.grow()
}

// last is the greatest number; 0 if there is none.
func (c *catalog) last() uint64 {
	if len(c.infos) == 0 {
		return 0
	}
	return c.infos[len(c.infos)-1].number
}

// grow adds the segments that have appeared.
func (c *catalog) grow() error {
	if len(c.infos) == 0 && c.bad == nil {
		all, err := listSegments(c.dir)
		var hole *Damage
		if err != nil && !errors.As(err, &hole) { // a hole is reported when it is reached
			return err
		}
		if len(all) == 0 {
			return nil
		}
		if err := c.add(all[0]); err != nil {
			return err
		}
	}
	for c.bad == nil {
		err := c.add(c.last() + 1)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *catalog) add(number uint64) error {
	info, _, err := statSegment(c.dir, number)
	var d *Damage
	if errors.As(err, &d) {
		c.bad = d
		return nil
	}
	if err != nil {
		return err
	}
	if why := c.follows(&info); why != "" {
		c.bad = &Damage{Segment: number, What: why}
		return nil
	}
	c.infos = append(c.infos, info)
	return nil
}

// follows says why a segment cannot be where it is, by what its header says of generations; "" if it can.
func (c *catalog) follows(s *segmentInfo) string {
	var newest uint64
	known := false
	for i := range c.infos {
		newest = max(newest, c.infos[i].generation)
		known = known || c.infos[i].generation == s.generation
	}
	switch {
	case s.generation == 0:
		return "it belongs to no generation"
	case s.first == 1 && s.generation <= newest:
		return "its generation is not newer than those before"
	case s.first == 1 && s.prev != (Hash{}):
		return "its generation does not begin with it"
	case s.first != 1 && !known && len(c.infos) > 0 && c.infos[0].number == 1:
		return "its generation does not begin with it"
	}
	return ""
}

// at is the header of a segment that is catalogued.
func (c *catalog) at(number uint64) (*segmentInfo, bool) {
	if len(c.infos) == 0 || number < c.infos[0].number || number > c.last() {
		return nil, false
	}
	return &c.infos[number-c.infos[0].number], true
}

// next is the segment of a generation that follows a number.
func (c *catalog) next(generation, number uint64) (uint64, bool) {
	for i := range c.infos {
		if s := &c.infos[i]; s.number > number && s.generation == generation {
			return s.number, true
		}
	}
	return 0, false
}

// newest is the newest segment of a generation; nil if there is none.
func (c *catalog) newest(generation uint64) *segmentInfo {
	for i := len(c.infos) - 1; i >= 0; i-- {
		if c.infos[i].generation == generation {
			return &c.infos[i]
		}
	}
	return nil
}

// generations lists those that have a segment, oldest first.
func (c *catalog) generations() []uint64 {
	seen := map[uint64]bool{}
	var out []uint64
	for i := range c.infos {
		if g := c.infos[i].generation; !seen[g] {
			seen[g] = true
			out = append(out, g)
		}
	}
	slices.Sort(out)
	return out
}

// missing is nil, or the Damage that a later segment proves: that the one behind the last is not there.
func (c *catalog) missing() error {
	if c.bad != nil {
		return c.bad
	}
	next := c.last() + 1
	all, err := listSegments(c.dir)
	if err != nil {
		var d *Damage
		if !errors.As(err, &d) || d.Segment < next {
			return err
		}
	}
	if len(all) > 0 && all[len(all)-1] > next {
		if _, err := os.Stat(segmentPath(c.dir, next)); errors.Is(err, fs.ErrNotExist) {
			return &Damage{Segment: next, What: "the segment is missing"}
		}
	}
	return nil
}

// statSegment reads the header and the size of a segment.
func statSegment(dir string, number uint64) (segmentInfo, int64, error) {
	f, err := os.Open(segmentPath(dir, number))
	if err != nil {
		return segmentInfo{}, 0, fmt.Errorf("opening a journal segment: %w", err)
	}
	defer f.Close()
	info, err := readSegmentHeader(f, number)
	if err != nil {
		return info, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return info, 0, err
	}
	return info, st.Size(), nil
}
