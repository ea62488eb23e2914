// SPDX-License-Identifier: Apache-2.0

package token

// Gaps have five bits each for the classes of their first, second and last character, and one for a new line.
const gapLine = 1 << 15

// Classes of bytes: letters first, then what may stand in a gap.
const (
	inLower = iota
	inUpper
	inDigit
	inHigh
	inSpace
	inLine
	inDot
	inComma
	inColon
	inMark
	inQuote
	inTick
	inOpen
	inClose
	inDash
	inUnder
	inSlash
	inBackslash
	inAt
	inBar
	inEqual
	inStar
	inAngle
	inAnd
	inOther
)

var classes = table()

func table() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z':
			t[c] = inLower
		case c >= 'A' && c <= 'Z':
			t[c] = inUpper
		case c >= '0' && c <= '9':
			t[c] = inDigit
		case c >= 0x80:
			t[c] = inHigh
		default:
			t[c] = inOther
		}
	}
	set := func(class uint8, chars string) {
		for _, c := range []byte(chars) {
			t[c] = class
		}
	}
	set(inSpace, " \t")
	set(inLine, "\n\r")
	set(inDot, ".")
	set(inComma, ",")
	set(inColon, ":")
	set(inMark, ";!?")
	set(inQuote, `"`)
	set(inTick, "'`")
	set(inOpen, "([{")
	set(inClose, ")]}")
	set(inDash, "-")
	set(inUnder, "_")
	set(inSlash, "/")
	set(inBackslash, `\`)
	set(inAt, "@#")
	set(inBar, "|")
	set(inEqual, "=")
	set(inStar, "*~")
	set(inAngle, "<>")
	set(inAnd, "&+")
	return t
}

// punctuation is the class of a character that is no letter.
func punctuation(r rune) uint8 {
	switch r {
	case 0xa0, 0x2009, 0x202f, 0x3000:
		return inSpace
	case '“', '”', '„', '«', '»':
		return inQuote
	case '‘', '’', '‚', '`':
		return inTick
	case '–', '—', '‐', '‑', '−':
		return inDash
	case '•', '·':
		return inStar
	}
	return inOther
}
