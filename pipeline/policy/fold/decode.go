// SPDX-License-Identifier: Apache-2.0

package fold

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// escapeAt finds the first %41 or \x41, or -1.
func escapeAt(s string) int {
	for i := 0; ; i++ {
		n := strings.IndexByte(s[i:], '%')
		if n < 0 {
			break
		}
		if i += n; i+2 < len(s) && hexValue[s[i+1]] < 16 && hexValue[s[i+2]] < 16 {
			return i
		}
	}
	for i := 0; ; i++ {
		n := strings.Index(s[i:], `\x`)
		if n < 0 {
			return -1
		}
		if i += n; i+3 < len(s) && hexValue[s[i+2]] < 16 && hexValue[s[i+3]] < 16 {
			return i
		}
	}
}

// unescape undoes %41 and \x41; what is none stays.
func unescape(b *builder, s string) {
	for i := 0; i < len(s); {
		n := 0
		switch c := s[i]; {
		case c == '%':
			n = 1
		case c == '\\' && i+1 < len(s) && s[i+1] == 'x':
			n = 2
		}
		if n > 0 && i+n+1 < len(s) {
			if hi, lo := hexValue[s[i+n]], hexValue[s[i+n+1]]; hi < 16 && lo < 16 {
				b.byte(hi<<4|lo, i)
				i += n + 2
				continue
			}
		}
		b.byte(s[i], i)
		i++
	}
}

// Runs of encoded bytes: minRun characters in a row make one; minPart is how many bytes of text something is that came out
// between bytes that are no text, minWhole if all of it is text.
const (
	minRun   = 12
	minPart  = 8
	minWhole = 6
)

// The kinds of character in a run.
const (
	isUpper = 1 << iota
	isLower
	isDigit
	isOther // + / - _
)

var runKind = func() (t [256]byte) {
	for c := range t {
		switch {
		case c >= 'A' && c <= 'Z':
			t[c] = isUpper
		case c >= 'a' && c <= 'z':
			t[c] = isLower
		case c >= '0' && c <= '9':
			t[c] = isDigit
		case c == '+' || c == '/' || c == '-' || c == '_':
			t[c] = isOther
		}
	}
	return t
}()

var base64Value = func() (t [256]byte) {
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

// hexValue is 16 for what is no digit.
var hexValue = func() (t [256]byte) {
	for c := range t {
		t[c] = 16
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
		if i >= 10 {
			t[c-'a'+'A'] = byte(i)
		}
	}
	return t
}()

// runs decodes the runs of base64 and hexadecimal in a form. It looks at the last character that a run would have first, and so
// skips most of a text of words.
func (r *reader) runs(f *Form) {
	s := f.Text
	r.rest = builder{trace: r.trace}
	defer func() {
		if len(r.rest.out) > 0 {
			out := Form{Text: string(r.rest.out), from: f.from, to: f.to}
			if r.trace {
				out.at = r.rest.at
			}
			r.add(out)
		}
	}()
	for from := 0; from+minRun <= len(s); {
		i := from + minRun - 1
		for i >= from && runKind[s[i]] != 0 {
			i--
		}
		if i >= from {
			from = i + 1
			continue
		}
		end := from + minRun
		for end < len(s) {
			if runKind[s[end]] != 0 {
				end++
				continue
			}
			// Long runs are often cut into lines.
			if next := lineEnd(s, end); next > end && end-from >= 40 && next < len(s) && runKind[s[next]] != 0 {
				end = next
				continue
			}
			break
		}
		r.run(f, from, end)
		from = end
	}
}

func lineEnd(s string, at int) int {
	if at < len(s) && s[at] == '\r' {
		at++
	}
	if at < len(s) && s[at] == '\n' {
		at++
	}
	return at
}

func (r *reader) run(f *Form, from, end int) {
	var kinds byte
	for _, c := range []byte(f.Text[from:end]) {
		kinds |= runKind[c]
	}
	// Text in base64 has letters of both cases, hexadecimal has digits: words, paths and most names have not.
	if kinds&(isUpper|isLower) == isUpper|isLower {
		run := f.Text[from:end]
		if strings.IndexByte(run, '\n') >= 0 {
			run = strings.NewReplacer("\r", "", "\n", "").Replace(run)
		}
		for shift := range 4 {
			if shift > 0 && !likely(run[shift:]) || shift == 0 && !begins(run) && !likely(run) {
				continue
			}
			r.buf = fromBase64(r.buf[:0], run[shift:])
			if r.parts(f, from, end, r.buf) && shift == 0 {
				break
			}
		}
	}
	if kinds&isDigit != 0 {
		for i := from; i < end; {
			n := i
			for n < end && hexValue[f.Text[n]] < 16 {
				n++
			}
			if n-i >= minRun {
				r.buf = fromHex(r.buf[:0], f.Text[i:n])
				if !r.parts(f, i, n, r.buf) {
					r.buf = fromHex(r.buf[:0], f.Text[i+1:n])
					r.parts(f, i, n, r.buf)
				}
			}
			i = n + 1
		}
	}
}

// begins says whether the first six bytes of a run in base64 may be text.
func begins(run string) bool {
	var space [6]byte
	b := fromBase64(space[:0], run[:8])
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		switch {
		case c == utf8.RuneError && n == 1:
			return !utf8.FullRune(b) // cut off
		case c < 0x20 && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			return false
		}
		b = b[n:]
	}
	return true
}

