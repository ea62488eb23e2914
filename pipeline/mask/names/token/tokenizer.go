// SPDX-License-Identifier: Apache-2.0

package token

import (
	"unicode"
	"unicode/utf8"
)

const (
	seed  = 2166136261
	prime = 16777619
)

// Tokenizer cuts a text. After each byte at most one token is complete; Pending tells what may still become one.
type Tokenizer struct {
	tok Token // the last complete one

	at    int // bytes read
	start int // of the word that is being read
	n     int // letters of it
	bytes int // and bytes
	hash  uint32
	pre   uint32 // its first three letters
	suf   uint32 // its last three, in the lower bits
	has   uint8  // what it has
	first uint8  // the class of its first letter

	gap     uint16
	gapLen  int // characters, 3 for more
	gapFrom int // where the gap began
	key     uint8
	quote   bool // the gap has a quote
	broken  bool // the gap is a break already
	long    bool // the word is a break already: the rest of it is swallowed
	escape  bool // the byte before was a backslash

	rune    [runeMax]byte // of a character of more than one byte
	runeLen int
	runeOf  int
}

// What a word has.
const (
	hasLower = 1 << iota
	hasUpper
	hasDigit
	hasOther
	hasCamel // a capital after a small letter
)

// What is known of keys of JSON in a gap: whether it begins behind one, with a quote that may be escaped, and a colon; else whether it has one, which is a
// quote and a colon too. quoteEnds and quoteIn are behind a quote.
const (
	atEnd uint8 = iota
	quoteEnds
	noKey
	quoteIn
	hasKey
	behindKey
)

// keyed is what is known with a character more.
func keyed(key, class uint8) uint8 {
	switch {
	case key >= hasKey:
		return key
	case key == atEnd && class == inBackslash:
		return atEnd
	case key == atEnd && class == inQuote:
		return quoteEnds
	case class == inQuote:
		return quoteIn
	case key == quoteEnds || key == quoteIn:
		switch {
		case class == inSpace || class == inLine:
			return key
		case class == inColon && key == quoteEnds:
			return behindKey
		case class == inColon:
			return hasKey
		}
	}
	return noKey
}

// Key tells whether the text, which has ended in a gap, ends behind a key of JSON.
func (t *Tokenizer) Key() bool { return t.key == behindKey }

// Reset begins a new text.
func (t *Tokenizer) Reset() { *t = Tokenizer{gap: inLine | gapLine, gapLen: 1, key: noKey, hash: seed} }

// Token is the last complete token.
func (t *Tokenizer) Token() *Token { return &t.tok }

// Pending is the place of the first byte that may belong to a token which is not yet complete, and what stands before it, if a token has begun: else 0.
func (t *Tokenizer) Pending() (start int, gap uint16) {
	if t.n > 0 {
		return t.start, t.gap
	}
	return t.at - t.runeLen, 0
}

// Byte reads one byte and tells whether a token is complete.
func (t *Tokenizer) Byte(c byte) bool {
	if t.runeLen > 0 {
		return t.high(c)
	}
	class := classes[c]
	t.at++
	if t.escape {
		t.escape = false
		switch c {
		case 'n':
			class = inLine
		case 't', 'r':
			class = inSpace
		}
	}
	switch class {
	case inLower:
		return t.letter(c, 1, class)
	case inUpper:
		return t.letter(c|0x20, 1, class)
	case inDigit:
		return t.letter(c, 1, class)
	case inHigh:
		return t.lead(c)
	}
	t.escape = c == '\\'
	return t.separator(class, t.at-1)
}

