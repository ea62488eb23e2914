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

// scan runs the automata over what is at hand, up to where an open rule is complete.
func (r *Rewriter) scan() error {
	const quiet, idle, row = automaton.Quiet, automaton.Idle, automaton.Row
	b, i := r.buf, r.n-r.from
	p := r.planned.prog
	c0, c1, c2 := &p.unions[0].Class, &p.unions[1].Class, &p.unions[2].Class
	n0, n1, n2 := r.tables[0].Next, r.tables[1].Next, r.tables[2].Next
	r0, r1, r2 := r.rows[0], r.rows[1], r.rows[2]
	last := r.idle - r.from
	end := r.scanEnd()
	for i < end {
		c := b[i]
		t0 := atomic.LoadUint32(&n0[r0|uint32(c0[c])])
		t1 := atomic.LoadUint32(&n1[r1|uint32(c1[c])])
		t2 := atomic.LoadUint32(&n2[r2|uint32(c2[c])])
		x := t0 & t1 & t2
		if x&quiet != 0 {
			r0, r1, r2 = t0&row, t1&row, t2&row
			if i++; x&idle != 0 {
				last = i
			}
			continue
		}
		r.rows = [parts]uint32{r0, r1, r2}
		for k, t := range [parts]uint32{t0, t1, t2} {
			if t == 0 {
				r.tables[k], t = r.tables[k].Step(r.rows[k], c)
			}
			r.rows[k] = t & row
			switch k {
			case 0:
				t0 = t
			case 1:
				t1 = t
			case 2:
				t2 = t
			}
		}
		n0, n1, n2 = r.tables[0].Next, r.tables[1].Next, r.tables[2].Next
		r0, r1, r2 = r.rows[0], r.rows[1], r.rows[2]
		i++
		if t0&t1&t2&idle != 0 {
			last = i
		}
		if t0&t1&t2&quiet == 0 {
			r.n, r.idle = r.from+i, r.from+last
			for k, t := range [parts]uint32{t0, t1, t2} {
				if t&quiet == 0 {
					if err := r.accept(p.rules[k], r.tables[k].State(r.rows[k]).Accepts); err != nil {
						return err
					}
				}
			}
			end = r.scanEnd()
		}
	}
	r.n, r.idle = r.from+i, r.from+last
	r.rows = [parts]uint32{r0, r1, r2}
	return nil
}

// trail is the earliest match of a trigger that is going on, of one automaton: where it began, and how far it is read.
type trail struct {
	table     *automaton.Table
	row       uint32
	start, at int
}

// oldest is where the earliest match of a trigger began that is still going on at n. The states of the automata do not know, so it is tried.
func (r *Rewriter) oldest() int {
	least := r.n
	for k, table := range r.tables {
		s := table.State(r.rows[k])
		if s.Hold == 0 {
			continue
		}
		if k == known { // of which each place in a trigger is at one distance from where it began
			least = max(r.idle, r.n-s.Hold)
			continue
		}
		o, class := &r.old[k], &r.planned.prog.unions[k].Class
		if low := max(r.idle, r.n-s.Hold); o.table == nil || o.start < low {
			*o = trail{start: low}
		}
	places:
		for ; o.start < least; o.table, o.start = nil, o.start+1 {
			if o.table == nil {
				before, any := byte(0), o.start == r.seg
				if !any {
					b := r.text(max(r.seg, r.from, o.start-6), o.start)
					before, any = b[len(b)-1], automaton.MayEscape(b)
				}
				o.table, o.row = table.Place(before, any)
				o.at = o.start
			}
			for ; o.at < r.n; o.at++ {
				c := r.buf[o.at-r.from]
				t := atomic.LoadUint32(&o.table.Next[o.row|uint32(class[c])])
				if t == 0 {
					o.table, t = o.table.Step(o.row, c)
				}
				r.steps++
				if t&automaton.Idle != 0 {
					continue places
				}
				o.row = t & automaton.Row
			}
			least = o.start
			break
		}
	}
	return max(r.idle, least)
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
	for _, k := range accepts {
		c := rules[k]
		if c.Tail != nil {
			if err := r.begin(c); err != nil {
				return err
			}
			continue
		}
		from, upTo := max(r.next[c.id], r.idle, r.n-c.reach), r.n-c.least+1
		if r.hit[c.id] && from > r.upTo[c.id] { // little should be asked in vain
			if err := r.settle(c, r.n, r.openFrom(), false); err != nil {
				return err
			}
		}
		if !r.hit[c.id] {
			r.hit[c.id] = true
			r.next[c.id] = from
			if !r.listed[c.id] {
				r.listed[c.id] = true
				r.hits = append(r.hits, c.id)
			}
		}
		r.upTo[c.id] = upTo
	}
	return nil
}

// check asks a rule about the match [p, e).
func (r *Rewriter) check(c *compiled, p, e int) (from, to int, ok bool) {
	if c.Check == nil {
		return p, e, true
	}
	from, to, ok = c.Check(r.text(max(r.seg, p-rule.Context, r.from), p), r.text(p, e))
	return p + from, p + to, ok && from < to
}

// settleAll asks the closed rules of which triggers were seen where the answer is final, and returns the first place that is not settled.
func (r *Rewriter) settleAll(end, openFrom int, last bool) (int, error) {
	lowest, kept := end, r.hits[:0]
	for _, k := range r.hits {
		if r.hit[k] {
			if err := r.settle(r.e.rules[k], end, openFrom, last); err != nil {
				return 0, err
			}
		}
		if r.listed[k] = r.hit[k]; r.hit[k] {
			kept = append(kept, k)
			lowest = min(lowest, r.next[k])
		}
	}
	r.hits = kept
	return lowest, nil
}

// settle asks a closed rule at the places where triggers began, as far as the answer is final. The text ends at end for it; last: for good. An open
// value may begin at openFrom.
func (r *Rewriter) settle(c *compiled, end, openFrom int, last bool) error {
	limit := min(r.upTo[c.id], end)
	r.mark(limit)
	p := r.next[c.id]
	for p < limit {
		if !r.may(c, p) {
			if r.e.o.Explain {
				r.refusedLeft(c, p, r.end())
			}
			p++
			continue
		}
		at := r.ask(c, p, end, last)
		if !last && (!at.state.Dead || at.match > 0 && at.end > openFrom) {
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
	r.next[c.id] = p
	r.hit[c.id] = p < limit
	return nil
}

// ask reads on with the match of a rule that begins at p, in the text before end, which is the end for good if last.
func (r *Rewriter) ask(c *compiled, p, end int, last bool) *place {
	a := &r.at[c.id]
	if a.start != p || a.state == nil || a.end > end {
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
	return a
}
