// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline/mask/automaton"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// wholeRunes moves a cut back to the start of the rune that it is in, if it is in one.
func (r *Rewriter) wholeRunes(cut int) int {
	for i := 1; i < utf8.UTFMax && cut-i >= max(r.out, r.from); i++ {
		c := r.buf[cut-i-r.from]
		if c < utf8.RuneSelf {
			break
		}
		if !utf8.RuneStart(c) {
			continue
		}
		if b := r.text(cut-i, min(r.end(), cut-i+utf8.UTFMax)); !utf8.FullRune(b) {
			return cut - i
		} else if _, n := utf8.DecodeRune(b); n > i {
			return cut - i
		}
		break
	}
	return cut
}

// needed is the first place of what is at hand that is still needed.
func (r *Rewriter) needed() int {
	keep := r.out
	if r.drop&holdContext == 0 {
		keep -= rule.Context
	}
	keep = max(r.from, keep)
	if !r.val.on {
		keep = max(keep, r.seg)
	}
	return keep
}

// compact drops what is at hand and needed no more.
func (r *Rewriter) compact() {
	keep := r.needed()
	if keep == r.from {
		return
	}
	n := copy(r.buf, r.buf[keep-r.from:])
	r.buf, r.from = r.buf[:n], keep
	r.unmark()
}

// move lets what is not settled begin at a later place.
func (r *Rewriter) move(to int) {
	if to <= r.anchor {
		return
	}
	for b := r.text(r.anchor, to); len(b) > 0; {
		if n := plain(r.esc, b); n > 0 {
			r.free, b = false, b[n:]
			continue
		}
		r.esc, r.free, _ = automaton.Escape(r.esc, b[0])
		b = b[1:]
	}
	r.anchor = to
	if r.drop&holdEscape != 0 {
		r.esc, r.free = 0, false
	}
	if r.marked < to {
		r.unmark()
	}
}

// unmark forgets which bytes belong to escapes.
func (r *Rewriter) unmark() { r.marked, r.markEsc, r.escapes = r.anchor, r.esc, false }

// mark finds out which bytes of the island before to belong to escapes.
func (r *Rewriter) mark(to int) {
	if r.marked >= to {
		return
	}
	b := r.text(r.marked, to)
	if !r.escapes {
		if r.markEsc == 0 && !automaton.Escapes(b) {
			r.marked = to
			return
		}
		r.escapes = true
		clear(r.marks[r.anchor-r.from : r.marked-r.from])
	}
	for m := r.marks[r.marked-r.from:]; len(b) > 0; {
		n := plain(r.markEsc, b)
		if clear(m[:n]); n == 0 {
			at, in, inner := automaton.Escape(r.markEsc, b[0])
			r.markEsc, m[0], n = at, escaped(in, inner), 1
		}
		m, b = m[n:], b[n:]
	}
	r.marked = to
}

// plain is how many bytes at the start of b belong to no escape: those before one that may begin, unless one is going on.
func plain(esc uint8, b []byte) int {
	if esc != 0 {
		return 0
	}
	for i, c := range b {
		if c == '\\' || c == '%' || c == 0x1b {
			return i
		}
	}
	return len(b)
}

// What marks say of a byte: that it belongs to an escape, and not as the backslash that begins it.
const (
	markIn    = 1
	markInner = 2
)

func escaped(in, inner bool) (m uint8) {
	if in {
		m = markIn
	}
	if inner {
		m |= markInner
	}
	return m
}

// may tells whether a match may start at p. The island is marked up to behind it.
func (r *Rewriter) may(c *compiled, p int) bool {
	at := p - r.from
	switch {
	case r.escapes && r.marks[at]&markInner != 0, r.buf[at]&0xC0 == 0x80:
		return false
	case p == r.seg || !c.Left.Has(r.buf[at-1]):
		return true
	case p == r.anchor:
		return r.free
	}
	return r.escapes && r.marks[at-1] != 0
}
