// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The kinds of a Record.
const (
	KindAnchor = "anchor" // a file from which the distribution's tool makes the system's store
	KindBlock  = "block"  // a block in a file
	KindUnit   = "unit"   // a drop-in, and the copies that it mounts
)

// Record is one change, as it stands in the ledger before it is made. It says all that undoing needs.
type Record struct {
	ID     string    `json:"id"`
	Kind   string    `json:"kind"`
	Store  string    `json:"store"` // "system", "certifi", "variable" or "unit"
	Path   string    `json:"path"`
	Temp   string    `json:"temp,omitempty"`   // name beside Path under which new content is written
	UID    uint32    `json:"uid,omitempty"`    // owner of the file
	Root   string    `json:"root,omitempty"`   // anchor: SHA-256 of the certificate
	Made   bool      `json:"made,omitempty"`   // the folder was made for it
	Copies string    `json:"copies,omitempty"` // unit: folder of the merged copies
	Before []Before  `json:"before,omitempty"` // anchor: the stores that the tool writes, before
	PID    int       `json:"pid,omitempty"`    // the program for which it was made
	Comm   string    `json:"comm,omitempty"`
	Time   time.Time `json:"time"`
}

// Before is a file as it was.
type Before struct {
	Path string `json:"path"`
	SHA  string `json:"sha256"`
	Sec  int64  `json:"mtime_s"`
	Nsec int64  `json:"mtime_ns"`
}

// Ledger keeps records; Announce and Over return when they are on disk.
type Ledger interface {
	Announce(Record) error
	Standing() ([]Record, error) // announced and not over, in order
	Over(id, how string) error
	// Lock keeps other processes from changing stores at the same time.
	Lock() (release func(), err error)
}

// Options configure a Store.
type Options struct {
	Ledger Ledger
	Roots  [][]byte // PEM, each one certificate; none: only Remove and Status work
	Top    string   // folder that stands for / when the system's store and units are looked for
	Units  Units
	Kinds  []string     // of changes that Look puts in again
	Step   func(string) // told where a change has come to, so that a test can end the process there
}

// Store changes the stores of this mount namespace. It is safe for concurrent use.
type Store struct {
	o     Options
	roots []root

	mu    sync.Mutex // one change at a time
	watch *watch     // nil unless Watch runs
	told  map[string]string
}

