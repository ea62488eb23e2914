// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"encoding/binary"
	"math/bits"
)

// skip takes bytes as long as all stays quiet and tells how many. It does what the loop of Write does for such bytes:
// follow the prefixes and the start of the word. Prose is mostly this.
func (r *Rewriter) skip(src []byte) int {
	next, shift, table := r.e.prefixes.next, r.e.prefixes.shift, &r.e.prefixes.args
	if r.all {
		table = &r.e.prefixes.text
	}
	state, i := r.state, 0
words:
	for i < len(src) {
		if state == stateFresh {
			// The word in which dull ends is followed from its start on.
			from := i
			for i += dull(src[i:]); i > from && uint8(table[src[i-1]]) != 0; {
				i--
			}
		}
		for i < len(src) {
			if state == stateInWord { // the rest of a word leads nowhere: no need to follow it
				for i < len(src) && table[src[i]]&(skipStop|skipWord) == skipWord {
					i++
				}
				if i == len(src) {
					break words
				}
			}
			f := table[src[i]]
			if f&skipStop != 0 {
				break words
			}
			s := next[int(state)<<shift|int(uint8(f))]
			if s&accepts != 0 {
				break words
			}
			state = s
			i++
			if uint8(f) == 0 { // a byte that no prefix has: what follows begins afresh
				break
			}
		}
	}
	switch {
	case i >= 2:
		r.prev2, r.prev = src[i-2], src[i-1]
	case i == 1:
		r.prev2, r.prev = r.prev, src[0]
	}
	r.state = state
	if r.all {
		r.skipRun(src[:i])
	}
	r.n += i
	return i
}

// dull is how many bytes of b, for sure, are of no interest to anybody: no prefix ends in them, no number, address, escape or
// letter of another alphabet begins. It looks at eight bytes at once. Each prefix has one of the bytes at which it stops: all of
// - . / 0-9 @ A-Z [ \ ] ^ _ and those that are not ASCII; only one has none of them, but begins with "da".
func dull(b []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		// The top bit of each byte that stops. Above a byte that is not ASCII, which stops itself, there may be false ones.
		stop := x | (x<<1)&^(x<<2) | (x+ones*(0x80-'-'))&^(x+ones*(0x80-'9'-1))
		d, a := ^((x ^ ones*'d') + ones*0x7f), ^((x ^ ones*'a') + ones*0x7f)
		stop |= d & (a>>8 | 0x80<<56) // a d at the end may be followed by an a
		if stop &= tops; stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	return i
}

// skipRun follows the start of the word through bytes that skip has taken.
func (r *Rewriter) skipRun(src []byte) {
	table := &r.e.prefixes.text
	i := len(src)
	for i > 0 && table[src[i-1]]&skipLocal != 0 {
		i--
	}
	if i > 0 {
		r.mail.run = none
	}
	for ; r.mail.run < 0 && i < len(src); i++ {
		if table[src[i]]&skipStart != 0 {
			r.mail.run = r.n + i
		}
	}
}
