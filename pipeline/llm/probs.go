// SPDX-License-Identifier: Apache-2.0

package llm

import "bytes"

// Prob is one token of a list of log probabilities.
type Prob struct {
	Text  []byte // what it stands for; valid as long as the data and the chunk
	At    Span   // of the JSON string that says so
	Bytes Span   // of a value that says it in bytes; empty if there is none
	Top   Span   // of a value that names tokens in its place, itself among them; empty if there is none
	Other bool   // the bytes say something else
}

// ProbList is a list of log probabilities: it repeats a text token by token, and so does what follows from it. Where the text is
// masked, its tokens are too. In a stream, lists of one choice and lane are one text.
type ProbList struct {
	Choice   int
	Lane     string // of the text that it repeats
	At       Span   // of the whole value
	From, To int    // of its tokens in Chunk.Probs
	Whole    bool   // a list by itself, also in a stream
	Repeat   bool   // like Piece.Repeat
}

var (
	probKeys  = Names{"token", "bytes", "top_logprobs", "logprob"}
	probsKeys = Names{"tokens", "top_logprobs", "token_logprobs", "text_offset"}
)

// ProbList reads a list of log probabilities, each an object with a token. Where it is null, or empty, nothing is noted.
func (c *Chunk) ProbList(l ProbList) error {
	s := &c.Scanner
	if null, err := s.Null(); null || err != nil {
		return err
	}
	l.At.Start, l.From = s.Pos(), len(c.Probs)
	err := s.Array(func(int) error { return c.prob(&l) })
	return c.endList(l, err)
}

func (c *Chunk) endList(l ProbList, err error) error {
	l.At.End, l.To = c.Scanner.Pos(), len(c.Probs)
	if err == nil && l.To > l.From {
		c.Lists = append(c.Lists, l)
	}
	return err
}

func (c *Chunk) prob(l *ProbList) error {
	s := &c.Scanner
	seen := uint64(0)
	var p Prob
	var spelled []byte
	err := s.Object(func(m Member) error {
		k, err := probKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		null := s.Peek() == Null
		switch {
		case k < 0:
			return c.Member("", m.Key)
		case null:
			return s.Pass()
		case k == 0:
			p.Text, p.At, err = s.Text()
			return err
		case k == 1:
			from := s.Pos()
			spelled = []byte{}
			err := s.Array(func(int) error {
				v, err := s.Index(256)
				spelled = append(spelled, byte(v))
				return err
			})
			p.Bytes = Span{from, s.Pos()}
			return err
		case k == 2:
			p.Top, err = s.Skip()
			return err
		}
		if s.Peek() != Number {
			return NotInspected("log probability that is no number")
		}
		return s.Pass()
	})
	if err == nil && p.At.Empty() {
		err = NotInspected("log probability without a token")
	}
	if spelled != nil && !bytes.Equal(spelled, p.Text) {
		// Half a character cannot be said in text: then only the bytes say what the token is.
		if bytes.Contains(p.Text, []byte("\ufffd")) || bytes.Contains(p.Text, []byte(`\x`)) {
			p.Text = spelled
		} else {
			p.Other = true
		}
	}
	c.Probs = append(c.Probs, p)
	return err
}

// ProbTable reads log probabilities in the older form: arrays, side by side, in an object.
func (c *Chunk) ProbTable(l ProbList) error {
	s := &c.Scanner
	if null, err := s.Null(); null || err != nil {
		return err
	}
	l.At.Start, l.From = s.Pos(), len(c.Probs)
	seen := uint64(0)
	var tops []Span
	err := s.Object(func(m Member) error {
		k, err := probsKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch {
		case k < 0:
			return c.Member("", m.Key)
		case s.Peek() == Null:
			return s.Pass()
		case k == 0:
			return s.Array(func(int) error {
				text, at, err := s.Text()
				c.Probs = append(c.Probs, Prob{Text: text, At: at})
				return err
			})
		case k == 1:
			return s.Array(func(int) error {
				null := s.Peek() == Null
				at, err := s.Skip()
				if null {
					at = Span{}
				}
				tops = append(tops, at)
				return err
			})
		}
		return s.Array(func(int) error {
			if null, err := s.Null(); null || err != nil {
				return err
			}
			if s.Peek() != Number {
				return NotInspected("log probability that is no number")
			}
			return s.Pass()
		})
	})
	if n := len(c.Probs) - l.From; err == nil && len(tops) > 0 && len(tops) != n {
		err = NotInspected("log probabilities of %d tokens for %d", len(tops), n)
	}
	if err == nil {
		for i, at := range tops {
			c.Probs[l.From+i].Top = at
		}
	}
	return c.endList(l, err)
}

// Gone is what is left of a value that names tokens, or of a list of them, when it goes.
func Gone(data []byte, at Span) []byte {
	if data[at.Start] == '[' {
		return []byte("[]")
	}
	return []byte("null")
}
