// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"regexp/syntax"
)

// MaxStates is how many states the automaton of one pattern that people wrote may have, its repeats written out, and the ranges of letters that take
// several bytes each on their own. They cost memory, and time wherever the pattern may begin.
const MaxStates = 1 << 14

// Written reads an expression that people wrote, and gives the pattern, Left and Right of a closed rule. A \b at an end of the expression becomes what
// must not stand there. The error says what keeps the expression from being a rule, and how to mend it.
func Written(expr string) (pattern string, left, right Class, bound int, err error) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return "", left, right, 0, err
	}
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	if re.Op == syntax.OpConcat {
		if n := len(re.Sub); n > 1 && re.Sub[0].Op == syntax.OpWordBoundary {
			if !wordAt(re.Sub[1], true) {
				return "", left, right, 0, fmt.Errorf(`\b at the start stands before something that need not be a letter, a digit or _: leave it out`)
			}
			left, re.Sub = Word, re.Sub[1:]
		}
		if n := len(re.Sub); n > 1 && re.Sub[n-1].Op == syntax.OpWordBoundary {
			if !wordAt(re.Sub[n-2], false) {
				return "", left, right, 0, fmt.Errorf(`\b at the end stands behind something that need not be a letter, a digit or _: leave it out`)
			}
			right, re.Sub = Word, re.Sub[:n-1]
		}
	}
	if lazy(re) {
		return "", left, right, 0, fmt.Errorf("a repeat is lazy (??, *?, +?, {…}?), but the longest match counts: take the ? away")
	}
	r := Rule{Name: "pattern", Pattern: re.String()}
	lo, bound, err := Length(re)
	switch {
	case err != nil:
		return "", left, right, 0, err
	case lo == 0:
		return "", left, right, 0, fmt.Errorf("it matches the empty text: have it demand at least one character")
	case bound > MaxBound:
		return "", left, right, 0, fmt.Errorf("a match may have %d bytes, which would all be held back: at most %d are allowed, so give its repeats a smaller maximum", bound, MaxBound)
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return "", left, right, 0, err
	}
	if n := states(prog); n > MaxStates {
		return "", left, right, 0, fmt.Errorf("it needs %d states, which is too slow: at most %d are allowed, so make two of it, or give its repeats a smaller maximum", n, MaxStates)
	}
	if _, _, err := r.Compile(); err != nil { // what was written out again is what was read
		return "", left, right, 0, err
	}
	return r.Pattern, left, right, bound, nil
}

func states(p *syntax.Prog) int {
	n := len(p.Inst)
	for i := range p.Inst {
		for j := 0; j+1 < len(p.Inst[i].Rune); j += 2 {
			if p.Inst[i].Rune[j+1] >= 0x80 {
				n++
			}
		}
	}
	return n
}

// wordAt tells whether all that matches begins, or ends, with a letter, a digit or _.
func wordAt(re *syntax.Regexp, begin bool) bool {
	switch re.Op {
	case syntax.OpLiteral:
		c := re.Rune[len(re.Rune)-1]
		if begin {
			c = re.Rune[0]
		}
		return c < 0x80 && Word.Has(byte(c)) && (re.Flags&syntax.FoldCase == 0 || c != 'k' && c != 'K' && c != 's' && c != 'S')
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			for c := re.Rune[i]; c <= re.Rune[i+1]; c++ {
				if c >= 0x80 || !Word.Has(byte(c)) {
					return false
				}
			}
		}
		return true
	case syntax.OpCapture:
		return wordAt(re.Sub[0], begin)
	case syntax.OpRepeat:
		return re.Min > 0 && wordAt(re.Sub[0], begin)
	case syntax.OpPlus:
		return wordAt(re.Sub[0], begin)
	case syntax.OpConcat:
		if begin {
			return wordAt(re.Sub[0], begin)
		}
		return wordAt(re.Sub[len(re.Sub)-1], begin)
	case syntax.OpAlternate:
		for _, s := range re.Sub {
			if !wordAt(s, begin) {
				return false
			}
		}
		return true
	}
	return false
}

func lazy(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		if re.Flags&syntax.NonGreedy != 0 {
			return true
		}
	}
	for _, s := range re.Sub {
		if lazy(s) {
			return true
		}
	}
	return false
}
