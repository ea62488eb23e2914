// SPDX-License-Identifier: Apache-2.0

package token

// MaxSpan is the length of the longest span in bytes: what goes on behind it is a span of its own.
const MaxSpan = 128

// Bound is how far a Sequence is behind the text at most: a span that may go on, the token that is being decided, those behind it,
// the gaps between them, and the rest of a character.
const Bound = MaxSpan + (1+Ahead)*(MaxGap+MaxWord) + 2*runeMax

// Decider decides about tokens one by one, in order.
type Decider interface {
	Decide(v *View) Tag
}

// Found is a span.
type Found struct {
	Start, End int
	Tag        Tag
}

const (
	ringSize = 8
	ringMask = ringSize - 1
	seenSize = 256
)

// Sequence decides about the tokens of one text, each as soon as Ahead more are known, and makes spans of them.
type Sequence struct {
	By    Decider
	Lists *Lists

	ring [ringSize]Token
	keys [ringSize]uint32
	tags [ringSize]Tag
	n    int // tokens read
	d    int // tokens decided
	key  uint32

	open  Found // Tag is Other: none
	run   int
	weak  bool             // all of it is numbers, or it is one letter, or one accented word in lower case: no name or address by itself
	low   bool             // it begins with a short word in lower case that is no usual name
	cutAt int              // where the text ended in a word, perhaps a part of one; 0: nowhere
	last  int              // where the last address ended
	seen  [seenSize]uint32 // upper 30 bits of a hash, and a tag
	Spans []Found          // complete ones; the user takes them away
	view  View             // of the decision that is being made
}

// Reset begins a new text.
func (s *Sequence) Reset() {
	// Before the text are breaks.
	*s = Sequence{By: s.By, Lists: s.Lists, Spans: s.Spans[:0], n: ringSize, d: ringSize}
}

// Settled is the place before which no span begins that is still to come, if pending is the place before which no token does. gap stands before
// the word that has begun at pending, and is 0 if none has.
func (s *Sequence) Settled(pending int, gap uint16) int {
	if s.open.Tag != Other {
		return s.open.Start
	}
	if s.d < s.n {
		t := &s.ring[s.d&ringMask]
		if s.n-s.d == 1 && s.tags[(s.d-1)&ringMask] == Other && !t.Number() && called(t, pending, gap) {
			return pending // what is called is hopeless, whatever the next word will be
		}
		return t.Start
	}
	return pending
}

// Push reads a token.
func (s *Sequence) Push(t *Token) {
	if t.Gap&gapLine != 0 || t.Shape == Break {
		s.key = 0
	}
	if g := t.Gap & 31; g == inColon || g == inEqual || t.Gap>>5&31 == inColon {
		s.key = s.ring[(s.n-1)&ringMask].Hash
	}
	i := s.n & ringMask
	s.ring[i], s.keys[i] = *t, s.key
	t = &s.ring[i]
	switch {
	case t.Shape == Lower && !s.Lists.hot(t.Hash):
		if s.d == s.n && s.tags[(s.n-1)&ringMask] == Other && s.open.Tag == Other { // it is no candidate, and nobody waits for it
			s.tags[i], s.run = Other, 0
			s.n++
			s.d++
			return
		}
	default:
		s.look(t)
	}
	s.n++
	s.decide(t.Shape == Break)
}

// Finish decides about what is left: the text has ended. word tells that it ended in a word, key that it ended behind a key of JSON.
func (s *Sequence) Finish(word, key bool) {
	if word {
		s.cutAt = s.ring[(s.n-1)&ringMask].End
	}
	end := Token{}
	if key {
		end.Key = behindKey
	}
	s.Push(&end)
	s.close(key)
}

// decide decides about all tokens of which enough is known.
func (s *Sequence) decide(all bool) {
	for s.d < s.n {
		t := &s.ring[s.d&ringMask]
		before := s.tags[(s.d-1)&ringMask]
		tag := Other
		if s.goesOn(t) { // the word before has not ended
			tag = s.open.Tag
			s.tags[s.d&ringMask] = tag
			s.d++
			s.extend(t, tag, true)
			continue
		}
		if before != Other {
			s.look(t)
		}
		if l := &s.ring[(s.d-1)&ringMask]; Candidate(t, l, before) {
			if known := s.n - s.d; known > Ahead || all {
				tag = s.ask(t)
			} else if before != Other || t.Number() || !s.early(l, t, known) {
				return
			}
		}
		s.tags[s.d&ringMask] = tag
		s.d++
		s.extend(t, tag, false)
	}
}

// early tells whether t, behind l, is hopeless whatever follows the tokens that are known, which are it and perhaps the one behind it.
func (s *Sequence) early(l, t *Token, known int) bool {
	if l.Shape == Lower && t.Gap == gapDot {
		return true
	}
	if known < 2 {
		return false
	}
	r := &s.ring[(s.d+1)&ringMask]
	s.look(l)
	s.look(t)
	s.look(r)
	return hopeless(l, t, r)
}

// look makes the flags of a token known.
func (s *Sequence) look(t *Token) {
	if !t.Known {
		t.Flags, t.Known = s.Lists.Of(t.Hash), true
	}
}

var nothing Token

