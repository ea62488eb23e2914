// SPDX-License-Identifier: Apache-2.0

// Package known remembers texts in which nothing was found that is to be masked, so that a conversation, whose every turn repeats
// the turns before, is looked through once. It keeps keyed digests alone, and only of texts without a finding.
package known

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// Text is a text with all that decides what is masked in it, beside the rules themselves, which a Set takes to be always the same.
type Text struct {
	Caller  []string // whose text it is: nobody learns by the clock what others said
	Roles   []string
	Carrier string
	Sent    bool   // as it leaves the host, not as it is recorded
	Before  []byte // what stands to its left
	Text    []byte
}

// Key stands for a Text. To find two texts with the same, one would have to break SHA-256 cut to 128 bits, without seeing any
// digest.
type Key [16]byte

// Min is the length in bytes below which looking through a text is as cheap as its digest.
const Min = 64

// Set is what is known. It is safe for concurrent use.
type Set struct {
	limit int
	salt  [32]byte
	free  sync.Pool // of *hasher

	mu         sync.Mutex
	young, old map[Key]struct{}
}

type hasher struct {
	sum  hash.Hash
	head []byte
	out  [sha256.Size]byte
}

// New makes a set that remembers the newest limit texts, and at most twice as many; each is about 40 bytes.
func New(limit int) *Set {
	s := &Set{limit: limit, young: map[Key]struct{}{}}
	rand.Read(s.salt[:])
	s.free.New = func() any { return &hasher{sum: sha256.New()} }
	return s
}

// Key is the key of a text, in this set.
func (s *Set) Key(t *Text) (k Key) {
	h := s.free.Get().(*hasher)
	defer s.free.Put(h)
	b := append(h.head[:0], s.salt[:]...)
	for _, list := range [2][]string{t.Caller, t.Roles} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, v := range list {
			b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
		}
	}
	b = append(binary.AppendUvarint(b, uint64(len(t.Carrier))), t.Carrier...)
	sent := byte(0)
	if t.Sent {
		sent = 1
	}
	b = append(b, sent)
	b = append(binary.AppendUvarint(b, uint64(len(t.Before))), t.Before...)
	h.head = b
	h.sum.Reset()
	h.sum.Write(b)
	h.sum.Write(t.Text)
	copy(k[:], h.sum.Sum(h.out[:0]))
	return k
}

// Has says whether a text is known, which keeps it known for longer.
func (s *Set) Has(k Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.young[k]; ok {
		return true
	}
	_, ok := s.old[k]
	if ok {
		s.add(k)
	}
	return ok
}

// Add makes a text known. Call it only after all of the text was looked through without an error and without a finding.
func (s *Set) Add(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(k)
}

func (s *Set) add(k Key) {
	if len(s.young) >= s.limit {
		s.old, s.young = s.young, make(map[Key]struct{}, s.limit/4)
	}
	s.young[k] = struct{}{}
}
