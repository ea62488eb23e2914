// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"errors"

	"github.com/sallyport-dev/sallyport/pipeline"
)

const (
	none       = -1  // no position
	bufSize    = 320 // no less than the largest bound
	maxPending = bufSize / cardMin
)

// ErrDone is returned by Write and Flush after Flush.
var ErrDone = errors.New("masking a text that has already ended")

var errHold = errors.New("masking: a candidate is longer than its bound; the text is withheld")

// Rewriter masks one text that arrives in pieces. It is used by one goroutine. Positions are bytes of the original
// text; out <= every candidate's start <= n.
type Rewriter struct {
	e       *Engine
	carrier string
	all     bool // search for more than keys
	done    bool
	slow    bool // never skip; for tests

	n    int // bytes taken
	out  int // bytes before this are released or replaced
	held [bufSize]byte
	src  []byte // the piece that Write is working on; held has the bytes [out at the start of Write, base)
	base int    // position of src[0]
	from int    // position of held[0]

	prev, prev2 byte // bytes before; 0 at the start and after a key, '\\' for each byte of an escape
	esc         uint8

	state   uint16 // of prefixes
	nt      int
	threads [maxThreads]thread
	card    cardState
	mail    mailState

	np      int
	pending [maxPending]span // card numbers found but behind the start of a live candidate, in order

	open  *rule // a decided key or address whose end is not seen yet; &mailRule for an address
	more  class // bytes that continue an open key
	tail  int   // bytes at the end that belong to it only if more of it follows
	hash  fingerprint
	hashd int // position up to which the open value is hashed
	masks []pipeline.Mask
}

type span struct{ start, end int }

// mailRule marks an open address.
var mailRule = rule{typ: TypeEmail}

// Held is the number of bytes of the original text, at its end, that are not yet released or replaced.
func (r *Rewriter) Held() int { return r.n - r.out }

// Masks lists the spans masked so far, in order. The last one may still grow until the next Write or Flush. The slice
// belongs to the Rewriter.
func (r *Rewriter) Masks() []pipeline.Mask { return r.masks }

// Write takes the next piece and appends to dst what may be released now. It keeps nothing of src. An error means that
// what is held must not be sent; it does not happen before Flush.
func (r *Rewriter) Write(dst, src []byte) ([]byte, error) {
	if r.done {
		return dst, ErrDone
	}
	r.src, r.base, r.from = src, r.n, r.out
	next, sym, shift := r.e.prefixes.next, &r.e.prefixes.sym, r.e.prefixes.shift
	for i := 0; i < len(src); i++ {
		if r.quiet() {
			if i += r.skip(src[i:]); i == len(src) {
				break
			}
		}
		c := src[i]
		if r.open != nil && r.swallow(c) {
			r.n++
			continue
		}
		if c == '\\' || r.esc != 0 {
			c = r.escape(c)
		}
		f := classes[c]
		if r.nt > 0 {
			dst = r.grow(dst, c, f)
			if r.open != nil && r.open != &mailRule {
				r.n++
				r.out = r.n
				continue
			}
		}
		s := next[int(r.state)<<shift|int(sym[c])]
		r.state = s &^ accepts
		if s&accepts != 0 && !r.spawn() {
			dst = r.decide(dst, r.first())
			r.n++
			continue
		}
		if r.all {
			found := false
			if f&cDigit != 0 || r.card.groups > 0 {
				found = r.cardStep(c, f)
			}
			if f&cLocal == 0 || r.mail.run < 0 || r.mail.at >= 0 {
				dst = r.mailStep(dst, c, f)
			}
			if found {
				r.n++
				dst = r.release(dst, r.cut())
				r.n--
			}
		}
		r.prev2, r.prev = r.prev, c
		r.n++
	}
	dst = r.release(dst, r.cut())
	return dst, r.keep()
}

// quiet tells whether nothing is going on but the words themselves.
func (r *Rewriter) quiet() bool {
	return r.nt == 0 && r.open == nil && r.card.groups == 0 && r.mail.at < 0 && r.esc == 0 && !r.slow
}

// Flush ends the text and appends the rest. After it, only Held and Masks may be used.
func (r *Rewriter) Flush(dst []byte) ([]byte, error) {
	if r.done {
		return dst, ErrDone
	}
	r.src, r.base, r.from = nil, r.n, r.out
	if r.open != nil {
		r.closeOpen()
	}
	if r.card.groups > 0 {
		r.cardEnd(0)
	}
	dst = r.release(dst, r.n)
	r.done = true
	return dst, nil
}

// escape follows a backslash escape of JSON and returns '\\' for each of its bytes: a separator to every detector.
// Backslashes that start no such escape are themselves separators and nothing else.
func (r *Rewriter) escape(c byte) byte {
	switch {
	case r.esc == 0: // c is the backslash
		r.esc = 1
		return c
	case r.esc == 1:
		switch c {
		case '\\', '"', '/', 'b', 'f', 'n', 'r', 't':
			r.esc = 0
			return '\\'
		case 'u':
			r.esc = 2
			return '\\'
		}
	case classes[c]&cHex != 0:
		if r.esc++; r.esc == 6 {
			r.esc = 0
		}
		return '\\'
	}
	r.esc = 0
	if c == '\\' {
		r.esc = 1
	}
	return c
}

