// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// Explained says why bytes [At, At+Len) of a text were masked, or were not although they have the form of a value. The value is not in it.
type Explained struct {
	Rule   string        `json:"rule"`
	Type   string        `json:"type"`
	Why    string        `json:"why"` // of the rule
	At     int           `json:"at"`
	Len    int           `json:"len"`
	Action action.Action `json:"-"`
	// Refused says who did not agree: the character before or behind, the check of the rule, the list of values that are allowed. Empty: masked.
	Refused string `json:"refused,omitempty"`
}

// Explained lists why, in the order of the text; only with Options.Explain, and complete after Flush. The slice belongs to the Rewriter.
func (r *Rewriter) Explained() []Explained {
	slices.SortStableFunc(r.explained, func(a, b Explained) int { return a.At - b.At })
	return r.explained
}

func (r *Rewriter) explain(c *rule.Rule, from, to int, a action.Action, allowed bool) {
	if !r.e.o.Explain {
		return
	}
	x := Explained{Rule: c.Name, Type: c.Type, Why: c.Why, At: max(from-r.base, 0), Len: to - max(from, r.base), Action: a}
	switch {
	case allowed:
		x.Refused = "the list of values that are allowed"
	case a == action.Allow:
		x.Refused = "the settings allow such values here"
	}
	if x.Len > 0 {
		r.explained = append(r.explained, x)
	}
}

// refuse notes a match that is no value.
func (r *Rewriter) refuse(c *compiled, p, e int, who string) {
	if !r.e.o.Explain || e <= r.base {
		return
	}
	x := Explained{Rule: c.Name, Type: c.Type, Why: c.Why, At: max(p-r.base, 0), Len: e - max(p, r.base), Action: action.Allow, Refused: who}
	for i := len(r.explained) - 1; i >= 0; i-- { // of a head that grows, the last counts
		if o := &r.explained[i]; o.Rule == x.Rule && o.At == x.At && o.Refused == x.Refused {
			*o = x
			return
		}
	}
	r.explained = append(r.explained, x)
}

// refusedLeft notes a match that the byte before it forbids.
func (r *Rewriter) refusedLeft(c *compiled, p, end int) {
	if m := c.exact.Longest(r.text(p, end)); m > 0 {
		r.refuse(c, p, p+m, "the character before it")
	}
}

// with is what a mask writes, as a string; of tags there is one for each rule.
func (r *Rewriter) with(c *rule.Rule, a action.Action, b []byte) string {
	if a == action.Tag {
		if s, ok := r.e.tags[c]; ok {
			return s
		}
	}
	return string(b)
}
