// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Progress is how far a reader is in one generation.
type Progress struct {
	Generation uint64 `json:"generation"`
	Sequence   uint64 `json:"sequence"` // of the last record read; 0 if that is not known
	pipeline.Position
}

// Mark is a place between the records of a journal: where reading goes on in each generation of which more may come, oldest
// first. Generations that it does not name are behind it, but for those that are newer than all that it names. The zero
// Mark is the beginning.
type Mark []Progress

// Covers says whether a record lies before the mark.
func (m Mark) Covers(generation uint64, at pipeline.Position) bool {
	for _, p := range m {
		if p.Generation == generation {
			return before(at, p.Position)
		}
	}
	return len(m) > 0 && generation < m[len(m)-1].Generation
}

// Later is the mark behind everything that m or o covers.
func (m Mark) Later(o Mark) Mark {
	if len(m) == 0 || len(o) == 0 {
		return slices.Clone(append(m[:len(m):len(m)], o...))
	}
	var out Mark
	add := func(p Progress, other Mark) {
		listed := slices.ContainsFunc(out, func(q Progress) bool { return q.Generation == p.Generation })
		if !listed && !other.Covers(p.Generation, p.Position) {
			out = append(out, p)
		}
	}
	for _, p := range m {
		add(p, o)
	}
	for _, p := range o {
		add(p, m)
	}
	slices.SortFunc(out, func(a, b Progress) int { return cmp.Compare(a.Generation, b.Generation) })
	return out
}

// before orders the positions of one generation.
func before(a, b pipeline.Position) bool {
	return a.Segment < b.Segment || a.Segment == b.Segment && a.Offset < b.Offset
}

// Reader reads the records of a journal folder. Each generation's come in order. Of two that were written side by side the
// records of both come mixed, but what a record of the newer one may depend on in the older one comes before it. A reader
// needs no lock: the journal may be written meanwhile. It is used by one goroutine.
type Reader struct {
	cat     *catalog
	lanes   []*lane         // by generation
	scanned uint64          // segments up to this number have their lane, or need none
	done    uint64          // generations up to this one were read before the start, but for those that have a lane
	gone    map[uint64]bool // generations that have ended and are read
	deep    bool

	below uint64           // generations from here on are left out; 0 = none are
	ready func(*lane) bool // may the lane's next record be shown; nil = yes
	alive func(uint64) bool
}

// lane is one generation of which more may come.
type lane struct {
	*chain
	have   bool // entry is read and not yet shown
	looked int  // fills of newer lanes when this one had nothing
}

// OpenReader starts at a position that an Entry had as its Position or End, and with the segments that have a greater
// number. The zero position is the oldest record that the folder has; a folder without any gives io.EOF from Next until
// there is one.
func OpenReader(dir string, from pipeline.Position) (*Reader, error) {
	cat, err := openCatalog(dir)
	if err != nil {
		return nil, err
	}
	r := &Reader{cat: cat, gone: map[uint64]bool{}}
	if from == (pipeline.Position{}) {
		if len(cat.infos) == 0 && cat.bad != nil {
			return nil, cat.bad
		}
		return r, nil
	}
	if err := r.start(Progress{Position: from}); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.scanned = from.Segment
	return r, nil
}

// OpenReaderAt starts at a mark.
func OpenReaderAt(dir string, m Mark) (*Reader, error) {
	cat, err := openCatalog(dir)
	if err != nil {
		return nil, err
	}
	r := &Reader{cat: cat, gone: map[uint64]bool{}}
	for _, p := range m {
		if err := r.start(p); err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.done = max(r.done, p.Generation)
	}
	return r, nil
}

// start adds the lane that is read from a place on; generation 0 is that of the segment.
func (r *Reader) start(p Progress) error {
	info, ok := r.cat.at(p.Segment)
	switch {
	case !ok && r.cat.bad != nil && p.Segment == r.cat.last()+1:
		return r.cat.bad
	case !ok:
		return &Damage{Segment: p.Segment, What: "the segment is missing"}
	case p.Generation != 0 && p.Generation != info.generation:
		return &Damage{Segment: p.Segment, Offset: p.Offset, What: "the position belongs to another generation"}
	}
	c, err := openChain(r.cat, p.Position)
	if err != nil {
		return err
	}
	c.deep = r.deep
	if !c.known {
		c.seq = p.Sequence
	}
	at, _ := slices.BinarySearchFunc(r.lanes, info.generation, func(l *lane, g uint64) int { return cmp.Compare(l.info.generation, g) })
	r.lanes = slices.Insert(r.lanes, at, &lane{chain: c, looked: -1})
	return nil
}

