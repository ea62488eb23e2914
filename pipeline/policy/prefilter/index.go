// SPDX-License-Identifier: Apache-2.0

package prefilter

import (
	"encoding/binary"
	"math/bits"
	"regexp/syntax"
	"strings"
	"unsafe"
)

// Index is about a list of expressions, which it names by their place in it. It does not change once made.
type Index struct {
	exprs  []expr
	always []int32 // expressions of which nothing can be said
	lits   []string
	owners [][]int32 // per literal: the expressions that may match where it is met

	long  grams // literals of strideMin bytes and more: every fourth place is looked at
	short grams // the others: every place
	pairs pairs // of two and three bytes
}

type expr struct {
	need   *need
	starts []int32
}

// stride is how far apart the places are that are looked at for long literals; they have four bytes at each of so many offsets.
const (
	stride    = 4
	strideMin = 4 + stride - 1
)

// New makes an index. An expression may be nil: it is one of which nothing can be said.
func New(exprs []*syntax.Regexp) *Index {
	x := &Index{}
	known := map[string]int32{}
	literal := func(s string) int32 {
		i, ok := known[s]
		if !ok {
			i = int32(len(x.lits))
			known[s] = i
			x.lits, x.owners = append(x.lits, s), append(x.owners, nil)
		}
		return i
	}
	for i, re := range exprs {
		var e expr
		if re != nil {
			re = re.Simplify()
			e.need = needOf(re)
			for _, n := range e.need.leaves(nil) {
				n.index = literal(n.literal)
			}
			for _, s := range starts(re) {
				e.starts = append(e.starts, literal(s))
			}
		}
		best := e.need.best()
		if best == nil {
			x.always = append(x.always, int32(i))
		}
		for _, n := range best {
			if o := x.owners[n.index]; len(o) == 0 || o[len(o)-1] != int32(i) {
				x.owners[n.index] = append(o, int32(i))
			}
		}
		x.exprs = append(x.exprs, e)
	}
	for i, l := range x.lits {
		switch {
		case len(l) >= strideMin:
			for off := range stride {
				x.long.add(l, off, int32(i))
			}
		case len(l) >= 4:
			x.short.add(l, 0, int32(i))
		default:
			x.pairs.add(l, int32(i))
		}
	}
	x.long.build()
	x.short.build()
	return x
}

// grams is a table of groups of four bytes. Letters count without case.
type grams struct {
	bits  [1 << bitsLog / 64]uint64
	list  []gram
	slots []int32 // index in list plus one of the first gram of a chain, by hash
	shift uint
}

type gram struct {
	key, next int32
	lit, off  int32
}

const bitsLog = 15

// mix spreads the bits of a group; letters of both cases are one.
func mix(w uint32) uint32 { return (w | 0x20202020) * 0x9E3779B1 }

func (g *grams) add(l string, off int, lit int32) {
	key := mix(binary.LittleEndian.Uint32([]byte(l[off : off+4])))
	g.list = append(g.list, gram{key: int32(key), lit: lit, off: int32(off)})
	h := key >> (32 - bitsLog)
	g.bits[h>>6] |= 1 << (h & 63)
}

func (g *grams) build() {
	size := 16
	g.shift = 28
	for size < 2*len(g.list) {
		size *= 2
		g.shift--
	}
	g.slots = make([]int32, size)
	for i := range g.list {
		slot := &g.slots[uint32(g.list[i].key)>>g.shift]
		g.list[i].next, *slot = *slot, int32(i+1)
	}
}

// pairs is a table of the first two bytes of short literals.
type pairs struct {
	bits [1 << 16 / 64]uint64
	lits map[uint16][]int32
}

func (p *pairs) add(l string, lit int32) {
	k := uint16(l[0]|0x20) | uint16(l[1]|0x20)<<8
	if p.lits == nil {
		p.lits = map[uint16][]int32{}
	}
	p.lits[k] = append(p.lits[k], lit)
	p.bits[k>>6] |= 1 << (k & 63)
}

// maxHits bounds the places that are remembered of one text.
const maxHits = 512

// Scan is what was found in a text. The zero Scan is ready; it is reused from text to text.
type Scan struct {
	x     *Index
	has   []uint64 // literals
	cand  []uint64 // expressions
	list  []int32
	hits  []hit
	moved bool // offsets are not those of the text
}

type hit struct{ lit, at int32 }

