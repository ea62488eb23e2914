// SPDX-License-Identifier: Apache-2.0

package llm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may nest.
const MaxDepth = 200

// Span is a range of bytes in the text that was scanned, half open.
type Span struct{ Start, End int }

// Empty tells whether the span was never set.
func (s Span) Empty() bool { return s.End == 0 }

// Kind is what a JSON value is, by its first byte.
type Kind byte

// The kinds of JSON value.
const (
	Invalid Kind = 0
	Null    Kind = 'n'
	Bool    Kind = 't'
	Number  Kind = '0'
	String  Kind = '"'
	Array   Kind = '['
	Object  Kind = '{'
)

// Scanner walks JSON (RFC 8259) in place and tells where each value stands, so that edits can be spliced in and all
// other bytes stay as they were. It is strict: what two readers could understand differently is an error. The zero
// value is not ready; call Reset. Not for use by more than one goroutine.
type Scanner struct {
	data  []byte
	pos   int
	depth int
	arena []byte // decoded strings that had escapes
	key   Member // that was begun last
	// Strict refuses \u escapes of lone surrogates in strings that are decoded. Otherwise they are decoded as if UTF-8
	// had room for them (WTF-8), and AppendString turns them back into the same escapes.
	Strict bool
}

// errors that many places return
var (
	errEnd   = errors.New("JSON ends early")
	errUTF8  = errors.New("not UTF-8")
	errDepth = fmt.Errorf("nested more than %d deep", MaxDepth)
	errTrail = errors.New("bytes after the JSON value")
	errTwice = errors.New("key given twice")
)

// Reset starts over with data, which must not change while decoded strings are in use. It fails if data is not UTF-8.
func (s *Scanner) Reset(data []byte) error {
	s.data, s.pos, s.depth, s.arena, s.key = data, 0, 0, s.arena[:0], Member{}
	if !utf8.Valid(data) {
		return errUTF8
	}
	return nil
}

// ResetAt is Reset for the one value that begins at offset at; offsets stay those of data, which was checked before.
func (s *Scanner) ResetAt(data []byte, at int) {
	s.data, s.pos, s.depth, s.key = data, at, 0, Member{}
}

// Pos is the offset of the next byte to be read.
func (s *Scanner) Pos() int { return s.pos }

// Seek goes back to an offset at which a value began.
func (s *Scanner) Seek(at int) { s.pos = at }

func (s *Scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\n', '\t', '\r':
			s.pos++
		default:
			return
		}
	}
}

// End checks that nothing but white space follows.
func (s *Scanner) End() error {
	s.space()
	if s.pos != len(s.data) {
		return errTrail
	}
	return nil
}

// Peek tells the kind of the value that comes next, without reading it.
func (s *Scanner) Peek() Kind {
	s.space()
	if s.pos >= len(s.data) {
		return Invalid
	}
	switch c := s.data[s.pos]; c {
	case '{', '[', '"', 'n':
		return Kind(c)
	case 't', 'f':
		return Bool
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return Number
	}
	return Invalid
}

func (s *Scanner) syntax() error {
	if s.pos >= len(s.data) {
		return errEnd
	}
	return fmt.Errorf("not JSON at byte %d", s.pos)
}

func (s *Scanner) expect(c byte) error {
	s.space()
	if s.pos >= len(s.data) || s.data[s.pos] != c {
		return s.syntax()
	}
	s.pos++
	return nil
}

// Member is one member of an object.
type Member struct {
	Key []byte // decoded
	At  Span   // of the key, quotes included
}

// Object reads an object and calls f for each member; f must read exactly the value. Duplicate keys are the caller's
// business (see Once).
func (s *Scanner) Object(f func(Member) error) error {
	if err := s.open('{'); err != nil {
		return err
	}
	s.space()
	if s.pos < len(s.data) && s.data[s.pos] == '}' {
		return s.close()
	}
	for {
		key, at, err := s.Text()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		s.key = Member{Key: key, At: at}
		if err := f(s.key); err != nil {
			return err
		}
		s.space()
		if s.pos >= len(s.data) {
			return errEnd
		}
		switch s.data[s.pos] {
		case ',':
			s.pos++
		case '}':
			return s.close()
		default:
			return s.syntax()
		}
	}
}

// Array reads an array and calls f for each element; f must read exactly the element.
func (s *Scanner) Array(f func(i int) error) error {
	if err := s.open('['); err != nil {
		return err
	}
	s.space()
	if s.pos < len(s.data) && s.data[s.pos] == ']' {
		return s.close()
	}
	for i := 0; ; i++ {
		if err := f(i); err != nil {
			return err
		}
		s.space()
		if s.pos >= len(s.data) {
			return errEnd
		}
		switch s.data[s.pos] {
		case ',':
			s.pos++
		case ']':
			return s.close()
		default:
			return s.syntax()
		}
	}
}

