// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// CarrierArgs is the carrier that is searched for keys only. Every other name, "text" by custom, is searched for all.
const CarrierArgs = "args"

// Options configures an Engine.
type Options struct {
	// Key makes the fingerprints. Empty: masks carry none. It is not kept in a form that prints.
	Key []byte
}

// Engine holds the compiled rules. It is immutable and may be used by any number of goroutines.
type Engine struct {
	rules    []rule
	prefixes *prefixes
	tags     map[string]string
	hashes   *sync.Pool // of hash.Hash, keyed; nil without a key
	free     sync.Pool  // of *Rewriter
}

// New compiles the rules, in about a millisecond: make one Engine and keep it.
func New(o Options) *Engine {
	e := &Engine{rules: vendorRules(), tags: map[string]string{}}
	e.prefixes = compilePrefixes(e.rules)
	for _, b := range e.Bounds() {
		e.tags[b.Type] = "[" + b.Type + "]"
	}
	if len(o.Key) > 0 {
		key := append([]byte(nil), o.Key...)
		e.hashes = &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
	}
	return e
}

// Bound says how many bytes a candidate of one rule can hold back at most.
type Bound struct {
	Type   string
	Prefix string // of a vendor key; empty for the others
	Bytes  int
}

// Bounds lists the bound of every rule. The largest is the most that a Rewriter ever holds.
func (e *Engine) Bounds() []Bound {
	out := []Bound{{Type: TypeEmail, Bytes: mailBound}, {Type: TypeCard, Bytes: cardBound}}
	for i := range e.rules {
		r := &e.rules[i]
		out = append(out, Bound{Type: r.typ, Prefix: r.prefix, Bytes: r.bound()})
	}
	return out
}

// Stream starts the masking of one text. The Rewriter takes about 2 KB and needs no closing; one that is released is used
// again.
func (e *Engine) Stream(carrier string) *Rewriter {
	r, ok := e.free.Get().(*Rewriter)
	if !ok {
		r = new(Rewriter)
	}
	r.e, r.carrier, r.all, r.mail = e, carrier, carrier != CarrierArgs, mailState{run: none, at: none}
	return r
}

// Release gives the memory of a Rewriter back, wiped; the Rewriter must not be used any more. What Masks returned stays.
func (r *Rewriter) Release() {
	e := r.e
	*r = Rewriter{}
	e.free.Put(r)
}

// Mask masks a whole text. The offsets of the masks are bytes of text.
func (e *Engine) Mask(carrier, text string) (string, []pipeline.Mask) {
	out, masks := e.Append(make([]byte, 0, len(text)+len(text)/8), carrier, []byte(text))
	if len(masks) == 0 {
		return text, nil
	}
	return string(out), masks
}

// Append masks a whole text and appends the result to dst.
func (e *Engine) Append(dst []byte, carrier string, text []byte) ([]byte, []pipeline.Mask) {
	r := e.Stream(carrier)
	// Neither can fail: the rewriter is fresh, and the size of its buffer is tested against the bounds.
	dst, _ = r.Write(dst, text)
	dst, _ = r.Flush(dst)
	return dst, r.masks
}

// fingerprint hashes one value as it passes. The zero value hashes nothing.
type fingerprint struct {
	h       hash.Hash
	typ     string
	scratch [64]byte
}

func (f *fingerprint) start(e *Engine, typ string) {
	f.typ = typ
	if e.hashes != nil {
		f.h = e.hashes.Get().(hash.Hash)
		f.h.Reset()
	}
}

// write adds bytes of the value: digits only of a card number, lower case of an address.
func (f *fingerprint) write(b []byte) {
	if f.h == nil {
		return
	}
	if f.typ != TypeCard && f.typ != TypeEmail {
		f.h.Write(b)
		return
	}
	n := 0
	for _, c := range b {
		if f.typ == TypeCard && classes[c]&cDigit == 0 {
			continue
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		f.scratch[n] = c
		if n++; n == len(f.scratch) {
			f.h.Write(f.scratch[:n])
			n = 0
		}
	}
	f.h.Write(f.scratch[:n])
}

// sum ends the value and gives the hash back to its pool.
func (f *fingerprint) sum(e *Engine) string {
	if f.h == nil {
		return ""
	}
	var b [sha256.Size]byte
	s := hex.EncodeToString(f.h.Sum(b[:0])[:8])
	f.h.Reset()
	e.hashes.Put(f.h)
	f.h, f.scratch = nil, [64]byte{}
	return s
}
