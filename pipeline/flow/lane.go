// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// lane is one text of a reply that arrives in pieces: the content of a choice, or of one of its blocks, its refusal, its reasoning.
//
// The rewriter says what the masked text is; its list of masks says which piece each part of it belongs to. Both are
// followed, and they must agree: what a piece releases has to be what the rewriter released at that place.
type lane struct {
	choice int
	name   string
	probs  bool            // its tokens, of log probabilities
	rw     Rewriter        // nil once the text has ended
	masks  []pipeline.Mask // what it masked, then
	total  int             // bytes of original text so far
	out    []byte          // released by the rewriter
	taken  int             // of out, by pieces
	ended  bool
	cursor cursor
	keep   bool // the text is wanted for the outcome
	kept   []byte
}

// cursor walks a list of masks along the pieces of a text. The last mask of the list may grow until the text ends.
type cursor struct {
	next   int // first mask that may concern text not yet seen
	placed int // masks whose replacement has been put out
}

var errText = llm.NotInspected("text after its end")

func (l *lane) write(p []byte) error {
	if l.ended {
		return errText
	}
	var err error
	if l.taken == len(l.out) {
		l.out, l.taken = l.out[:0], 0
	}
	if l.out, err = l.rw.Write(l.out, p); err != nil {
		return fmt.Errorf("mask: %w", err)
	}
	l.total += len(p)
	return nil
}

func (l *lane) end() error {
	if l.ended {
		return nil
	}
	l.ended = true
	var err error
	if l.out, err = l.rw.Flush(l.out); err != nil {
		return fmt.Errorf("mask: %w", err)
	}
	l.masks = l.rw.Masks()
	l.rw.Release()
	l.rw = nil
	return nil
}

// found is what was masked so far.
func (l *lane) found() []pipeline.Mask {
	if l.rw == nil {
		return l.masks
	}
	return l.rw.Masks()
}

// resolved is how much of the original text is released or replaced.
func (l *lane) resolved() int {
	if l.ended {
		return l.total
	}
	return l.total - l.rw.Held()
}

// take appends to dst what is to be released of the piece that begins at from, and tells whether it differs from the
// original. Pieces are taken in order, once they are resolved.
func (l *lane) take(dst, piece []byte, from int) (_ []byte, changed bool, err error) {
	start := len(dst)
	dst, changed = l.cursor.cut(dst, piece, from, l.found())
	text := dst[start:]
	if !bytes.HasPrefix(l.out[l.taken:], text) {
		return dst[:start], false, errors.New("mask: the masks do not explain the masked text")
	}
	l.taken += len(text)
	if l.keep {
		l.kept = append(l.kept, text...)
	}
	return dst, changed, nil
}

// exhausted tells whether all that the rewriter released has been taken.
func (l *lane) exhausted() bool { return l.taken == len(l.out) }

// cut appends to dst what is left of the piece that begins at from. A mask's replacement stands where the mask ends.
func (c *cursor) cut(dst, piece []byte, from int, masks []pipeline.Mask) (_ []byte, changed bool) {
	pos, end := from, from+len(piece)
	for c.next < len(masks) {
		m := &masks[c.next]
		at, to := m.At, m.At+m.Len
		if at >= end {
			break
		}
		if at > pos {
			dst = append(dst, piece[pos-from:at-from]...)
			pos = at
		}
		if to > pos || c.placed <= c.next {
			changed = true
		}
		if to > end {
			return dst, changed || to > pos
		}
		if c.placed <= c.next {
			dst = append(dst, m.With...)
			c.placed = c.next + 1
		}
		pos = max(pos, to)
		if c.next == len(masks)-1 {
			break // it may grow
		}
		c.next++
	}
	return append(dst, piece[pos-from:]...), changed
}
