// SPDX-License-Identifier: Apache-2.0

package content

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Key is a session key as far as it can be told.
type Key struct {
	Generation uint64
	Slot       uint32
	Created    time.Time
	Session    [sha256.Size]byte // SHA-256 of the session ID
	Live       bool              // not erased
}

// Keys gives all keys, oldest generation first.
func (s *Store) Keys(visit func(Key) error) error {
	all, err := s.generations()
	if err != nil {
		return err
	}
	for _, g := range all {
		if err := s.each(g, visit); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) each(generation uint64, visit func(Key) error) error {
	f, err := os.Open(s.path(generation))
	if err != nil {
		return fmt.Errorf("opening session keys: %w", err)
	}
	defer f.Close()
	b := make([]byte, 256*slotSize)
	for at := int64(0); ; {
		n, err := f.ReadAt(b, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading session keys: %w", err)
		}
		if n < slotSize {
			return nil
		}
		rest := b[:n-n%slotSize]
		for ; len(rest) > 0; rest, at = rest[slotSize:], at+slotSize {
			if at == 0 {
				if err := checkFileHeader(rest, generation); err != nil {
					return fmt.Errorf("reading %s: %w", f.Name(), err)
				}
				continue
			}
			sl, err := parseSlot(rest[:slotSize])
			if err != nil {
				return fmt.Errorf("reading %s: %w", f.Name(), err)
			}
			if sl.state == slotUnused {
				return nil
			}
			if err := visit(Key{generation, uint32(at/slotSize - 1), sl.created, sl.session, sl.state == slotLive}); err != nil {
				return err
			}
		}
	}
}

// Erase destroys the keys that match and returns how many there were, once that is on disk. Of keys that cannot be destroyed
// the error says so; all others are.
func (s *Store) Erase(match func(Key) bool) (n int, err error) {
	all, err := s.generations()
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, g := range all {
		var due []uint32
		err := s.each(g, func(k Key) error {
			if k.Live && match(k) {
				due = append(due, k.Slot)
			}
			return nil
		})
		if err == nil && len(due) > 0 {
			err = s.destroy(g, due)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		n += len(due)
	}
	return n, errors.Join(errs...)
}

// destroy overwrites keys of one generation.
func (s *Store) destroy(generation uint64, due []uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone++
	for name, k := range s.opened {
		if k.generation == generation && slices.Contains(due, k.slot) {
			delete(s.opened, name)
		}
	}
	f, err := os.OpenFile(s.path(generation), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("erasing session keys: %w", err)
	}
	for _, at := range due {
		off := slotSize * (1 + int64(at))
		_, werr := f.WriteAt(make([]byte, slotSize-64), off+64) // first the key, so that a crash leaves none behind a live state
		err = errors.Join(err, werr)
	}
	if err = errors.Join(err, f.Sync()); err == nil {
		for _, at := range due {
			_, werr := f.WriteAt([]byte{slotErased}, slotSize*(1+int64(at)))
			err = errors.Join(err, werr)
		}
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("erasing session keys: %w", err)
	}
	return nil
}

// Forgotten changes with each erasure in this process: content that was decrypted before is not to be given out after.
func (s *Store) Forgotten() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

// Sweep removes the key files of ended generations in which no key is left.
func (s *Store) Sweep(ended func(generation uint64) bool) error {
	all, err := s.generations()
	if err != nil {
		return err
	}
	for _, g := range all {
		live := false
		if err := s.each(g, func(k Key) error { live = live || k.Live; return nil }); err != nil {
			return err
		}
		if live || !ended(g) {
			continue
		}
		s.mu.Lock()
		if f := s.files[g]; f != nil {
			_ = f.Close() // was only read
			delete(s.files, g)
		}
		s.mu.Unlock()
		if err := os.Remove(s.path(g)); err != nil {
			return fmt.Errorf("removing a file of erased keys: %w", err)
		}
	}
	return nil
}

// SessionSum is what a key says of its session.
func SessionSum(session string) [sha256.Size]byte { return sha256.Sum256([]byte(session)) }
