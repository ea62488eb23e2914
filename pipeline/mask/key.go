// SPDX-License-Identifier: Apache-2.0

package mask

// maxThreads cannot be exceeded: a live thread has fewer than undecidedMax body bytes, later ones start within them, and
// two starts are at least two bytes apart (a separator, then a letter).
const maxThreads = undecidedMax/2 + 1

// thread is a key in the making: its prefix is complete, its body too short.
type thread struct {
	start int
	rule  uint16
	body  uint16 // bytes so far
	digit bool
}

func (r *Rewriter) decided(t *thread) bool {
	o := &r.e.rules[t.rule]
	return int(t.body) >= o.min && (t.digit || !o.digit || t.body >= undecidedMax)
}

// spawn starts threads for the prefixes that end at the current byte; false means that there was no room. A rule has at
// most one thread: of two, the earlier is decided first and swallows the other. A longer prefix at the same place
// replaces the shorter: sk-ant- is no sk-.
func (r *Rewriter) spawn() bool {
next:
	for _, n := range r.e.prefixes.accept[r.state] {
		t := thread{rule: n, start: r.n + 1 - len(r.e.rules[n].prefix)}
		for i := range r.nt {
			if r.threads[i].rule == n {
				continue next
			}
		}
		for i := range r.nt {
			if r.threads[i].start == t.start {
				r.threads[i] = t
				continue next
			}
		}
		if r.nt == maxThreads {
			return false
		}
		r.threads[r.nt] = t
		r.nt++
	}
	return true
}

// first is the index of the thread that starts first. There must be one.
func (r *Rewriter) first() int {
	f := 0
	for i := 1; i < r.nt; i++ {
		if r.threads[i].start < r.threads[f].start {
			f = i
		}
	}
	return f
}

// grow feeds a byte to the threads. If one is decided, the value is masked from the start of the earliest thread.
func (r *Rewriter) grow(dst []byte, c byte, f class) []byte {
	live, decided := 0, none
	for i := range r.nt {
		t := r.threads[i]
		if f&r.e.rules[t.rule].body == 0 {
			continue
		}
		t.body++
		t.digit = t.digit || f&cDigit != 0
		r.threads[live] = t
		if r.decided(&t) && (decided < 0 || t.start < r.threads[decided].start) {
			decided = live
		}
		live++
	}
	r.nt = live
	if decided < 0 {
		return dst
	}
	return r.decide(dst, decided)
}

// decide masks thread i from the start of the earliest thread, with all that continues either.
func (r *Rewriter) decide(dst []byte, i int) []byte {
	if r.open != nil {
		r.closeOpen()
	}
	first := r.threads[r.first()]
	o := &r.e.rules[r.threads[i].rule]
	r.nt = 0
	dst = r.replace(dst, o, first.start)
	r.more = o.tail | r.e.rules[first.rule].tail
	return dst
}
