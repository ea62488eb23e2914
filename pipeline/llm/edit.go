// SPDX-License-Identifier: Apache-2.0

package llm

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// Edit replaces the bytes of a span.
type Edit struct {
	Span
	With []byte
}

// Splice appends data with the edits made to dst. Edits may come in any order and must not overlap. It sorts them.
func Splice(dst, data []byte, edits []Edit) ([]byte, error) {
	slices.SortFunc(edits, func(a, b Edit) int { return a.Start - b.Start })
	pos := 0
	for _, e := range edits {
		if e.Start < pos || e.End < e.Start || e.End > len(data) {
			return dst, fmt.Errorf("edit of bytes %d to %d overlaps another one or the end", e.Start, e.End)
		}
		dst = append(dst, data[pos:e.Start]...)
		dst = append(dst, e.With...)
		pos = e.End
	}
	return append(dst, data[pos:]...), nil
}

const hexDigits = "0123456789abcdef"

// AppendString appends text as a JSON string. It is the inverse of Scanner.Text: surrogates that stand alone become
// escapes again; other bytes that are not UTF-8 become U+FFFD. U+0085, U+2028 and U+2029 are escaped, because some
// readers of event streams and of lines take them for line ends.
func AppendString(dst, text []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c == '\n':
				dst = append(dst, '\\', 'n')
			case c == '\r':
				dst = append(dst, '\\', 'r')
			case c == '\t':
				dst = append(dst, '\\', 't')
			case c < 0x20 || c == 0x7f:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			default:
				dst = append(dst, c)
			}
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			if c == 0xED && i+2 < len(text) && text[i+1]&0xE0 == 0xA0 && text[i+2]&0xC0 == 0x80 {
				r = 0xD000 | rune(text[i+1]&0x3F)<<6 | rune(text[i+2]&0x3F)
				dst = appendEscape(dst, r)
				n = 3
			} else {
				dst = append(dst, "\ufffd"...)
			}
		case r == '\u0085' || r == '\u2028' || r == '\u2029':
			dst = appendEscape(dst, r)
		default:
			dst = append(dst, text[i:i+n]...)
		}
		i += n
	}
	return append(dst, '"')
}

func appendEscape(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
