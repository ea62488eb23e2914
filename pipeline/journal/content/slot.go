// SPDX-License-Identifier: Apache-2.0

package content

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// A key file holds the keys that one writer generation made: a header of the size of a slot, then slots.
//
//	  0   1  state: 0 never used, 1 in use, 2 erased
//	  1   3  zero
//	  4   4  CRC-32C of bytes 8 to 63
//	  8   8  time of creation, nanoseconds since 1970
//	 16  16  name: what records that are sealed with the key say of it, SHA-256 over nameDomain and the key
//	 32  32  SHA-256 of the session ID
//	 64  12  nonce     } zero if erased
//	 76  48  the key, wrapped by the journal's key with AES-256-GCM, bytes 8 to 63 as associated data }
//	124   4  zero
//
// To erase a key is to overwrite it in place: nothing else in the file moves.
const (
	fileMagic = "SLYPKEYS"
	slotSize  = 128
	keySize   = 32

	slotUnused = 0
	slotLive   = 1
	slotErased = 2

	nameDomain = "sallyport journal: name of a session key\x00"
)

// NameSize is the size of the name of a key.
const NameSize = 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type slot struct {
	state   byte
	created time.Time
	name    [NameSize]byte
	session [sha256.Size]byte
}

// keyName commits to a key without telling it: no second key has that name, so a sealed content has one meaning only.
func keyName(key *[keySize]byte) (name [NameSize]byte) {
	h := sha256.New()
	h.Write([]byte(nameDomain))
	h.Write(key[:])
	copy(name[:], h.Sum(nil))
	return name
}

func encodeFileHeader(generation uint64) []byte {
	b := make([]byte, slotSize)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint64(b[8:], generation)
	binary.LittleEndian.PutUint32(b[16:], crc32.Checksum(b[:16], castagnoli))
	return b
}

func checkFileHeader(b []byte, generation uint64) error {
	if len(b) < slotSize || string(b[:8]) != fileMagic || binary.LittleEndian.Uint32(b[16:]) != crc32.Checksum(b[:16], castagnoli) {
		return errors.New("this is no key file of a journal")
	}
	if g := binary.LittleEndian.Uint64(b[8:]); g != generation {
		return fmt.Errorf("this is the key file of generation %d", g)
	}
	return nil
}

// wrap encodes a slot with its key.
func (s *slot) wrap(master cipher.AEAD, key *[keySize]byte, nonce [12]byte) []byte {
	b := make([]byte, slotSize)
	b[0] = slotLive
	binary.LittleEndian.PutUint64(b[8:], uint64(s.created.UnixNano()))
	copy(b[16:], s.name[:])
	copy(b[32:], s.session[:])
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:64], castagnoli))
	copy(b[64:], nonce[:])
	master.Seal(b[76:76], b[64:76], key[:], b[8:64])
	return b
}

// parseSlot reads all but the key.
func parseSlot(b []byte) (s slot, err error) {
	s.state = b[0]
	if s.state == slotUnused {
		if !bytes.Equal(b, make([]byte, slotSize)) {
			return s, errors.New("an unused key slot is not empty")
		}
		return s, nil
	}
	if s.state > slotErased || b[1]|b[2]|b[3] != 0 || binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[8:64], castagnoli) {
		return s, errors.New("a key slot is damaged")
	}
	s.created = time.Unix(0, int64(binary.LittleEndian.Uint64(b[8:]))).UTC()
	copy(s.name[:], b[16:])
	copy(s.session[:], b[32:])
	if bytes.Equal(b[64:], make([]byte, slotSize-64)) {
		s.state = slotErased // also if a crash came before it could be said
	}
	return s, nil
}

// unwrap reads the key of a live slot.
func unwrap(master cipher.AEAD, b []byte) (key [keySize]byte, err error) {
	if _, err := master.Open(key[:0], b[64:76], b[76:124], b[8:64]); err != nil {
		return key, errors.New("a session key does not belong to this journal's key")
	}
	if name := keyName(&key); !bytes.Equal(name[:], b[16:32]) {
		return key, errors.New("a session key has another name than its slot says")
	}
	return key, nil
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err == nil {
		var g cipher.AEAD
		if g, err = cipher.NewGCM(block); err == nil {
			return g
		}
	}
	panic(err) // only for a key of another size
}
