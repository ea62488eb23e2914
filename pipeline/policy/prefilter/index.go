// SPDX-License-Identifier: Apache-2.0

package prefilter

import (
	"encoding/binary"
	"math/bits"
	"regexp/syntax"
	"slices"
	"strings"
	"unsafe"
)

// Index is about a list of expressions, which it names by their place in it. It does not change once made.
type Index struct {
	exprs  []expr
	always []int32 // expressions of which nothing can be said
	lits   []string
	owners [][]int32 // per literal: the expressions that may match where it is met

	// Literals by length: the longer, the fewer places need to be looked at. Each has groups of bytes at as many offsets as places
	// are apart.
	long grams // 7 bytes and more: groups of 4, every fourth place
	mid  grams // 4 to 6: groups of 3, every second place
	tri  grams // 3: groups of 2, every second place
	two  grams // 2: every place

	pairs [1 << 16 / 64]uint64 // the first two bytes of the groups of mid and tri
}

type expr struct {
	need   *need
	starts []int32
}

// New makes an index. An expression may be nil: it is one of which nothing can be said.
func New(exprs []*syntax.Regexp) *Index {
	x := &Index{long: grams{size: 4, stride: 4}, mid: grams{size: 3, stride: 2}, tri: grams{size: 2, stride: 2}, two: grams{size: 2, stride: 1}}
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
		}
		best := e.need.best()
		if re != nil {
			for _, n := range e.need.leaves(nil) {
				if n.index = -1; len(n.literal) > 2 || slices.Contains(best, n) {
					n.index = literal(n.literal)
				} // else two bytes, which are met by chance: not worth a look at every place
			}
			for _, s := range starts(re) {
				e.starts = append(e.starts, literal(s))
			}
		}
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
		g := &x.long
		switch len(l) {
		case 2:
			g = &x.two
		case 3:
			g = &x.tri
		case 4, 5, 6:
			g = &x.mid
		}
		g.lits = append(g.lits, int32(i))
	}
	for _, g := range []*grams{&x.long, &x.mid, &x.tri, &x.two} {
		g.build(x.lits)
	}
	for _, g := range []*grams{&x.mid, &x.tri} {
		for _, c := range g.list {
			p := uint16(x.lits[c.lit][c.off]|0x20) | uint16(x.lits[c.lit][c.off+1]|0x20)<<8
			x.pairs[p>>6] |= 1 << (p & 63)
		}
	}
	return x
}

// grams is a table of groups of bytes. Letters count without case.
type grams struct {
	size, stride int
	mask         uint32
	lits         []int32
	bits         [1 << bitsLog / 64]uint64
	list         []gram
	slots        []int32 // index in list plus one of the first gram of a chain, by hash
	shift        uint
}

type gram struct {
	key      uint32
	next     int32
	lit, off int32
}

const bitsLog = 15

// mix spreads the bits of a group; letters of both cases are one.
func mix(w, mask uint32) uint32 { return ((w | 0x20202020) & mask) * 0x9E3779B1 }

func (g *grams) build(lits []string) {
	g.mask = uint32(1<<(8*g.size) - 1)
	common := map[string]int{} // how many literals have a group
	for _, i := range g.lits {
		for l, off := lits[i], 0; off+g.size <= len(l); off++ {
			common[l[off:off+g.size]]++
		}
	}
	for _, i := range g.lits {
		l := lits[i]
		at := g.rarest(l, common)
		for off := at; off < at+g.stride; off++ {
			var w [4]byte
			copy(w[:], l[off:off+g.size])
			key := mix(binary.LittleEndian.Uint32(w[:]), g.mask)
			g.list = append(g.list, gram{key: key, lit: i, off: int32(off)})
			h := key >> (32 - bitsLog)
			g.bits[h>>6] |= 1 << (h & 63)
		}
	}
	size := 16
	g.shift = 28
	for size < 2*len(g.list) {
		size *= 2
		g.shift--
	}
	g.slots = make([]int32, size)
	for i := range g.list {
		slot := &g.slots[g.list[i].key>>g.shift]
		g.list[i].next, *slot = *slot, int32(i+1)
	}
}

// rarest finds where in a literal the groups begin that tell it best from the others.
func (g *grams) rarest(l string, common map[string]int) (best int) {
	least := -1
	for at := 0; at+g.stride-1+g.size <= len(l); at++ {
		sum := 0
		for off := at; off < at+g.stride; off++ {
			sum += common[l[off:off+g.size]]
		}
		if least < 0 || sum < least {
			least, best = sum, at
		}
	}
	return best
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
	s.every4(&x.long, b, text)
	s.every2(b, text)
	if len(x.two.list) > 0 {
		g, w := &x.two, uint32(0)
		for i, c := range b {
			w = w>>8 | uint32(c|0x20)<<8
			h := w * 0x9E3779B1 >> (32 - bitsLog)
			if g.bits[h>>6]&(1<<(h&63)) != 0 && i > 0 {
				s.verify(g, w, text, i-1)
			}
		}
	}
}

func (s *Scan) every4(g *grams, b []byte, text string) {
	if len(g.list) == 0 {
		return
	}
	for i := 0; i+4 <= len(b); i += 4 {
		w := binary.LittleEndian.Uint32(b[i:])
		h := (w | 0x20202020) * 0x9E3779B1 >> (32 - bitsLog)
		if g.bits[h>>6]&(1<<(h&63)) != 0 {
			s.verify(g, w, text, i)
		}
	}
}

func (s *Scan) every2(b []byte, text string) {
	mid, tri := &s.x.mid, &s.x.tri
	if len(mid.list) == 0 && len(tri.list) == 0 {
		return
	}
	i := 0
	pairs := &s.x.pairs
	for ; i+4 <= len(b); i += 2 {
		w := binary.LittleEndian.Uint32(b[i:])
		if p := uint16(w | 0x2020); pairs[p>>6]&(1<<(p&63)) != 0 {
			s.probe(mid, w, text, i)
			s.probe(tri, w, text, i)
		}
	}
	for ; i+2 <= len(b); i += 2 { // the last three bytes
		w := uint32(b[i]) | uint32(b[i+1])<<8
		if i+3 <= len(b) {
			w |= uint32(b[i+2]) << 16
			s.probe(mid, w, text, i)
		}
		s.probe(tri, w, text, i)
	}
}

func (s *Scan) probe(g *grams, w uint32, text string, i int) {
	h := mix(w, g.mask) >> (32 - bitsLog)
	if g.bits[h>>6]&(1<<(h&63)) != 0 && len(g.list) > 0 {
		s.verify(g, w, text, i)
	}
}

// verify notes the literals that have the group w, which stands at i.
func (s *Scan) verify(g *grams, w uint32, text string, i int) {
	key := mix(w, g.mask)
	for n := g.slots[key>>g.shift]; n != 0; {
		c := &g.list[n-1]
		if n = c.next; c.key == key {
			s.hit(text, i-int(c.off), c.lit)
		}
	}
}

// hit notes a literal if it stands there.
func (s *Scan) hit(text string, at int, lit int32) {
	l := s.x.lits[lit]
	if at < 0 || at+len(l) > len(text) {
		return
	}
	part := text[at : at+len(l)]
	for i := len(l) - 1; i >= 0; i-- { // literals differ at their ends
		if lower[part[i]] != l[i] {
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
