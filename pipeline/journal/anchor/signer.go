// SPDX-License-Identifier: Apache-2.0

package anchor

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline/journal/durable"
)

// The state of the signer is a file of two slots, written in turn, so that a crash leaves one that is whole:
//
//	 0   8  "SLYPSIGN"
//	 8   8  epoch
//	16  16  name of the journal
//	32  32  seed of the epoch's key
//	64   4  CRC-32C of the bytes before
//	68  60  zero
//
// The seed of an epoch is SHA-256 over ratchet and the seed before; that one is overwritten.
const (
	stateMagic = "SLYPSIGN"
	stateSlot  = 128
	stateName  = "signer"
	ratchet    = "sallyport journal: next signing key\x00"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type state struct {
	epoch   uint64
	journal [16]byte
	seed    [ed25519.SeedSize]byte
}

func (s *state) encode() []byte {
	b := make([]byte, stateSlot)
	copy(b, stateMagic)
	binary.LittleEndian.PutUint64(b[8:], s.epoch)
	copy(b[16:], s.journal[:])
	copy(b[32:], s.seed[:])
	binary.LittleEndian.PutUint32(b[64:], crc32.Checksum(b[:64], castagnoli))
	return b
}

func (s *state) decode(b []byte) bool {
	if string(b[:8]) != stateMagic || binary.LittleEndian.Uint32(b[64:]) != crc32.Checksum(b[:64], castagnoli) {
		return false
	}
	s.epoch = binary.LittleEndian.Uint64(b[8:])
	copy(s.journal[:], b[16:])
	copy(s.seed[:], b[32:])
	return true
}

func (s *state) next() *state {
	n := &state{epoch: s.epoch + 1, journal: s.journal}
	h := sha256.New()
	h.Write([]byte(ratchet))
	h.Write(s.seed[:])
	copy(n.seed[:], h.Sum(nil))
	return n
}

func (s *state) public() string {
	return hex.EncodeToString(ed25519.NewKeyFromSeed(s.seed[:]).Public().(ed25519.PublicKey))
}

// Signer signs for all writers of one journal folder: two generations that run side by side take turns.
type Signer struct{ path string }

// OpenSigner opens the state in a folder, or makes it. First is then the name of the journal and the key with which its
// signatures begin, for the auditor; else it is empty. It is called by one process at a time. random makes the first key; nil is
// crypto/rand.
func OpenSigner(dir string, random io.Reader) (s *Signer, journal, first string, err error) {
	s = &Signer{filepath.Join(dir, stateName)}
	t, err := s.Begin(10 * time.Second)
	switch {
	case err == nil && t == nil:
		return nil, "", "", fmt.Errorf("%s is in use by another process for too long", s.path)
	case err == nil:
		return s, "", "", t.End(false)
	case !errors.Is(err, os.ErrNotExist):
		return nil, "", "", err
	}
	if random == nil {
		random = rand.Reader
	}
	var st state
	for _, b := range [][]byte{st.journal[:], st.seed[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, "", "", err
		}
	}
	if err := durable.WriteFile(s.path, append(st.encode(), make([]byte, stateSlot)...)); err != nil {
		return nil, "", "", fmt.Errorf("making the signing key of the journal: %w", err)
	}
	return s, hex.EncodeToString(st.journal[:]), st.public(), nil
}

// Turn is the right to make one signature.
type Turn struct {
	f *os.File
	s *state
}

// Begin waits for the turn; nil without an error: another process has it for longer.
func (s *Signer) Begin(wait time.Duration) (*Turn, error) {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the signing key of the journal: %w", err)
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(2 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking the signing key of the journal: %w", err), f.Close())
		}
		if !time.Now().Before(deadline) {
			return nil, f.Close()
		}
	}
	var b [2 * stateSlot]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("reading the signing key of the journal: %w", err), f.Close())
	}
	var list [2]state
	ok := [2]bool{list[0].decode(b[:stateSlot]), list[1].decode(b[stateSlot:])}
	at := 0
	switch {
	case !ok[0] && !ok[1]:
		return nil, errors.Join(fmt.Errorf("%s is damaged: move it away to begin a new series of signatures, and tell whoever verifies them", s.path), f.Close())
	case ok[0] && ok[1]: // a crash came before the older one was destroyed
		if list[1].epoch > list[0].epoch {
			at = 1
		}
	case ok[1]:
		at = 1
	}
	t := &Turn{f, &list[at]}
	if other := b[(1-at)*stateSlot : (2-at)*stateSlot]; !bytes.Equal(other, make([]byte, stateSlot)) {
		if err := t.write(1-at, make([]byte, stateSlot)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return t, nil
}

func (t *Turn) write(slot int, b []byte) error {
	_, err := t.f.WriteAt(b, int64(slot*stateSlot))
	if err = errors.Join(err, t.f.Sync()); err != nil {
		return fmt.Errorf("writing the signing key of the journal: %w", err)
	}
	return nil
}

// Sign completes an anchor.
func (t *Turn) Sign(a *Anchor) {
	key := ed25519.NewKeyFromSeed(t.s.seed[:])
	defer clear(key)
	a.Journal, a.Epoch, a.Time = hex.EncodeToString(t.s.journal[:]), t.s.epoch, a.Time.UTC()
	a.Key, a.Next = t.s.public(), t.s.next().public()
	a.Signature = hex.EncodeToString(ed25519.Sign(key, a.Message()))
}

// End gives the turn back. used says that the signature is on disk for good: then its key is destroyed. If it is not, the same
// key signs once more.
func (t *Turn) End(used bool) error {
	var err error
	if used {
		n := t.s.next()
		err = t.write(int(n.epoch%2), n.encode())
		if err == nil {
			err = t.write(int(t.s.epoch%2), make([]byte, stateSlot))
		}
		clear(n.seed[:])
	}
	clear(t.s.seed[:])
	return errors.Join(err, t.f.Close())
}
