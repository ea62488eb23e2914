// SPDX-License-Identifier: Apache-2.0

// Package carrier finds the texts of a step as their reader will have them: the text itself, and the strings in the arguments of a
// tool call, in which more JSON may be wrapped.
package carrier

import (
	"encoding/json"
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

// Read appends to dst the text of a step, its arguments as they are, and every string in them as it will be once decoded, so that no
// escape hides a word.
func Read(dst []Text, step *pipeline.Step) []Text {
	if step.Text != "" || len(step.Args) == 0 {
		dst = append(dst, Text{Text: step.Text, Part: Prose, To: len(step.Text)})
	}
	if step.Beside != "" {
		dst = append(dst, Text{Text: step.Beside, Part: Beside, To: len(step.Beside)})
	}
	if len(step.Args) > 0 {
		raw := string(step.Args)
		dst = append(dst, Text{Text: raw, Part: Args, To: len(raw)})
		dst = unpack(dst, raw, 0, len(raw), maxNest)
	}
	return dst
}

// unpack adds the strings of a JSON text. The text may be broken, as a model may break off: it is unescaped as a whole
// too, so that a lost quotation mark does not turn strings inside out. from and to are where nested text stands.
func unpack(dst []Text, raw string, from, to, nest int) []Text {
	top := nest == maxNest
	if strings.IndexByte(raw, '\\') >= 0 {
		p := String
		if top {
			p = All
		}
		dst = append(dst, Text{unescape(raw), p, from, to})
	}
	for rest := 0; ; {
		start := strings.IndexByte(raw[rest:], '"')
		if start < 0 {
			return dst
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
		dst = append(dst, s)
		if nest > 1 && strings.ContainsAny(s.Text, `"\`) {
			dst = unpack(dst, s.Text, s.From, s.To, nest-1)
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
