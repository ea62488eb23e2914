// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/automaton"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// thread is a head of an open rule that has begun at start and is read up to at. waits: it is complete there, but for the byte behind it.
type thread struct {
	rule      *compiled
	state     *automaton.ExactState
	start, at int
	waits     bool
}

// head is one that is complete.
type head struct {
	rule       *compiled
	start, end int
}

// before tells whether a is the one that counts.
func (a head) before(b head) bool {
	switch {
	case b.rule == nil:
		return true
	case a.end != b.end:
		return a.end < b.end
	case a.start != b.start:
		return a.start < b.start
	}
	return a.rule.id < b.rule.id
}

// openFrom is where the earliest open value may begin that has begun before n.
func (r *Rewriter) openFrom() int {
	from := r.idle
	for i := range r.threads {
		from = min(from, r.threads[i].start)
	}
	if r.best.rule != nil {
		from = min(from, r.best.start)
	}
	return from
}

// begin lets heads of a rule begin of which a trigger ends at n.
func (r *Rewriter) begin(c *compiled) error {
	q := r.about(c.id)
	p := max(q.next, r.idle, r.n-c.reach)
	r.mark(r.n)
	for ; p < r.n; p++ {
		if !c.first.Has(r.buf[p-r.from]) {
			continue
		}
		if !r.may(c, p) {
			if r.e.o.Explain {
				r.refusedLeft(c, p, r.end())
			}
			continue
		}
		t := thread{rule: c, state: c.exact.Start(), start: p, at: p}
		if !r.read(&t) {
			continue
		}
		if len(r.threads) == manyThreads {
			return errThreads
		}
		r.threads = append(r.threads, t)
	}
	q.next = p
	return nil
}

// readThreads reads on with the heads that are not complete.
func (r *Rewriter) readThreads() error {
	kept := r.threads[:0]
	for _, t := range r.threads {
		if r.read(&t) {
			kept = append(kept, t)
		}
	}
	r.threads = kept
	return nil
}

// read reads on with one head as far as there is text, and tells whether it is still not known what becomes of it.
func (r *Rewriter) read(t *thread) bool {
	c, end := t.rule, r.end()
	for {
		if t.waits {
			if t.at == end {
				return true
			}
			t.waits = false
			if !c.Right.Has(r.buf[t.at-r.from]) {
				r.offer(head{c, t.start, t.at})
				return false
			}
			r.refuse(c, t.start, t.at, "the character behind it")
		}
		if t.at == end {
			return true
		}
		if r.best.rule != nil && t.at >= r.best.end {
			return false
		}
		b := r.text(t.at, end)
		if b[0] >= utf8.RuneSelf && !utf8.FullRune(b) {
			return true
		}
		s, k := c.exact.Next(t.state, b)
		r.steps++
		if s.Dead {
			return false
		}
		t.state, t.at = s, t.at+k
		if !s.Accept {
			continue
		}
		if _, _, ok := r.check(c, t.start, t.at); !ok {
			r.refuse(c, t.start, t.at, "the check of the rule")
			continue
		}
		if !c.right {
			r.offer(head{c, t.start, t.at})
			return false
		}
		t.waits = true
		if t.at == end && r.drop&holdRight != 0 {
			r.offer(head{c, t.start, t.at})
			return false
		}
	}
}

func (r *Rewriter) offer(h head) {
	if h.before(r.best) {
		r.best = h
	}
}

// complete tells whether a head decides at n. Those that wait for the byte behind them are asked when the text ends.
func (r *Rewriter) complete(ended bool) bool {
	for i := range r.threads {
		t := &r.threads[i]
		if h := (head{t.rule, t.start, t.at}); t.waits && h.before(r.best) {
			if !ended {
				return false
			}
			r.best = h
		}
	}
	return r.best.rule != nil && r.best.end == r.n
}

// value is the value of an open rule that is decided and goes on.
type value struct {
	on     bool
	rule   *compiled
	start  int
	head   int // end of the head
	action action.Action
	may    bool // it may be one that is allowed: it is held
	shown  bool // its tag is out
	joint  bool // the last byte belongs to it only if more of it follows
	slash  bool // and that is a backslash
	class  bool // the byte before is of the tail's class
	until  int  // how much of the end is there
	read   int  // it is hashed, or released, up to here
	v      action.Value
}

