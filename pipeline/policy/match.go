// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// input is what the regular expressions of guardrails look at: the texts of one step, and which pairs of bytes occur
// in any of them. The pairs rule out most expressions without running them.
type input struct {
	texts []string
	pairs [1 << 16 / 64]uint64
}

// maxNest is how deep JSON within JSON strings is unpacked.
const maxNest = 4

// newInput takes the text of a step, its arguments as they are, and every string in them as it will be once decoded, so
// that no escape hides a word.
func newInput(step *pipeline.Step) *input {
	in := &input{texts: []string{step.Text}}
	if len(step.Args) > 0 {
		raw := string(step.Args)
		in.texts = append(in.texts, raw)
		in.unpack(raw, maxNest)
	}
	for _, t := range in.texts {
		if t == "" {
			continue
		}
		p := uint16(lower[t[0]])
		for _, c := range []byte(t[1:]) { // the compiler makes no copy of it
			p = p<<8 | uint16(lower[c])
			in.pairs[p>>6] |= 1 << (p & 63)
		}
	}
	return in
}

// unpack adds the strings of a JSON text. The text may be broken, as a model may break off: it is unescaped as a whole
// too, so that a lost quotation mark does not turn strings inside out.
func (in *input) unpack(raw string, nest int) {
	if strings.IndexByte(raw, '\\') >= 0 {
		in.texts = append(in.texts, unescape(raw))
	}
	for {
		start := strings.IndexByte(raw, '"')
		if start < 0 {
			return
		}
		raw = raw[start+1:]
		end := 0
		for end < len(raw) && raw[end] != '"' {
			if raw[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(raw))
		s := unescape(raw[:end])
		in.texts = append(in.texts, s)
		if nest > 1 && strings.ContainsAny(s, `"\`) {
			in.unpack(s, nest-1)
		}
		raw = raw[min(end+1, len(raw)):]
	}
}

// unescape decodes the escapes of JSON strings (RFC 8259, section 7); what is none stays.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b', 'f', 'n', 'r', 't':
			b = append(b, "\b\f\n\r\t"[strings.IndexByte("bfnrt", s[i])])
		case 'u':
			r, ok := hex4(s[i+1:])
			if !ok {
				b = append(b, `\u`...)
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) && strings.HasPrefix(s[i+1:], `\u`) {
				if low, ok := hex4(s[i+3:]); ok {
					if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
						r, i = both, i+6
					}
				}
			}
			b = utf8.AppendRune(b, r)
		default: // \" \\ \/ and what should not be there
			b = append(b, s[i])
		}
	}
	return string(b)
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:4], 16, 16)
	return rune(n), err == nil
}

func (in *input) match(g *guard) bool {
	return g.need.met(&in.pairs) && slices.ContainsFunc(in.texts, g.re.MatchString)
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

// need is what a text must have for an expression to match it: all the pairs of bytes, all of the parts and, if there
// are any, one of the choices. nil asks for nothing.
type need struct {
	pairs   []uint16
	all     []*need
	choices []*need
}

func (n *need) met(have *[1 << 16 / 64]uint64) bool {
	if n == nil {
		return true
	}
	for _, p := range n.pairs {
		if have[p>>6]&(1<<(p&63)) == 0 {
			return false
		}
	}
	for _, a := range n.all {
		if !a.met(have) {
			return false
		}
	}
	return len(n.choices) == 0 || slices.ContainsFunc(n.choices, func(c *need) bool { return c.met(have) })
}

// needOf reads from a parsed expression what every match has.
func needOf(re *syntax.Regexp) *need {
	switch re.Op {
	case syntax.OpLiteral:
		return needLiteral(re)
	case syntax.OpCapture, syntax.OpPlus:
		return needOf(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return needOf(re.Sub[0])
		}
	case syntax.OpConcat:
		n := &need{}
		for _, s := range re.Sub {
			if a := needOf(s); a != nil {
				n.all = append(n.all, a)
			}
		}
		if len(n.all) > 0 {
			return n
		}
	case syntax.OpAlternate:
		n := &need{}
		for _, s := range re.Sub {
			c := needOf(s)
			if c == nil {
				return nil
			}
			n.choices = append(n.choices, c)
		}
		return n
	}
	return nil
}

// needLiteral takes the pairs of a literal. It skips characters that several byte sequences match: beyond ASCII without
// case, k and s without case (U+212A, U+017F), and the replacement character, which any broken byte matches.
func needLiteral(re *syntax.Regexp) *need {
	n := &need{}
	var run []byte
	flush := func() {
		for i := 1; i < len(run); i++ {
			n.pairs = append(n.pairs, uint16(run[i-1])<<8|uint16(run[i]))
		}
		run = run[:0]
	}
	for _, r := range re.Rune {
		if fold := re.Flags&syntax.FoldCase != 0; r == utf8.RuneError || fold && (r >= utf8.RuneSelf || strings.ContainsRune("kKsS", r)) {
			flush()
			continue
		}
		for _, c := range utf8.AppendRune(nil, r) {
			run = append(run, lower[c])
		}
	}
	flush()
	if len(n.pairs) == 0 {
		return nil
	}
	return n
}
