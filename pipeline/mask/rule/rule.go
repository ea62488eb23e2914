// SPDX-License-Identifier: Apache-2.0

// Package rule is the vocabulary of masking: what a rule says about a kind of value, and what is found by it. It does not scan:
// pipeline/mask does, fast and on streams, and pipeline/mask/reference does it slowly, on whole texts, in the plainest way. Both
// give the same spans: the semantics below are those of reference, which tests hold pipeline/mask to.
//
// # Open rules
//
// A rule with a Tail is open: its Pattern is a head that decides. The text is read from the left. The first head that is complete
// (smallest end, which is not in the middle of a rune; of those the smallest start; of those the first in the list of rules) is a value, which goes on for as long as
// the tail does. What follows begins afresh, as a text of its own. So the values of open rules cut the text into segments.
//
// # Closed rules
//
// All other rules are closed. Each is run on each segment by itself: from the left, at each place where the byte before lets it,
// the longest match of Pattern is taken, then the byte after and Check are asked. If both agree the rule has found a span, and goes
// on behind it; if not, it goes on at the next byte.
//
// # Overlaps
//
// Spans of closed rules, and of the names stage, may overlap. Of two, that of the smaller Family claims the bytes; within a family
// that which starts first, then the longer one, then the first in the list. What is left of the other one is a span of its own, if a
// letter or a digit is in it: whatever is found is covered.
package rule

import (
	"errors"
	"fmt"
	"regexp/syntax"
)

// Context is how many bytes before a match Check is shown, at most. They are of the same segment. So many, because the heading of a table
// is to be in sight of its first rows.
const Context = 400

// MaxBound is the longest match that a rule may have, in bytes: the most that it can hold back.
const MaxBound = 1024

// Family orders rules where their spans overlap.
type Family uint8

const (
	Allowed    Family = iota // what is left as it is
	Secret                   // keys, tokens, passwords
	Structured               // personal data that has a form: addresses of mail, numbers
	Address                  // where people live
	Name                     // of people
)

// Rule says what one kind of value looks like.
type Rule struct {
	Name   string // of the rule, unique: "github-token"
	Type   string // what is found: "GITHUB_TOKEN"; stands in the tag
	Family Family
	Why    string // for people, in a few words, what gives such a value away; it holds no value
	With   string // what stands in place of a value that is tagged; "" is the type in brackets

	// Pattern is a regular expression (RE2 syntax, over bytes of UTF-8) without anchors, word boundaries or laziness. Its longest
	// match is bounded (MaxBound) and its shortest is not empty.
	Pattern string

	// Left and Right are bytes that must not stand directly before or after a match. An escape before a match is taken for a separator, so
	// its last byte is in no Left: texts in texts have such. Escapes are those of JSON (\n, \u00e9; with more backslashes, in JSON in JSON), \x1b,
	// those of URLs (%3A, %253A) and of colours on terminals (ESC[32m). No match begins behind the backslash in one of JSON, nor in the
	// middle of a rune.
	Left, Right Class

	// Check is asked about a match, with up to Context bytes that stand before it, and says which part of the match is the value, or
	// that there is none. It must be fast, keep nothing, not allocate, and not depend on anything but its arguments. nil: all of the match.
	// Of an open rule it is asked each time that the head might be complete, as it grows; what it says about parts is not used.
	Check func(left, match []byte) (from, to int, ok bool)

	// Begins is asked about places where a match may begin, with what stands before them as Check is. Where it says no, Check must refuse every match:
	// so nothing need be held there. nil: a match may begin anywhere. It is not for open rules.
	Begins func(left []byte) bool

	// Tail makes the rule open.
	Tail *Tail
}

// Tag is what stands in place of a value that is tagged.
func (r *Rule) Tag() string {
	if r.With != "" {
		return r.With
	}
	return "[" + r.Type + "]"
}

// Tail says how far the value of an open rule goes on behind its head: over all bytes of Class and over single bytes of Joint that have
// bytes of Class on both sides; with Until, to the end of the first Until, if it gets there.
//
// Escaped bytes belong to it behind a backslash too, as Markdown has them.
type Tail struct {
	Class, Joint Class
	Escaped      Class
	Until        string
}

// Span is what was found: bytes [Start, End) of the text.
type Span struct {
	Start, End int
	Rule       *Rule
}

// Compile checks a rule and returns its pattern and the length of its longest match in bytes.
func (r *Rule) Compile() (*syntax.Regexp, int, error) {
	re, err := syntax.Parse(r.Pattern, syntax.Perl)
	if err != nil {
		return nil, 0, fmt.Errorf("rule %s: %w", r.Name, err)
	}
	lo, hi, err := Length(re)
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("rule %s: %w", r.Name, err)
	case lo == 0:
		return nil, 0, fmt.Errorf("rule %s: the pattern matches the empty text", r.Name)
	case hi > MaxBound:
		return nil, 0, fmt.Errorf("rule %s: a match may have %d bytes, which would all be held back; at most %d are allowed", r.Name, hi, MaxBound)
	}
	return re, hi, nil
}

// Length is the length in bytes of the shortest and the longest match. It is an error if there is no longest one, or if the pattern has
// what a rule must not have.
func Length(re *syntax.Regexp) (lo, hi int, err error) {
	switch re.Op {
	case syntax.OpNoMatch:
		return 0, 0, errors.New("the pattern matches nothing")
	case syntax.OpEmptyMatch:
		return 0, 0, nil
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			a, b := size(c), size(c)
			if re.Flags&syntax.FoldCase != 0 { // the Kelvin sign and the long s fold to one byte
				a, b = 1, 4
				if c < 0x80 && c != 'k' && c != 'K' && c != 's' && c != 'S' {
					b = 1
				} else if c < 0x80 {
					b = 3
				}
			}
			lo, hi = lo+a, hi+b
		}
		return lo, hi, nil
	case syntax.OpCharClass:
		lo, hi = 4, 1
		for i := 0; i < len(re.Rune); i += 2 {
			lo, hi = min(lo, size(re.Rune[i])), max(hi, size(re.Rune[i+1]))
		}
		return lo, hi, nil
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1, 4, nil
	case syntax.OpCapture:
		return Length(re.Sub[0])
	case syntax.OpQuest:
		_, hi, err = Length(re.Sub[0])
		return 0, hi, err
	case syntax.OpRepeat:
		if re.Max < 0 {
			return 0, 0, errors.New("a repeat has no maximum, so text would be held back without bound: write {1,64} for +")
		}
		lo, hi, err = Length(re.Sub[0])
		return lo * re.Min, hi * re.Max, err
	case syntax.OpStar, syntax.OpPlus:
		return 0, 0, errors.New("a repeat has no maximum, so text would be held back without bound: write {0,64} for * and {1,64} for +")
	case syntax.OpConcat:
		for _, s := range re.Sub {
			a, b, err := Length(s)
			if err != nil {
				return 0, 0, err
			}
			lo, hi = lo+a, hi+b
		}
		return lo, hi, nil
	case syntax.OpAlternate:
		lo = 1 << 30
		for _, s := range re.Sub {
			a, b, err := Length(s)
			if err != nil {
				return 0, 0, err
			}
			lo, hi = min(lo, a), max(hi, b)
		}
		return lo, hi, nil
	}
	return 0, 0, errors.New("anchors and word boundaries are not for patterns of rules: say what must not stand before and after instead")
}

func size(r rune) int {
	switch {
	case r < 0x80:
		return 1
	case r < 0x800:
		return 2
	case r < 0x10000:
		return 3
	}
	return 4
}
