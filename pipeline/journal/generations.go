// SPDX-License-Identifier: Apache-2.0

package journal

import "github.com/sallyport-dev/sallyport/pipeline"

// Generation is one run of a writer.
type Generation struct {
	Number uint64
	Last   uint64 // sequence of its last record: how many it has, if its beginning is still here
}

// Generations lists the ones before the present, oldest first. It reads one record of each.
func (j *Journal) Generations() ([]Generation, error) {
	var out []Generation
	add := func(p *Predecessor) {
		if p != nil && (len(out) == 0 || out[len(out)-1].Number < p.Generation) {
			out = append(out, Generation{p.Generation, p.Sequence})
		}
	}
	for i, n := range j.old.segments {
		info, _, err := statSegment(j.o.Dir, n)
		if err != nil {
			return nil, err
		}
		if info.first != 1 || i == 0 { // what came before the oldest segment is not here
			continue
		}
		l := NewLoader(j.o.Dir)
		var o Opening
		_, err = l.read(pipeline.Position{Segment: n, Offset: segmentHeader}, KindOpen, &o)
		if cerr := l.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, err
		}
		add(o.Predecessor)
	}
	if last := j.old.last; last.number != 0 {
		add(&Predecessor{Generation: last.generation, Sequence: j.old.seq})
	}
	return out, nil
}
