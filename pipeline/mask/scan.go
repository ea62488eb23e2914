// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"sync/atomic"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline/mask/automaton"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// place is how far a closed rule is asked at a place.
type place struct {
	start, end int // what was looked at
	match      int // end of the longest match, or 0
	state      *automaton.ExactState
}

// twin is what is known of a place, for all rules with the same pattern as one.
type twin struct {
	place
	of int
}

// manyTwins is how many such places are remembered.
const manyTwins = 32

// scan runs the automata over what is at hand, up to where an open rule is complete.
func (r *Rewriter) scan() error {
	b, i, end := r.buf, r.n-r.from, r.scanEnd()
	t, row := r.table, r.row
	next, class := t.Next, &r.planned.prog.joint.Class
	last := r.idle - r.from
	for i < end {
		e := atomic.LoadUint32(&next[row+uint32(class[b[i]])])
		if e == 0 {
			t, e = t.Step(row, b[i])
			next = t.Next
		}
		row = e & automaton.Row
		if i++; e&automaton.Idle != 0 {
			last = i
		}
		if e&automaton.Quiet == 0 {
			r.n, r.idle = r.from+i, r.from+last
			r.table, r.row = t, row
			for k, s := range t.State(row).Part {
				if len(s.Accepts) > 0 {
					if err := r.accept(r.planned.prog.rules[k], s.Accepts); err != nil {
						return err
					}
				}
			}
			end = r.scanEnd()
		}
	}
	r.n, r.idle = r.from+i, r.from+last
	r.table, r.row = t, row
	return nil
}

// trail is the earliest match of a trigger that is going on, of one automaton: where it began, and how far it is read.
type trail struct {
	table     *automaton.Table
	row       uint32
	start, at int
	asked     bool // the rule is asked whether it may begin there
}

// oldest is where the earliest match of a trigger began that is still going on at n. The states of the automata do not know, so it is tried.
func (r *Rewriter) oldest() int {
	least := r.n
	for k, s := range r.table.State(r.row).Part {
		if s.Hold == 0 {
			continue
		}
		if k == known { // of which each place in a trigger is at one distance from where it began
			least = max(r.idle, r.n-s.Hold)
			continue
		}
		least = min(least, r.try(k, max(r.idle, r.n-s.Hold), least))
	}
	return max(r.idle, least)
}

// try is oldest for one automaton, from low to least.
func (r *Rewriter) try(k, low, least int) int {
	o, class, table := &r.old[k], &r.planned.prog.unions[k].Class, r.table.Part(k)
	if o.table == nil || o.start < low {
		*o = trail{start: low}
	}
	for ; o.start < least; o.table, o.start = nil, o.start+1 {
		if o.table == nil {
			before, any := byte(0), o.start == r.seg
			if !any {
				b := r.text(max(r.seg, r.from, o.start-6), o.start)
				before, any = b[len(b)-1], automaton.MayEscape(b)
			}
			if !any && table.Vain(before, r.buf[o.start-r.from]) {
				continue
			}
			o.table, o.row = table.Place(before, any)
			o.at, o.asked = o.start, false
		}
		if !r.follow(o, class) {
			continue
		}
		if only := o.table.State(o.row).Only; only >= 0 && !o.asked && r.n-o.start >= worthAsking && !r.e.o.Explain {
			o.asked = true
			if c := r.planned.prog.rules[k][only]; c.Begins != nil && !c.Begins(r.before(o.start)) {
				continue
			}
		}
		return o.start
	}
	return least
}

// worthAsking is how much must be held for a rule to be asked whether it need be.
const worthAsking = 4

// follow reads on with the matches that begin at a place, and tells whether any is still going on.
func (r *Rewriter) follow(o *trail, class *[256]uint8) bool {
	for _, c := range r.text(o.at, r.n) {
		t := atomic.LoadUint32(&o.table.Next[o.row|uint32(class[c])])
		if t == 0 {
			o.table, t = o.table.Step(o.row, c)
		}
		r.steps++
		if t&automaton.Idle != 0 {
			return false
		}
		o.row = t & automaton.Row
	}
	o.at = r.n
	return true
}

// scanEnd is up to where the automata read, in buf.
func (r *Rewriter) scanEnd() int {
	if r.best.rule != nil {
		return r.best.end - r.from
	}
	return len(r.buf)
}