func (s *Scanner) open(c byte) error {
	if err := s.expect(c); err != nil {
		return err
	}
	if s.depth++; s.depth > MaxDepth {
		return errDepth
	}
	return nil
}

func (s *Scanner) close() error {
	s.pos++
	s.depth--
	return nil
}

// Text reads a string. text is decoded; it points into the data if there was nothing to decode, else into the
// scanner, and is valid until the next Reset. The span includes the quotes.
func (s *Scanner) Text() (text []byte, at Span, err error) {
	if err := s.expect('"'); err != nil {
		return nil, Span{}, err
	}
	from := s.pos
	for i := from + plain(s.data[from:]); i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return s.data[from:i:i], Span{from - 1, i + 1}, nil
		case c == '\\':
			return s.escaped(from, i)
		case c < 0x20:
			s.pos = i
			return nil, Span{}, s.syntax()
		}
	}
	return nil, Span{}, errEnd
}

// plain is how many bytes at the start of b are, for sure, neither a quote nor a backslash nor a control character: it looks at
// eight at once.
func plain(b []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		// The top bit of each byte that is zero, zero and below 0x20. Bytes above the first such one may be false alarms.
		if ((quote-ones)&^quote|(slash-ones)&^slash|(x-ones*0x20)&^x)&tops != 0 {
			break
		}
	}
	return i
}

func (s *Scanner) escaped(from, i int) ([]byte, Span, error) {
	mark := len(s.arena)
	s.arena = append(s.arena, s.data[from:i]...)
	for i < len(s.data) {
		c := s.data[i]
		switch {
		case c == '"':
			s.pos = i + 1
			return s.arena[mark:len(s.arena):len(s.arena)], Span{from - 1, i + 1}, nil
		case c < 0x20:
			s.pos = i
			return nil, Span{}, s.syntax()
		case c != '\\':
			n := i + 1
			n += plain(s.data[n:])
			for n < len(s.data) && s.data[n] != '"' && s.data[n] != '\\' && s.data[n] >= 0x20 {
				n++
			}
			s.arena = append(s.arena, s.data[i:n]...)
			i = n
			continue
		}
		if i+1 >= len(s.data) {
			return nil, Span{}, errEnd
		}
		switch e := s.data[i+1]; e {
		case '"', '\\', '/':
			s.arena = append(s.arena, e)
		case 'b':
			s.arena = append(s.arena, '\b')
		case 'f':
			s.arena = append(s.arena, '\f')
		case 'n':
			s.arena = append(s.arena, '\n')
		case 'r':
			s.arena = append(s.arena, '\r')
		case 't':
			s.arena = append(s.arena, '\t')
		case 'u':
			n, err := s.unicode(i)
			if err != nil {
				return nil, Span{}, err
			}
			i = n
			continue
		default:
			s.pos = i
			return nil, Span{}, s.syntax()
		}
		i += 2
	}
	return nil, Span{}, errEnd
}

// unicode decodes the \u escape at i, and its second half if it is a pair, and returns the offset after it.
func (s *Scanner) unicode(i int) (int, error) {
	r, ok := hex4(s.data, i+2)
	if !ok {
		s.pos = i
		return 0, s.syntax()
	}
	i += 6
	if !utf16.IsSurrogate(r) {
		s.arena = utf8.AppendRune(s.arena, r)
		return i, nil
	}
	if r < 0xDC00 && i+1 < len(s.data) && s.data[i] == '\\' && s.data[i+1] == 'u' {
		if low, ok := hex4(s.data, i+2); ok && low >= 0xDC00 && low < 0xE000 {
			s.arena = utf8.AppendRune(s.arena, utf16.DecodeRune(r, low))
			return i + 6, nil
		}
	}
	if s.Strict {
		return 0, fmt.Errorf("lone surrogate before byte %d", i)
	}
	s.arena = append(s.arena, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
	return i, nil
}

func hex4(b []byte, at int) (rune, bool) {
	if at+4 > len(b) {
		return 0, false
	}
	var r rune
	for _, c := range b[at : at+4] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r |= rune(c|0x20-'a') + 10
		default:
			return 0, false
		}
	}
	return r, true
}

// Names is an immutable table of the keys that have a meaning in one kind of object.
type Names []string

// Once finds which of the known keys a key is, or -1, and notes it in seen. A known key that was seen before is an
// error, and so is one that differs from a known key in case only: some readers take it for the same key.
func (n Names) Once(key []byte, seen *uint64) (int, error) {
	for i, name := range n {
		if string(key) == name {
			if *seen&(1<<i) != 0 {
				return 0, fmt.Errorf("%w: %q", errTwice, name)
			}
			*seen |= 1 << i
			return i, nil
		}
	}
	for _, name := range n {
		if bytes.EqualFold(key, []byte(name)) {
			return 0, fmt.Errorf("key differs from %q in case only", name)
		}
	}
	return -1, nil
}
