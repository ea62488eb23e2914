// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxBlocks bounds how many files are changed: whoever may start programs can make any number.
const maxBlocks = 1024

// File is a file that a program reads roots from, as it was found for that program.
type File struct {
	Store string // "certifi" or "variable"
	Path  string // without links
	Dev   uint64
	Ino   uint64
	UID   uint32 // real user of the program: the one who may have chosen the file
	PID   int
	Comm  string
}

// Cover puts our roots into a file, and says whether it had to change it. It waits a little for somebody who writes to it: the
// program that reads it has started already.
func (s *Store) Cover(c File) (changed bool, err error) {
	for again := range 10 {
		if changed, err = s.cover(c, again > 0); !errors.Is(err, errBusy) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return changed, err
}

// cover tries once. When it is tried again the file may have another number, as somebody wrote to it; whether it may be
// changed is asked each time.
func (s *Store) cover(c File, again bool) (changed bool, err error) {
	if len(s.roots) == 0 {
		return false, errors.New("no roots are set: nothing to add to trust stores")
	}
	release, err := s.exclusive()
	if err != nil {
		return false, err
	}
	defer release()
	f, err := openFile(c.Path)
	if err != nil {
		return false, err
	}
	defer f.close()
	if !again && f.key() != (key{c.Dev, c.Ino}) {
		return false, errors.New("it became another file meanwhile")
	}
	if err := permitted(f, c); err != nil {
		return false, err
	}
	r, err := s.standing(c.Path)
	if err != nil {
		return false, err
	}
	known := r.ID != ""
	if !known {
		id := newID()
		r = Record{ID: "file-" + id, Kind: KindBlock, Store: c.Store, Path: c.Path, Temp: ".sallyport-" + id, PID: c.PID, Comm: c.Comm}
	}
	r.UID = f.stat.Uid
	return s.put(f, r, known)
}

// permitted says whether a file may be changed for a program that led us there. What is not for that program to choose
// must at least be called as stores are; what somebody keeps to himself is changed for nobody else.
func permitted(f *file, c File) error {
	own := f.stat.Uid == c.UID
	switch {
	case IsSystem(c.Path):
		return errors.New("it belongs to the system's store, which the distribution's tool makes")
	case !storeName(c.Path) && !(c.Store == "variable" && own):
		return fmt.Errorf("it is no store by its name, and not the file of uid %d, which runs the program: add our root to it by hand", c.UID)
	case !own && c.UID != 0 && f.stat.Uid != 0 && f.stat.Mode&0o004 == 0:
		return fmt.Errorf("it belongs to uid %d, who does not let everybody read it, and the program runs as uid %d", f.stat.Uid, c.UID)
	}
	return nil
}

// standing is the record of a file that was changed before; it has no ID if there is none.
func (s *Store) standing(path string) (Record, error) {
	list, err := s.o.Ledger.Standing()
	if err != nil {
		return Record{}, err
	}
	n := 0
	for _, r := range list {
		if r.Kind != KindBlock {
			continue
		}
		if r.Path == path {
			return r, nil
		}
		n++
	}
	if n >= maxBlocks {
		return Record{}, fmt.Errorf("more than %d files hold our roots already", maxBlocks)
	}
	return Record{}, nil
}

// put sees to it that the file holds our roots. The caller is exclusive.
func (s *Store) put(f *file, r Record, known bool) (changed bool, err error) {
	announce := func() error {
		if known {
			return nil
		}
		known, r.Time = true, time.Now().UTC()
		if err := s.o.Ledger.Announce(r); err != nil {
			return err
		}
		s.watched(r)
		return nil
	}
	data, err := f.read()
	if err != nil {
		return false, err
	}
	have, err := certificates(data)
	if err != nil {
		return false, err
	}
	if holds(have, s.roots) {
		if hasBlock(data) { // it may have come here as a copy of a file that we changed
			err = announce()
		}
		return false, err
	}
	if err := f.lease(); err != nil {
		return false, err
	}
	if data, err = f.read(); err != nil {
		return false, err
	}
	if _, err := certificates(data); err != nil {
		return false, err
	}
	fresh := addBlock(data, s.roots)
	if len(fresh) > maxStore {
		return false, fmt.Errorf("it is larger than %d bytes", maxStore)
	}
	if err := announce(); err != nil {
		return false, err
	}
	s.o.Step("announced")
	return true, f.replace(fresh, r.Temp, s.o.Step)
}

// lookBlock puts a block in again that an upgrade took out.
func (s *Store) lookBlock(r Record) error {
	s.watched(r)
	f, err := openFile(r.Path)
	if missing(err) {
		if s.goneForGood(r) {
			return s.o.Ledger.Over(r.ID, "gone")
		}
		return nil // an upgrade brings it back
	}
	if err != nil {
		return err
	}
	defer f.close()
	if err := discard(f.dir, r.Temp); err != nil {
		return err
	}
	if f.stat.Uid != r.UID {
		return fmt.Errorf("it belongs to uid %d now, not to uid %d: it is changed again when a program needs it", f.stat.Uid, r.UID)
	}
	if len(s.roots) == 0 {
		return nil
	}
	_, err = s.put(f, r, true)
	return err
}

// goneForGood says whether also the folder went in which the package was installed.
func (s *Store) goneForGood(r Record) bool {
	dir, err := openDir(filepath.Dir(dirOf(r)))
	if err != nil {
		return missing(err)
	}
	unix.Close(dir)
	return false
}

func (s *Store) stateOfBlock(r Record) (string, bool) {
	f, err := openFile(r.Path)
	if missing(err) {
		return "gone", false
	}
	if err != nil {
		return "failed: " + err.Error(), false
	}
	defer f.close()
	data, err := f.read()
	if err != nil {
		return "failed: " + err.Error(), false
	}
	have, err := certificates(data)
	current := err == nil && len(s.roots) > 0 && holds(have, s.roots)
	if !hasBlock(data) {
		return "lost", current
	}
	return "applied", current
}

// removeBlock cuts our block out again, and nothing else.
func (s *Store) removeBlock(ctx context.Context, r Record) (state string, err error) {
	for range 40 { // somebody may be writing
		state, err = s.cutFrom(r)
		if !errors.Is(err, errBusy) {
			break
		}
		select {
		case <-ctx.Done():
			return state, err
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err == nil {
		s.unwatched(r)
	}
	return state, err
}

func (s *Store) cutFrom(r Record) (string, error) {
	f, err := openFile(r.Path)
	if missing(err) {
		return "gone", s.discardBeside(r)
	}
	if errors.Is(err, unix.ELOOP) { // a link leads there now: what we changed is not on that way any more
		return "gone", nil
	}
	if err != nil {
		return "", err
	}
	defer f.close()
	if err := discard(f.dir, r.Temp); err != nil {
		return "", err
	}
	data, err := f.read()
	if err != nil {
		return "", err
	}
	if !hasBlock(data) {
		return "removed", nil
	}
	if err := f.lease(); err != nil {
		return "", err
	}
	if data, err = f.read(); err != nil {
		return "", err
	}
	rest, found := cutBlock(data, s.roots)
	if !found {
		return "removed", nil
	}
	s.o.Step("cutting")
	return "removed", f.replace(rest, r.Temp, s.o.Step)
}

// discardBeside takes away what a crash left where the file was.
func (s *Store) discardBeside(r Record) error {
	dir, err := openDir(dirOf(r))
	if err != nil {
		return nil // the folder is gone, and all in it
	}
	defer unix.Close(dir)
	return discard(dir, r.Temp)
}