// letter adds a character of size bytes to the word.
func (t *Tokenizer) letter(c byte, size int, class uint8) bool {
	if t.long {
		return false
	}
	if t.n == 0 {
		t.start = t.at - size
		t.bytes = 0
		t.first = class
	}
	if t.bytes += size; t.bytes > MaxWord {
		t.brk(t.start, t.at)
		t.clear()
		t.long = true
		return true
	}
	switch class {
	case inLower:
		t.has |= hasLower
	case inUpper:
		if t.has&hasLower != 0 {
			t.has |= hasCamel
		}
		t.has |= hasUpper
	case inDigit:
		t.has |= hasDigit
	default:
		t.has |= hasOther
	}
	if t.n < 3 {
		t.pre = t.pre<<8 | uint32(c)
	}
	t.suf = t.suf<<8 | uint32(c)
	t.n++
	t.hash = (t.hash ^ uint32(c)) * prime
	return false
}

// separator adds a character to the gap, behind the word that ends before from.
func (t *Tokenizer) separator(class uint8, from int) bool {
	done := false
	switch {
	case t.n > 0:
		t.finish(from)
		done = true
		t.gap, t.gapLen, t.gapFrom, t.broken, t.key, t.quote = 0, 0, from, false, atEnd, false
	case t.long:
		t.long = false
		t.gap, t.gapLen, t.gapFrom, t.broken, t.key, t.quote = inOther, 1, from, true, noKey, false
	}
	t.key = keyed(t.key, class)
	t.quote = t.quote || class == inQuote
	k := uint16(class)
	switch t.gapLen {
	case 0:
		t.gap |= k | k<<10
		t.gapLen = 1
	case 1:
		t.gap = t.gap&^(31<<10) | k<<5 | k<<10
		t.gapLen = 2
	default:
		t.gap = t.gap&^(31<<10) | k<<10
	}
	if class == inLine {
		t.gap |= gapLine
	}
	if !done && !t.broken && t.at-t.gapFrom > MaxGap {
		t.broken = true
		t.brk(t.at, t.at)
		return true
	}
	return done
}

// brk makes a break the last token.
func (t *Tokenizer) brk(from, to int) {
	t.tok = Token{Start: from, End: to, Gap: t.gap, Hash: 1, Key: t.key, Quote: t.quote}
}

// finish makes the word a token.
func (t *Tokenizer) finish(end int) {
	k := &t.tok
	k.Start, k.End, k.Hash, k.Gap, k.Flags, k.Known = t.start, end, t.hash, t.gap, 0, false
	k.Accented, k.Key, k.Quote = end-t.start > t.n, t.key, t.quote
	k.Shape = t.shape()
	k.Pre, k.Suf, k.Suf2 = t.pre, t.suf&0xffffff, t.suf&0xffff
	t.clear()
}

func (t *Tokenizer) clear() {
	t.n, t.bytes, t.hash, t.pre, t.suf, t.has = 0, 0, seed, 0, 0, 0
}

func (t *Tokenizer) shape() Shape {
	switch has := t.has; {
	case has == hasLower:
		return Lower
	case has&hasDigit != 0:
		if has == hasDigit {
			return Num + Shape(min(t.n, 6))
		}
		if t.first == inDigit {
			return Num
		}
		return Mixed
	case has&hasCamel != 0:
		return Camel
	case has&(hasUpper|hasLower) == hasUpper|hasLower:
		if t.first == inUpper {
			return Cap
		}
		return Camel
	case has&hasUpper != 0 && t.n == 1:
		return Initial
	case has&hasUpper != 0:
		return Upper
	case has&hasLower != 0:
		return Lower
	}
	return Uncased
}

// lead begins a character of more than one byte.
func (t *Tokenizer) lead(c byte) bool {
	switch {
	case c >= 0xc2 && c < 0xe0:
		t.runeOf = 2
	case c >= 0xe0 && c < 0xf0:
		t.runeOf = 3
	case c >= 0xf0 && c < 0xf5:
		t.runeOf = 4
	default:
		return t.separator(inOther, t.at-1)
	}
	t.rune[0] = c
	t.runeLen = 1
	return false
}

