// SPDX-License-Identifier: Apache-2.0

package llm

import (
	"bytes"
	"errors"
	"fmt"
)

// Skip reads any value and checks its form. It decodes nothing.
func (s *Scanner) Skip() (Span, error) {
	kind := s.Peek()
	from := s.pos
	var err error
	switch kind {
	case Object:
		err = s.Object(func(Member) error { _, err := s.Skip(); return err })
	case Array:
		err = s.Array(func(int) error { _, err := s.Skip(); return err })
	case String:
		err = s.skipText()
	case Number:
		err = s.number()
	case Bool:
		if s.data[s.pos] == 't' {
			err = s.word("true")
		} else {
			err = s.word("false")
		}
	case Null:
		err = s.word("null")
	default:
		err = s.syntax()
	}
	return Span{from, s.pos}, err
}

func (s *Scanner) skipText() error {
	mark := len(s.arena)
	_, _, err := s.Text()
	s.arena = s.arena[:mark]
	return err
}

func (s *Scanner) word(w string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(w)) {
		return s.syntax()
	}
	s.pos += len(w)
	return nil
}

func (s *Scanner) number() error {
	digits := func() bool {
		from := s.pos
		for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
			s.pos++
		}
		return s.pos > from
	}
	at := func(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }
	if at('-') {
		s.pos++
	}
	if at('0') {
		s.pos++
	} else if !digits() {
		return s.syntax()
	}
	if at('.') {
		s.pos++
		if !digits() {
			return s.syntax()
		}
	}
	if at('e') || at('E') {
		s.pos++
		if at('+') || at('-') {
			s.pos++
		}
		if !digits() {
			return s.syntax()
		}
	}
	return nil
}

// Bool reads true or false.
func (s *Scanner) Bool() (bool, error) {
	if s.Peek() != Bool {
		return false, s.syntax()
	}
	v := s.data[s.pos] == 't'
	_, err := s.Skip()
	return v, err
}

// Int reads a whole number without sign, fraction or exponent, below 10^15.
func (s *Scanner) Int() (int64, error) {
	if s.Peek() != Number {
		return 0, s.syntax()
	}
	at, err := s.Skip()
	if err != nil {
		return 0, err
	}
	var v int64
	for _, c := range s.data[at.Start:at.End] {
		if c < '0' || c > '9' || at.End-at.Start > 15 {
			return 0, fmt.Errorf("not a plain number at byte %d", at.Start)
		}
		v = v*10 + int64(c-'0')
	}
	return v, nil
}

// Bytes returns the bytes of a span.
func (s *Scanner) Bytes(at Span) []byte { return s.data[at.Start:at.End] }

var errFound = errors.New("found")

// Find reads ahead in the object that comes next for a member whose value is a string, and returns it, decoded; nil if there is
// none. What it passes over is checked only when it is read.
func (s *Scanner) Find(key string) ([]byte, error) {
	if s.Peek() != Object {
		return nil, s.syntax()
	}
	pos, depth, own := s.pos, s.depth, s.key
	var found []byte
	err := s.Object(func(m Member) error {
		if string(m.Key) != key {
			_, err := s.Skip()
			return err
		}
		text, _, err := s.Text()
		if found = text; err == nil {
			err = errFound
		}
		return err
	})
	s.pos, s.depth, s.key = pos, depth, own
	if err != nil && !errors.Is(err, errFound) {
		return nil, err
	}
	return found, nil
}

// Key is the key of the member that was begun last: while its value is read, and that holds no object, it is the value's.
func (s *Scanner) Key() []byte { return s.key.Key }

// Strings reads any value and calls f for each string in it that is not a key, in order.
func (s *Scanner) Strings(f func(text []byte, at Span) error) error {
	return s.words(func(text []byte, at Span, key bool) error {
		if key {
			return nil
		}
		return f(text, at)
	})
}

// words is Strings for keys too.
func (s *Scanner) words(f func(text []byte, at Span, key bool) error) error {
	switch s.Peek() {
	case Object:
		return s.Object(func(m Member) error {
			if err := f(m.Key, m.At, true); err != nil {
				return err
			}
			return s.words(f)
		})
	case Array:
		return s.Array(func(int) error { return s.words(f) })
	case String:
		text, at, err := s.Text()
		if err != nil {
			return err
		}
		return f(text, at, false)
	}
	_, err := s.Skip()
	return err
}

// plainKey tells whether a key is an identifier of letters, or too short: nothing in it has to be masked.
func plainKey(key []byte) bool {
	if len(key) < MinText {
		return true
	}
	for _, c := range key {
		if (c|0x20 < 'a' || c|0x20 > 'z') && c != '_' {
			return false
		}
	}
	return true
}
