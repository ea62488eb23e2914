// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"errors"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/automaton"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

const (
	// bufSize is the most that a Rewriter keeps of the text: what is held, the context before it, and what it works on.
	bufSize = 8 << 10
	// manyThreads is how many heads of open rules may be undecided, and manyFound how many spans of closed rules not yet released.
	manyThreads, manyFound = 1024, 1024
)

// ErrDone is returned by Write and Flush after Flush.
var ErrDone = errors.New("masking a text that has already ended")

// The text is withheld: this must not happen, but if it does nothing leaks.
var (
	errHold    = errors.New("masking: more is held back than any rule may hold; the text is withheld")
	errThreads = errors.New("masking: too many values begin at once; the text is withheld")
	errFound   = errors.New("masking: too many values overlap; the text is withheld")
)

// Rewriter masks one text that arrives in pieces. It is used by one goroutine. Positions are bytes of the context and the text.
type Rewriter struct {
	e       *Engine
	plan    *action.Plan
	planned *planned
	carrier string
	session string
	err     error // sticky
	drop    hold  // a hold that is left out; for tests
	steps   int   // work done by hand, in bytes looked at; for tests

	buf       []byte // of the text, from position from on; in small, or in large if that is there
	small     *small
	large     *large
	used      int // bytes of small that ever held text
	usedLarge int
	from      int
	base      int // length of the context
	seg       int // start of the segment
	out       int // bytes before this are released or replaced
	n         int // bytes that the automaton has read

	table *automaton.JointTable
	row   uint32
	idle  int // no match of a trigger that is going on began before this
	old   [parts]trail

	// What lies before anchor is settled; esc and free are of the byte there. marks tells which bytes from there to marked belong to JSON escapes, if
	// escapes.
	anchor  int
	esc     uint8
	free    bool
	marked  int
	markEsc uint8
	escapes bool
	marks   []uint8 // of buf

	asking *asking // nil: nothing

	threads []thread
	best    head // of those that are complete, the one that decides, unless another is complete before
	val     value

	found []found
	spans []rule.Span // of names, as they are taken
	names scanner
	fed   int // bytes that names has read

	masks     []pipeline.Mask
	explained []Explained
}

// hold names what is held back, so that tests can leave one out.
type hold uint16

const (
	holdIsland  hold = 1 << iota // what may become a value
	holdMatch                    // a value that is not complete
	holdHead                     // an open value that is not decided
	holdRight                    // a head that waits for the byte behind it
	holdSpan                     // a value of which a part may yet go to another
	holdNames                    // what the names stage has not settled
	holdJoint                    // a byte that belongs to a value only if more of it follows
	holdAllow                    // a value that may be one that is allowed
	holdRune                     // part of a rune
	holdContext                  // what stands before what is held
	holdEscape                   // where in a JSON escape a piece ends
)

func newRewriter(e *Engine) *Rewriter {
	r := &Rewriter{e: e, small: new(small)}
	r.buf, r.marks = r.small.buf[:0], r.small.marks[:]
	if e.names != nil {
		r.names = e.names.NewScanner()
	}
	return r
}

func (r *Rewriter) start(carrier string, o StreamOptions) {
	r.carrier, r.session = carrier, o.Session
	if r.plan = o.Plan; r.plan == nil {
		r.plan = r.e.o.Table.Plan(carrier, o.Roles)
	}
	r.planned = r.e.plan(r.plan)
	if r.planned.prog != nil {
		r.table = r.planned.prog.joint.Table()
		r.row = r.table.Start()
	}
	r.free = true
	if len(o.Context) == 0 {
		return
	}
	r.base = len(o.Context)
	_, r.err = r.write(nil, o.Context)
}

// Release gives the memory of a Rewriter back, wiped; the Rewriter must not be used any more. What Masks and Explained returned stays.
func (r *Rewriter) Release() {
	e := r.e
	if e == nil {
		return
	}
	r.val.v.Drop()
	r.restore()
	r.forgetRules()
	w := &Rewriter{e: e, small: r.small, threads: r.threads, found: r.found, spans: r.spans, names: r.names}
	clear(w.small.buf[:r.used])
	clear(w.threads[:cap(w.threads)])
	clear(w.found[:cap(w.found)])
	clear(w.spans[:cap(w.spans)])
	w.buf, w.marks = w.small.buf[:0], w.small.marks[:]
	w.threads, w.found, w.spans = w.threads[:0], w.found[:0], w.spans[:0]
	if w.names != nil {
		w.names.Reset()
	}
	*r = Rewriter{}
	e.free.Put(w)
}

// Held is the number of bytes of the original text, at its end, that are not yet released or replaced.
func (r *Rewriter) Held() int { return r.end() - max(r.out, r.base) }

// Masks lists the spans masked so far, in order. The last one may still grow until the next Write or Flush. The slice
// belongs to the Rewriter.
func (r *Rewriter) Masks() []pipeline.Mask { return r.masks }

// Write takes the next piece and appends to dst what may be released now. It keeps nothing of src. After an error nothing more is
// released, and what is held must not be sent.
func (r *Rewriter) Write(dst, src []byte) ([]byte, error) {
	if r.err != nil {
		return dst, r.err
	}
	return r.write(dst, src)
}