// likely says whether somewhere in a run two groups of base64 in a row are three bytes of ASCII each: their top bits are clear.
func likely(run string) bool {
	last := false
	for i := 0; i+4 <= len(run); i += 4 {
		now := base64Value[run[i]]&0x20 == 0 && base64Value[run[i+1]]&8 == 0 && base64Value[run[i+2]]&2 == 0
		if now && last {
			return true
		}
		last = now
	}
	return false
}

func fromBase64(out []byte, s string) []byte {
	for ; len(s) >= 4; s = s[4:] {
		v := uint32(base64Value[s[0]])<<18 | uint32(base64Value[s[1]])<<12 | uint32(base64Value[s[2]])<<6 | uint32(base64Value[s[3]])
		out = append(out, byte(v>>16), byte(v>>8), byte(v))
	}
	switch len(s) {
	case 2:
		out = append(out, base64Value[s[0]]<<2|base64Value[s[1]]>>4)
	case 3:
		v := uint32(base64Value[s[0]])<<12 | uint32(base64Value[s[1]])<<6 | uint32(base64Value[s[2]])
		out = append(out, byte(v>>10), byte(v>>2))
	}
	return out
}

func fromHex(out []byte, s string) []byte {
	for ; len(s) >= 2; s = s[2:] {
		out = append(out, hexValue[s[0]]<<4|hexValue[s[1]])
	}
	return out
}

// parts keeps what is text of decoded bytes. A run that is all text is a reading of its own, as long as there are few; the rest
// is one reading together, a line for each. It tells whether all of the bytes are text.
func (r *reader) parts(f *Form, from, to int, b []byte) (all bool) {
	if f.at != nil {
		from, to = f.Source(from, to)
	} else if !f.whole() {
		from, to = f.from, f.to
	}
	start := 0
	keep := func(end int) {
		n := end - start
		switch {
		case n >= minWhole && n == len(b) && r.single < maxSingle:
			r.single++
			r.add(Form{Text: string(b[start:end]), from: from, to: to})
		case n >= minPart || n >= minWhole && n == len(b):
			r.rest.add(b[start:end], from)
			r.rest.byte('\n', to)
		}
	}
	for i := 0; i < len(b); {
		c, n := rune(b[i]), 1
		if c >= utf8.RuneSelf {
			c, n = utf8.DecodeRune(b[i:])
		}
		if c >= 0x20 && c < 0x7f || c == '\t' || c == '\n' || c == '\r' || n > 1 && (unicode.IsPrint(c) || ignorable(c)) {
			i += n
			continue
		}
		keep(i)
		i += n
		start = i
	}
	keep(len(b))
	return start == 0
}

// maxSingle is how many runs of one text are readings of their own.
const maxSingle = 1024
