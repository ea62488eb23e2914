// SPDX-License-Identifier: Apache-2.0

package automaton

import "bytes"

// How far an escape is.
const (
	none         uint8 = iota
	escSlash           // a backslash, or an odd number of them
	escU               // the u of \u; the next three states are behind digits
	escULast     = 5   // three digits of four
	escX         = 6   // the x of \x
	escXLast     = 7   // and a digit
	escPercent   = 8   // the % of %3A
	escTwo       = 9   // %2, which may become %25
	escLast      = 10  // another digit
	escTwice     = 11  // %25, which is a % written as an escape
	escTwiceLast = 12  // and a digit
	escBehind    = 13  // what may have been the ESC of a colour
	escColour    = 14  // the numbers of ESC[1;32m
	escSlashes   = 15  // an even number of backslashes: in JSON, the last one does not begin an escape; in JSON in JSON it may
)

// longEscape is how many bytes an escape has at most, but for those of colours and backslashes.
const longEscape = 6

// Escape follows escapes over one byte: how far the next byte is in one, whether c belongs to one, so that a match may begin behind it, and whether
// it does so behind the backslash that begins it, so that none may begin at it. A backslash always belongs to one. Behind two backslashes, a
// match may begin at the letter as well as behind it: nobody knows whether they are C:\\names or the end of a line in JSON in JSON.
//
// Escapes are those of JSON, also where JSON stands in JSON and a backslash is many (\n, \\n, \u00e9), \x1b, those of URLs (%3A, %253A), and
// what sets colours on terminals (ESC[32m). Of the last two, only the last byte counts.
func Escape(at uint8, c byte) (next uint8, marked, inner bool) {
	switch at {
	case escSlash, escSlashes:
		switch c {
		case '\\':
			return escSlash + escSlashes - at, true, at == escSlash
		case '"', '/', 'b', 'f', 'n', 'r', 't':
			return none, true, at == escSlash
		case 'u':
			return escU, true, true
		case 'x':
			return escX, false, false
		}
	case escU, escU + 1, escU + 2, escULast:
		if isHex(c) {
			if at == escULast {
				return escBehind, true, true
			}
			return at + 1, true, true
		}
	case escX:
		if isHex(c) {
			return escXLast, false, false
		}
	case escXLast:
		if isHex(c) {
			return escBehind, true, false
		}
	case escPercent:
		switch {
		case c == '2':
			return escTwo, false, false
		case isHex(c):
			return escLast, false, false
		}
	case escTwo:
		if c == '5' {
			return escTwice, true, false
		}
		if isHex(c) {
			return none, true, false
		}
	case escLast:
		if isHex(c) {
			return none, true, false
		}
	case escTwice:
		if isHex(c) {
			return escTwiceLast, false, false
		}
	case escTwiceLast:
		if isHex(c) {
			return none, true, false
		}
	case escBehind:
		if c == '[' {
			return escColour, false, false
		}
	case escColour:
		switch {
		case '0' <= c && c <= '9' || c == ';':
			return escColour, false, false
		case isLetter(c):
			return none, true, false
		}
	}
	switch c {
	case '\\':
		return escSlash, true, false
	case '%':
		return escPercent, false, false
	case 0x1b:
		return escBehind, false, false
	}
	return none, false, false
}

// Escapes tells whether an escape may begin in b.
func Escapes(b []byte) bool {
	return bytes.IndexByte(b, '\\') >= 0 || bytes.IndexByte(b, '%') >= 0 || bytes.IndexByte(b, 0x1b) >= 0
}

// MayEscape tells whether the last byte of b may be one that an escape marks. It is never wrong about one that is.
func MayEscape(b []byte) bool {
	n := len(b)
	if n > 1 && isLetter(b[n-1]) {
		if c := b[n-2]; '0' <= c && c <= '9' || c == ';' || c == '[' {
			return true
		}
	}
	b = b[max(0, n-longEscape):]
	return bytes.IndexByte(b, '\\') >= 0 || bytes.IndexByte(b, '%') >= 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
