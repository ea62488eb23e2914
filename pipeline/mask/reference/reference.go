// SPDX-License-Identifier: Apache-2.0

// Package reference finds the spans of rules in a whole text in the plainest way. It is what the words of pipeline/mask/rule mean, and what
// tests compare the engine of pipeline/mask with. It is slow and only for tests and for the making of rules.
package reference

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// Names is the stage that finds names in one segment; offsets are those of the segment.
type Names func(segment []byte) []rule.Span

// Set is a list of rules that can be run.
type Set struct {
	rules []*compiled
	names Names
}

type compiled struct {
	*rule.Rule
	longest *regexp.Regexp // anchored at the start
	whole   *regexp.Regexp // anchored at both ends
	bound   int
}

// New compiles rules; names may be nil.
func New(rules []*rule.Rule, names Names) (*Set, error) {
	s := &Set{names: names}
	for _, r := range rules {
		_, bound, err := r.Compile()
		if err != nil {
			return nil, err
		}
		c := &compiled{Rule: r, bound: bound}
		if c.longest, err = regexp.Compile(`\A(?:` + r.Pattern + `)`); err != nil {
			return nil, err
		}
		c.longest.Longest()
		if c.whole, err = regexp.Compile(`\A(?:` + r.Pattern + `)\z`); err != nil {
			return nil, err
		}
		s.rules = append(s.rules, c)
	}
	return s, nil
}

// Find returns what is to be masked, in order, without overlaps. Spans of the family Allowed are among them.
func (s *Set) Find(text []byte) []rule.Span {
	var out []rule.Span
	for at := 0; at < len(text); {
		open, ok := s.open(text[at:])
		end := len(text)
		if ok {
			end = at + open.Start
		}
		for _, f := range s.segment(text[at:end]) {
			out = append(out, rule.Span{Start: at + f.Start, End: at + f.End, Rule: f.Rule})
		}
		if !ok {
			break
		}
		out = append(out, rule.Span{Start: end, End: at + open.End, Rule: open.Rule})
		at += open.End
	}
	return out
}

// open finds the first value of an open rule.
func (s *Set) open(text []byte) (rule.Span, bool) {
	esc, inner := escapes(text)
	best := rule.Span{End: len(text) + 1}
	for _, r := range s.rules {
		if r.Tail == nil {
			continue
		}
		for p := range text {
			if p >= best.End {
				break
			}
			if inner[p] || text[p]&0xC0 == 0x80 || p > 0 && !esc[p-1] && r.Left.Has(text[p-1]) || r.longest.Find(text[p:]) == nil {
				continue
			}
			for e := p + 1; e <= min(len(text), p+r.bound, best.End); e++ {
				if cut(text[p:e]) || !r.whole.Match(text[p:e]) || r.Right != (rule.Class{}) && e < len(text) && r.Right.Has(text[e]) {
					continue
				}
				if _, _, ok := r.check(text, p, e); ok {
					if e < best.End || e == best.End && p < best.Start {
						best = rule.Span{Start: p, End: e, Rule: r.Rule}
					}
					break
				}
			}
		}
	}
	if best.Rule == nil {
		return best, false
	}
	best.End = tail(text, best.End, best.Rule.Tail)
	return best, true
}

// cut tells whether b ends in the first bytes of a rune that needs more.
func cut(b []byte) bool {
	for i := 1; i <= min(len(b), utf8.UTFMax); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			return !utf8.FullRune(b[len(b)-i:])
		}
	}
	return false
}

func tail(text []byte, e int, t *rule.Tail) int {
	if t.Until != "" {
		for p := e; p < len(text) && t.Class.Has(text[p]); p++ {
			if bytes.HasSuffix(text[e:p+1], []byte(t.Until)) {
				return p + 1
			}
			if p+1 == len(text) || !t.Class.Has(text[p+1]) {
				return p + 1
			}
		}
		return e
	}
	for e < len(text) {
		switch {
		case t.Class.Has(text[e]):
			e++
		case t.Joint.Has(text[e]) && t.Class.Has(text[e-1]) && e+1 < len(text) && t.Class.Has(text[e+1]):
			e++
		case text[e] == '\\' && t.Class.Has(text[e-1]) && e+1 < len(text) && t.Escaped.Has(text[e+1]):
			e += 2
		default:
			return e
		}
	}
	return e
}

