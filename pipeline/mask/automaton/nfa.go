// SPDX-License-Identifier: Apache-2.0

package automaton

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

const (
	// exactCopies is the longest repeat whose count is kept, and the most copies in front of a loop.
	exactCopies = 4
	// manyRanges is the number of ranges outside of ASCII from which on a class takes every run of bytes outside of ASCII for a rune of it.
	manyRanges = 8
)

// node is a state of the automaton before it is made deterministic. One with edges reads a byte, one with a rule has matched, any other
// leads on at once.
type node struct {
	edges  []edge
	eps    []int32
	rule   int32 // that has matched, or -1
	prefix int32 // bytes at most that a match has behind it when it is here
	open   bool
}

type edge struct {
	lo, hi byte
	to     int32
}

// builder makes nodes out of a pattern, from its end to its start.
type builder struct {
	nodes []node
	open  bool
}

func (b *builder) add(prefix int) int32 {
	b.nodes = append(b.nodes, node{rule: -1, prefix: int32(prefix), open: b.open})
	return int32(len(b.nodes) - 1)
}

// split adds a node that leads to two at once.
func (b *builder) split(x, y int32) int32 {
	n := b.add(0)
	b.nodes[n].eps = []int32{x, y}
	return n
}

// build adds what matches re and goes on at next, and returns where it begins. pre is the most bytes of a match before re.
func (b *builder) build(re *syntax.Regexp, pre int, next int32) (int32, error) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return next, nil
	case syntax.OpLiteral:
		at := make([]int, len(re.Rune)+1)
		for i, c := range re.Rune {
			at[i+1] = at[i] + widest(c, re.Flags)
		}
		for i := len(re.Rune) - 1; i >= 0; i-- {
			next = b.class(orbit(re.Rune[i], re.Flags), pre+at[i], next)
		}
		return next, nil
	case syntax.OpCharClass:
		return b.class(re.Rune, pre, next), nil
	case syntax.OpAnyChar:
		return b.class([]rune{0, utf8.MaxRune}, pre, next), nil
	case syntax.OpAnyCharNotNL:
		return b.class([]rune{0, '\n' - 1, '\n' + 1, utf8.MaxRune}, pre, next), nil
	case syntax.OpCapture:
		return b.build(re.Sub[0], pre, next)
	case syntax.OpQuest:
		e, err := b.build(re.Sub[0], pre, next)
		return b.split(e, next), err
	case syntax.OpConcat:
		at := make([]int, len(re.Sub)+1)
		for i, s := range re.Sub {
			_, hi, err := rule.Length(s)
			if err != nil {
				return 0, err
			}
			at[i+1] = at[i] + hi
		}
		var err error
		for i := len(re.Sub) - 1; i >= 0 && err == nil; i-- {
			next, err = b.build(re.Sub[i], pre+at[i], next)
		}
		return next, err
	case syntax.OpAlternate:
		n := b.add(0)
		for _, s := range re.Sub {
			e, err := b.build(s, pre, next)
			if err != nil {
				return 0, err
			}
			b.nodes[n].eps = append(b.nodes[n].eps, e)
		}
		return n, nil
	case syntax.OpRepeat:
		return b.repeat(re, pre, next)
	}
	return 0, fmt.Errorf("a pattern has %v, which rules must not have", re.Op)
}

func (b *builder) repeat(re *syntax.Regexp, pre int, next int32) (int32, error) {
	sub := re.Sub[0]
	_, hi, err := rule.Length(sub)
	if err != nil {
		return 0, err
	}
	at, copies := next, re.Min
	if re.Max <= exactCopies {
		for i := re.Max - 1; i >= re.Min; i-- {
			e, err := b.build(sub, pre+hi*i, at)
			if err != nil {
				return 0, err
			}
			at = b.split(e, next)
		}
	} else {
		copies = min(copies, exactCopies)
		loop := b.add(0)
		e, err := b.build(sub, pre+hi*(re.Max-1), loop)
		if err != nil {
			return 0, err
		}
		b.nodes[loop].eps = []int32{e, next}
		at = loop
	}
	for i := copies - 1; i >= 0; i-- {
		if at, err = b.build(sub, pre+hi*i, at); err != nil {
			return 0, err
		}
	}
	return at, nil
}

