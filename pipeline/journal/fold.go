// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/content"
)

// Refs says where the records of one exchange are. Bodies stay on disk until Load.
type Refs struct {
	Session   string
	Exchange  string
	Intent    pipeline.Position // zero if it is not in the journal any more
	Decisions []pipeline.Position
	Outcome   pipeline.Position // zero while the exchange runs
	Hash      Hash              // of the outcome
}

// Parts are the records of one exchange.
type Parts struct {
	Refs
	Time      time.Time        // of the intent; of the outcome if there is no intent
	Intent    *pipeline.Intent // empty if it is not in the journal any more, never nil
	Decisions []TimedDecision
	Outcome   *pipeline.Outcome // nil while the exchange runs
	Ended     time.Time         // of the outcome
	Content   string            // ContentHere, or why some content of it is not there
}

// TimedDecision is a decision with the time of its record.
type TimedDecision struct {
	Time time.Time
	pipeline.Decision
}

// maxOpen bounds the exchanges that a Folder waits for. Beyond it the oldest is given up: its outcome, should it still
// come, counts as one whose intent is gone.
const maxOpen = 100_000

// Folder puts records that arrive in the order of the journal together into exchanges. It holds positions only. It is
// used by one goroutine.
type Folder struct {
	open  map[string]*Refs
	queue map[uint64][]*Refs // of each generation in the order of their intents, those that have ended included until they reach the front
}

// NewFolder makes an empty Folder.
func NewFolder() *Folder { return &Folder{open: map[string]*Refs{}, queue: map[uint64][]*Refs{}} }

// Add takes the next record. It returns the exchange that ended with it, or nil.
func (f *Folder) Add(e *Entry) *Refs {
	switch e.Kind {
	case pipeline.KindIntent:
		x := &Refs{Session: e.Session, Exchange: e.Exchange, Intent: e.Position}
		f.open[e.Exchange] = x
		f.queue[e.Generation] = append(f.queue[e.Generation], x)
		if len(f.open) > maxOpen {
			if front := f.oldest(); front != nil {
				delete(f.open, front.Exchange)
			}
		}
	case pipeline.KindDecision:
		if x := f.open[e.Exchange]; x != nil {
			x.Decisions = append(x.Decisions, e.Position)
		}
	case pipeline.KindOutcome:
		x := f.open[e.Exchange]
		if x == nil {
			x = &Refs{Session: e.Session, Exchange: e.Exchange}
		}
		delete(f.open, e.Exchange)
		x.Outcome, x.Hash = e.Position, e.Hash
		return x
	}
	return nil
}

// front drops what has ended from the head of a generation's queue and returns its oldest exchange that has not.
func (f *Folder) front(generation uint64) *Refs {
	q := f.queue[generation]
	for len(q) > 0 && f.open[q[0].Exchange] != q[0] {
		q[0] = nil
		q = q[1:]
	}
	if len(q) == 0 {
		delete(f.queue, generation)
		return nil
	}
	f.queue[generation] = q
	return q[0]
}

// oldest is the oldest exchange of the oldest generation.
func (f *Folder) oldest() *Refs {
	for _, g := range slices.Sorted(maps.Keys(f.queue)) {
		if x := f.front(g); x != nil {
			return x
		}
	}
	return nil
}

// Resume is where a reader that has come to a mark must start anew to see all of the exchanges that have not ended.
func (f *Folder) Resume(m Mark) Mark {
	out := slices.Clone(m)
	for _, g := range slices.Sorted(maps.Keys(f.queue)) {
		x := f.front(g)
		if x == nil {
			continue
		}
		at, listed := slices.BinarySearchFunc(out, g, func(p Progress, g uint64) int { return cmp.Compare(p.Generation, g) })
		if p := (Progress{Generation: g, Position: x.Intent}); listed {
			out[at] = p
		} else {
			out = slices.Insert(out, at, p)
		}
	}
	return out
}

// Loader reads single records of a journal folder by their position. It is used by one goroutine.
type Loader struct {
	SkipBody bool // Load leaves request bodies out

	dir     string
	f       *os.File
	segment uint64
	buf     []byte
	keys    keyring
}

