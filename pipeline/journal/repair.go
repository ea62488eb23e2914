// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// earlier is what Open found in the folder. The locks are held until the end of the generations is on record.
type earlier struct {
	newest  uint64        // generation
	last    uint64        // segment
	ends    []Predecessor // of generations whose end is not on record, oldest first; those that run are Open
	locks   []*os.File    // of those that have ended
	dropped int64         // bytes of torn writes
	cause   string        // of the shortage in which the newest one ended; "" = there was none
}

// inspect finds out how earlier generations ended and cuts their newest segments to their records. One whose writer lives
// is left alone. Older segments are checked for being there and for their headers; Verify reads them whole.
func (j *Journal) inspect() error {
	if _, err := listSegments(j.o.Dir); err != nil {
		return err
	}
	cat, err := openCatalog(j.o.Dir)
	if err == nil {
		err = cat.bad
	}
	if err != nil {
		return err
	}
	locked, err := lockedGenerations(j.o.Dir)
	if err != nil {
		return err
	}
	for _, g := range locked {
		f, err := lockGeneration(j.o.Dir, g)
		switch {
		case err != nil:
			return err
		case f != nil:
			j.old.locks = append(j.old.locks, f)
		case !j.o.Beside:
			return fmt.Errorf("%w: stop the other sallyportd, or give this one a record.dir of its own (%s)", ErrLocked, j.o.Dir)
		default:
			j.lives[g] = true
		}
		j.old.newest = max(j.old.newest, g)
	}
	j.old.last = cat.last()
	found := false // the newest generation that has records
	for _, g := range slices.Backward(cat.generations()) {
		j.old.newest = max(j.old.newest, g)
		if found && !slices.Contains(locked, g) {
			continue
		}
		p, err := j.endOf(cat, g)
		if err != nil {
			return err
		}
		if p.Sequence > 0 || p.Open {
			if !slices.ContainsFunc(j.old.ends, func(e Predecessor) bool { return e.Generation > g }) {
				if err := j.takeHolds(cat, g); err != nil {
					return err
				}
			}
			found = true
			j.old.ends = append(j.old.ends, p)
		}
	}
	slices.Reverse(j.old.ends)
	return nil
}

// endOf is how an earlier generation ended or, while it runs, how far it is known to be on disk.
func (j *Journal) endOf(cat *catalog, generation uint64) (Predecessor, error) {
	if j.lives[generation] {
		s, err := newScout(cat, pipeline.Position{Segment: cat.newest(generation).number})
		if err != nil {
			return Predecessor{}, err
		}
		err = errors.Join(s.run(), s.close())
		return Predecessor{Generation: generation, Sequence: s.synced.sequence, Head: s.synced.head, Open: true}, err
	}
	e, err := repair(cat, generation)
	if err != nil {
		return Predecessor{}, err
	}
	if j.old.cause == "" && !slices.ContainsFunc(j.old.ends, func(p Predecessor) bool { return p.Generation > generation }) && e.full {
		j.old.cause = byStart
	}
	j.old.dropped += e.torn
	return Predecessor{Generation: generation, Sequence: e.sequence, Head: e.head}, nil
}

// ending is the end of a generation.
type ending struct {
	sequence uint64
	head     Hash
	torn     int64 // bytes that were cut off
	full     bool  // ordinary records were refused
}

// repair reads the newest segment of a generation that has ended and cuts it to its records. A start that died before its
// opening record was complete leaves a segment without any, which stays: its number is taken.
func repair(cat *catalog, generation uint64) (ending, error) {
	var out ending
	c, err := openChain(cat, pipeline.Position{Segment: cat.newest(generation).number})
	if err != nil {
		return out, err
	}
	defer c.close()
	c.deep = true
	for {
		ok, err := c.next()
		if err != nil {
			return out, err
		}
		if !ok {
			break
		}
		if c.entry.Kind == pipeline.KindGap {
			var s Shortage
			if err := c.entry.Decode(&s); err != nil {
				return out, err
			}
			out.full = s.Full == FullBegin || s.Full == FullEmergency || out.full && s.Full == ""
		}
	}
	out.sequence, out.head, out.torn = c.seq, c.head, c.torn
	f, err := os.OpenFile(segmentPath(cat.dir, c.info.number), os.O_WRONLY, 0)
	if err != nil {
		return out, fmt.Errorf("repairing a journal segment: %w", err)
	}
	if size, serr := c.size(); serr != nil || size != c.off {
		err = errors.Join(serr, f.Truncate(c.off))
	}
	// What the writer had not synced when it was killed is in the file all the same, and is to stay there.
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return out, fmt.Errorf("repairing a journal segment: %w", err)
	}
	return out, nil
}
