// SPDX-License-Identifier: Apache-2.0

package llm

// What codecs of JSON replies share.

// Open empties the chunk and makes its scanner ready to read a reply.
func (c *Chunk) Open(body []byte) (*Scanner, error) {
	c.Reset()
	if err := c.Scanner.Reset(body); err != nil {
		return nil, NotInspected("reply: %w", err)
	}
	return &c.Scanner, nil
}

// Texts makes a piece like p of every string of the next value. Strings further down belong to a lane named after their path.
func (c *Chunk) Texts(p Piece) error {
	s := &c.Scanner
	switch s.Peek() {
	case String:
		text, at, err := s.Text()
		if err == nil && len(text) > 0 {
			p.At, p.Text = at, text
			c.Pieces = append(c.Pieces, p)
		}
		return err
	case Array:
		return s.Array(func(int) error { return c.Texts(p) })
	case Object:
		return s.Object(func(m Member) error {
			below := p
			below.Lane += "." + string(m.Key)
			return c.Texts(below)
		})
	}
	return s.Pass()
}

// Aside makes a piece of every string of the next value that belongs to no choice.
func (c *Chunk) Aside(lane string) error { return c.Texts(Piece{Choice: -1, Lane: lane, Whole: true}) }

// ReadWord reads a string, and skips what is none.
func (c *Chunk) ReadWord(to *string) error {
	if c.Scanner.Peek() != String {
		return c.Scanner.Pass()
	}
	text, _, err := c.Scanner.Text()
	*to = c.Word(text)
	return err
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
