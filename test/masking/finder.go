// SPDX-License-Identifier: Apache-2.0

package masking

import (
	"fmt"

	"github.com/sallyport-dev/sallyport/pipeline/mask"
	"github.com/sallyport-dev/sallyport/pipeline/mask/names"
	"github.com/sallyport-dev/sallyport/pipeline/mask/personal"
	"github.com/sallyport-dev/sallyport/pipeline/mask/reference"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
	"github.com/sallyport-dev/sallyport/pipeline/mask/secrets"
)

// Carrier is the carrier that is searched for everything.
const Carrier = "text"

// Finder finds what is to be masked in a whole text. It may not be used by two goroutines at once.
type Finder func(text []byte) []Span

// Rules are all built-in rules, in the engine's order.
func Rules() []*rule.Rule { return append(secrets.Rules(), personal.Rules()...) }

// NewEngine is the masker with all that is built in, names too.
func NewEngine() (*mask.Engine, error) {
	return mask.New(mask.Options{Key: []byte("a key of tests"), Names: true})
}

// Reference is the plain and slow finder, which says what the rules mean.
func Reference() (Finder, error) {
	model, err := names.New()
	if err != nil {
		return nil, fmt.Errorf("the reference finder: %w", err)
	}
	scan := model.NewScanner()
	set, err := reference.New(Rules(), func(segment []byte) []rule.Span {
		scan.Reset()
		scan.Feed(segment)
		scan.End()
		return scan.Take(nil)
	})
	if err != nil {
		return nil, fmt.Errorf("the reference finder: %w", err)
	}
	return func(text []byte) []Span {
		var out []Span
		for _, s := range set.Find(text) {
			if s.Rule.Family != rule.Allowed {
				out = append(out, Span{Start: s.Start, End: s.End, Type: s.Rule.Type})
			}
		}
		return out
	}, nil
}

// Engine is the finder that ships.
func Engine(e *mask.Engine) Finder {
	var buf []byte
	return func(text []byte) []Span {
		out, masks, err := e.Append(buf[:0], Carrier, text, mask.StreamOptions{})
		if err != nil {
			panic(err) // nothing is denied, and a whole text holds no more than its bound
		}
		buf = out
		var found []Span
		for _, m := range masks {
			found = append(found, Span{Start: m.At, End: m.At + m.Len, Type: m.Type})
		}
		return found
	}
}

// FindAll runs a finder over documents.
func FindAll(docs []Document, f Finder) [][]Span {
	out := make([][]Span, len(docs))
	for i := range docs {
		out[i] = f([]byte(docs[i].Text))
	}
	return out
}