// class adds what reads one rune out of pairs of bounds.
func (b *builder) class(ranges []rune, pre int, next int32) int32 {
	n := b.add(pre)
	var edges []edge
	wide, invalid := 0, false
	for i := 0; i < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		if lo < utf8.RuneSelf {
			edges = append(edges, edge{byte(lo), byte(min(hi, utf8.RuneSelf-1)), next})
		}
		if hi >= utf8.RuneSelf {
			wide++
			invalid = invalid || lo <= utf8.RuneError && utf8.RuneError <= hi
		}
	}
	switch {
	case wide == 0:
	case invalid || wide > manyRanges:
		loop := b.add(pre + utf8.UTFMax - 1)
		b.nodes[loop].edges = []edge{{0x80, 0xff, loop}}
		b.nodes[loop].eps = []int32{next}
		edges = append(edges, edge{0x80, 0xff, loop})
	default:
		for i := 0; i < len(ranges); i += 2 {
			sequences(max(ranges[i], utf8.RuneSelf), ranges[i+1], func(seq [][2]byte) {
				to := next
				for k := len(seq) - 1; k > 0; k-- {
					m := b.add(pre + k)
					b.nodes[m].edges = []edge{{seq[k][0], seq[k][1], to}}
					to = m
				}
				edges = append(edges, edge{seq[0][0], seq[0][1], to})
			})
		}
	}
	b.nodes[n].edges = edges
	return n
}

// orbit is a rune of a literal as a class: with its other cases, if case does not count.
func orbit(c rune, flags syntax.Flags) []rune {
	out := []rune{c, c}
	if flags&syntax.FoldCase != 0 {
		for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
			out = append(out, f, f)
		}
	}
	return out
}

func widest(c rune, flags syntax.Flags) int {
	n := 0
	for _, r := range orbit(c, flags) {
		n = max(n, utf8.RuneLen(r))
	}
	return n
}

// sequences cuts a range of runes into ranges of bytes, one for each byte of their UTF-8.
func sequences(lo, hi rune, emit func([][2]byte)) {
	if lo > hi {
		return
	}
	for _, last := range []rune{0x7f, 0x7ff, 0xd7ff, 0xdfff, 0xffff} { // lengths, and the surrogates, which have no UTF-8
		if lo <= last && last < hi {
			sequences(lo, last, emit)
			sequences(last+1, hi, emit)
			return
		}
	}
	if 0xd800 <= lo && lo <= 0xdfff {
		return
	}
	for bits := 6; bits < 24 && hi >= utf8.RuneSelf; bits += 6 {
		m := rune(1)<<bits - 1
		if lo&^m == hi&^m {
			break
		}
		if lo&m != 0 {
			sequences(lo, lo|m, emit)
			sequences(lo|m+1, hi, emit)
			return
		}
		if hi&m != m {
			sequences(lo, hi&^m-1, emit)
			sequences(hi&^m, hi, emit)
			return
		}
	}
	a, b := utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi)
	seq := make([][2]byte, len(a))
	for i := range a {
		seq[i] = [2]byte{a[i], b[i]}
	}
	emit(seq)
}

// reach adds to set the nodes that read a byte or have matched and that n leads to at once.
func (u *Union) reach(n int32, set []int32) []int32 {
	if u.marks[n] == u.mark {
		return set
	}
	u.marks[n] = u.mark
	d := &u.nodes[n]
	if len(d.edges) > 0 || d.rule >= 0 {
		set = append(set, n)
	}
	for _, e := range d.eps {
		set = u.reach(e, set)
	}
	return set
}

// step is where the nodes of a set get by one byte, in order.
func (u *Union) step(set []int32, more []int32, c byte) []int32 {
	u.mark++
	var out []int32
	for _, n := range set {
		for _, e := range u.nodes[n].edges {
			if e.lo <= c && c <= e.hi {
				out = u.reach(e.to, out)
			}
		}
	}
	for _, n := range more {
		if u.marks[n] != u.mark {
			u.marks[n] = u.mark
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}