// high goes on with such a character.
func (t *Tokenizer) high(c byte) bool {
	if c&0xc0 != 0x80 { // what was begun is no character
		n := t.runeLen
		t.runeLen = 0
		done := t.separator(inOther, t.at-n)
		// At most one token ends with each byte: behind a separator that ended one, c can end none.
		return t.Byte(c) || done
	}
	t.at++
	t.rune[t.runeLen] = c
	t.runeLen++
	if t.runeLen < t.runeOf {
		return false
	}
	t.runeLen = 0
	r, n := utf8.DecodeRune(t.rune[:t.runeOf])
	if n != t.runeOf {
		return t.separator(inOther, t.at-t.runeOf)
	}
	switch {
	case r >= 0xc0 && r < 0x180 && r != '×' && r != '÷':
		class := uint8(inLower)
		if unicode.IsUpper(r) {
			class = inUpper
		}
		return t.letter(fold[r-0xc0], n, class)
	case t.n > 0 && (r >= 0x300 && r < 0x370 || r == 0xad || r >= 0x200b && r <= 0x200d || r == 0x2060): // accents that follow their letter, and what is not seen
		return t.mark(n)
	case unicode.IsUpper(r):
		return t.letter(byte(unicode.ToLower(r)&0x7f)|0x80, n, inUpper)
	case unicode.IsLower(r):
		return t.letter(byte(r&0x7f)|0x80, n, inLower)
	case unicode.IsLetter(r) || unicode.IsMark(r):
		return t.letter(byte(r&0x7f)|0x80, n, inHigh)
	}
	return t.separator(punctuation(r), t.at-n)
}

// mark adds a character to the word that does not change it.
func (t *Tokenizer) mark(size int) bool {
	if t.bytes += size; t.bytes > MaxWord {
		t.brk(t.start, t.at)
		t.clear()
		t.long = true
		return true
	}
	return false
}

// End tells that the text has ended, and whether that completes a token.
func (t *Tokenizer) End() bool {
	if n := t.runeLen; n > 0 {
		t.runeLen = 0
		return t.separator(inOther, t.at-n)
	}
	if t.n > 0 {
		t.finish(t.at)
		return true
	}
	return false
}

// Read reads bytes of p up to the next complete token, and tells how many and whether there is one.
func (t *Tokenizer) Read(p []byte) (n int, done bool) {
	for i := 0; i < len(p); {
		if t.runeLen == 0 { // the same as Byte, at once, for what most words are made of
			c := p[i]
			switch {
			case t.n > 0:
				b := p[i:min(len(p), i+MaxWord-t.bytes)]
				h, j := t.hash, 0
				for j < len(b) && b[j]-'a' <= 'z'-'a' {
					h = (h ^ uint32(b[j])) * prime
					j++
				}
				if j > 0 {
					t.hash = h
					t.small(b[:j])
					if i += j; i == len(p) {
						return i, false
					}
					c = p[i]
				}
				if c == ' ' {
					t.gapFrom = t.at
					t.at++
					t.finish(t.gapFrom)
					t.gap, t.gapLen, t.broken, t.key, t.quote = inSpace|inSpace<<10, 1, false, noKey, false
					return i + 1, true
				}
			case c-'a' <= 'z'-'a' && !t.escape && !t.long:
				t.start, t.n, t.bytes, t.first, t.has = t.at, 1, 1, inLower, hasLower
				t.pre, t.suf, t.hash = uint32(c), uint32(c), (t.hash^uint32(c))*prime
				t.at++
				i++
				continue
			}
		}
		i++
		if t.Byte(p[i-1]) {
			return i, true
		}
	}
	return len(p), false
}

// small adds small letters to the word, all but their hash.
func (t *Tokenizer) small(b []byte) {
	if n := len(b); n > 2 {
		t.suf = uint32(b[n-3])<<16 | uint32(b[n-2])<<8 | uint32(b[n-1])
	} else {
		for _, c := range b {
			t.suf = t.suf<<8 | uint32(c)
		}
	}
	for k := 0; t.n+k < 3 && k < len(b); k++ {
		t.pre = t.pre<<8 | uint32(b[k])
	}
	t.n, t.bytes, t.at = t.n+len(b), t.bytes+len(b), t.at+len(b)
	t.has |= hasLower
}
