// SPDX-License-Identifier: Apache-2.0

package journal

import "github.com/sallyport-dev/sallyport/pipeline"

// count finds out how many records the earlier generations have of which a mark does not cover all.
func (j *Journal) count(cat *catalog, from Mark) error {
	for _, g := range cat.generations() {
		j.mu.Lock()
		_, known := j.ends[g]
		j.mu.Unlock()
		if known || g >= j.gen || from.Covers(g, pipeline.Position{Segment: ^uint64(0)}) {
			continue
		}
		c, err := openChain(cat, pipeline.Position{Segment: cat.newest(g).number})
		if err != nil {
			return err
		}
		for ok := true; ok && err == nil; {
			ok, err = c.next()
		}
		if cerr := c.close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		j.mu.Lock()
		j.ends[g] = c.seq
		j.mu.Unlock()
	}
	return nil
}

// Behind is how many records lie behind a mark of a Cursor.
func (j *Journal) Behind(m Mark) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := int64(j.seq)
	for _, p := range m {
		if p.Generation == j.gen {
			n -= int64(p.Sequence)
		} else if end, ok := j.ends[p.Generation]; ok {
			n += int64(end) - int64(p.Sequence)
		}
	}
	for g, end := range j.ends {
		if len(m) == 0 || g > m[len(m)-1].Generation {
			n += int64(end)
		}
	}
	return n
}