func (r *Rewriter) write(dst, src []byte) ([]byte, error) {
	if r.planned.prog == nil {
		r.out += len(src)
		r.from, r.n = r.out, r.out
		if r.out <= r.base {
			return dst, nil
		}
		return append(dst, src...), nil
	}
	for len(src) > 0 {
		if !r.table.Current() {
			r.table, r.row = r.table.Move(r.row)
		}
		if len(r.buf)+len(src) > cap(r.buf) {
			r.compact()
			if len(r.buf)+len(src) > smallSize && r.large == nil {
				r.enlarge()
			}
		}
		k := min(len(src), cap(r.buf)-len(r.buf))
		if k == 0 {
			return r.fail(dst, errHold)
		}
		r.buf = append(r.buf, src[:k]...)
		if r.large == nil {
			r.used = max(r.used, len(r.buf))
		} else {
			r.usedLarge = max(r.usedLarge, len(r.buf))
		}
		src = src[k:]
		var err error
		if dst, err = r.run(dst); err != nil {
			return r.fail(dst, err)
		}
	}
	r.lessen()
	return dst, nil
}

// Flush ends the text and appends the rest. After it, only Held, Masks and Explained may be used.
func (r *Rewriter) Flush(dst []byte) ([]byte, error) {
	if r.err != nil {
		return dst, r.err
	}
	if r.planned.prog == nil {
		r.err = ErrDone
		return dst, nil
	}
	for {
		var err error
		switch {
		case r.val.on:
			dst, err = r.endValue(dst)
		case r.complete(true):
			dst, err = r.decide(dst)
		default:
			if dst, err = r.endSegment(dst, r.n); err != nil {
				return r.fail(dst, err)
			}
			r.err = ErrDone
			return dst, nil
		}
		if err == nil {
			dst, err = r.run(dst) // what a value did not take
		}
		if err != nil {
			return r.fail(dst, err)
		}
	}
}

// fail makes an error stick. What was appended in this call before it was found is final, and stays.
func (r *Rewriter) fail(dst []byte, err error) ([]byte, error) {
	r.err = err
	r.val.v.Drop()
	return dst, err
}

// end is the position behind the last byte at hand.
func (r *Rewriter) end() int { return r.from + len(r.buf) }

// text is the bytes from one position to another.
func (r *Rewriter) text(from, to int) []byte { return r.buf[from-r.from : to-r.from] }

// run reads what is at hand to its end and releases what is settled.
func (r *Rewriter) run(dst []byte) (_ []byte, err error) {
	for {
		if r.val.on {
			if dst, err = r.swallow(dst); err != nil || r.val.on {
				return dst, err
			}
		}
		if err = r.readThreads(); err == nil {
			err = r.scan()
		}
		if err != nil {
			return dst, err
		}
		if !r.complete(false) {
			return r.progress(dst)
		}
		if dst, err = r.decide(dst); err != nil {
			return dst, err
		}
	}
}

// progress settles and releases what can be, at the end of a piece.
func (r *Rewriter) progress(dst []byte) ([]byte, error) {
	openHold := 0
	for _, s := range r.table.State(r.row).Part {
		openHold = max(openHold, s.OpenHold)
	}
	r.idle = r.oldest()
	openFrom := max(r.idle, r.n-openHold)
	for i := range r.threads {
		openFrom = min(openFrom, r.threads[i].start)
	}
	if r.best.rule != nil {
		openFrom = min(openFrom, r.best.start)
	}
	cut := r.idle
	if r.drop&holdHead != 0 {
		openFrom = r.n
	}
	if r.drop&holdIsland != 0 {
		cut = r.n
	}
	if r.asking != nil && len(r.asking.hits) > 0 {
		lowest, err := r.settleAll(r.n, openFrom, false)
		if err != nil {
			return dst, err
		}
		if r.drop&holdMatch == 0 {
			cut = min(cut, lowest)
		}
	}
	cut = min(cut, openFrom)
	r.move(cut)
	if r.planned.names {
		if openFrom > r.fed {
			r.names.Feed(r.text(r.fed, openFrom))
			r.fed = openFrom
		}
		if r.drop&holdNames == 0 {
			cut = min(cut, r.seg+r.names.Settled())
		}
		if err := r.takeNames(); err != nil {
			return dst, err
		}
	}
	if r.drop&holdRune == 0 {
		cut = r.wholeRunes(max(cut, r.out))
	}
	r.settled()
	return r.release(dst, max(cut, r.out), false)
}

// takeNames adds the names that are complete to what is found.
func (r *Rewriter) takeNames() error {
	r.spans = r.names.Take(r.spans[:0])
	for _, s := range r.spans {
		if err := r.add(found{start: r.seg + s.Start, end: r.seg + s.End, rule: s.Rule, order: len(r.e.rules)}); err != nil {
			return err
		}
	}
	return nil
}

// endSegment settles and releases all of the segment, which ends at end.
func (r *Rewriter) endSegment(dst []byte, end int) ([]byte, error) {
	if r.asking != nil && len(r.asking.hits) > 0 {
		if _, err := r.settleAll(end, end, true); err != nil {
			return dst, err
		}
	}
	if r.planned.names {
		if end > r.fed {
			r.names.Feed(r.text(r.fed, end))
			r.fed = end
		}
		r.names.End()
		if err := r.takeNames(); err != nil {
			return dst, err
		}
	}
	return r.release(dst, end, true)
}

// beginSegment lets a text of its own begin at n.
func (r *Rewriter) beginSegment() {
	r.seg, r.fed, r.out, r.idle = r.n, r.n, max(r.out, r.n), r.n
	r.anchor, r.esc, r.free = r.n, 0, true
	r.unmark()
	r.row = r.table.Start()
	if r.names != nil {
		r.names.Reset()
	}
}
