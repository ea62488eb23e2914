// SPDX-License-Identifier: Apache-2.0

package mask

// What a Rewriter needs only while it works on something large, or while values may be in what it holds, it borrows from its Engine: most streams wait
// for their next piece most of the time, and there are many of them.

// smallSize is how much text a Rewriter has room for by itself.
const smallSize = 1 << 10

// large is room for more. What it held is wiped before it is given back.
type large struct {
	buf   [bufSize]byte
	marks [bufSize]uint8
}

// enlarge borrows a large buffer.
func (r *Rewriter) enlarge() {
	l, ok := r.e.larges.Get().(*large)
	if !ok {
		l = new(large)
	}
	copy(l.marks[:], r.marks[:len(r.buf)])
	r.large, r.marks = l, l.marks[:]
	r.buf = append(l.buf[:0], r.buf...)
	r.usedLarge = len(r.buf)
}

// lessen gives the large buffer back if what is needed of it is little.
func (r *Rewriter) lessen() {
	if r.large == nil || r.end()-r.needed() > smallSize-smallSize/8 {
		return
	}
	r.compact()
	small := append(r.small.buf[:0], r.buf...)
	r.restore()
	r.buf = small
	r.used = max(r.used, len(small))
	r.unmark()
}

// restore wipes the large buffer and gives it back.
func (r *Rewriter) restore() {
	l := r.large
	if l == nil {
		return
	}
	clear(l.buf[:r.usedLarge])
	r.buf, r.marks = r.small.buf[:0], r.small.marks[:]
	r.large, r.usedLarge = nil, 0
	r.e.larges.Put(l)
}

// small is the room that a Rewriter has.
type small struct {
	buf   [smallSize]byte
	marks [smallSize]uint8
}

// asking is what a Rewriter knows of rules of which triggers were seen. A Rewriter without one knows nothing of any.
type asking struct {
	slot  []uint16 // by the ID of a rule: where in known it is, and one more
	known []asked
	hits  []int  // IDs of those that are listed
	twins []twin // nil, or manyTwins
}

// asked is what is known of a rule. A closed one of which a trigger was seen is hit: it is not asked yet from next up to upTo, where these began; at is
// how far it is asked at next. Of an open rule next is the first place where no thread was begun yet.
type asked struct {
	id          int
	next, upTo  int
	at          place
	hit, listed bool
}

// of is what is known of a rule of which a trigger was seen. It is valid until about is called.
func (q *asking) of(rule int) *asked { return &q.known[q.slot[rule]-1] }

// about is what is known of a rule, with room for it. It is valid until the next call.
func (r *Rewriter) about(rule int) *asked {
	q := r.asking
	if q == nil {
		var ok bool
		if q, ok = r.e.askings.Get().(*asking); !ok {
			q = &asking{slot: make([]uint16, len(r.e.rules))}
		}
		r.asking = q
	}
	if q.slot[rule] == 0 {
		q.known = append(q.known, asked{id: rule})
		q.slot[rule] = uint16(len(q.known))
	}
	return q.of(rule)
}

// settled gives back what is known of rules if none of it matters any more: no rule is to be asked, and every place that may be asked about is behind
// those up to which they were.
func (r *Rewriter) settled() {
	q := r.asking
	if q == nil || len(q.hits) > 0 {
		return
	}
	for i := range q.known {
		if q.known[i].next > r.idle {
			return
		}
	}
	r.forgetRules()
}

// forgetRules gives it back whatever it says.
func (r *Rewriter) forgetRules() {
	q := r.asking
	if q == nil {
		return
	}
	for i := range q.known {
		q.slot[q.known[i].id] = 0
	}
	clear(q.known)
	clear(q.twins)
	q.known, q.hits = q.known[:0], q.hits[:0]
	r.asking = nil
	r.e.askings.Put(q)
}
