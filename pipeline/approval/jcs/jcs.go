// SPDX-License-Identifier: Apache-2.0

package jcs

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of arrays and objects.
const maxDepth = 128

// Errors of Append and AppendExact.
var (
	ErrSyntax    = errors.New("not JSON")
	ErrDuplicate = errors.New("a key occurs twice in one object")
	ErrString    = errors.New("a string is not Unicode")
	ErrNumber    = errors.New("a number is out of range")
	ErrInexact   = errors.New("a number is more exact than its canonical form")
	ErrDepth     = errors.New("nested too deep")
)

// Append appends the canonical form of a JSON text.
func Append(dst, src []byte) ([]byte, error) { return run(dst, src, false) }

// AppendExact is Append, but for numbers that the canonical form would round: RFC 8785 takes every number for a double, and many
// readers do not. Texts with such numbers are an error, so that texts that differ for any reader differ here.
func AppendExact(dst, src []byte) ([]byte, error) { return run(dst, src, true) }

func run(dst, src []byte, exact bool) ([]byte, error) {
	p := parser{src: src, dst: dst, exact: exact}
	p.space()
	if err := p.value(0); err != nil {
		return dst, err
	}
	p.space()
	if p.at != len(src) {
		return dst, ErrSyntax
	}
	return p.dst, nil
}

type parser struct {
	src   []byte
	at    int
	dst   []byte
	exact bool
	spare []byte
}