// Next returns the following record, valid until the next call. io.EOF means that there is none yet; it may be called
// again. A *Damage is final.
func (r *Reader) Next() (*Entry, error) {
	for {
		for _, all := range []bool{false, true} {
			l, err := r.look(all)
			if err != nil {
				return nil, err
			}
			if l != nil {
				if err := r.heed(&l.entry); err != nil {
					return nil, err
				}
				l.have = false
				return &l.entry, nil
			}
			if len(r.lanes) < 2 {
				break
			}
		}
		more, err := r.advance()
		if err != nil {
			return nil, err
		}
		if !more {
			return nil, io.EOF
		}
	}
}

// look finds the oldest lane with a record. Newer lanes are looked at before older ones: whatever a record depends on was
// written before it, so it is then found in theirs. An older lane that had nothing is looked at again only after a newer
// one has read more of its file, unless all are to be.
func (r *Reader) look(all bool) (found *lane, err error) {
	fills := 0 // of newer lanes
	for i := len(r.lanes) - 1; i >= 0; i-- {
		l := r.lanes[i]
		if !l.have && (all || l.looked != fills || i == len(r.lanes)-1) && (r.ready == nil || r.ready(l)) {
			if l.have, err = l.next(); err != nil {
				return nil, err
			}
			if !l.have {
				l.looked = fills
			}
			if !l.have && (l.final || r.alive != nil && i < len(r.lanes)-1 && !r.alive(l.info.generation)) {
				if err := l.close(); err != nil {
					return nil, err
				}
				r.lanes = slices.Delete(r.lanes, i, i+1)
				r.gone[l.info.generation] = true
				continue
			}
		}
		if l.have {
			found = l
		}
		fills += l.fills
	}
	return found, nil
}

// advance adds the lane of the next generation, if there is one.
func (r *Reader) advance() (bool, error) {
	if err := r.cat.grow(); err != nil {
		return false, err
	}
	for i := range r.cat.infos {
		s := &r.cat.infos[i]
		if s.number <= r.scanned {
			continue
		}
		r.scanned = s.number
		if s.generation <= r.done || r.gone[s.generation] || r.below != 0 && s.generation >= r.below ||
			slices.ContainsFunc(r.lanes, func(l *lane) bool { return l.info.generation == s.generation }) {
			continue
		}
		return true, r.start(Progress{Generation: s.generation, Position: pipeline.Position{Segment: s.number}})
	}
	return false, r.cat.missing()
}

// heed learns from a record which generations have ended.
func (r *Reader) heed(e *Entry) error {
	switch e.Kind {
	case KindOpen:
		var o Opening
		if err := e.Decode(&o); err != nil {
			return e.damage("the opening record cannot be read")
		}
		for _, l := range r.lanes {
			if g := l.info.generation; g < e.Generation && !o.runs(g) {
				l.final = true
			}
		}
	case pipeline.KindCheckpoint:
		var c Checkpoint
		if err := e.Decode(&c); err != nil {
			return e.damage("the checkpoint cannot be read")
		}
		for _, l := range r.lanes {
			if c.Reason == CheckEnded && c.Generation == l.info.generation && c.Generation < e.Generation {
				l.final = true
			}
		}
	}
	return nil
}

// Mark is where Next reads on.
func (r *Reader) Mark() Mark {
	m := make(Mark, len(r.lanes))
	for i, l := range r.lanes {
		m[i] = l.place()
	}
	return m
}

// place is where the lane goes on, after what was shown.
func (l *lane) place() Progress {
	p := Progress{Generation: l.info.generation, Sequence: l.seq, Position: l.position()}
	if l.have {
		p.Position, p.Sequence = l.entry.Position, l.entry.Sequence-1
	}
	return p
}

// Torn is how many bytes follow the last records that are no record, once Next has returned io.EOF: what a crash left
// behind, or a write that is going on.
func (r *Reader) Torn() (n int64) {
	for _, l := range r.lanes {
		n += l.torn
	}
	return n
}

// Close releases the files.
func (r *Reader) Close() error {
	var errs []error
	for _, l := range r.lanes {
		errs = append(errs, l.close())
	}
	r.lanes = nil
	errs = append(errs, r.cat.keys.close())
	return errors.Join(errs...)
}
