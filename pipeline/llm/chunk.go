// SPDX-License-Identifier: Apache-2.0

package llm

import "bytes"

// What codecs of JSON replies share.

// Open empties the chunk and makes its scanner ready to read a reply.
func (c *Chunk) Open(body []byte) (*Scanner, error) {
	c.Reset()
	if err := c.Scanner.Reset(body); err != nil {
		return nil, NotInspected("reply: %w", err)
	}
	return &c.Scanner, nil
}

// Texts makes a piece like p of every string of the next value. Strings further down belong to a lane named after their path, and
// have their key beside them. Keys further down that are no plain words are texts by themselves. What only the provider can read is
// left out.
func (c *Chunk) Texts(p Piece) error {
	s := &c.Scanner
	switch s.Peek() {
	case String:
		text, at, err := s.Text()
		if err == nil && len(text) > 0 && (len(text) >= MinText || !p.Whole || p.Answer || p.Repeat) {
			p.At, p.Text = at, text
			c.Pieces = append(c.Pieces, p)
		}
		return err
	case Array:
		return s.Array(func(int) error { return c.Texts(p) })
	case Object:
		return s.Object(func(m Member) error {
			if OpaqueKey(m.Key) {
				if passed, err := c.Opaque(); passed || err != nil {
					return err
				}
			}
			c.Key(p)
			below := p
			below.Key = m.Key
			if !p.Whole { // else no lane is made
				var name [64]byte
				below.Lane = c.Word(append(append(append(name[:0], p.Lane...), '.'), m.Key...))
			}
			return c.Texts(below)
		})
	}
	return s.Pass()
}

// Aside makes a piece of every string of the next value, which belongs to no choice.
func (c *Chunk) Aside(carrier string) error {
	return c.Texts(Piece{Choice: -1, Carrier: carrier, Whole: true})
}

// Key makes a piece like p, a text by itself, of the key of the member that was begun last, if it is no plain word.
func (c *Chunk) Key(p Piece) {
	if m := &c.Scanner.key; !plainKey(m.Key) {
		c.Pieces = append(c.Pieces, Piece{Choice: p.Choice, Carrier: p.Carrier, At: m.At, Text: m.Key, Name: true, Whole: true})
	}
}

// Member is Aside for the value of the member that was begun last, and for its key, which may tell what it is.
func (c *Chunk) Member(carrier string, key []byte) error {
	c.Key(Piece{Choice: -1, Carrier: carrier})
	if OpaqueKey(key) {
		if passed, err := c.Opaque(); passed || err != nil {
			return err
		}
	}
	return c.Texts(Piece{Choice: -1, Carrier: carrier, Key: key, Whole: true})
}

// OpaqueKey tells keys of strings that only the provider can read: signatures, and what it encrypted.
func OpaqueKey(key []byte) bool {
	switch string(key) {
	case "signature", "encrypted_content", "encrypted_index", "encrypted_stdout", "thought_signature", "data":
		return true
	}
	return false
}

// minOpaque is the length in bytes below which nothing is taken for encrypted.
const minOpaque = 40

// Opaque passes the next value, if it is null, or a string that looks encrypted: long, and of the digits of base64 alone. Any
// other is not read.
func (c *Chunk) Opaque() (passed bool, err error) {
	s := &c.Scanner
	kind, from := s.Peek(), s.Pos()
	switch kind {
	case Null:
		return true, s.Pass()
	case String:
		text, _, err := s.Text()
		if err != nil || len(text) == 0 || len(text) >= minOpaque && allOf(text, &base64Bytes) {
			return true, err
		}
		s.Seek(from)
	}
	return false, nil
}

// maxLabel is how long the provider's own words are at most.
const maxLabel = 64

// Label reads a value that is one of the provider's own words, such as a type or a status, or else numbers. What does not look like
// one is a text.
func (c *Chunk) Label(key []byte) error {
	s := &c.Scanner
	kind, from := s.Peek(), s.Pos()
	switch kind {
	case String:
		text, at, err := s.Text()
		if err != nil {
			return err
		}
		if Label(text) {
			c.Say(at, text)
			return nil
		}
		s.Seek(from)
	case Array, Object:
		own := s.key
		at, err := s.Skip()
		s.key = own
		if err != nil || bytes.IndexByte(s.data[at.Start:at.End], '"') < 0 {
			return err
		}
		s.Seek(from)
	}
	return c.Member("", key)
}

// Label tells whether a text may be one of the provider's own words, or an ID.
func Label(text []byte) bool { return len(text) <= maxLabel && allOf(text, &labelBytes) }

type byteSet [256]bool

func setOf(more string) (set byteSet) {
	for c := byte('0'); c <= 'z'; c++ {
		set[c] = c <= '9' || c >= 'a' || c >= 'A' && c <= 'Z'
	}
	for i := range more {
		set[more[i]] = true
	}
	return set
}

var base64Bytes, labelBytes = setOf("+/=-_"), setOf("_.:+-/")

func allOf(text []byte, set *byteSet) bool {
	for _, c := range text {
		if !set[c] {
			return false
		}
	}
	return true
}

// ReadWord reads a string that is one word, such as an ID. What does not look like one is a text as well, and so is what is no string.
func (c *Chunk) ReadWord(to *string) error {
	if c.Scanner.Peek() != String {
		return c.Aside("")
	}
	text, at, err := c.Scanner.Text()
	*to = c.Word(text)
	if err == nil && Label(text) {
		c.Say(at, text)
	} else if err == nil {
		c.Pieces = append(c.Pieces, Piece{Choice: -1, At: at, Text: text, Whole: true})
	}
	return err
}

// Say notes a word.
func (c *Chunk) Say(at Span, text []byte) {
	if !plainKey(text) {
		c.Words = append(c.Words, Word{At: at, Text: text})
	}
}

// Index reads a number below a limit.
func (s *Scanner) Index(below int64) (int, error) {
	v, err := s.Int()
	if err == nil && v >= below {
		err = NotInspected("index %d", v)
	}
	return int(v), err
}

// Count reads a number of tokens, and skips what is none.
func (s *Scanner) Count(to **int64) error {
	if s.Peek() != Number {
		return s.Pass()
	}
	v, err := s.Int()
	*to = &v
	return err
}
