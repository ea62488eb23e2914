// SPDX-License-Identifier: Apache-2.0

package names

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"fmt"

	"github.com/sallyport-dev/sallyport/pipeline/mask/names/token"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

//go:embed model.gz
var packed []byte

// Model is what is known about names: immutable, shared by all scanners.
type Model struct {
	rules   [token.Tags]*rule.Rule
	lists   *token.Lists
	weights *token.Weights
}

// maxModel is the size in bytes up to which room is made before it is known how large a model is.
const maxModel = 16 << 20

// New loads the model that is part of the program.
func New() (*Model, error) { return Read(packed) }

// Read loads a model that test/masking/train has made.
func Read(packed []byte) (*Model, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpacking the model of names: %w", err)
	}
	var all bytes.Buffer
	if n := len(packed); n >= 4 { // gzip ends with the length of what it holds; it is not relied on
		all.Grow(int(min(binary.LittleEndian.Uint32(packed[n-4:]), maxModel)) + bytes.MinRead)
	}
	if _, err := all.ReadFrom(z); err != nil {
		return nil, fmt.Errorf("unpacking the model of names: %w", err)
	}
	b := all.Bytes()
	lists, b, err := token.ReadLists(b)
	if err != nil {
		return nil, fmt.Errorf("reading the lists of names: %w", err)
	}
	weights, _, err := token.ReadWeights(b)
	if err != nil {
		return nil, fmt.Errorf("reading the weights of names: %w", err)
	}
	return With(lists, weights), nil
}

// With makes a model of parts: training tries with it what it has learned.
func With(lists *token.Lists, weights *token.Weights) *Model {
	m := &Model{lists: lists, weights: weights}
	m.rules[token.Person] = &rule.Rule{Name: "person", Type: "PERSON", Family: rule.Name, Why: "reads like the name of a person"}
	m.rules[token.Address] = &rule.Rule{Name: "address", Type: "ADDRESS", Family: rule.Address, Why: "reads like a postal address"}
	return m
}

// Rules are what the spans of scanners point to.
func (m *Model) Rules() []*rule.Rule {
	return []*rule.Rule{m.rules[token.Person], m.rules[token.Address]}
}

// Bound is how many bytes a scanner holds back at most.
func (m *Model) Bound() int { return token.Bound }

// NewScanner makes a scanner.
func (m *Model) NewScanner() *Scanner {
	s := &Scanner{model: m}
	s.seq.By, s.seq.Lists = s, m.lists
	s.Reset()
	return s
}

// Scanner finds names in one segment at a time. It is not for use by several goroutines at once.
type Scanner struct {
	model    *Model
	cut      token.Tokenizer
	seq      token.Sequence
	features [token.MaxFeatures]uint32
}

// Reset begins a new segment.
func (s *Scanner) Reset() {
	s.cut.Reset()
	s.seq.Reset()
}

// Feed reads the next bytes of the segment. p is not kept.
func (s *Scanner) Feed(p []byte) {
	for len(p) > 0 {
		n, done := s.cut.Read(p)
		p = p[n:]
		if done {
			s.seq.Push(s.cut.Token())
		}
	}
}

// End tells that the segment has ended. All spans are complete then.
func (s *Scanner) End() {
	word := s.cut.End()
	if word {
		s.seq.Push(s.cut.Token())
	}
	s.seq.Finish(word, !word && s.cut.Key())
}

// Settled is an offset of the segment: no span that is still to come begins before it.
func (s *Scanner) Settled() int { return s.seq.Settled(s.cut.Pending()) }

// Take appends the spans that are complete and not yet taken.
func (s *Scanner) Take(dst []rule.Span) []rule.Span {
	for _, f := range s.seq.Spans {
		dst = append(dst, rule.Span{Start: f.Start, End: f.End, Rule: s.model.rules[f.Tag]})
	}
	s.seq.Spans = s.seq.Spans[:0]
	return dst
}

// Decide is what the tokens are decided by.
func (s *Scanner) Decide(v *token.View) token.Tag {
	return s.model.weights.Decide(s.features[:v.Features(&s.features, false)])
}