// check asks about the match [p, e).
func (r *compiled) check(text []byte, p, e int) (from, to int, ok bool) {
	if r.Check == nil {
		return p, e, true
	}
	from, to, ok = r.Check(text[max(0, p-rule.Context):p], text[p:e])
	return p + from, p + to, ok && from < to
}

// segment runs the closed rules.
func (s *Set) segment(text []byte) []rule.Span {
	esc, inner := escapes(text)
	var all []rule.Span
	for _, r := range s.rules {
		if r.Tail != nil {
			continue
		}
		for p := 0; p < len(text); {
			next := p + 1
			if !inner[p] && text[p]&0xC0 != 0x80 && (p == 0 || esc[p-1] || !r.Left.Has(text[p-1])) {
				if m := r.longest.FindIndex(text[p:]); m != nil {
					e := p + m[1]
					if e == len(text) || !r.Right.Has(text[e]) {
						if from, to, ok := r.check(text, p, e); ok {
							all = append(all, rule.Span{Start: from, End: to, Rule: r.Rule})
							next = max(next, to)
						}
					}
				}
			}
			p = next
		}
	}
	if s.names != nil {
		all = append(all, s.names(text)...)
	}
	return Resolve(text, all)
}

// Resolve makes spans that overlap into spans that do not. Spans of one rule, and of rules in the list's order, come in that order.
func Resolve(text []byte, all []rule.Span) []rule.Span {
	slices.SortStableFunc(all, func(a, b rule.Span) int {
		return cmp.Or(cmp.Compare(a.Rule.Family, b.Rule.Family), cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End))
	})
	owner := make([]int, len(text)) // index into all, plus one
	for i, s := range all {
		for p := s.Start; p < s.End; p++ {
			if owner[p] == 0 {
				owner[p] = i + 1
			}
		}
	}
	var out []rule.Span
	for p := 0; p < len(text); {
		e := p + 1
		for e < len(text) && owner[e] == owner[p] {
			e++
		}
		if o := owner[p]; o > 0 {
			whole := all[o-1].Start == p && all[o-1].End == e
			if whole || slices.ContainsFunc(text[p:e], func(c byte) bool { return rule.Any.Has(c) }) {
				out = append(out, rule.Span{Start: p, End: e, Rule: all[o-1].Rule})
			}
		}
		p = e
	}
	return out
}

// escapes marks the bytes of escapes behind which a match may begin, and those at which none may: of the escapes of JSON, all but the backslash.
func escapes(text []byte) (out, inner []bool) {
	out, inner = make([]bool, len(text)), make([]bool, len(text))
	for i := 0; i < len(text); {
		n, colours := 1, text[i] == 0x1b
		switch m := escape.FindSubmatchIndex(text[i:]); {
		case m == nil:
		case m[2] >= 0 || m[4] >= 0: // of JSON
			n, colours = m[1], m[4] >= 0 && bytes.LastIndexByte(text[i:i+m[1]], 'u') == m[1]-5
			slashes := bytes.IndexFunc(text[i:], func(c rune) bool { return c != '\\' })
			for k := range n {
				out[i+k], inner[i+k] = true, k%2 == 1 || k >= slashes && (m[4] >= 0 || slashes%2 == 1)
			}
		case m[6] >= 0: // \x
			n, colours = m[1], m[1] > m[7]
			for k := range m[7] {
				out[i+k], inner[i+k] = true, k%2 == 1
			}
			out[i+n-1] = true
		default: // of URLs
			n = m[1]
			out[i+n-1] = true
			out[i+2] = true
		}
		if i += n; colours {
			if c := colour.Find(text[i:]); c != nil {
				i += len(c)
				out[i-1] = true
			}
		}
	}
	return out, inner
}

var (
	escape = regexp.MustCompile(`\A(?:(\\+["/bfnrt])|(\\+u[0-9a-fA-F]{0,4})|(\\+)(?:x[0-9a-fA-F]{2})?|%25[0-9a-fA-F]{2}|%[0-9a-fA-F]{2})`)
	colour = regexp.MustCompile(`\A\[[0-9;]*[A-Za-z]`)
)