// decide begins the value of the open rule that is complete at n.
func (r *Rewriter) decide(dst []byte) ([]byte, error) {
	h := r.best
	r.best, r.threads = head{}, r.threads[:0]
	dst, err := r.endSegment(dst, h.start)
	if err != nil {
		return dst, err
	}
	c := h.rule
	v := &r.val
	*v = value{on: true, rule: c, start: h.start, head: r.n, read: h.start, action: r.plan.Of(c.Rule), v: v.v, class: c.Tail.Class.Has(r.buf[r.n-1-r.from])}
	v.v.Start(r.e.keys, v.action, c.Type, r.session)
	if r.base <= v.start { // a value that the context begins is not the one that an entry of the list is about
		v.may, _ = r.e.o.Table.Begins(r.text(v.start, r.n))
	}
	if v.may && r.drop&holdAllow == 0 {
		return dst, nil
	}
	v.may = false
	return r.show(dst, r.n)
}

// show writes what stands in the place of the open value, as far as it is known, and takes the value up to to.
func (r *Rewriter) show(dst []byte, to int) ([]byte, error) {
	v := &r.val
	if to <= r.base {
		v.read, r.out = to, to
		return dst, nil
	}
	if !v.shown {
		v.shown = true
		v.read = max(v.read, r.base)
		switch v.action {
		case action.Deny:
			return dst, &DeniedError{Carrier: r.carrier, Type: v.rule.Type, Rule: v.rule.Name, Why: v.rule.Why}
		case action.Tag:
			n := len(dst)
			dst = append(dst, r.e.tags[v.rule.Rule]...)
			r.mask(v.rule.Rule, v.read, v.action, dst[n:])
		}
	}
	if v.action == action.Allow {
		dst = append(dst, r.text(v.read, to)...)
	} else {
		v.v.Write(r.text(v.read, to))
		if v.action == action.Tag {
			m := &r.masks[len(r.masks)-1]
			m.Len = to - r.base - m.At
		}
	}
	v.read, r.out = to, to
	return dst, nil
}

// swallow takes what belongs to the open value out of what is at hand.
func (r *Rewriter) swallow(dst []byte) ([]byte, error) {
	v, t := &r.val, r.val.rule.Tail
	ended := false
	for i := r.n - r.from; i < len(r.buf) && !ended; i++ {
		c := r.buf[i]
		switch {
		case v.slash:
			if ended = !t.Escaped.Has(c); !ended {
				v.joint, v.slash, v.class = false, false, t.Class.Has(c)
				r.n++
			}
		case t.Class.Has(c):
			v.joint, v.class = false, true
			r.n++
			if t.Until != "" {
				for v.until > 0 && t.Until[v.until] != c {
					v.until = int(v.rule.until[v.until])
				}
				if t.Until[v.until] == c {
					v.until++
				}
				ended = v.until == len(t.Until)
			}
		case t.Until == "" && !v.joint && v.class && t.Joint.Has(c):
			v.joint = true
			r.n++
		case c == '\\' && t.Until == "" && !v.joint && v.class && t.Escaped != rule.Class{}:
			v.joint, v.slash = true, true
			r.n++
		default:
			ended = true
		}
		if v.may && !v.joint && !ended {
			if may, _ := r.e.o.Table.Begins(r.text(v.start, r.n)); !may {
				v.may = false
			}
		}
	}
	if ended {
		return r.endValue(dst)
	}
	if v.may {
		return dst, nil
	}
	to := r.n
	if v.joint && r.drop&holdJoint == 0 {
		to--
	}
	return r.show(dst, to)
}

// endValue ends the open value. What follows is a segment of its own.
func (r *Rewriter) endValue(dst []byte) ([]byte, error) {
	v := &r.val
	if v.joint {
		r.n--
	}
	allowed := false
	if v.may {
		_, allowed = r.e.o.Table.Begins(r.text(v.start, r.n))
	}
	if allowed {
		v.action = action.Allow
	}
	dst, err := r.show(dst, r.n)
	if err != nil {
		return dst, err
	}
	if v.shown && v.action != action.Allow {
		n := len(dst)
		var fingerprint string
		dst, fingerprint = v.v.End(dst)
		if v.action != action.Tag {
			at := max(v.start, r.base)
			r.mask(v.rule.Rule, at, v.action, dst[n:])
			r.masks[len(r.masks)-1].Len = r.n - at
		}
		r.masks[len(r.masks)-1].Fingerprint = fingerprint
	} else {
		v.v.Drop()
	}
	r.explain(v.rule.Rule, v.start, r.n, v.action, allowed)
	v.on, v.may = false, false
	r.beginSegment()
	return dst, nil
}

// mask notes a mask that begins at a position of the text; its length is still to come.
func (r *Rewriter) mask(c *rule.Rule, at int, a action.Action, with []byte) {
	m := pipeline.Mask{Carrier: r.carrier, Type: c.Type, Rule: c.Name, Why: c.Why, At: at - r.base, With: r.with(c, a, with)}
	if a != action.Tag {
		m.Action = a.String()
	}
	r.masks = append(r.masks, m)
}
