// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"cmp"
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// Contents are shipped in one of two forms: what is new in an exchange, or the whole of it. The documents of one exchange have to be of one
// form, also if some were sent before a crash and the others are sent after it. So the form of a record depends on what is on disk alone:
// the record itself, from where on which form was asked for, and which exchanges have no contents.

// formFrom says in which form the records behind one are shipped.
type formFrom struct {
	Generation uint64 `json:"generation"`
	Sequence   uint64 `json:"sequence"`
	Whole      bool   `json:"whole"`
}

// maxForms bounds the list: each entry is a start with another configuration.
const maxForms = 32

func wholeAt(forms []formFrom, generation, sequence uint64) bool {
	whole := false
	for _, f := range forms {
		if cmp.Or(cmp.Compare(generation, f.Generation), cmp.Compare(sequence, f.Sequence)) > 0 {
			whole = f.Whole
		}
	}
	return whole
}

// chooseForm takes the configured form for what is recorded from now on. That it does is on disk before anything is sent.
func (s *Shipper) chooseForm() error {
	s.forms = s.saved.Forms
	if wholeAt(s.forms, s.began.Generation, s.began.Sequence+1) == s.o.Whole {
		return nil
	}
	from := formFrom{s.began.Generation, s.began.Sequence, s.o.Whole}
	if s.saved.Done == nil { // the first start, or the cursor is lost: then the form is taken to be the one that it was
		from.Generation, from.Sequence = 0, 0
	}
	s.forms = append(slices.Clone(s.forms), from)
	if n := len(s.forms) - maxForms; n > 0 {
		s.forms = slices.Delete(s.forms, 0, n)
	}
	next := s.saved
	next.Forms = s.forms
	if err := writeCursor(s.cursorPath(), &next); err != nil {
		return err
	}
	s.saved = next
	return nil
}

// form makes the documents of an exchange that ends with e.
func (s *Shipper) form(p *journal.Parts, e *journal.Entry) *document.Maker {
	if p.Content != journal.ContentHere {
		s.lacks(p.Exchange)
	}
	if wholeAt(s.forms, e.Generation, e.Sequence) || slices.Contains(s.bare, p.Intent.Parent) {
		return s.makers[1]
	}
	return s.makers[0]
}

// maxBare bounds what is kept of exchanges without contents: those of the last minutes are those that others lean on.
const maxBare = 1000

// lacks notes that an exchange has no documents of contents, or not all: no later one leaves out what it said.
func (s *Shipper) lacks(exchange string) {
	if exchange == "" || slices.Contains(s.bare, exchange) {
		return
	}
	s.bare = append(s.bare, exchange)
	if n := len(s.bare) - maxBare; n > 0 {
		s.bare = slices.Delete(s.bare, 0, n)
	}
}
