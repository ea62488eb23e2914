// SPDX-License-Identifier: Apache-2.0

package rule

// Class is a set of bytes.
type Class [4]uint64

// Has tells whether c is in the set.
func (s *Class) Has(c byte) bool { return s[c>>6]>>(c&63)&1 != 0 }

// Of makes a set of single bytes and ranges: Of("A-Za-z0-9_-"). A dash at the end, or at the start, is itself.
func Of(spec string) (s Class) {
	for i := 0; i < len(spec); i++ {
		lo, hi := int(spec[i]), int(spec[i])
		if i > 0 && i+2 < len(spec) && spec[i+1] == '-' || i == 0 && len(spec) > 2 && spec[1] == '-' {
			hi = int(spec[i+2])
			i += 2
		}
		for c := lo; c <= hi; c++ {
			s[c>>6] |= 1 << (c & 63)
		}
	}
	return s
}

// And is the union of sets.
func (s Class) And(more Class) Class {
	for i := range s {
		s[i] |= more[i]
	}
	return s
}

// Sets that rules share.
var (
	Alnum  = Of("A-Za-z0-9")
	Word   = Of("A-Za-z0-9_")
	Digit  = Of("0-9")
	Letter = Of("A-Za-z\x80-\xff") // every letter that is not ASCII is made of such bytes
	Any    = Of("A-Za-z0-9\x80-\xff")
)
