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
	n     int // letters in letters
	bytes int // of the word that is being read
	hash  uint32

	upper, lower, digit, other bool // what the word has
	first                      uint8
	camel                      bool // a capital after a small letter

	gap     uint16
	gapLen  int  // characters, 3 for more
	gapFrom int  // where the gap began
	broken  bool // the gap is a break already
	long    bool // the word is a break already: the rest of it is swallowed
	escape  bool // the byte before was a backslash

	rune    [runeMax]byte // of a character of more than one byte
	runeLen int
	runeOf  int

	letters [MaxWord + runeMax]byte // folded
}

// Reset begins a new text.
func (t *Tokenizer) Reset() { *t = Tokenizer{gap: inLine | gapLine, gapLen: 1, hash: seed} }

// Token is the last complete token.
func (t *Tokenizer) Token() *Token { return &t.tok }

// Pending is the place of the first byte that may belong to a token which is not yet complete.
func (t *Tokenizer) Pending() int {
	if t.n > 0 {
		return t.start
	}
	return t.at - t.runeLen
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
		t.lower = true
	case inUpper:
		t.camel = t.camel || t.lower
		t.upper = true
	case inDigit:
		t.digit = true
	default:
		t.other = true
	}
	t.letters[t.n] = c
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
		t.gap, t.gapLen, t.gapFrom, t.broken = 0, 0, from, false
	case t.long:
		t.long = false
		t.gap, t.gapLen, t.gapFrom, t.broken = inOther, 1, from, true
	}
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
	t.tok = Token{Start: from, End: to, Gap: t.gap, Hash: 1}
}

// finish makes the word a token.
func (t *Tokenizer) finish(end int) {
	k := &t.tok
	k.Start, k.End, k.Hash, k.Gap, k.Flags, k.Known = t.start, end, t.hash, t.gap, 0, false
	k.Accented = end-t.start > t.n
	l := t.letters[:t.n]
	k.Shape = t.shape()
	if k.Shape != Lower || t.n < 3 {
		k.Pre, k.Suf, k.Suf2 = part(l[:min(3, len(l))]), part(l[max(0, len(l)-3):]), part(l[max(0, len(l)-2):])
	} else {
		k.Pre = uint32(l[0])<<16 | uint32(l[1])<<8 | uint32(l[2])
		k.Suf = uint32(l[t.n-3])<<16 | uint32(l[t.n-2])<<8 | uint32(l[t.n-1])
		k.Suf2 = uint32(l[t.n-2])<<8 | uint32(l[t.n-1])
	}
	t.clear()
}

func part(l []byte) (h uint32) {
	for _, c := range l {
		h = h<<8 | uint32(c)
	}
	return h
}

func (t *Tokenizer) clear() {
	t.n, t.bytes, t.hash = 0, 0, seed
	t.upper, t.lower, t.digit, t.other, t.camel = false, false, false, false, false
}

func (t *Tokenizer) shape() Shape {
	switch {
	case t.digit && !t.upper && !t.lower && !t.other:
		return Num + Shape(min(t.n, 6))
	case t.digit:
		if t.first == inDigit {
			return Num
		}
		return Mixed
	case t.camel:
		return Camel
	case t.upper && t.lower:
		if t.first == inUpper {
			return Cap
		}
		return Camel
	case t.upper && t.n == 1:
		return Initial
	case t.upper:
		return Upper
	case t.lower:
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
		if t.n > 0 && t.runeLen == 0 { // the same as Byte for small letters inside of a word, at once
			k := min(len(p)-i, MaxWord-t.bytes)
			h, j := t.hash, 0
			for _, c := range p[i : i+k] {
				if c-'a' > 'z'-'a' {
					break
				}
				t.letters[t.n+j] = c
				h = (h ^ uint32(c)) * prime
				j++
			}
			if j > 0 {
				t.hash = h
				t.n, t.bytes, t.at = t.n+j, t.bytes+j, t.at+j
				t.lower, t.escape = true, false
				if i += j; i == len(p) {
					return i, false
				}
			}
		}
		i++
		if t.Byte(p[i-1]) {
			return i, true
		}
	}
	return len(p), false
}
