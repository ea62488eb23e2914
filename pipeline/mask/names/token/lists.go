// SPDX-License-Identifier: Apache-2.0

package token

import (
	"encoding/binary"
	"errors"
	"sort"
)

// Flags are what the lists say about a word.
type Flags uint16

const (
	FirstName Flags = 3      // how usual as a given name, 0 to 3
	LastName  Flags = 3 << 2 // how usual as a family name, 0 to 3
	Common    Flags = 3 << 4 // how usual as a word in lower case, 0 to 3
	City      Flags = 1 << 6
	Country   Flags = 1 << 7 // also states, peoples and languages
	Street    Flags = 1 << 8 // street, Straße, rue
	Title     Flags = 1 << 9 // Mr, Frau
	Org       Flags = 1 << 10
	Calendar  Flags = 1 << 11
	Particle  Flags = 1 << 12 // van, de
	Proper    Flags = 1 << 13 // in the dictionary with a capital only
	Role      Flags = 1 << 14 // doctor, daughter, said: what stands beside people
	Tech      Flags = 1 << 15 // names of products, languages, protocols
)

// First, Last and Usual are the levels, 0 to 3.
func (f Flags) First() int { return int(f & FirstName) }
func (f Flags) Last() int  { return int(f & LastName >> 2) }
func (f Flags) Usual() int { return int(f & Common >> 4) }

// WithFirst, WithLast and WithUsual set a level if it is higher than that of f.
func (f Flags) WithFirst(n int) Flags { return f&^FirstName | Flags(max(n, f.First())) }
func (f Flags) WithLast(n int) Flags  { return f&^LastName | Flags(max(n, f.Last()))<<2 }
func (f Flags) WithUsual(n int) Flags { return f&^Common | Flags(max(n, f.Usual()))<<4 }

// Lists say what is known about words. A word is known by 32 bits of its hash: of 300,000 words in the lists, one in 14,000
// others is taken for one of them.
type Lists struct {
	first   []uint32 // where the words begin whose hash has these upper 16 bits
	entries []uint32 // the lower 16 bits of the hash, then the flags
	warm    []uint64 // bits for the hashes of words that are candidates in lower case, and of some others
}

const warmBits = 19

// hot tells whether a word in lower case may be a candidate: if not, there is no need to look it up.
func (l *Lists) hot(h uint32) bool {
	h >>= 32 - warmBits
	return l.warm[h>>6]>>(h&63)&1 != 0
}

func (l *Lists) heat() {
	l.warm = make([]uint64, 1<<(warmBits-6))
	for b := range 1 << 16 {
		for _, e := range l.entries[l.first[b]:l.first[b+1]] {
			if t := (Token{Shape: Lower, Flags: Flags(e)}); Candidate(&t, &Token{Shape: Cap}, Other) {
				h := (uint32(b)<<16 | e>>16) >> (32 - warmBits)
				l.warm[h>>6] |= 1 << (h & 63)
			}
		}
	}
}

// NewLists makes lists.
func NewLists(words map[uint32]Flags) *Lists {
	all := make([]uint32, 0, len(words))
	for h, f := range words {
		if f != 0 {
			all = append(all, h)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	l := &Lists{entries: make([]uint32, len(all))}
	for i, h := range all {
		l.entries[i] = h<<16 | uint32(words[h])
	}
	l.index(func(i int) uint32 { return all[i] >> 16 })
	l.heat()
	return l
}

func (l *Lists) index(upper func(i int) uint32) {
	l.first = make([]uint32, 1<<16+1)
	i := 0
	for b := range l.first {
		for i < len(l.entries) && upper(i) < uint32(b) {
			i++
		}
		l.first[b] = uint32(i)
	}
}

// Of returns the flags of the word with this hash.
func (l *Lists) Of(h uint32) Flags {
	low := h << 16
	for _, e := range l.entries[l.first[h>>16]:l.first[h>>16+1]] {
		if e&0xffff0000 == low {
			return Flags(e)
		}
	}
	return 0
}

// Len is the number of words.
func (l *Lists) Len() int { return len(l.entries) }

// Append writes the lists: how many words each upper half has, then the words.
func (l *Lists) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(l.entries)))
	for b := range 1 << 16 {
		dst = append(dst, byte(l.first[b+1]-l.first[b]))
	}
	for _, e := range l.entries {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(e>>16))
	}
	for _, e := range l.entries {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(e))
	}
	return dst
}

var errShort = errors.New("the model is cut short")

// ReadLists reads what Append wrote and returns the rest of b.
func ReadLists(b []byte) (*Lists, []byte, error) {
	if len(b) < 4+1<<16 {
		return nil, nil, errShort
	}
	n := int(binary.LittleEndian.Uint32(b))
	counts := b[4 : 4+1<<16]
	b = b[4+1<<16:]
	if n < 0 || n > 1<<24 || len(b) < 4*n {
		return nil, nil, errShort
	}
	l := &Lists{entries: make([]uint32, n), first: make([]uint32, 1<<16+1)}
	for i := range n {
		l.entries[i] = uint32(binary.LittleEndian.Uint16(b[2*i:]))<<16 | uint32(binary.LittleEndian.Uint16(b[2*n+2*i:]))
	}
	sum := 0
	for i, c := range counts {
		sum += int(c)
		if sum > n {
			return nil, nil, errShort
		}
		l.first[i+1] = uint32(sum)
	}
	if sum != n {
		return nil, nil, errShort
	}
	l.heat()
	return l, b[4*n:], nil
}
