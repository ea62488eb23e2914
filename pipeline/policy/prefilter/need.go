// SPDX-License-Identifier: Apache-2.0

package prefilter

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what is read from one expression.
const (
	maxLiteral = 24 // bytes of a literal that count
	minLiteral = 2
	maxChoices = 64 // literals of which one is needed
)

// need is what a text must have for an expression to match it: all of the parts, or one of the choices, or a literal (in lower
// case). nil asks for nothing.
type need struct {
	literal string
	index   int32
	all     []*need
	choices []*need
}

// needOf reads from a simplified expression what every match has.
func needOf(re *syntax.Regexp) *need {
	switch re.Op {
	case syntax.OpLiteral, syntax.OpCharClass:
		return concat([]*syntax.Regexp{re})
	case syntax.OpCapture, syntax.OpPlus:
		return needOf(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return needOf(re.Sub[0])
		}
	case syntax.OpConcat:
		return concat(re.Sub)
	case syntax.OpAlternate:
		n := &need{}
		for _, s := range re.Sub {
			c := needOf(s)
			if c == nil || len(n.choices) >= maxChoices {
				return nil
			}
			n.choices = append(n.choices, c)
		}
		return n
	}
	return nil
}

// concat joins the letters of neighbours into literals and asks for all of what they need.
func concat(subs []*syntax.Regexp) *need {
	n := &need{}
	var run []byte
	flush := func() {
		if len(run) >= minLiteral {
			n.all = append(n.all, &need{literal: string(run[:min(len(run), maxLiteral)])})
		}
		run = run[:0]
	}
	longer := func(next *syntax.Regexp) { // a short literal tells more with what follows it
		if len(run) != minLiteral {
			return
		}
		if set := firstOf(next); set != nil {
			c := &need{}
			for _, b := range set {
				c.choices = append(c.choices, &need{literal: string(run) + string(rune(b))})
			}
			n.all = append(n.all, c)
			run = run[:0]
		}
	}
	for _, s := range flat(nil, subs) {
		if s.Op == syntax.OpLiteral || s.Op == syntax.OpCharClass {
			if !letters(s, func(b []byte) bool { run = append(run, b...); return true }, flush) {
				longer(s)
				flush()
			}
			continue
		}
		if zeroWidth(s) {
			continue
		}
		longer(s)
		flush()
		if a := needOf(s); a != nil {
			n.all = append(n.all, a)
		}
	}
	flush()
	switch len(n.all) {
	case 0:
		return nil
	case 1:
		return n.all[0]
	}
	return n
}

// flat opens captures and sequences in sequences.
func flat(out, subs []*syntax.Regexp) []*syntax.Regexp {
	for _, s := range subs {
		switch s.Op {
		case syntax.OpConcat, syntax.OpCapture:
			out = flat(out, s.Sub)
		default:
			out = append(out, s)
		}
	}
	return out
}

func zeroWidth(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return true
	}
	return false
}

// letters gives the bytes, in lower case, of a literal or of a class that is one ASCII letter in both cases. It calls broke
// where a character has several forms in bytes: beyond ASCII without case, and the replacement character, which any broken byte
// matches. The two characters beyond ASCII that k and s match without case are seen to by Scan. false: re is no such thing.
func letters(re *syntax.Regexp, add func([]byte) bool, broke func()) bool {
	if re.Op == syntax.OpCharClass {
		c, ok := oneLetter(re.Rune)
		return ok && add([]byte{c})
	}
	for _, r := range re.Rune {
		switch {
		case r < utf8.RuneSelf:
			add([]byte{lower[byte(r)]})
		case r == 0x212a: // as Scan turns them
			add([]byte{'k'})
		case r == 0x17f:
			add([]byte{'s'})
		case r == utf8.RuneError || re.Flags&syntax.FoldCase != 0:
			broke()
		default:
			add(utf8.AppendRune(nil, r))
		}
	}
	return true
}

