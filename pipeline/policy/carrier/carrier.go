// SPDX-License-Identifier: Apache-2.0

// Package carrier finds the texts of a step as their reader will have them: the text itself, and the strings in the arguments of a
// tool call, in which more JSON may be wrapped.
package carrier

import (
	"encoding/json"
	"iter"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Text is one text of a step as its reader will have it.
type Text struct {
	Text string
	Part Part
	// Where it stands in the arguments: the whole of them, or within the quotation marks of one string. For strings within
	// strings, the outermost.
	From, To int
}

// Part tells what a Text is a part of.
type Part uint8

// The parts.
const (
	Prose  Part = iota // the text of the step
	Args               // the arguments as they are
	String             // a string in them, decoded
	All                // the arguments, escapes undone
	Beside             // texts that stand with the step, and cannot be masked
)

// maxNest is how deep JSON within JSON strings is unpacked.
const maxNest = 4

// Read appends to dst what Each gives.
func Read(dst []Text, step *pipeline.Step) []Text {
	for t := range Each(step) {
		dst = append(dst, t)
	}
	return dst
}

// Each gives the text of a step, its arguments as they are, and every string in them as it will be once decoded, so that no escape
// hides a word. There may be millions: they are not kept.
func Each(step *pipeline.Step) iter.Seq[Text] {
	return func(yield func(Text) bool) {
		if (step.Text != "" || len(step.Args) == 0) && !yield(Text{Text: step.Text, Part: Prose, To: len(step.Text)}) {
			return
		}
		if step.Beside != "" && !yield(Text{Text: step.Beside, Part: Beside, To: len(step.Beside)}) || len(step.Args) == 0 {
			return
		}
		raw := string(step.Args)
		if yield(Text{Text: raw, Part: Args, To: len(raw)}) {
			unpack(yield, raw, 0, len(raw), maxNest)
		}
	}
}

// unpack gives the strings of a JSON text. The text may be broken, as a model may break off: it is unescaped as a whole
// too, so that a lost quotation mark does not turn strings inside out. from and to are where nested text stands. false: enough.
func unpack(yield func(Text) bool, raw string, from, to, nest int) bool {
	top := nest == maxNest
	if strings.IndexByte(raw, '\\') >= 0 {
		p := String
		if top {
			p = All
		}
		if !yield(Text{unescape(raw), p, from, to}) {
			return false
		}
	}
	for rest := 0; ; {
		start := strings.IndexByte(raw[rest:], '"')
		if start < 0 {
			return true
		}
		start += rest + 1
		end := start
		for end < len(raw) && raw[end] != '"' {
			if raw[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(raw))
		s := Text{unescape(raw[start:end]), String, from, to}
		if top {
			s.From, s.To = start, end
		}
		if !yield(s) || nest > 1 && strings.ContainsAny(s.Text, `"\`) && !unpack(yield, s.Text, s.From, s.To, nest-1) {
			return false
		}
		rest = min(end+1, len(raw))
	}
}

// Strings lists where the strings of JSON stand, without their quotation marks; nil if it is no JSON.
func Strings(raw []byte) (spans [][2]int) {
	if !json.Valid(raw) {
		return nil
	}
	spans = [][2]int{}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '"' {
			continue
		}
		start := i + 1
		for i++; raw[i] != '"'; i++ {
			if raw[i] == '\\' {
				i++
			}
		}
		spans = append(spans, [2]int{start, i})
	}
	return spans
}

// Origins tells where in raw each byte of the Text of part All comes from, and where the last one ends.
func Origins(raw string) []int {
	at := make([]int, 0, len(raw)+1)
	unescapeAt(raw, &at)
	return append(at, len(raw))
}

// unescape decodes the escapes of JSON strings (RFC 8259, section 7); what is none stays.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return unescapeAt(s, nil)
}

// unescapeAt is unescape and, unless at is nil, appends where each byte comes from.
func unescapeAt(s string, at *[]int) string {
	b := make([]byte, 0, len(s))
	from := 0
	for i := 0; i < len(s); i++ {
		if at != nil {
			for len(*at) < len(b) {
				*at = append(*at, from)
			}
		}
		if from = i; s[i] != '\\' || i+1 == len(s) {
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
	if at != nil {
		for len(*at) < len(b) {
			*at = append(*at, from)
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
