// SPDX-License-Identifier: Apache-2.0

package content

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// maxContent bounds what a content that refers to others can come to.
const maxContent = 1 << 28

// Opener reads sealed content. It is used by one goroutine.
type Opener struct {
	store *Store
	// Fetch finds the sealed content of the record at a place, and the associated data that goes with it.
	fetch func(at pipeline.Position) (generation uint64, sealed, aad []byte, err error)

	cache  map[pipeline.Position][]byte
	cached int
	gone   int
}

// cacheBytes bounds the content that an Opener keeps because later content refers to it.
const cacheBytes = 4 << 20

// NewOpener makes an Opener. What fetch returns is valid until its next call.
func NewOpener(store *Store, fetch func(at pipeline.Position) (generation uint64, sealed, aad []byte, err error)) *Opener {
	return &Opener{store: store, fetch: fetch, cache: map[pipeline.Position][]byte{}}
}

// Available says whether the key of a sealed content is there: nil, ErrErased, ErrNoKey or another error.
func (o *Opener) Available(generation uint64, sealed []byte) error {
	if len(sealed) < sealedHead {
		return errSealed
	}
	_, err := o.store.key(generation, binary.LittleEndian.Uint32(sealed), [NameSize]byte(sealed[4:]))
	return err
}

// Open gives the content, owned by the caller, and where its second part begins.
func (o *Opener) Open(generation uint64, sealed, aad []byte) (content []byte, split int, err error) {
	plain, err := o.decrypt(generation, sealed, aad)
	if err != nil {
		return nil, 0, err
	}
	first, list, fresh, err := parsePieces(plain)
	if err != nil {
		return nil, 0, err
	}
	content = fresh
	if len(list) > 0 {
		if content, err = o.join(list, fresh); err != nil {
			return nil, 0, err
		}
	}
	if first > uint64(len(content)) {
		return nil, 0, errSealed
	}
	return content, int(first), nil
}

func (o *Opener) decrypt(generation uint64, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < sealedHead {
		return nil, errSealed
	}
	aead, err := o.store.key(generation, binary.LittleEndian.Uint32(sealed), [NameSize]byte(sealed[4:]))
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, sealed[4+NameSize:sealedHead], sealed[sealedHead:], aad)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// parsePieces reads the form that Seal writes.
func parsePieces(b []byte) (first uint64, list []piece, fresh []byte, err error) {
	bad := false
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[n:]
		return v
	}
	first = number()
	count := number()
	if bad || count > uint64(len(b)) {
		return 0, nil, nil, errSealed
	}
	total, own := uint64(0), uint64(0)
	for range count {
		v := number()
		p := piece{old: v&1 != 0}
		n := v >> 1
		if n > maxContent {
			return 0, nil, nil, errSealed
		}
		p.n = int(n)
		total += n
		if p.old {
			p.at.Segment, p.at.Offset = number(), number()
			from := number()
			if from > maxContent {
				return 0, nil, nil, errSealed
			}
			p.from = uint32(from)
		} else {
			own += n
		}
		list = append(list, p)
	}
	if bad || total > maxContent || count > 0 && own != uint64(len(b)) {
		return 0, nil, nil, errSealed
	}
	return first, list, b, nil
}

// join puts pieces together.
func (o *Opener) join(list []piece, fresh []byte) ([]byte, error) {
	n := 0
	for _, p := range list {
		n += p.n
	}
	out := make([]byte, 0, n)
	for _, p := range list {
		if !p.old {
			out, fresh = append(out, fresh[:p.n]...), fresh[p.n:]
			continue
		}
		from, err := o.earlier(p.at)
		if err != nil {
			return nil, err
		}
		if uint64(p.from)+uint64(p.n) > uint64(len(from)) {
			return nil, errSealed
		}
		out = append(out, from[p.from:int(p.from)+p.n]...)
	}
	return out, nil
}

// earlier gives the bytes of a record that content refers to.
func (o *Opener) earlier(at pipeline.Position) ([]byte, error) {
	if gone := o.store.Forgotten(); gone != o.gone {
		o.gone, o.cached = gone, 0
		clear(o.cache)
	}
	if b, ok := o.cache[at]; ok {
		return b, nil
	}
	generation, sealed, aad, err := o.fetch(at)
	if err != nil {
		return nil, fmt.Errorf("reading content that is referred to: %w", err)
	}
	plain, err := o.decrypt(generation, sealed, aad)
	if err != nil {
		return nil, err
	}
	_, _, fresh, err := parsePieces(plain)
	if err != nil {
		return nil, err
	}
	if o.cached += len(fresh); o.cached > cacheBytes {
		clear(o.cache)
		o.cached = len(fresh)
	}
	o.cache[at] = fresh
	return fresh, nil
}

// Gone says of an error of Open that the content is not to be had, and that nothing is wrong.
func Gone(err error) bool { return errors.Is(err, ErrErased) || errors.Is(err, ErrNoKey) }
