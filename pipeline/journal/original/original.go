// SPDX-License-Identifier: Apache-2.0

// Package original seals what was masked in the record, so that two people together can read it, and nobody else: not the host, and
// neither of them alone.
//
// Each original has a key of its own. For each two of the recipients the key is split in halves that tell nothing by themselves;
// each half is encrypted to one of the two (age, https://age-encryption.org/v1). A request is sealed whole (Sealer.Seal), a reply as
// it comes, in pieces (Sealer.Reply).
package original

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

const (
	keySize = 32
	// MaxRecipients bounds the pairs: ten of five.
	MaxRecipients = 5
)

// Sealed is an original as it is recorded.
type Sealed struct {
	Pairs []Pair `json:"pairs"`
	Box   []byte `json:"box"` // AES-256-GCM with the key, nonce 0: each key seals once
}

// Pair opens the original for two recipients together: the key is one half XOR the other.
type Pair struct {
	Recipients [2]string `json:"recipients"`
	Halves     [2][]byte `json:"halves"` // age files
}

// Sealer seals to the same recipients. It is safe for concurrent use.
type Sealer struct {
	names []string
	to    []*age.X25519Recipient
}

// New takes the public keys (age1…) of two to five people.
func New(recipients []string) (*Sealer, error) {
	if len(recipients) < 2 || len(recipients) > MaxRecipients {
		return nil, fmt.Errorf("%d recipients: originals are sealed to 2 to %d people, of whom any two can open them together", len(recipients), MaxRecipients)
	}
	s := &Sealer{names: recipients}
	seen := map[string]bool{}
	for _, r := range recipients {
		to, err := age.ParseX25519Recipient(r)
		if err != nil || seen[r] {
			return nil, fmt.Errorf("recipient %q is no age public key (age1…), or stands twice", r)
		}
		seen[r] = true
		s.to = append(s.to, to)
	}
	return s, nil
}

// Seal seals one original.
func (s *Sealer) Seal(b []byte) ([]byte, error) {
	var key [keySize]byte
	_, _ = rand.Read(key[:]) // never fails
	defer clear(key[:])
	pairs, err := s.split(&key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(Sealed{Pairs: pairs, Box: box(key[:]).Seal(nil, make([]byte, 12), b, nil)})
}

// split gives each two of the recipients a key together.
func (s *Sealer) split(key *[keySize]byte) (pairs []Pair, err error) {
	for i := range s.to {
		for k := i + 1; k < len(s.to); k++ {
			p := Pair{Recipients: [2]string{s.names[i], s.names[k]}}
			var one, other [keySize]byte
			_, _ = rand.Read(one[:])
			for n := range key {
				other[n] = key[n] ^ one[n]
			}
			var err1, err2 error
			p.Halves[0], err1 = encrypt(one[:], s.to[i])
			p.Halves[1], err2 = encrypt(other[:], s.to[k])
			if err := errors.Join(err1, err2); err != nil {
				return nil, fmt.Errorf("sealing an original: %w", err)
			}
			clear(one[:])
			clear(other[:])
			pairs = append(pairs, p)
		}
	}
	return pairs, nil
}

func encrypt(b []byte, to age.Recipient) ([]byte, error) {
	var buf bytes.Buffer
	w, err := age.Encrypt(&buf, to)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(b)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func box(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err == nil {
		var g cipher.AEAD
		if g, err = cipher.NewGCM(block); err == nil {
			return g
		}
	}
	panic(err) // only for a key of another size
}

// ErrAlone says that the identities given do not make up two of the people that an original was sealed to.
var ErrAlone = errors.New("it takes the identities of two of the people that it was sealed to")

// Identities reads an age identity file.
func Identities(r io.Reader) ([]age.Identity, error) { return age.ParseIdentities(r) }

// Open opens an original with the identities of two people.
func Open(sealed []byte, one, other []age.Identity) ([]byte, error) {
	var s Sealed
	if err := json.Unmarshal(sealed, &s); err != nil {
		return nil, errors.New("this is no sealed original")
	}
	key, err := join(s.Pairs, one, other)
	if err != nil {
		return nil, err
	}
	defer clear(key[:])
	out, err := box(key[:]).Open(nil, make([]byte, 12), s.Box, nil)
	if err != nil {
		return nil, errChanged
	}
	return out, nil
}

var errChanged = errors.New("the sealed original was changed")

// join makes the key again from the halves that two people can read.
func join(pairs []Pair, one, other []age.Identity) (*[keySize]byte, error) {
	for _, p := range pairs {
		for _, who := range [][2][]age.Identity{{one, other}, {other, one}} {
			a, err1 := decrypt(p.Halves[0], who[0])
			b, err2 := decrypt(p.Halves[1], who[1])
			if err1 != nil || err2 != nil {
				continue
			}
			key := new([keySize]byte)
			for n := range key {
				key[n] = a[n] ^ b[n]
			}
			clear(a)
			clear(b)
			return key, nil
		}
	}
	return nil, ErrAlone
}

func decrypt(b []byte, who []age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(b), who...)
	if err != nil {
		return nil, err
	}
	half, err := io.ReadAll(io.LimitReader(r, keySize+1))
	if err == nil && len(half) != keySize {
		err = errors.New("no half of a key")
	}
	return half, err
}