// cut is the start of the earliest live candidate: what lies before it can be released.
func (r *Rewriter) cut() int {
	cut := r.n - r.tail
	if r.open != nil && r.open != &mailRule {
		return cut
	}
	if d := r.n - int(r.e.prefixes.depth[r.state]); d < cut {
		cut = d
	}
	for i := range r.nt {
		cut = min(cut, r.threads[i].start)
	}
	if r.all {
		if r.card.groups > 0 {
			cut = min(cut, r.card.group[0].start)
		}
		if r.mail.at >= 0 {
			cut = min(cut, r.mail.start)
		}
		if r.mail.run >= 0 {
			cut = min(cut, r.localStart(r.n))
		}
	}
	return max(cut, r.out)
}

// release appends the original text up to cut to dst, with tags for the pending spans in it.
func (r *Rewriter) release(dst []byte, cut int) []byte {
	done := 0
	for ; done < r.np && r.pending[done].end <= cut; done++ {
		s := r.pending[done]
		dst = r.appendOriginal(dst, r.out, s.start)
		dst = r.begin(dst, TypeCard, s.start)
		r.out = s.end
		r.finish(s.end)
	}
	r.np = copy(r.pending[:], r.pending[done:r.np])
	if r.np > 0 {
		cut = min(cut, r.pending[0].start)
	}
	if cut > r.out {
		dst = r.appendOriginal(dst, r.out, cut)
		r.out = cut
	}
	return dst
}

// replace decides a value that starts at start and whose end is still to come: the text before it is released, its
// tag appended, and everything up to here counts as replaced.
func (r *Rewriter) replace(dst []byte, o *rule, start int) []byte {
	start = max(start, r.out)
	for r.np > 0 && r.pending[r.np-1].start >= start {
		r.np--
	}
	dst = r.release(dst, start)
	dst = r.begin(dst, o.typ, start)
	r.open, r.tail, r.out = o, 0, r.n+1
	return dst
}

// begin appends the tag of a value and its mask, of no length yet.
func (r *Rewriter) begin(dst []byte, typ string, start int) []byte {
	with := r.e.tags[typ]
	r.masks = append(r.masks, pipeline.Mask{Carrier: r.carrier, Type: typ, At: start, With: with})
	r.hash.start(r.e, typ)
	r.hashd = start
	return append(dst, with...)
}

// extend brings the last mask up to end; the bytes must still be at hand.
func (r *Rewriter) extend(end int) {
	m := &r.masks[len(r.masks)-1]
	m.Len = end - m.At
	if r.hash.h != nil && end > r.hashd {
		old, cur := r.original(r.hashd, end)
		r.hash.write(old)
		r.hash.write(cur)
	}
	r.hashd = end
}

func (r *Rewriter) finish(end int) {
	r.extend(end)
	r.masks[len(r.masks)-1].Fingerprint = r.hash.sum(r.e)
}

// swallow takes c if it belongs to the open value; otherwise it closes the value and leaves c to be looked at.
func (r *Rewriter) swallow(c byte) bool {
	if r.open == &mailRule {
		return false // mailStep does it: inside an address the search for keys goes on
	}
	if classes[c]&r.more != 0 {
		r.tail = 0
		r.out = r.n + 1
		return true
	}
	if c == '.' && r.open.dots && r.tail == 0 {
		r.tail = 1
		return true
	}
	r.closeOpen()
	return false
}

// closeOpen ends the open value. What follows stands behind a tag, so anything may begin there.
func (r *Rewriter) closeOpen() {
	end := r.n - r.tail
	r.finish(end)
	if r.open != &mailRule {
		r.state, r.prev, r.prev2, r.esc = stateFresh, 0, 0, 0
		r.mail, r.card = mailState{run: none, at: none}, cardState{}
	}
	r.open, r.tail, r.out = nil, 0, end
}

// keep moves the bytes that are still needed after Write into the buffer.
func (r *Rewriter) keep() error {
	if r.open != nil {
		r.extend(r.n - r.tail)
	}
	if r.n-r.out > bufSize {
		r.done = true
		return errHold
	}
	old, cur := r.original(r.out, r.n)
	n := copy(r.held[:], old)
	copy(r.held[n:], cur)
	r.src = nil
	return nil
}

// original returns the bytes [from, to) of the text, in two parts: from the buffer and from the current piece.
func (r *Rewriter) original(from, to int) (old, cur []byte) {
	if from < r.base {
		old = r.held[from-r.from : min(to, r.base)-r.from]
	}
	if to > r.base {
		cur = r.src[max(from, r.base)-r.base : to-r.base]
	}
	return old, cur
}

func (r *Rewriter) appendOriginal(dst []byte, from, to int) []byte {
	old, cur := r.original(from, to)
	return append(append(dst, old...), cur...)
}

// at is one byte of the text.
func (r *Rewriter) at(p int) byte {
	if p < r.base {
		return r.held[p-r.from]
	}
	return r.src[p-r.base]
}