func (s *Sequence) ask(t *Token) Tag {
	v := &s.view
	for i := range Back {
		at := (s.d - Back + i) & ringMask
		v.Tok[i], v.Tag[i] = &s.ring[at], s.tags[at]
		s.look(v.Tok[i])
	}
	s.look(t)
	v.Tok[Back] = t
	hidden := false // a break hides what is behind it
	for i := Back + 1; i < Window; i++ {
		o := &nothing
		if at := s.d - Back + i; at < s.n && !hidden {
			o = &s.ring[at&ringMask]
			s.look(o)
			hidden = o.Shape == Break
		}
		v.Tok[i] = o
	}
	if v.Hopeless() {
		return Other
	}
	v.Run, v.Key, v.Seen = s.run, s.keys[s.d&ringMask], Other
	if e := s.seen[t.Hash%seenSize]; e&^3 == t.Hash&^3 {
		v.Seen = Tag(e & 3)
	}
	return s.By.Decide(v)
}

// goesOn tells whether t is the rest of the word that ends the open span: behind a letter that is written as an escape of JSON or as
// an entity of HTML.
func (s *Sequence) goesOn(t *Token) bool {
	if s.open.Tag == Other || t.Start != s.open.End+1 || t.Shape == Break {
		return false
	}
	l := &s.ring[(s.d-1)&ringMask]
	switch t.Gap {
	case gapBackslash: // \u00e9
		return t.Pre == 'u'<<16|'0'<<8|'0' || t.Pre == 'u'<<16|'0'<<8|'1'
	case gapAnd: // &eacute;
		return entity(t.Suf)
	case gapMark:
		return l.Gap == gapAnd && entity(l.Suf)
	}
	return false
}

const (
	gapBackslash = inBackslash | inBackslash<<10
	gapAnd       = inAnd | inAnd<<10
	gapMark      = inMark | inMark<<10
)

// entity tells whether a name of an entity with this end is that of a letter: eacute, ouml, ntilde.
func entity(suf uint32) bool {
	switch suf {
	case 'u'<<16 | 't'<<8 | 'e', 'a'<<16 | 'v'<<8 | 'e', 'u'<<16 | 'm'<<8 | 'l', 'i'<<16 | 'r'<<8 | 'c', 'l'<<16 | 'd'<<8 | 'e', 'd'<<16 | 'i'<<8 | 'l',
		'a'<<16 | 's'<<8 | 'h', 'i'<<16 | 'n'<<8 | 'g', 'r'<<16 | 'o'<<8 | 'n', 'l'<<16 | 'i'<<8 | 'g':
		return true
	}
	return false
}

// extend makes t part of the span that is open, or of a new one, or of none. on: it is the rest of a word.
func (s *Sequence) extend(t *Token, tag Tag, on bool) {
	if s.open.Tag != Other && (tag != s.open.Tag || t.End-s.open.Start > MaxSpan || !on && (t.Key >= hasKey || !joins(t.Gap, tag))) {
		s.close(s.inKey())
	}
	if tag == Other {
		s.run = 0
		return
	}
	if s.open.Tag == Other {
		s.open = Found{Start: t.Start, Tag: tag}
		s.weak, s.run, s.low = true, 0, t.Shape == Lower && t.End-t.Start <= 3 && t.Flags.First() < 3
	}
	s.open.End = t.End
	// The lists say which English words are names of people too; of words in lower case of other languages they do not.
	alone := s.run == 0 && (t.Shape == Initial || tag == Person && t.Shape == Lower && t.Accented)
	s.weak = s.weak && (t.Number() || alone)
	s.run++
	if tag == Person && t.Shape != Lower && t.Flags.Usual() < 2 {
		s.seen[t.Hash%seenSize] = t.Hash&^3 | uint32(tag)
	}
}

// inKey tells whether the span that ends before the token that was decided last stands in a key of JSON: that ends behind it, or behind one of those tokens
// after it that are known, which is mostly one.
func (s *Sequence) inKey() bool {
	for i := s.d - 1; i < s.n; i++ {
		if t := &s.ring[i&ringMask]; t.Key == behindKey {
			return true
		} else if t.Quote || t.NewLine() || t.Shape == Break {
			return false
		}
	}
	return false
}

// close ends the span that is open. One in a key of JSON is none: who reads the JSON looks for the key, and what it says is mostly what a value
// is, a street, not the value.
func (s *Sequence) close(key bool) {
	if s.open.Tag == Other {
		return
	}
	if near := s.open.Tag == Address && s.last > 0 && s.open.Start-s.last < MaxSpan/2; !s.weak || near {
		cut := s.open.End == s.cutAt && s.open.Tag == Person && s.low && s.run == 1 // "jumps ove", where an answer was cut off
		if !key && !cut {
			s.Spans = append(s.Spans, s.open)
		}
		if s.open.Tag == Address {
			s.last = s.open.End
		}
	}
	s.open.Tag = Other
}

// joins tells whether a gap may be inside of a span.
func joins(gap uint16, tag Tag) bool {
	for i := range 3 {
		switch gap >> (5 * i) & 31 {
		case inQuote, inBar, inOpen, inClose, inEqual, inBackslash:
			return false
		case inColon, inComma, inMark, inLine, inSlash, inAt, inStar, inAngle, inUnder:
			if tag == Person {
				return false
			}
		}
	}
	return tag == Address || gap&gapLine == 0
}