// New changes nothing.
func New(o Options) (*Store, error) {
	roots, err := parseRoots(o.Roots)
	if err != nil {
		return nil, err
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	return &Store{o: o, roots: roots, told: map[string]string{}}, nil
}

// Change is a record and what stands on the disk.
type Change struct {
	Record
	State   string // "applied", "lost" (something took it out), "gone" (its file is), "removed", "failed: WHY"
	Current bool   // all our roots are there now
}

// exclusive makes the caller the only one that changes stores.
func (s *Store) exclusive() (func(), error) {
	s.mu.Lock()
	release, err := s.o.Ledger.Lock()
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return func() { release(); s.mu.Unlock() }, nil
}

func newID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

// Look puts in again what upgrades took out, and forgets what is gone for good. It returns what cannot be done, by path,
// each reason once until it changes.
func (s *Store) Look(ctx context.Context) (problems map[string]error, err error) {
	release, err := s.exclusive()
	if err != nil {
		return nil, err
	}
	defer release()
	list, err := s.o.Ledger.Standing()
	if err != nil {
		return nil, err
	}
	problems = map[string]error{}
	system := false
	for _, r := range list {
		if ctx.Err() != nil {
			return problems, nil
		}
		if !slices.Contains(s.o.Kinds, r.Kind) {
			continue
		}
		var err error
		switch r.Kind {
		case KindBlock:
			err = s.lookBlock(r)
		case KindUnit:
			err = s.lookUnit(r)
		case KindAnchor:
			if !system {
				system = true
				err = s.system(ctx)
			}
		}
		s.tell(problems, r.Path, err)
	}
	return problems, nil
}

// tell notes a problem unless the last look had the same.
func (s *Store) tell(problems map[string]error, path string, err error) {
	switch {
	case err == nil || errors.Is(err, errBusy):
		delete(s.told, path)
	case s.told[path] != err.Error():
		s.told[path] = err.Error()
		problems[path] = err
	}
}

// Left counts the changes that Look does not look after: they were made when something else was configured.
func (s *Store) Left() (int, error) {
	list, err := s.o.Ledger.Standing()
	n := 0
	for _, r := range list {
		if !slices.Contains(s.o.Kinds, r.Kind) {
			n++
		}
	}
	return n, err
}

// Status says what stands.
func (s *Store) Status() ([]Change, error) {
	list, err := s.o.Ledger.Standing()
	if err != nil {
		return nil, err
	}
	var out []Change
	for _, r := range list {
		c := Change{Record: r}
		switch r.Kind {
		case KindBlock:
			c.State, c.Current = s.stateOfBlock(r)
		case KindUnit:
			c.State, c.Current = s.stateOfUnit(r)
		default:
			c.State, c.Current = s.stateOfAnchor(r)
		}
		out = append(out, c)
	}
	return out, nil
}

// Remove undoes every change of the ledger, whoever made it. What cannot be undone now stays in the ledger.
func (s *Store) Remove(ctx context.Context) ([]Change, error) {
	release, err := s.exclusive()
	if err != nil {
		return nil, err
	}
	defer release()
	list, err := s.o.Ledger.Standing()
	if err != nil {
		return nil, err
	}
	var out, anchors []Change
	var failed error
	units := false
	over := func(c Change, state string, err error) {
		if err != nil {
			c.State = "failed: " + err.Error()
		} else if c.State = state; state != "" {
			failed = errors.Join(failed, s.o.Ledger.Over(c.ID, state))
		}
		out = append(out, c)
	}
	for _, r := range list {
		switch r.Kind {
		case KindBlock:
			state, err := s.removeBlock(ctx, r)
			over(Change{Record: r}, state, err)
		case KindUnit:
			units = true
			state, err := s.removeUnit(r)
			over(Change{Record: r}, state, err)
		case KindAnchor:
			anchors = append(anchors, Change{Record: r})
		}
	}
	if units {
		failed = errors.Join(failed, s.reload(ctx))
	}
	if len(anchors) > 0 {
		err := s.removeAnchors(ctx, list)
		for _, c := range anchors {
			over(c, "removed", err)
		}
	}
	return out, failed
}

// Covered says whether a store of this kind needs no look: it holds all our roots.
func (s *Store) Covered(path string) bool {
	f, err := openFile(path)
	if err != nil {
		return false
	}
	defer f.close()
	data, err := f.read()
	if err != nil {
		return false
	}
	have, err := certificates(data)
	return err == nil && holds(have, s.roots)
}

// names are the ends of the paths of files that programs read roots from.
var names = []string{
	"/certifi/cacert.pem", "/botocore/cacert.pem", "/grpc/_cython/_credentials/roots.pem", "/httplib2/cacerts.txt",
	"/ssl/cert.pem", "/ssl/cacert.pem", "/etc/ssl/cert.pem",
}

func storeName(path string) bool {
	for _, n := range names {
		if strings.HasSuffix(path, n) {
			return true
		}
	}
	return false
}

// systemFolders belong to the distribution's tool: nothing in them is changed but by it.
var systemFolders = []string{"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/var/lib/ca-certificates", "/usr/share/ca-certificates",
	"/usr/local/share/ca-certificates", "/usr/lib/ssl", "/usr/share/pki"}

// IsSystem says whether a path, without links, belongs to the system's store.
func IsSystem(path string) bool {
	for _, d := range systemFolders {
		if path == d || strings.HasPrefix(path, d+"/") {
			return true
		}
	}
	return false
}

func dirOf(r Record) string { return filepath.Dir(r.Path) }
