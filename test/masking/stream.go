// SPDX-License-Identifier: Apache-2.0

package masking

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/mask"
)

// Streams compares the masking of one text in pieces with the masking of it as a whole.
type Streams struct {
	engine *mask.Engine
	bound  int
	text   []byte
	whole  []byte
	masks  []pipeline.Mask
	buf    []byte
}

// NewStreams is for one goroutine.
func NewStreams(e *mask.Engine) *Streams {
	return &Streams{engine: e, bound: e.MostHeld()}
}

// Text sets the text and masks it as a whole.
func (s *Streams) Text(text []byte) error {
	s.text = text
	out, masks, err := s.engine.Append(s.whole[:0], Carrier, text, mask.StreamOptions{})
	if err != nil {
		return fmt.Errorf("the whole text: %w", err)
	}
	s.whole, s.masks = out, append(s.masks[:0], masks...)
	return nil
}

// Cut feeds the text cut before the bytes at cuts, in order, and tells what is not as it is of the whole. Whatever was released at any
// time is the beginning of the masked whole: so no byte of a value that is masked in the end has been let out.
func (s *Streams) Cut(cuts ...int) error {
	next := 0
	return s.feed(func(int) int {
		if next == len(cuts) {
			return len(s.text)
		}
		next++
		return cuts[next-1]
	})
}

// Bytes feeds the text byte by byte.
func (s *Streams) Bytes() error { return s.feed(func(at int) int { return at + 1 }) }

// Random feeds the text in pieces of random size.
func (s *Streams) Random(rnd *rand.Rand) error {
	size := 1 + rnd.IntN(24)
	return s.feed(func(at int) int { return at + 1 + rnd.IntN(size) })
}

func (s *Streams) feed(end func(at int) int) error {
	r := s.engine.Stream(Carrier, mask.StreamOptions{})
	defer r.Release()
	out, at := s.buf[:0], 0
	for at < len(s.text) {
		e := min(end(at), len(s.text))
		had := len(out)
		var err error
		if out, err = r.Write(out, s.text[at:e]); err != nil {
			return fmt.Errorf("bytes %d to %d: %w", at, e, err)
		}
		at = e
		if len(out) > len(s.whole) || !bytes.Equal(out[had:], s.whole[had:len(out)]) {
			return fmt.Errorf("after %d bytes what is released is not what the whole text begins with", at)
		}
		if h := r.Held(); h > s.bound {
			return fmt.Errorf("after %d bytes %d are held; the largest bound is %d", at, h, s.bound)
		}
	}
	out, err := r.Flush(out)
	s.buf = out
	switch {
	case err != nil:
		return fmt.Errorf("at the end: %w", err)
	case !bytes.Equal(out, s.whole):
		return fmt.Errorf("at the end the text is not that of the whole")
	}
	masks := r.Masks()
	if len(masks) != len(s.masks) {
		return fmt.Errorf("%d masks; %d of the whole text", len(masks), len(s.masks))
	}
	for i := range masks {
		if masks[i] != s.masks[i] {
			return fmt.Errorf("mask %d is %s at %d+%d; of the whole text it is %s at %d+%d", i, masks[i].Type, masks[i].At, masks[i].Len, s.masks[i].Type, s.masks[i].At, s.masks[i].Len)
		}
	}
	return nil
}

// All checks every single cut, all bytes alone, and n random cuttings.
func (s *Streams) All(n int, rnd *rand.Rand) error {
	for at := range len(s.text) + 1 {
		if err := s.Cut(at); err != nil {
			return fmt.Errorf("cut at %d: %w", at, err)
		}
	}
	if err := s.Bytes(); err != nil {
		return fmt.Errorf("byte by byte: %w", err)
	}
	for i := range n {
		if err := s.Random(rnd); err != nil {
			return fmt.Errorf("random cutting %d: %w", i, err)
		}
	}
	return nil
}