// accept notes that triggers of rules end at n.
func (r *Rewriter) accept(rules []*compiled, accepts []uint16) error {
	for _, of := range accepts {
		c := rules[of]
		if c.Tail != nil {
			if err := r.begin(c); err != nil {
				return err
			}
			continue
		}
		k := r.about(c.id)
		from, upTo := max(k.next, r.idle, r.n-c.reach), r.n-c.least+1
		if k.hit && from > k.upTo { // little should be asked in vain
			if err := r.settle(c, r.n, r.openFrom(), false); err != nil {
				return err
			}
		}
		if !k.hit {
			k.hit = true
			k.next = from
			if !k.listed {
				k.listed = true
				r.asking.hits = append(r.asking.hits, c.id)
			}
		}
		k.upTo = upTo
	}
	return nil
}

// check asks a rule about the match [p, e).
func (r *Rewriter) check(c *compiled, p, e int) (from, to int, ok bool) {
	if c.Check == nil {
		return p, e, true
	}
	from, to, ok = c.Check(r.before(p), r.text(p, e))
	return p + from, p + to, ok && from < to
}

// before is what Check is shown of what stands before p.
func (r *Rewriter) before(p int) []byte { return r.text(max(r.seg, p-rule.Context, r.from), p) }

// settleAll asks the closed rules of which triggers were seen where the answer is final, and returns the first place that is not settled.
func (r *Rewriter) settleAll(end, openFrom int, last bool) (int, error) {
	q := r.asking
	lowest, kept := end, q.hits[:0]
	for _, id := range q.hits {
		k := q.of(id)
		if k.hit {
			if err := r.settle(r.e.rules[id], end, openFrom, last); err != nil {
				return 0, err
			}
		}
		if k.listed = k.hit; k.hit {
			kept = append(kept, id)
			lowest = min(lowest, k.next)
		}
	}
	q.hits = kept
	return lowest, nil
}

// settle asks a closed rule at the places where triggers began, as far as the answer is final. The text ends at end for it; last: for good. An open
// value may begin at openFrom.
func (r *Rewriter) settle(c *compiled, end, openFrom int, last bool) error {
	k := r.asking.of(c.id)
	limit := min(k.upTo, end)
	r.mark(limit)
	p := k.next
	for p < limit {
		if !c.first.Has(r.buf[p-r.from]) {
			p++
			continue
		}
		if !r.may(c, p) {
			if r.e.o.Explain {
				r.refusedLeft(c, p, r.end())
			}
			p++
			continue
		}
		at := r.ask(c, p, end, last)
		if !last && (!at.state.Dead || at.match > 0 && at.end > openFrom) {
			if c.Begins != nil && !c.Begins(r.before(p)) && !r.e.o.Explain {
				p++
				continue
			}
			break
		}
		next := p + 1
		if e := at.match; e > 0 {
			if e < end && c.right && c.Right.Has(r.buf[e-r.from]) {
				r.refuse(c, p, e, "the character behind it")
			} else if from, to, ok := r.check(c, p, e); !ok {
				r.refuse(c, p, e, "the check of the rule")
			} else {
				if err := r.add(found{start: from, end: to, rule: c.Rule, order: c.id}); err != nil {
					return err
				}
				next = max(next, to)
			}
		}
		p = next
	}
	k.next = p
	k.hit = p < limit
	return nil
}

// ask reads on with the match of a rule that begins at p, in the text before end, which is the end for good if last.
func (r *Rewriter) ask(c *compiled, p, end int, last bool) *place {
	q := r.asking
	a := &q.of(c.id).at
	if a.start != p || a.state == nil || a.end > end {
		if c.twin >= 0 && q.twins != nil {
			if t := &q.twins[p%manyTwins]; t.of == c.twin && t.start == p && t.state != nil && t.end <= end {
				*a = t.place
				return a
			}
		}
		*a = place{start: p, end: p, state: c.exact.Start()}
	}
	for a.end < end && !a.state.Dead {
		b := r.text(a.end, end)
		if b[0] >= utf8.RuneSelf && !last && !utf8.FullRune(b) {
			break
		}
		s, n := c.exact.Next(a.state, b)
		a.state = s
		a.end += n
		r.steps++
		if s.Accept {
			a.match = a.end
		}
	}
	if c.twin >= 0 && a.state.Dead {
		if q.twins == nil {
			q.twins = make([]twin, manyTwins)
		}
		q.twins[p%manyTwins] = twin{*a, c.twin}
	}
	return a
}
