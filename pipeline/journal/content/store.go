// SPDX-License-Identifier: Apache-2.0

package content

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport/pipeline/journal/durable"
)

const (
	masterName  = "journal.key"
	masterMagic = "SLYPJKEY"
	fileSuffix  = ".keys"
)

// The reasons why a key cannot be had.
var (
	// ErrErased says that the key was destroyed, and the content with it.
	ErrErased = errors.New("the content was erased")
	// ErrNoKey says that the keys are not where the journal is: it was copied without them.
	ErrNoKey = errors.New("the key of the content is not here")
)

// Store is the folder of keys of one journal. It is safe for concurrent use.
type Store struct {
	dir    string
	random io.Reader

	mu     sync.Mutex
	master cipher.AEAD                 // nil until it was needed and found
	files  map[uint64]*os.File         // that were read, by generation
	opened map[[NameSize]byte]*openKey // keys in use
	gone   int                         // times that keys were erased, so that whoever keeps content knows to forget it
}

type openKey struct {
	aead       cipher.AEAD
	generation uint64
	slot       uint32
}

// maxOpened bounds the keys that are kept ready for reading.
const maxOpened = 4096

// NewStore reads from a folder, which need not be there. Keys are made from random; nil, as everywhere but where an example has to
// come out the same, is crypto/rand.
func NewStore(dir string, random io.Reader) *Store {
	if random == nil {
		random = rand.Reader
	}
	return &Store{dir: dir, random: random, files: map[uint64]*os.File{}, opened: map[[NameSize]byte]*openKey{}}
}

// Close releases files and forgets keys.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.master, s.files, s.opened = nil, map[uint64]*os.File{}, map[[NameSize]byte]*openKey{}
	return errors.Join(errs...)
}

// prepare makes the folder and the journal's key if there are none. It is called by one process at a time.
func (s *Store) prepare() error {
	if err := errors.Join(os.MkdirAll(s.dir, 0o700), os.Chmod(s.dir, 0o700)); err != nil {
		return fmt.Errorf("making the folder of session keys: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.readMaster()
	if !errors.Is(err, ErrNoKey) {
		return err
	}
	if all, err := s.generations(); err != nil || len(all) > 0 {
		return errors.Join(err, fmt.Errorf("%s is missing, and session keys that it wraps are there: put it back, or move %s away to go on without what they open", filepath.Join(s.dir, masterName), s.dir))
	}
	b := make([]byte, len(masterMagic)+keySize)
	copy(b, masterMagic)
	if _, err := io.ReadFull(s.random, b[len(masterMagic):]); err != nil {
		return fmt.Errorf("making the journal's key: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(s.dir, masterName), b); err != nil {
		return fmt.Errorf("making the journal's key: %w", err)
	}
	clear(b)
	if err := durable.SyncDir(filepath.Dir(s.dir)); err != nil {
		return fmt.Errorf("making the journal's key: %w", err)
	}
	return s.readMaster()
}

// readMaster reads the journal's key; s.mu is held.
func (s *Store) readMaster() error {
	if s.master != nil {
		return nil
	}
	path := filepath.Join(s.dir, masterName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoKey
	}
	if err != nil {
		return fmt.Errorf("reading the journal's key: %w", err)
	}
	if len(b) != len(masterMagic)+keySize || string(b[:len(masterMagic)]) != masterMagic {
		return fmt.Errorf("%s is no key of a journal", path)
	}
	s.master = newAEAD(b[len(masterMagic):])
	clear(b)
	return nil
}

// generations lists those that have a key file.
func (s *Store) generations() ([]uint64, error) {
	names, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the folder of session keys: %w", err)
	}
	var out []uint64
	for _, e := range names {
		if base, ok := strings.CutSuffix(e.Name(), fileSuffix); ok {
			if g, err := strconv.ParseUint(base, 10, 64); err == nil && g > 0 && filepath.Base(s.path(g)) == e.Name() {
				out = append(out, g)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// Newest is the newest generation that has a key file, 0 if there is none. Its number must not be given again.
func (s *Store) Newest() (uint64, error) {
	all, err := s.generations()
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[len(all)-1], nil
}

func (s *Store) path(generation uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016d%s", generation, fileSuffix))
}

// file opens the key file of a generation for reading; s.mu is held.
func (s *Store) file(generation uint64) (*os.File, error) {
	if f := s.files[generation]; f != nil {
		return f, nil
	}
	f, err := os.Open(s.path(generation))
	if errors.Is(err, fs.ErrNotExist) {
		if _, serr := os.Stat(filepath.Join(s.dir, masterName)); serr == nil {
			return nil, ErrErased // files without a key in use are removed
		}
		return nil, ErrNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("opening session keys: %w", err)
	}
	head := make([]byte, slotSize)
	if _, err = io.ReadFull(f, head); err == nil {
		err = checkFileHeader(head, generation)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", f.Name(), err), f.Close())
	}
	if len(s.files) >= 64 {
		for g, old := range s.files {
			_ = old.Close() // was only read
			delete(s.files, g)
			break
		}
	}
	s.files[generation] = f
	return f, nil
}

// key finds the key that a generation keeps in a slot. It is looked up anew each time that it is not in memory, and whoever
// erases it in this process takes it out there.
func (s *Store) key(generation uint64, at uint32, name [NameSize]byte) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.opened[name]; k != nil {
		if k.generation != generation || k.slot != at {
			return nil, errSealed
		}
		return k.aead, nil
	}
	f, err := s.file(generation)
	if err != nil {
		return nil, err
	}
	b := make([]byte, slotSize)
	if _, err := f.ReadAt(b, slotSize*(1+int64(at))); errors.Is(err, io.EOF) {
		return nil, ErrNoKey
	} else if err != nil {
		return nil, fmt.Errorf("reading a session key: %w", err)
	}
	sl, err := parseSlot(b)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	case sl.state == slotUnused || sl.name != name:
		return nil, ErrNoKey // of an older copy of the keys
	case sl.state == slotErased:
		return nil, ErrErased
	}
	if err := s.readMaster(); err != nil {
		return nil, err
	}
	key, err := unwrap(s.master, b)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	defer clear(key[:])
	s.keep(name, &openKey{newAEAD(key[:]), generation, at})
	return s.opened[name].aead, nil
}

// keep remembers a key; s.mu is held.
func (s *Store) keep(name [NameSize]byte, k *openKey) {
	if len(s.opened) >= maxOpened {
		for n := range s.opened {
			delete(s.opened, n)
			break
		}
	}
	s.opened[name] = k
}
