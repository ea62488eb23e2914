// SPDX-License-Identifier: Apache-2.0

package action

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

// Keys makes the keyed hashes of values. It may be used by any number of goroutines. A nil Keys makes no fingerprints, and pseudonyms are tags.
type Keys struct {
	prints  bool
	values  sync.Pool // of hash.Hash
	aliases sync.Pool
}

// NewKeys keeps what it needs of the key. Without a key there are no fingerprints, and pseudonyms hold for this process.
func NewKeys(key []byte) *Keys {
	k := &Keys{prints: len(key) > 0}
	if !k.prints {
		key = make([]byte, sha256.Size)
		rand.Read(key)
	}
	one := append([]byte(nil), key...)
	h := hmac.New(sha256.New, one)
	h.Write([]byte("pseudonyms of masked values"))
	two := h.Sum(nil)
	k.values.New = func() any { return hmac.New(sha256.New, one) }
	k.aliases.New = func() any { return hmac.New(sha256.New, two) }
	return k
}

// fold is how values are made equal before they are hashed.
type fold uint8

const (
	asIs      fold = iota
	foldCase       // a-z for A-Z
	foldDigit      // digits only
	foldSpace      // no spaces, a-z for A-Z
)

func foldOf(typ string) fold {
	switch typ {
	case "EMAIL":
		return foldCase
	case "CREDIT_CARD", "PHONE", "US_SSN":
		return foldDigit
	case "IBAN":
		return foldSpace
	}
	return asIs
}

// Value follows one value as it passes, in pieces. Of the value it keeps a running hash, how many letters and digits there were and the last four of them;
// nothing after End. The zero Value is ready. It does not allocate when warm, but for the strings that it returns.
type Value struct {
	keys    *Keys
	act     Action
	fold    fold
	typ     string
	session string
	h       hash.Hash
	n       int // letters and digits
	tail    [4]byte
	tailed  int // how many of tail are set
	scratch [64]byte
}

// Start begins a value. session makes pseudonyms differ from one session to the next.
func (v *Value) Start(k *Keys, a Action, typ, session string) {
	v.Drop()
	v.keys, v.act, v.fold, v.typ, v.session = k, a, foldOf(typ), typ, session
	if k != nil && a != Allow && a != Deny && (k.prints || a == Pseudonym) {
		v.h = k.values.Get().(hash.Hash)
		v.h.Reset()
	}
}

// Write takes the next bytes of the value.
func (v *Value) Write(p []byte) {
	if v.act == LastFour {
		v.count(p)
	}
	if v.h == nil {
		return
	}
	if v.fold == asIs {
		v.h.Write(p)
		return
	}
	n := 0
	for _, c := range p {
		switch {
		case v.fold == foldDigit && (c < '0' || c > '9'), v.fold == foldSpace && c == ' ':
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		v.scratch[n] = c
		if n++; n == len(v.scratch) {
			v.h.Write(v.scratch[:n])
			n = 0
		}
	}
	v.h.Write(v.scratch[:n])
}

// count keeps the last four characters that may be shown.
func (v *Value) count(p []byte) {
	for _, c := range p {
		switch {
		case c >= 0xC0:
			v.n, v.tailed = v.n+1, 0 // no half of a word is shown
		case '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
			v.n++
			if v.tailed == len(v.tail) {
				copy(v.tail[:], v.tail[1:])
				v.tailed--
			}
			v.tail[v.tailed] = c
			v.tailed++
		}
	}
}

// End ends the value: what stands in its place is appended to dst, unless the action is Tag, whose place is known from the start (AppendTag), or
// Allow or Deny, which have none. fingerprint is "" without a key.
func (v *Value) End(dst []byte) (_ []byte, fingerprint string) {
	var sum []byte
	if v.h != nil {
		sum = v.h.Sum(v.scratch[:0])
		if v.keys.prints {
			fingerprint = hex.EncodeToString(sum[:8])
		}
	}
	switch v.act {
	case LastFour:
		dst = append(append(dst, '['), v.typ...)
		if n := min(v.tailed, v.n/4); n > 0 {
			dst = append(append(dst, ':'), v.tail[v.tailed-n:v.tailed]...)
		}
		dst = append(dst, ']')
	case Pseudonym:
		dst = append(append(dst, '['), v.typ...)
		if v.keys != nil {
			dst = v.alias(append(dst, '_'), sum)
		}
		dst = append(dst, ']')
	}
	v.Drop()
	return dst, fingerprint
}

// alias appends eight hex digits that tell values of a session apart: of a thousand, two have the same with a chance of 1 in 8,600.
func (v *Value) alias(dst, sum []byte) []byte {
	h := v.keys.aliases.Get().(hash.Hash)
	h.Reset()
	h.Write(sum)
	for _, s := range [...]string{v.typ, v.session} {
		for len(s) > 0 {
			n := copy(v.scratch[sha256.Size:], s)
			h.Write(v.scratch[sha256.Size : sha256.Size+n])
			s = s[n:]
		}
		v.scratch[sha256.Size] = 0
		h.Write(v.scratch[sha256.Size : sha256.Size+1])
	}
	out := h.Sum(v.scratch[:0])
	dst = hex.AppendEncode(dst, out[:4])
	h.Reset()
	v.keys.aliases.Put(h)
	return dst
}

// Drop ends a value of which nothing is wanted any more.
func (v *Value) Drop() {
	if v.h != nil {
		v.h.Reset()
		v.keys.values.Put(v.h)
	}
	*v = Value{}
}

// AppendTag appends "[TYPE]".
func AppendTag(dst []byte, typ string) []byte {
	return append(append(append(dst, '['), typ...), ']')
}
