// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// sweepEvery is how often Run looks for namespaces that have ended: one look costs a stat for each namespace.
const sweepEvery = 2 * time.Second

// Run leaves namespaces that have ended, until ctx ends.
func (s *Spaces) Run(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			s.Sweep()
		}
	}
}

// Sweep leaves namespaces in which no thread is any more, and says how many.
func (s *Spaces) Sweep() int { return s.sweep(0) }

// sweep is Sweep unless the last one was not so long ago.
func (s *Spaces) sweep(unless time.Duration) (n int) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	now := time.Now()
	if unless > 0 && now.Sub(s.swept) < unless {
		return 0
	}
	s.swept = now
	var lone []*space
	s.mu.Lock()
	for _, sp := range s.m {
		if id, err := inodeAt(sp.witness); err != nil || id != sp.id {
			sp.witness = ""
			lone = append(lone, sp)
		}
	}
	s.mu.Unlock()
	if len(lone) == 0 {
		return 0
	}
	// Who enters from here on asks, and so does not need to be found below.
	for _, sp := range lone {
		s.served(sp, false)
	}
	if err := s.each(func(id inode, at string) { s.saw(id, at) }); err != nil {
		s.say("scan", "network namespaces that have ended are not found", err)
		return 0 // the next sweep looks again
	}
	for _, sp := range lone {
		if s.leave(sp) {
			n++
		} else {
			s.served(sp, true)
		}
	}
	return n
}

// served tells the kernel programs whether to ask for a namespace.
func (s *Spaces) served(sp *space, is bool) {
	if err := s.o.Kernel.Served(sp.cookie, is); err != nil {
		s.say("served", "the kernel programs ask for network namespaces too often, or too late", err)
	}
}

// leave lets go of a namespace, unless somebody is there.
func (s *Spaces) leave(sp *space) bool {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	if sp.witness != "" || s.m[sp.cookie] != sp {
		s.mu.Unlock()
		return false
	}
	delete(s.m, sp.cookie)
	delete(s.by, sp.id)
	s.mu.Unlock()
	for _, l := range sp.listeners {
		s.o.Server.Dismiss(l)
	}
	s.o.Server.Forget(sp.cookie)
	_ = sp.file.Close() // nothing was written to it
	s.ended.Add(1)
	return true
}

// saw notes where a thread of a namespace is; false if the namespace is not known.
func (s *Spaces) saw(id inode, at string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.by[id]
	if sp != nil && sp.witness == "" {
		sp.witness = at
	}
	return sp != nil
}

// Scan looks at all processes and serves the namespaces of those that may be redirected: at the start, and when questions
// were lost.
func (s *Spaces) Scan() error {
	type at struct {
		id  inode
		pid string
	}
	asked := map[at]bool{}
	return s.each(func(id inode, path string) {
		if id == s.ownID || s.saw(id, path) {
			return
		}
		pid := filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(path)))))
		if asked[at{id, pid}] {
			return
		}
		asked[at{id, pid}] = true
		if n, err := strconv.ParseUint(pid, 10, 32); err == nil && s.o.Wanted(uint32(n)) {
			if err := s.take(s.elsewhere, path, 0); err != nil && !ended(err) {
				s.complain(err)
			}
		}
	})
}

// Look serves the namespaces of one process.
func (s *Spaces) Look(pid uint32) {
	err := s.threads(utoa(pid), func(id inode, path string) {
		if id == s.ownID || s.saw(id, path) {
			return
		}
		if err := s.take(s.elsewhere, path, 0); err != nil && !ended(err) {
			s.complain(err)
		}
	})
	if err != nil && !ended(err) {
		s.complain(err)
	}
}

func ended(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// each calls seen for every thread of the host with the namespace that it is in.
func (s *Spaces) each(seen func(id inode, at string)) error {
	entries, err := os.ReadDir(s.o.ProcRoot)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name()[0] < '0' || e.Name()[0] > '9' {
			continue
		}
		if err := s.threads(e.Name(), seen); err != nil && !ended(err) {
			return err
		}
	}
	return nil
}

func (s *Spaces) threads(pid string, seen func(id inode, at string)) error {
	dir := filepath.Join(s.o.ProcRoot, pid, "task")
	tids, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, t := range tids {
		at := filepath.Join(dir, t.Name(), "ns", "net")
		if id, err := inodeAt(at); err == nil { // else it ended, or is about to
			seen(id, at)
		}
	}
	return nil
}

func inodeAt(path string) (inode, error) {
	var st unix.Stat_t
	if path == "" {
		return inode{}, fs.ErrNotExist
	}
	if err := unix.Stat(path, &st); err != nil {
		return inode{}, err
	}
	return inode{st.Dev, st.Ino}, nil
}
