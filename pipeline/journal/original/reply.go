// SPDX-License-Identifier: Apache-2.0

package original

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"filippo.io/age"
)

// Key is the key of a reply as it is recorded.
type Key struct {
	Pairs []Pair `json:"pairs"`
}

// Reply seals one reply in pieces, as it comes. Its key is made at the start and used for nothing else; a piece is AES-256-GCM with
// its number and whether it is the last as nonce, and the exchange as associated data. So no nonce comes twice, and pieces that were
// changed, left out, put in another order or into another exchange do not open; where the end is missing, that is seen. (This is the
// STREAM construction, which age files have as well.) Nothing of it can be read before Key was given away. One goroutine uses it.
type Reply struct {
	s     *Sealer
	bound []byte
	key   [keySize]byte
	aead  cipher.AEAD // nil after Close
	n     uint64      // pieces so far
}

// Reply begins the original of the reply of an exchange.
func (s *Sealer) Reply(exchange string) *Reply {
	r := &Reply{s: s, bound: boundTo(exchange)}
	_, _ = rand.Read(r.key[:]) // never fails
	r.aead = box(r.key[:])
	return r
}

// Key is the key of the pieces, sealed to the recipients, as JSON.
func (r *Reply) Key() ([]byte, error) {
	if r.aead == nil {
		return nil, errors.New("sealing an original: its key was destroyed")
	}
	pairs, err := r.s.split(&r.key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(Key{Pairs: pairs})
}

// Piece appends the next piece to dst, sealed. It must not be called after the last one, nor after Close.
func (r *Reply) Piece(dst, plain []byte, last bool) []byte {
	nonce := pieceNonce(r.n, last)
	r.n++
	return r.aead.Seal(dst, nonce[:], plain, r.bound)
}

// Close destroys the key.
func (r *Reply) Close() {
	clear(r.key[:])
	r.aead = nil
}

// Overhead is by how much a sealed piece is longer than the plain one.
const Overhead = 16

func boundTo(exchange string) []byte { return []byte("sallyport reply\x00" + exchange) }

func pieceNonce(n uint64, last bool) (nonce [12]byte) {
	binary.LittleEndian.PutUint64(nonce[:], n)
	if last {
		nonce[11] = 1
	}
	return nonce
}

// OpenReply opens the pieces of the reply of an exchange with the identities of two people. whole says that the last one is there.
// Nothing is returned of pieces of which any is not what was sealed.
func OpenReply(exchange string, sealed []byte, pieces [][]byte, one, other []age.Identity) (b []byte, whole bool, err error) {
	var k Key
	if err := json.Unmarshal(sealed, &k); err != nil {
		return nil, false, errors.New("this is no sealed key")
	}
	key, err := join(k.Pairs, one, other)
	if err != nil {
		return nil, false, err
	}
	defer clear(key[:])
	aead, bound := box(key[:]), boundTo(exchange)
	for i, p := range pieces {
		nonce := pieceNonce(uint64(i), false)
		out, err := aead.Open(b, nonce[:], p, bound)
		if err != nil && i == len(pieces)-1 { // nothing may follow the last one
			nonce = pieceNonce(uint64(i), true)
			out, err = aead.Open(b, nonce[:], p, bound)
			whole = err == nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("%w: piece %d", errChanged, i)
		}
		b = out
	}
	return b, whole, nil
}
