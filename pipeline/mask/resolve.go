// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// found is a span that is not released yet, or not all of it. order is its place in the list of rules.
type found struct {
	start, end int
	rule       *rule.Rule
	order      int
}

// claims tells whether a gets the bytes that both have.
func (a *found) claims(b *found) bool {
	return cmp.Or(cmp.Compare(a.rule.Family, b.rule.Family), cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end), cmp.Compare(a.order, b.order)) < 0
}

// add keeps a span until it is released, in the order of where spans start.
func (r *Rewriter) add(f found) error {
	if len(r.found) == manyFound {
		return errFound
	}
	r.found = append(r.found, f)
	for i := len(r.found) - 1; i > 0 && r.found[i].start < r.found[i-1].start; i-- {
		r.found[i], r.found[i-1] = r.found[i-1], r.found[i]
	}
	return nil
}

// release appends to dst the text before cut, masked. No span that is still to come begins before cut, so it is known who has each of its
// bytes; but a span to come may take the rest of one that goes on behind cut, so that is kept, unless the segment ends there.
func (r *Rewriter) release(dst []byte, cut int, last bool) (_ []byte, err error) {
	p := r.out
	for p < cut {
		best, end := r.owner(p, cut)
		if best == nil {
			dst = r.original(dst, p, end)
			p = end
			continue
		}
		if end > cut && !last && r.drop&holdSpan == 0 {
			break
		}
		if dst, err = r.replace(dst, best, p, end); err != nil {
			r.out = p
			return dst, err
		}
		p = end
	}
	r.out = max(r.out, p)
	if last {
		r.found = r.found[:0]
		return dst, nil
	}
	r.found = slices.DeleteFunc(r.found, func(f found) bool { return f.end <= p })
	return dst, nil
}

// owner tells whose the byte at p is, and up to where.
func (r *Rewriter) owner(p, cut int) (best *found, end int) {
	i := 0
	for ; i < len(r.found) && r.found[i].start <= p; i++ {
		if f := &r.found[i]; f.end > p && (best == nil || f.claims(best)) {
			best = f
		}
	}
	end = cut
	if best != nil {
		end = best.end
	}
	for ; i < len(r.found) && r.found[i].start < end; i++ {
		if f := &r.found[i]; best == nil || f.claims(best) {
			end = f.start
		}
	}
	return best, end
}

// original appends a piece of the text that is not masked.
func (r *Rewriter) original(dst []byte, from, to int) []byte {
	if from = max(from, r.base); from >= to {
		return dst
	}
	return append(dst, r.text(from, to)...)
}

// replace appends what stands in the place of the bytes [p, end) that a span has.
func (r *Rewriter) replace(dst []byte, f *found, p, end int) ([]byte, error) {
	whole := f.start == p && f.end == end
	if f.rule.Family == rule.Allowed || !whole && bytes.IndexFunc(r.text(p, end), sounds) < 0 {
		return r.original(dst, p, end), nil
	}
	if end <= r.base {
		return dst, nil
	}
	at := max(p, r.base)
	value := r.text(at, end)
	act := r.plan.Of(f.rule)
	allowed := act != action.Allow && r.e.o.Table.Allowed(f.rule, value)
	if allowed {
		act = action.Allow
	}
	r.explain(f.rule, p, end, act, allowed)
	switch act {
	case action.Allow:
		return append(dst, value...), nil
	case action.Deny:
		return dst, &DeniedError{Carrier: r.carrier, Type: f.rule.Type, Rule: f.rule.Name, Why: f.rule.Why}
	}
	n := len(dst)
	if act == action.Tag {
		dst = append(dst, r.e.tags[f.rule]...)
	}
	v := &r.val.v
	v.Start(r.e.keys, act, f.rule.Type, r.session)
	v.Write(value)
	dst, fingerprint := v.End(dst)
	r.mask(f.rule, at, act, dst[n:])
	m := &r.masks[len(r.masks)-1]
	m.Len, m.Fingerprint = end-at, fingerprint
	return dst, nil
}

// sounds tells whether a rune is, or has, what makes a rest of a value worth a mask.
func sounds(c rune) bool { return c >= 0x80 || rule.Any.Has(byte(c)) }
