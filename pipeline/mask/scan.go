// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"bytes"
	"sync/atomic"

	"github.com/sallyport-dev/sallyport/pipeline/mask/automaton"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// scan runs the automaton over what is at hand. It stops at the end or where an open rule is decided.
func (r *Rewriter) scan() (head, bool, error) {
	if len(r.waiting) > 0 {
		if r.n == r.end() {
			return head{}, false, nil
		}
		if h := r.bestWaiting(r.buf[r.n-r.from], false); h.rule != nil {
			return h, true, nil
		}
	}
	b, i := r.buf, r.n-r.from
	table, row := r.table, r.row
	next, class := table.Next, &r.planned.prog.union.Class
	for i < len(b) {
		if r.isl == none {
			for ; i < len(b); i++ {
				t := atomic.LoadUint32(&next[row|uint32(class[b[i]])])
				if t&automaton.Idle == 0 {
					break
				}
				row = t & automaton.Row
			}
			if i == len(b) {
				break
			}
			r.isl = r.from + i
			s := table.State(row)
			r.esc, r.free = s.Escape, s.Free
			r.unmark()
		}
		t := uint32(0)
		for ; i < len(b); i++ {
			if t = atomic.LoadUint32(&next[row|uint32(class[b[i]])]); t&automaton.Busy == 0 {
				break
			}
			row = t & automaton.Row
		}
		if i == len(b) {
			break
		}
		if t == 0 {
			if table, t = table.Step(row, b[i]); table != r.table {
				r.table, next = table, table.Next
			}
		}
		row = t & automaton.Row
		i++
		if t&automaton.Busy != 0 {
			continue
		}
		r.n, r.row = r.from+i, row
		if t&automaton.Idle != 0 {
			if len(r.hits) > 0 {
				at, err := r.settle(r.n, r.n, r.n, false)
				if err != nil {
					return head{}, false, err
				}
				if at < r.n { // a rune that is not complete
					r.move(at)
					continue
				}
			}
			r.settled()
			continue
		}
		h, err := r.accept(table.State(row).Accepts)
		if err != nil {
			return head{}, false, err
		}
		if h.rule != nil {
			return h, true, nil
		}
	}
	r.n, r.row = r.from+i, row
	return head{}, false, nil
}

// accept notes that matches of rules may end here, and decides open rules.
func (r *Rewriter) accept(rules []uint16) (head, error) {
	for _, k := range rules {
		c := r.planned.prog.rules[k]
		if c.Tail == nil {
			if !r.hit[c.id] {
				r.hit[c.id] = true
				r.hits = append(r.hits, c.id)
			}
			continue
		}
		if err := r.grow(c); err != nil {
			return head{}, err
		}
	}
	if len(r.waiting) == 0 {
		return head{}, nil
	}
	for i := range r.waiting {
		if r.waiting[i].rule.right {
			if r.n == r.end() && r.drop&holdRight == 0 {
				return head{}, nil
			}
			break
		}
	}
	if r.n == r.end() {
		return r.bestWaiting(0, true), nil
	}
	return r.bestWaiting(r.buf[r.n-r.from], false), nil
}

// settled ends the island: nothing in it is open any more.
func (r *Rewriter) settled() {
	for _, k := range r.hits {
		r.hit[k] = false
	}
	r.hits = r.hits[:0]
	r.threads = r.threads[:0]
	r.isl = none
}

// move lets the island begin at a later place: what lies before it is settled.
func (r *Rewriter) move(to int) {
	for p := r.isl; p < to; p++ {
		r.esc, r.free, _ = automaton.Escape(r.esc, r.buf[p-r.from])
	}
	if to > r.isl {
		r.isl = to
		if r.drop&holdEscape != 0 {
			r.esc, r.free = 0, false
		}
		if r.marked < to {
			r.unmark()
		}
	}
}

// unmark forgets which bytes belong to escapes.
func (r *Rewriter) unmark() { r.marked, r.markEsc, r.escapes = r.isl, r.esc, false }

// mark finds out which bytes of the island before to belong to JSON escapes.
func (r *Rewriter) mark(to int) {
	if r.marked >= to {
		return
	}
	b := r.text(r.marked, to)
	if !r.escapes {
		if r.markEsc == 0 && bytes.IndexByte(b, '\\') < 0 {
			r.marked = to
			return
		}
		r.escapes = true
		clear(r.marks[r.isl-r.from : r.marked-r.from])
	}
	for i, c := range b {
		at, in, inner := automaton.Escape(r.markEsc, c)
		r.markEsc = at
		r.marks[r.marked+i-r.from] = escaped(in, inner)
	}
	r.marked = to
}

// What marks say of a byte: that it belongs to an escape, and not as the backslash that begins it.
const (
	markIn    = 1
	markInner = 2
)

func escaped(in, inner bool) (m uint8) {
	if in {
		m = markIn
	}
	if inner {
		m |= markInner
	}
	return m
}

// may tells whether a match may start at p. The island is marked up to behind it.
func (r *Rewriter) may(c *compiled, p int) bool {
	at := p - r.from
	switch {
	case r.escapes && r.marks[at]&markInner != 0:
		return false
	case p == r.seg || !c.Left.Has(r.buf[at-1]):
		return true
	case p == r.isl:
		return r.free
	}
	return r.escapes && r.marks[at-1] != 0
}

// check asks a rule about the match [p, e).
func (r *Rewriter) check(c *compiled, p, e int) (from, to int, ok bool) {
	if c.Check == nil {
		return p, e, true
	}
	from, to, ok = c.Check(r.text(max(r.seg, p-rule.Context, r.from), p), r.text(p, e))
	return p + from, p + to, ok && from < to
}

// settle asks the closed rules that were seen at all places before limit where the answer is final. The text ends at end for them; last: for
// good. An open value may begin at openFrom. It returns the first place that is not settled.
func (r *Rewriter) settle(limit, end, openFrom int, last bool) (int, error) {
	r.mark(limit)
	lowest := limit
	for _, k := range r.hits {
		c := r.e.rules[k]
		p := max(r.next[k], r.isl)
		for p < limit {
			if !r.may(c, p) {
				if r.e.o.Explain {
					r.refusedLeft(c, p, end)
				}
				p++
				continue
			}
			m, seen := c.exact.Longest(r.text(p, end))
			r.steps += seen
			if !last && p+seen > end || m > 0 && p+seen > openFrom && !last {
				break
			}
			next := p + 1
			if m > 0 {
				e := p + m
				if e < end && c.right && c.Right.Has(r.buf[e-r.from]) {
					r.refuse(c, p, e, "the character behind it")
				} else if from, to, ok := r.check(c, p, e); !ok {
					r.refuse(c, p, e, "the check of the rule")
				} else {
					if err := r.add(found{start: from, end: to, rule: c.Rule, order: k}); err != nil {
						return 0, err
					}
					next = max(next, to)
				}
			}
			p = next
		}
		r.next[k] = p
		lowest = min(lowest, p)
	}
	return lowest, nil
}