// Scan looks at a text and returns the expressions that may match it, in no order. The list is valid until the next Scan.
func (x *Index) Scan(text string, s *Scan) []int32 {
	if s.x != x {
		*s = Scan{x: x, has: make([]uint64, (len(x.lits)+63)/64), cand: make([]uint64, (len(x.exprs)+63)/64)}
	}
	clear(s.has)
	s.list, s.hits, s.moved = append(s.list[:0], x.always...), s.hits[:0], false
	if len(x.lits) == 0 {
		return s.list
	}
	if strings.IndexByte(text, 0xe2) >= 0 && strings.Contains(text, "\u212a") || strings.IndexByte(text, 0xc5) >= 0 && strings.Contains(text, "\u017f") {
		text, s.moved = unfold.Replace(text), true
	}
	s.look(text)

	clear(s.cand)
	has := func(i int32) bool { return s.has[i>>6]&(1<<(i&63)) != 0 }
	for i, word := range s.has {
		for ; word != 0; word &= word - 1 {
			for _, e := range x.owners[i*64+bits.TrailingZeros64(word)] {
				if s.cand[e>>6]&(1<<(e&63)) == 0 {
					s.cand[e>>6] |= 1 << (e & 63)
					if x.exprs[e].need.met(has) {
						s.list = append(s.list, e)
					}
				}
			}
		}
	}
	return s.list
}

func (s *Scan) look(text string) {
	x, b := s.x, unsafe.Slice(unsafe.StringData(text), len(text))
	if len(x.long.list) > 0 {
		set := &x.long.bits
		for i := 0; i+4 <= len(b); i += stride {
			h := mix(binary.LittleEndian.Uint32(b[i:i+4:len(b)])) >> (32 - bitsLog)
			if set[h>>6]&(1<<(h&63)) != 0 {
				s.verify(&x.long, text, i)
			}
		}
	}
	short, two := len(x.short.list) > 0, x.pairs.lits != nil
	if !short && !two || len(b) < 2 {
		return
	}
	i := 0
	switch {
	case short && two:
		for ; i+4 <= len(b); i++ {
			w := binary.LittleEndian.Uint32(b[i:i+4:len(b)]) | 0x20202020
			h := w * 0x9E3779B1 >> (32 - bitsLog)
			if x.short.bits[h>>6]&(1<<(h&63)) != 0 {
				s.verify(&x.short, text, i)
			}
			if p := uint16(w); x.pairs.bits[p>>6]&(1<<(p&63)) != 0 {
				s.verifyPair(text, i, p)
			}
		}
	case short:
		for ; i+4 <= len(b); i++ {
			h := mix(binary.LittleEndian.Uint32(b[i:i+4:len(b)])) >> (32 - bitsLog)
			if x.short.bits[h>>6]&(1<<(h&63)) != 0 {
				s.verify(&x.short, text, i)
			}
		}
	}
	if two {
		for ; i+2 <= len(b); i++ {
			p := uint16(b[i]|0x20) | uint16(b[i+1]|0x20)<<8
			if x.pairs.bits[p>>6]&(1<<(p&63)) != 0 {
				s.verifyPair(text, i, p)
			}
		}
	}
}

func (s *Scan) verify(g *grams, text string, i int) {
	key := int32(mix(binary.LittleEndian.Uint32([]byte(text[i : i+4]))))
	for n := g.slots[uint32(key)>>g.shift]; n != 0; n = g.list[n-1].next {
		if c := &g.list[n-1]; c.key == key {
			s.hit(text, i-int(c.off), c.lit)
		}
	}
}

func (s *Scan) verifyPair(text string, i int, p uint16) {
	for _, lit := range s.x.pairs.lits[p] {
		s.hit(text, i, lit)
	}
}

// hit notes a literal if it stands there.
func (s *Scan) hit(text string, at int, lit int32) {
	l := s.x.lits[lit]
	if at < 0 || at+len(l) > len(text) {
		return
	}
	for i := range len(l) {
		if lower[text[at+i]] != l[i] {
			return
		}
	}
	s.has[lit>>6] |= 1 << (lit & 63)
	if len(s.hits) < maxHits {
		s.hits = append(s.hits, hit{lit, int32(at)})
	}
}

// Starts lists where in the text of the last Scan a match of an expression can begin, in no order. known is false if it can
// begin anywhere, or in more than most places.
func (s *Scan) Starts(expr int32, most int, dst []int) (at []int, known bool) {
	e := &s.x.exprs[expr]
	if e.starts == nil || s.moved || len(s.hits) >= maxHits {
		return dst, false
	}
	for _, h := range s.hits {
		for _, l := range e.starts {
			if l == h.lit {
				if len(dst) >= most {
					return dst, false
				}
				dst = append(dst, int(h.at))
			}
		}
	}
	return dst, true
}
