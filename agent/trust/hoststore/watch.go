// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lookEvery = time.Minute            // at what nobody told us of
	settle    = 100 * time.Millisecond // events that come together are served together, and nobody keeps us busy for longer
)

// fileEvents tell that a file is complete under its name, folderEvents that a folder came.
const (
	fileEvents   = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_ATTRIB
	folderEvents = unix.IN_MOVED_TO | unix.IN_CREATE
)

// watch follows the folders of changed files, and those above: an upgrade makes the first of them anew.
type watch struct {
	mu    sync.Mutex
	f     *os.File
	fd    int                       // of f, which has to stay non-blocking
	of    map[int32]map[string]bool // IDs of records by watch
	wds   map[string][]int32
	known map[string]Record
}

// Watch looks after the changes until ctx ends: at once, when an upgrade changed a file, and once a minute. problems is
// told what cannot be done.
func (s *Store) Watch(ctx context.Context, problems func(map[string]error, error)) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watching trust stores: %w", err)
	}
	w := &watch{f: os.NewFile(uintptr(fd), "inotify"), fd: fd, of: map[int32]map[string]bool{}, wds: map[string][]int32{}, known: map[string]Record{}}
	s.mu.Lock()
	s.watch = w
	s.mu.Unlock()
	events := make(chan map[string]bool)
	done := make(chan error, 1)
	run, cancel := context.WithCancel(ctx)
	go func() { done <- w.read(run, events) }()
	defer func() {
		cancel()
		w.f.Close() // ends the read
		<-done
		s.mu.Lock()
		s.watch = nil
		s.mu.Unlock()
	}()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	all := true
	for {
		if all {
			problems(s.Look(ctx))
		}
		all = false
		select {
		case <-ctx.Done():
			return nil
		case err := <-done:
			done <- err
			return err
		case <-tick.C:
			all = true
		case ids := <-events:
			if ids == nil {
				all = true // some were lost
				continue
			}
			problems(s.lookAt(ctx, ids))
		}
	}
}

// lookAt looks at some records; one that somebody still writes to is looked at again, for a while.
func (s *Store) lookAt(ctx context.Context, ids map[string]bool) (map[string]error, error) {
	problems := map[string]error{}
	for range 20 {
		again := map[string]bool{}
		release, err := s.exclusive()
		if err != nil {
			return nil, err
		}
		list, err := s.o.Ledger.Standing()
		if err == nil {
			for _, r := range list {
				if ids[r.ID] && r.Kind == KindBlock && slices.Contains(s.o.Kinds, KindBlock) {
					err := s.lookBlock(r)
					again[r.ID] = errors.Is(err, errBusy)
					s.tell(problems, r.Path, err)
				}
			}
		}
		release()
		for id, busy := range again {
			if !busy {
				delete(again, id)
			}
		}
		if ids = again; err != nil || len(ids) == 0 {
			return problems, err
		}
		select {
		case <-ctx.Done():
			return problems, nil
		case <-time.After(settle):
		}
	}
	return problems, nil
}

// watched follows the folders of a record, if anybody watches.
func (s *Store) watched(r Record) {
	w := s.watch
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(r.ID)
	w.known[r.ID] = r
	for _, d := range []struct {
		path string
		mask uint32
	}{{dirOf(r), fileEvents}, {filepath.Dir(dirOf(r)), folderEvents}} {
		fd, err := openDir(d.path)
		if err != nil {
			continue // the folder above tells when it comes, or the look once a minute finds it
		}
		wd, err := unix.InotifyAddWatch(w.fd, fmt.Sprintf("/proc/self/fd/%d", fd), d.mask|unix.IN_MASK_ADD|unix.IN_ONLYDIR)
		unix.Close(fd)
		if err != nil {
			continue // no more watches are allowed: the same
		}
		if w.of[int32(wd)] == nil {
			w.of[int32(wd)] = map[string]bool{}
		}
		w.of[int32(wd)][r.ID] = true
		w.wds[r.ID] = append(w.wds[r.ID], int32(wd))
	}
}

func (s *Store) unwatched(r Record) {
	if w := s.watch; w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.drop(r.ID)
	}
}

func (w *watch) drop(id string) {
	for _, wd := range w.wds[id] {
		delete(w.of[wd], id)
		if len(w.of[wd]) == 0 {
			delete(w.of, wd)
			_, _ = unix.InotifyRmWatch(w.fd, uint32(wd)) // the kernel may have dropped it with its folder
		}
	}
	delete(w.wds, id)
	delete(w.known, id)
}

// read turns events into sets of records; nil if some were lost.
func (w *watch) read(ctx context.Context, to chan<- map[string]bool) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.f.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("watching trust stores: %w", err)
		}
		ids, lost := w.which(buf[:n])
		if len(ids) == 0 && !lost {
			continue
		}
		select { // what comes meanwhile waits in the kernel
		case <-ctx.Done():
			return nil
		case <-time.After(settle):
		}
		for {
			n, err := unix.Read(w.fd, buf)
			if err != nil || n <= 0 {
				break
			}
			more, l := w.which(buf[:n])
			lost = lost || l
			for id := range more {
				ids[id] = true
			}
		}
		if lost {
			ids = nil
		}
		select {
		case to <- ids:
		case <-ctx.Done():
			return nil
		}
	}
}

// which records some events (inotify(7)) concern.
func (w *watch) which(b []byte) (ids map[string]bool, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids = map[string]bool{}
	for len(b) >= unix.SizeofInotifyEvent {
		wd, mask := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if size > len(b) {
			break
		}
		name := unix.ByteSliceToString(b[unix.SizeofInotifyEvent:size])
		b = b[size:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			return ids, true
		}
		for id := range w.of[wd] {
			r := w.known[id]
			if name == filepath.Base(r.Path) || name == filepath.Base(dirOf(r)) {
				ids[id] = true
			}
		}
	}
	return ids, false
}