// NewLoader reads from a folder, which may be written meanwhile.
func NewLoader(dir string) *Loader { return newLoader(dir, nil) }

// newLoader reads with the keys that a writer in this process has; nil = there is none.
func newLoader(dir string, keys *content.Store) *Loader {
	return &Loader{dir: dir, keys: keyring{dir: dir, shared: keys}}
}

// Close releases the files that are open.
func (l *Loader) Close() error { return errors.Join(l.shut(), l.keys.close()) }

func (l *Loader) shut() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f, l.segment = nil, 0
	return err
}

// Read gives the record at a position, valid until the next call.
func (l *Loader) Read(at pipeline.Position) (*Entry, error) {
	if l.f == nil || l.segment != at.Segment {
		if err := l.shut(); err != nil {
			return nil, err
		}
		f, err := os.Open(segmentPath(l.dir, at.Segment))
		if err != nil {
			return nil, fmt.Errorf("opening a journal segment: %w", err)
		}
		l.f, l.segment = f, at.Segment
	}
	if cap(l.buf) < 8<<10 || cap(l.buf) > 1<<20 {
		l.buf = make([]byte, 8<<10)
	}
	b := l.buf[:cap(l.buf)]
	n, err := l.f.ReadAt(b, int64(at.Offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading segment %d: %w", at.Segment, err)
	}
	b = b[:n]
	e := &Entry{Position: at, keys: &l.keys}
	size, why := parse(b, e)
	if why == whyShort && size > len(b) && n == cap(l.buf) {
		st, err := l.f.Stat()
		if err != nil {
			return nil, err
		}
		if int64(at.Offset)+int64(size) <= st.Size() {
			l.buf = make([]byte, size)
			if _, err := l.f.ReadAt(l.buf, int64(at.Offset)); err != nil {
				return nil, fmt.Errorf("reading segment %d: %w", at.Segment, err)
			}
			_, why = parse(l.buf, e)
		}
	}
	if why != "" {
		return nil, &Damage{Segment: at.Segment, Offset: at.Offset, What: why}
	}
	e.End = pipeline.Position{Segment: at.Segment, Offset: at.Offset + uint64(binary.LittleEndian.Uint32(b))}
	return e, nil
}

// Load reads the records of an exchange. The result owns its memory.
func (l *Loader) Load(x *Refs) (*Parts, error) {
	p := &Parts{Refs: *x, Intent: new(pipeline.Intent)}
	if x.Intent != (pipeline.Position{}) {
		e, err := l.read(x.Intent, pipeline.KindIntent, p.Intent)
		if err != nil {
			return nil, err
		}
		if err := p.missing(e); err != nil {
			return nil, err
		}
		p.Time = e.Time
		if l.SkipBody {
			p.Intent.Body = nil
		}
		p.Intent.Body = slices.Clone(p.Intent.Body)
	}
	for _, at := range x.Decisions {
		var d TimedDecision
		e, err := l.read(at, pipeline.KindDecision, &d.Decision)
		if err != nil {
			return nil, err
		}
		if err := p.missing(e); err != nil {
			return nil, err
		}
		d.Time = e.Time
		p.Decisions = append(p.Decisions, d)
	}
	if x.Outcome != (pipeline.Position{}) {
		p.Outcome = new(pipeline.Outcome)
		e, err := l.read(x.Outcome, pipeline.KindOutcome, p.Outcome)
		if err != nil {
			return nil, err
		}
		if err := p.missing(e); err != nil {
			return nil, err
		}
		p.Ended, p.Hash = e.Time, e.Hash
		if p.Time.IsZero() {
			p.Time = e.Time
		}
	}
	return p, nil
}

func (l *Loader) read(at pipeline.Position, kind string, v any) (*Entry, error) {
	e, err := l.Read(at)
	if err != nil {
		return nil, err
	}
	if e.Kind != kind {
		return nil, e.damage("there is no " + kind + " record here")
	}
	return e, e.Decode(v)
}

// missing notes why content of a record is not there.
func (p *Parts) missing(e *Entry) error {
	state, err := e.Content()
	if state != ContentHere {
		p.Content = state
	}
	return err
}