func (p *parser) space() {
	for p.at < len(p.src) {
		switch p.src[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// next is the byte at hand, 0 at the end (which no rule asks for).
func (p *parser) next() byte {
	if p.at < len(p.src) {
		return p.src[p.at]
	}
	return 0
}

func (p *parser) word(w string) error {
	if !bytes.HasPrefix(p.src[p.at:], []byte(w)) {
		return ErrSyntax
	}
	p.at += len(w)
	p.dst = append(p.dst, w...)
	return nil
}

func (p *parser) value(depth int) error {
	if depth > maxDepth {
		return ErrDepth
	}
	switch c := p.next(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		_, err := p.text()
		return err
	case c == 't':
		return p.word("true")
	case c == 'f':
		return p.word("false")
	case c == 'n':
		return p.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	return ErrSyntax
}

func (p *parser) array(depth int) error {
	p.at++
	p.dst = append(p.dst, '[')
	p.space()
	if p.next() == ']' {
		p.at++
		p.dst = append(p.dst, ']')
		return nil
	}
	for {
		p.space()
		if err := p.value(depth + 1); err != nil {
			return err
		}
		p.space()
		switch c := p.next(); c {
		case ',', ']':
			p.at++
			p.dst = append(p.dst, c)
			if c == ']' {
				return nil
			}
		default:
			return ErrSyntax
		}
	}
}

// member is one member of an object: its key, and where its canonical form is in dst.
type member struct {
	key        []uint16
	start, end int
}

func (p *parser) object(depth int) error {
	p.at++
	p.dst = append(p.dst, '{')
	start := len(p.dst)
	p.space()
	if p.next() == '}' {
		p.at++
		p.dst = append(p.dst, '}')
		return nil
	}
	var members []member
	for {
		p.space()
		if p.next() != '"' {
			return ErrSyntax
		}
		m := member{start: len(p.dst)}
		key, err := p.text()
		if err != nil {
			return err
		}
		m.key = utf16.Encode([]rune(string(key)))
		p.space()
		if p.next() != ':' {
			return ErrSyntax
		}
		p.at++
		p.dst = append(p.dst, ':')
		p.space()
		if err := p.value(depth + 1); err != nil {
			return err
		}
		m.end = len(p.dst)
		members = append(members, m)
		p.space()
		c := p.next()
		p.at++
		if c == '}' {
			break
		}
		if c != ',' {
			return ErrSyntax
		}
		p.dst = append(p.dst, ',')
	}
	if err := p.order(members, start); err != nil {
		return err
	}
	p.dst = append(p.dst, '}')
	return nil
}

// order sorts the members of an object that stands in dst from start on by the UTF-16 code units of their keys.
func (p *parser) order(members []member, start int) error {
	byKey := func(a, b member) int { return slices.CompareFunc(a.key, b.key, cmp.Compare) }
	if !slices.IsSortedFunc(members, byKey) {
		slices.SortFunc(members, byKey)
		sorted := p.spare[:0]
		for i, m := range members {
			if i > 0 {
				sorted = append(sorted, ',')
			}
			sorted = append(sorted, p.dst[m.start:m.end]...)
		}
		p.dst = append(p.dst[:start], sorted...)
		p.spare = sorted
	}
	for i := 1; i < len(members); i++ {
		if slices.Equal(members[i-1].key, members[i].key) {
			return ErrDuplicate
		}
	}
	return nil
}

// text reads a string, appends its canonical form, and returns it decoded. What it returns is a part of dst if nothing in it is
// escaped there.
func (p *parser) text() ([]byte, error) {
	p.at++
	p.dst = append(p.dst, '"')
	start := len(p.dst)
	var key []byte // decoded, once that differs from what is in dst
	apart := false
	for {
		if p.at >= len(p.src) {
			return nil, ErrSyntax
		}
		c := p.src[p.at]
		r, n := rune(c), 1
		switch {
		case c == '"':
			p.at++
			p.dst = append(p.dst, '"')
			if apart {
				return key, nil
			}
			return p.dst[start : len(p.dst)-1], nil
		case c < 0x20:
			return nil, ErrSyntax
		case c == '\\':
			var err error
			if r, n, err = p.escape(); err != nil {
				return nil, err
			}
		case c >= utf8.RuneSelf:
			if r, n = utf8.DecodeRune(p.src[p.at:]); r == utf8.RuneError && n == 1 {
				return nil, ErrString
			}
		}
		p.at += n
		if (r < 0x20 || r == '"' || r == '\\') && !apart {
			apart, key = true, append([]byte(nil), p.dst[start:]...)
		}
		p.dst = appendRune(p.dst, r)
		if apart {
			key = utf8.AppendRune(key, r)
		}
	}
}

// escape reads an escape sequence.
func (p *parser) escape() (r rune, n int, err error) {
	if p.at+1 >= len(p.src) {
		return 0, 0, ErrSyntax
	}
	switch c := p.src[p.at+1]; c {
	case '"', '\\', '/':
		return rune(c), 2, nil
	case 'b':
		return '\b', 2, nil
	case 'f':
		return '\f', 2, nil
	case 'n':
		return '\n', 2, nil
	case 'r':
		return '\r', 2, nil
	case 't':
		return '\t', 2, nil
	case 'u':
	default:
		return 0, 0, ErrSyntax
	}
	r, ok := p.hex(p.at)
	if !ok {
		return 0, 0, ErrSyntax
	}
	if !utf16.IsSurrogate(r) {
		return r, 6, nil
	}
	low, ok := p.hex(p.at + 6)
	if !ok {
		return 0, 0, ErrString
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, 0, ErrString
	}
	return r, 12, nil
}

// hex reads \uXXXX at a place.
func (p *parser) hex(at int) (rune, bool) {
	if at+6 > len(p.src) || p.src[at] != '\\' || p.src[at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range p.src[at+2 : at+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func appendRune(dst []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r == '\b':
		return append(dst, '\\', 'b')
	case r == '\t':
		return append(dst, '\\', 't')
	case r == '\n':
		return append(dst, '\\', 'n')
	case r == '\f':
		return append(dst, '\\', 'f')
	case r == '\r':
		return append(dst, '\\', 'r')
	case r < 0x20:
		return append(dst, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
	}
	return utf8.AppendRune(dst, r)
}

func (p *parser) number() error {
	start := p.at
	if p.next() == '-' {
		p.at++
	}
	if p.next() == '0' {
		p.at++
	} else if !p.digits() {
		return ErrSyntax
	}
	if p.next() == '.' {
		if p.at++; !p.digits() {
			return ErrSyntax
		}
	}
	if c := p.next(); c == 'e' || c == 'E' {
		p.at++
		if c := p.next(); c == '+' || c == '-' {
			p.at++
		}
		if !p.digits() {
			return ErrSyntax
		}
	}
	written := p.src[start:p.at]
	f, err := strconv.ParseFloat(string(written), 64)
	if err != nil || math.IsInf(f, 0) {
		return ErrNumber
	}
	if p.exact && !same(written, f) {
		return ErrInexact
	}
	p.dst = AppendNumber(p.dst, f)
	return nil
}

func (p *parser) digits() bool {
	start := p.at
	for c := p.next(); c >= '0' && c <= '9'; c = p.next() {
		p.at++
	}
	return p.at > start
}
