// SPDX-License-Identifier: Apache-2.0

package content

import (
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline/journal/durable"
)

const (
	// KeyLife is how long content is sealed with one key; a session that goes on gets another. So what is older than the
	// retention of content can be erased though its session goes on, and no content refers to content older than this.
	KeyLife = 24 * time.Hour

	growSlots = 512 // slots that a key file grows by
	spare     = 64  // slots that it has ahead
	maxKept   = 20_000
)

// Writer makes the keys of one writer generation. It is safe for concurrent use.
type Writer struct {
	store      *Store
	generation uint64
	now        func() time.Time

	mu       sync.Mutex
	f        *os.File
	next     uint32 // slot
	slots    uint32 // that the file has room for
	dirty    bool
	syncing  sync.Mutex
	sessions map[string]*Session
	clock    uint64 // of uses
	chunks   int    // that all sessions remember
}

// NewWriter makes the key file of a generation, whose lock the caller holds.
func (s *Store) NewWriter(generation uint64, now func() time.Time) (*Writer, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	// A start that died may have left the file: keys in it may have sealed something.
	f, err := os.OpenFile(s.path(generation), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making a file of session keys: %w", err)
	}
	w := &Writer{store: s, generation: generation, now: now, f: f, sessions: map[string]*Session{}}
	if err := w.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("making a file of session keys: %w", err), f.Close())
	}
	return w, nil
}

func (w *Writer) begin() error {
	st, err := w.f.Stat()
	if err != nil {
		return err
	}
	if st.Size() >= slotSize {
		head := make([]byte, slotSize)
		if _, err := w.f.ReadAt(head, 0); err != nil {
			return err
		}
		if err := checkFileHeader(head, w.generation); err != nil {
			return err
		}
		w.slots = uint32(st.Size()/slotSize - 1)
		if err := w.store.each(w.generation, func(k Key) error { w.next = k.Slot + 1; return nil }); err != nil {
			return err
		}
	} else if _, err := w.f.WriteAt(encodeFileHeader(w.generation), 0); err != nil {
		return err
	}
	if err := w.grow(); err != nil {
		return err
	}
	return errors.Join(w.f.Sync(), durable.SyncDir(w.store.dir))
}

// grow makes room ahead, written with zeros so that later syncs change no metadata of the file system.
func (w *Writer) grow() error {
	if w.next+spare < w.slots {
		return nil
	}
	if _, err := w.f.WriteAt(make([]byte, growSlots*slotSize), slotSize*(1+int64(w.slots))); err != nil {
		return err
	}
	w.slots += growSlots
	return nil
}

// Session is what the writer knows of a session under one key.
type Session struct {
	aead cipher.AEAD
	key  [4 + NameSize]byte // slot and name, as sealed content begins
	hash cipher.AEAD        // identifies chunks; never leaves the process
	made time.Time
	used uint64

	count atomic.Uint64 // of nonces

	mu     sync.Mutex
	chunks map[chunkID]source
}

// Session gives the key with which the content of a session is sealed now. It is made if need be: then it is in the file when
// this returns, and on disk after Sync.
func (w *Writer) Session(id string) (*Session, error) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock++
	if s := w.sessions[id]; s != nil && now.Sub(s.made) < KeyLife {
		s.used = w.clock
		return s, nil
	}
	return w.make(id, now)
}

func (w *Writer) make(id string, now time.Time) (*Session, error) {
	if err := w.grow(); err != nil && w.next >= w.slots {
		return nil, fmt.Errorf("making a session key: %w", err)
	}
	var fresh struct {
		key, hash [keySize]byte
		nonce     [12]byte
	}
	for _, b := range [][]byte{fresh.key[:], fresh.hash[:], fresh.nonce[:]} {
		if _, err := io.ReadFull(w.store.random, b); err != nil {
			return nil, fmt.Errorf("making a session key: %w", err)
		}
	}
	defer clear(fresh.key[:])
	key := &fresh.key
	sl := slot{state: slotLive, created: now, name: keyName(key), session: sha256.Sum256([]byte(id))}
	w.store.mu.Lock()
	master := w.store.master
	if master != nil {
		w.store.keep(sl.name, &openKey{newAEAD(key[:]), w.generation, w.next})
	}
	w.store.mu.Unlock()
	if master == nil {
		return nil, fs.ErrClosed
	}
	if _, err := w.f.WriteAt(sl.wrap(master, key, fresh.nonce), slotSize*(1+int64(w.next))); err != nil {
		return nil, fmt.Errorf("making a session key: %w", err)
	}
	s := &Session{aead: newAEAD(key[:]), made: now, used: w.clock, chunks: map[chunkID]source{}}
	s.key[0], s.key[1], s.key[2], s.key[3] = byte(w.next), byte(w.next>>8), byte(w.next>>16), byte(w.next>>24)
	copy(s.key[4:], sl.name[:])
	s.hash = newAEAD(fresh.hash[:])
	w.next++
	w.dirty = true
	if old := w.sessions[id]; old != nil {
		w.drop(id, old)
	}
	if len(w.sessions) >= maxKept {
		w.trim()
	}
	w.sessions[id] = s
	return s, nil
}

// drop forgets a session: what it says next is sealed with another key.
func (w *Writer) drop(id string, s *Session) {
	s.mu.Lock()
	w.chunks -= len(s.chunks)
	s.chunks = nil
	s.mu.Unlock()
	delete(w.sessions, id)
}

// trim forgets the sessions that were not used for longest, an eighth of all.
func (w *Writer) trim() {
	limit := w.clock - min(w.clock, uint64(7*maxKept/8))
	n := 0
	for id, s := range w.sessions {
		if s.used < limit || n == 0 && len(w.sessions) >= maxKept {
			w.drop(id, s)
			n++
		}
	}
}

// Forget makes the sessions that match use new keys from now on, and returns the slot from which on keys are new. It is called
// before the keys are erased.
func (w *Writer) Forget(match func(session string) bool) (slot uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, s := range w.sessions {
		if match(id) {
			w.drop(id, s)
		}
	}
	return w.next
}

// Sync brings the keys that were made before it to disk. It is cheap if there are none.
func (w *Writer) Sync() error {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	w.mu.Lock()
	dirty := w.dirty
	w.dirty = false
	w.mu.Unlock()
	if !dirty {
		return nil
	}
	for {
		err := unix.Fdatasync(int(w.f.Fd()))
		if err == nil || errors.Is(err, unix.EINTR) {
			if err != nil {
				continue
			}
			return nil
		}
		w.mu.Lock()
		w.dirty = true
		w.mu.Unlock()
		return fmt.Errorf("syncing session keys: %w", os.NewSyscallError("fdatasync", err))
	}
}

// Close releases the file; what is not synced is.
func (w *Writer) Close() error {
	err := w.Sync()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions = map[string]*Session{}
	return errors.Join(err, w.f.Close())
}
