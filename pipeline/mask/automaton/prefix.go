// SPDX-License-Identifier: Apache-2.0

package automaton

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

const (
	shortest = 3   // a beginning with fewer bytes says too little
	longest  = 16  // runes that are looked at
	most     = 512 // beginnings of one pattern
)

// letter is a rune of a beginning; fold: in any case.
type letter struct {
	r    rune
	fold bool
}

// Prefixes makes a pattern of the texts that matches of re begin with; ok is false if they are too many, or too short to say much.
func Prefixes(re *syntax.Regexp) (_ *syntax.Regexp, ok bool) {
	list, _ := begins(re)
	if len(list) == 0 {
		return nil, false
	}
	var kept [][]letter
	slices.SortFunc(list, func(a, b []letter) int { return len(a) - len(b) })
	for _, l := range list {
		n := 0
		for _, c := range l {
			n += utf8.RuneLen(c.r)
		}
		if n < shortest {
			return nil, false
		}
		if !slices.ContainsFunc(kept, func(k []letter) bool { return covers(k, l) }) {
			kept = append(kept, l)
		}
	}
	alt := &syntax.Regexp{Op: syntax.OpAlternate, Flags: syntax.Perl}
	for _, l := range kept {
		cat := &syntax.Regexp{Op: syntax.OpConcat, Flags: syntax.Perl}
		for _, c := range l {
			one := &syntax.Regexp{Op: syntax.OpLiteral, Flags: syntax.Perl, Rune: []rune{c.r}}
			if c.fold {
				one.Flags |= syntax.FoldCase
			}
			cat.Sub = append(cat.Sub, one)
		}
		alt.Sub = append(alt.Sub, cat)
	}
	return alt, true
}

// covers tells whether every text that begins with b begins with a.
func covers(a, b []letter) bool {
	for i, c := range a {
		if c.fold && !slices.Contains(orbit(c.r, syntax.FoldCase), b[i].r) || !c.fold && (b[i].fold || b[i].r != c.r) {
			return false
		}
	}
	return true
}

// begins lists the beginnings of matches; exact: they are the whole matches.
func begins(re *syntax.Regexp) (list [][]letter, exact bool) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return [][]letter{nil}, true
	case syntax.OpLiteral:
		var l []letter
		for _, r := range re.Rune[:min(len(re.Rune), longest)] {
			l = append(l, letter{r, re.Flags&syntax.FoldCase != 0})
		}
		return [][]letter{l}, len(l) == len(re.Rune)
	case syntax.OpCharClass:
		n := 0
		for i := 0; i < len(re.Rune); i += 2 {
			n += int(re.Rune[i+1] - re.Rune[i] + 1)
		}
		if n > 4 {
			return [][]letter{nil}, false
		}
		for i := 0; i < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				list = append(list, []letter{{r, false}})
			}
		}
		return list, true
	case syntax.OpCapture:
		return begins(re.Sub[0])
	case syntax.OpQuest:
		list, exact = begins(re.Sub[0])
		return append(list, nil), exact
	case syntax.OpAlternate:
		exact = true
		for _, s := range re.Sub {
			l, x := begins(s)
			list, exact = append(list, l...), exact && x
		}
		return list, exact
	case syntax.OpConcat:
		list, exact = [][]letter{nil}, true
		for _, s := range re.Sub {
			more, x := begins(s)
			if len(list)*len(more) > most {
				return list, false
			}
			var next [][]letter
			for _, a := range list {
				for _, b := range more {
					l := append(slices.Clone(a), b...)
					if len(l) > longest {
						l, x = l[:longest], false
					}
					next = append(next, l)
				}
			}
			list = next
			if !x {
				return list, false
			}
		}
		return list, exact
	case syntax.OpRepeat:
		if re.Min == 1 && re.Max >= 1 {
			list, exact = begins(re.Sub[0])
			return list, exact && re.Max == 1
		}
	}
	return [][]letter{nil}, false
}

// Trigger is a pattern that matches a beginning of every match of re: as much of it as has at least k runes.
func Trigger(re *syntax.Regexp, k int) *syntax.Regexp {
	t, _ := trigger(re, k)
	return shorten(t)
}

// shorten takes from the end of a pattern what need not be there: something at the start of a text matches it as before.
func shorten(re *syntax.Regexp) *syntax.Regexp {
	switch re.Op {
	case syntax.OpCapture:
		return shorten(re.Sub[0])
	case syntax.OpQuest:
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}
	case syntax.OpRepeat:
		if re.Min == 0 {
			return &syntax.Regexp{Op: syntax.OpEmptyMatch}
		}
		return &syntax.Regexp{Op: syntax.OpRepeat, Flags: re.Flags, Min: re.Min, Max: re.Min, Sub: re.Sub}
	case syntax.OpAlternate:
		a := &syntax.Regexp{Op: syntax.OpAlternate, Flags: re.Flags}
		for _, s := range re.Sub {
			a.Sub = append(a.Sub, shorten(s))
		}
		return a
	case syntax.OpConcat:
		for n := len(re.Sub); n > 0; n-- {
			if last := shorten(re.Sub[n-1]); last.Op != syntax.OpEmptyMatch {
				return &syntax.Regexp{Op: syntax.OpConcat, Flags: re.Flags, Sub: append(slices.Clone(re.Sub[:n-1]), last)}
			}
		}
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}
	}
	return re
}

// trigger returns besides how many runes of the k are still to come: as long as there are, what it returns is re itself.
func trigger(re *syntax.Regexp, k int) (*syntax.Regexp, int) {
	if k <= 0 {
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}, 0
	}
	switch re.Op {
	case syntax.OpLiteral:
		if len(re.Rune) <= k {
			return re, k - len(re.Rune)
		}
		return &syntax.Regexp{Op: syntax.OpLiteral, Flags: re.Flags, Rune: re.Rune[:k]}, 0
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return re, k - 1
	case syntax.OpCapture:
		return trigger(re.Sub[0], k)
	case syntax.OpQuest:
		return re, k
	case syntax.OpConcat:
		c := &syntax.Regexp{Op: syntax.OpConcat, Flags: re.Flags}
		for _, s := range re.Sub {
			if k <= 0 {
				break
			}
			var t *syntax.Regexp
			t, k = trigger(s, k)
			c.Sub = append(c.Sub, t)
		}
		return c, k
	case syntax.OpAlternate:
		a := &syntax.Regexp{Op: syntax.OpAlternate, Flags: re.Flags}
		left := 0
		for _, s := range re.Sub {
			t, l := trigger(s, k)
			a.Sub = append(a.Sub, t)
			left = max(left, l)
		}
		if left > 0 {
			return re, left
		}
		return a, 0
	case syntax.OpRepeat:
		if re.Min == 0 {
			return re, k
		}
		c := &syntax.Regexp{Op: syntax.OpConcat, Flags: re.Flags}
		for i := 0; i < re.Min; i++ {
			if k <= 0 {
				return c, 0
			}
			var t *syntax.Regexp
			t, k = trigger(re.Sub[0], k)
			c.Sub = append(c.Sub, t)
		}
		if k > 0 && re.Max > re.Min {
			c.Sub = append(c.Sub, &syntax.Regexp{Op: syntax.OpRepeat, Flags: re.Flags, Min: 0, Max: re.Max - re.Min, Sub: re.Sub})
		}
		return c, k
	}
	return re, 0
}