// firstOf lists the few ASCII characters, in lower case, that a match of re begins with; nil if there are many or it may be empty.
func firstOf(re *syntax.Regexp) (set []byte) {
	switch re.Op {
	case syntax.OpCapture, syntax.OpPlus:
		return firstOf(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return firstOf(re.Sub[0])
		}
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			if re.Rune[i+1] >= utf8.RuneSelf {
				return nil
			}
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if l := lower[byte(r)]; !slices.Contains(set, l) {
					set = append(set, l)
				}
			}
			if len(set) > 6 {
				return nil
			}
		}
	}
	return set
}

// oneLetter finds the ASCII character that all characters of a class are, case and the two of Unicode that fold to it aside.
func oneLetter(ranges []rune) (c byte, ok bool) {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] > 1 {
			return 0, false
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			l := byte(0)
			switch {
			case r == 0x212a:
				l = 'k'
			case r == 0x17f:
				l = 's'
			case r < utf8.RuneSelf:
				l = lower[byte(r)]
			default:
				return 0, false
			}
			if ok && l != c {
				return 0, false
			}
			c, ok = l, true
		}
	}
	return c, ok
}

// starts lists the literals of which one stands at the start of every match; nil if that cannot be said.
func starts(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpCapture, syntax.OpPlus:
		return starts(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return starts(re.Sub[0])
		}
	case syntax.OpAlternate:
		var out []string
		for _, s := range re.Sub {
			one := starts(s)
			if one == nil || len(out)+len(one) > maxChoices {
				return nil
			}
			out = append(out, one...)
		}
		return out
	case syntax.OpLiteral, syntax.OpCharClass, syntax.OpConcat:
		var run []byte
		subs := flat(nil, []*syntax.Regexp{re})
		for i, s := range subs {
			if zeroWidth(s) {
				continue
			}
			if s.Op == syntax.OpLiteral || s.Op == syntax.OpCharClass {
				broken := false
				if letters(s, func(b []byte) bool {
					if !broken {
						run = append(run, b...)
					}
					return true
				}, func() { broken = true }) && !broken {
					continue
				}
			}
			if len(run) == 0 && i+1 <= len(subs) && s.Op != syntax.OpLiteral && s.Op != syntax.OpCharClass {
				return starts(s)
			}
			if len(run) == minLiteral {
				var out []string
				for _, b := range firstOf(s) {
					out = append(out, string(run)+string(rune(b)))
				}
				if out != nil {
					return out
				}
			}
			break
		}
		if len(run) >= minLiteral {
			return []string{string(run[:min(len(run), maxLiteral)])}
		}
	}
	return nil
}

// leaves lists the literals of a need.
func (n *need) leaves(out []*need) []*need {
	if n == nil {
		return out
	}
	if n.literal != "" {
		return append(out, n)
	}
	for _, a := range n.all {
		out = a.leaves(out)
	}
	for _, c := range n.choices {
		out = c.leaves(out)
	}
	return out
}

// best picks literals of which every match has one, those that are the least likely to be met by chance.
func (n *need) best() []*need {
	switch {
	case n == nil:
		return nil
	case n.literal != "":
		return []*need{n}
	case n.choices != nil:
		var out []*need
		for _, c := range n.choices {
			b := c.best()
			if b == nil {
				return nil
			}
			out = append(out, b...)
		}
		return out
	}
	var out []*need
	for _, a := range n.all {
		if b := a.best(); b != nil && (out == nil || shortest(b) > shortest(out) || shortest(b) == shortest(out) && len(b) < len(out)) {
			out = b
		}
	}
	return out
}

func shortest(in []*need) int {
	return len(slices.MinFunc(in, func(a, b *need) int { return len(a.literal) - len(b.literal) }).literal)
}

// met says whether a text with these literals has what is needed.
func (n *need) met(has func(int32) bool) bool {
	if n == nil {
		return true
	}
	if n.literal != "" {
		return n.index < 0 || has(n.index)
	}
	for _, a := range n.all {
		if !a.met(has) {
			return false
		}
	}
	return len(n.choices) == 0 || slices.ContainsFunc(n.choices, func(c *need) bool { return c.met(has) })
}

// lower folds the case of ASCII letters and leaves other bytes.
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// unfold turns the two characters that k and s match without case into these, so that literals are found. It changes offsets.
var unfold = strings.NewReplacer("\u212a", "k", "\u017f", "s")
