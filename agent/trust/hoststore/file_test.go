// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCover(t *testing.T) {
	dir := t.TempDir()
	one, other := newRoot(t, commonName+"one"), newRoot(t, "Other CA")
	s, m := newStore(t, Options{Roots: [][]byte{one}})
	path := site(t, dir, other)
	when := time.Unix(1_700_000_000, 123_456_789)
	for _, err := range []error{os.Chmod(path, 0o604), os.Chtimes(path, when, when), unix.Setxattr(path, "user.note", []byte("kept"), 0), os.Link(path, filepath.Join(dir, "second"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	changed, err := s.Cover(found(t, path, os.Getuid()))
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	if got := read(t, path); !strings.HasPrefix(got, string(other)) || !strings.Contains(got, string(one)) {
		t.Errorf("%s", got)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode() != 0o604 || !st.ModTime().Equal(when) {
		t.Errorf("%v, %v, %v", st.Mode(), st.ModTime(), err)
	}
	note := make([]byte, 16)
	if n, err := unix.Getxattr(path, "user.note", note); err != nil || string(note[:n]) != "kept" {
		t.Errorf("attribute: %v", err)
	}
	if read(t, filepath.Join(dir, "second")) != string(other) {
		t.Error("another name of the file, as package managers keep them in a cache, was changed too")
	}
	if changed, err = s.Cover(found(t, path, os.Getuid())); changed || err != nil || len(m.list) != 1 {
		t.Errorf("again: %v, %v, %d records", changed, err, len(m.list))
	}
	if list, err := s.Status(); err != nil || len(list) != 1 || list[0].State != "applied" || !list[0].Current {
		t.Errorf("%+v, %v", list, err)
	}

	t.Run("a further root", func(t *testing.T) {
		two := newRoot(t, commonName+"two")
		more, _ := newStore(t, Options{Roots: [][]byte{one, two}, Ledger: m})
		if list, err := more.Status(); err != nil || list[0].State != "applied" || list[0].Current {
			t.Errorf("%+v, %v", list, err)
		}
		if problems, err := more.Look(t.Context()); len(problems) > 0 || err != nil {
			t.Error(problems, err)
		}
		if got := read(t, path); strings.Count(got, markEnd) != 1 || !strings.Contains(got, string(two)) {
			t.Errorf("%s", got)
		}
		before := read(t, path)
		if problems, err := s.Look(t.Context()); len(problems) > 0 || err != nil || read(t, path) != before {
			t.Errorf("one who does not know the further root took it out: %v, %v", problems, err)
		}
	})
	t.Run("somebody else's change stays", func(t *testing.T) {
		mine := newRoot(t, "Corporate CA")
		write(t, path, append([]byte(read(t, path)), mine...))
		list, err := s.Remove(t.Context())
		if err != nil || len(list) != 1 || list[0].State != "removed" || len(m.list) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		if got := read(t, path); got != string(other)+string(mine) {
			t.Errorf("%s", got)
		}
	})
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".sallyport*")); len(left) > 0 || err != nil {
		t.Error(left, err)
	}
}

// TestNotCovered: what a program leads us to is left alone if it is no store, or not that program's to choose.
func TestNotCovered(t *testing.T) {
	other := newRoot(t, "Other CA")
	uid := os.Getuid()
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string) File // path: where a store would be
		want string
	}{
		{"no store by its name", func(t *testing.T, p string) File {
			p = filepath.Join(filepath.Dir(p), "client.pem")
			write(t, p, other)
			return found(t, p, uid)
		}, "no store by its name"},
		{"named by the environment of another user", func(t *testing.T, p string) File {
			p = filepath.Join(filepath.Dir(p), "client.pem")
			write(t, p, other)
			f := found(t, p, uid+1)
			f.Store = "variable"
			return f
		}, "not the file of uid"},
		{"another user's private file", func(t *testing.T, p string) File {
			write(t, p, other)
			if err := os.Chmod(p, 0o600); err != nil {
				t.Fatal(err)
			}
			if uid == 0 {
				if err := os.Chown(p, 4321, 4321); err != nil {
					t.Fatal(err)
				}
			}
			return found(t, p, uid+1)
		}, "does not let everybody read it"},
		{"a link", func(t *testing.T, p string) File {
			real := filepath.Join(t.TempDir(), "certifi/cacert.pem")
			write(t, real, other)
			link(t, real, p)
			return found(t, p, uid)
		}, "not a regular file"},
		{"a link on the way", func(t *testing.T, p string) File {
			real := filepath.Join(t.TempDir(), "certifi")
			write(t, filepath.Join(real, "cacert.pem"), other)
			if err := os.RemoveAll(filepath.Dir(p)); err != nil {
				t.Fatal(err)
			}
			link(t, real, filepath.Dir(p))
			return found(t, p, uid)
		}, "too many levels of symbolic links"},
		{"another file than was looked at", func(t *testing.T, p string) File {
			write(t, p, other)
			f := found(t, p, uid)
			f.Ino++
			return f
		}, "another file meanwhile"},
		{"fifo", func(t *testing.T, p string) File {
			if err := unix.Mkfifo(p, 0o644); err != nil {
				t.Fatal(err)
			}
			return found(t, p, uid)
		}, "not a regular file"},
		{"folder", func(t *testing.T, p string) File {
			if err := os.Mkdir(p, 0o755); err != nil {
				t.Fatal(err)
			}
			return found(t, p, uid)
		}, "not a regular file"},
		{"secret", func(t *testing.T, p string) File {
			write(t, p, []byte("root:x:0:0\n"))
			return found(t, p, uid)
		}, "no PEM certificate"},
		{"key", func(t *testing.T, p string) File {
			write(t, p, append(bytes.Clone(other), "-----BEGIN PRIVATE KEY-----\naGk=\n-----END PRIVATE KEY-----\n"...))
			return found(t, p, uid)
		}, "besides certificates"},
		{"too large", func(t *testing.T, p string) File {
			write(t, p, append(bytes.Clone(other), bytes.Repeat([]byte("#\n"), maxStore/2)...))
			return found(t, p, uid)
		}, "larger than"},
		{"too large with ours", func(t *testing.T, p string) File {
			write(t, p, append(bytes.Clone(other), bytes.Repeat([]byte("#"), maxStore-len(other)-10)...))
			return found(t, p, uid)
		}, "larger than"},
		{"set-uid", func(t *testing.T, p string) File {
			write(t, p, other)
			if err := os.Chmod(p, 0o644|os.ModeSetuid); err != nil {
				t.Fatal(err)
			}
			return found(t, p, uid)
		}, "permissions that no trust store has"},
		{"somebody writes to it", func(t *testing.T, p string) File {
			write(t, p, other)
			w, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { w.Close() })
			return found(t, p, uid)
		}, errBusy.Error()},
		{"the system's store", func(t *testing.T, p string) File {
			return found(t, "/etc/ssl/certs/ca-certificates.crt", uid)
		}, "distribution's tool"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "lib/python3.11/site-packages/certifi/cacert.pem")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			s, m := newStore(t, Options{Roots: [][]byte{newRoot(t, commonName+"one")}})
			f := c.make(t, path)
			var before []byte
			if st, err := os.Stat(f.Path); err == nil && st.Mode().IsRegular() {
				before = []byte(read(t, f.Path))
			}
			changed, err := s.Cover(f)
			if changed && err == nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("changed %v, %v; want %q", changed, err, c.want)
			}
			if before != nil && !bytes.Equal(before, []byte(read(t, f.Path))) {
				t.Error("the file was changed")
			}
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".sallyport*")); len(left) > 0 || err != nil {
				t.Error(left, err)
			}
			if list, err := s.Remove(t.Context()); err != nil || len(m.list) > 0 {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

// TestNoLedgerNoChange: what cannot be announced is not done.
func TestNoLedgerNoChange(t *testing.T) {
	s, m := newStore(t, Options{Roots: [][]byte{newRoot(t, commonName+"one")}})
	m.deny = errors.New("disk full")
	path := site(t, t.TempDir(), newRoot(t, "Other CA"))
	before := read(t, path)
	if _, err := s.Cover(found(t, path, os.Getuid())); !errors.Is(err, m.deny) || read(t, path) != before {
		t.Errorf("%v", err)
	}
}

// TestGone: a package whose folder went needs nothing; one that an upgrade takes for a moment is waited for.
func TestGone(t *testing.T) {
	dir := t.TempDir()
	s, m := newStore(t, Options{Roots: [][]byte{newRoot(t, commonName+"one")}})
	path := site(t, dir, newRoot(t, "Other CA"))
	if _, err := s.Cover(found(t, path, os.Getuid())); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		remove string
		want   int
	}{{path, 1}, {filepath.Dir(path), 1}, {filepath.Dir(filepath.Dir(path)), 0}} {
		if err := os.RemoveAll(c.remove); err != nil {
			t.Fatal(err)
		}
		if list, err := s.Status(); err != nil || list[0].State != "gone" {
			t.Errorf("%+v, %v", list, err)
		}
		if problems, err := s.Look(t.Context()); len(problems) > 0 || err != nil || len(m.list) != c.want {
			t.Errorf("without %s: %v, %v, %d records", c.remove, problems, err, len(m.list))
		}
	}
}

// TestAdopt: a copy of a changed file is ours to restore once a program reads it.
func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	one, other := newRoot(t, commonName+"one"), newRoot(t, "Other CA")
	s, m := newStore(t, Options{Roots: [][]byte{one}})
	path := site(t, dir, addBlock(other, rootsOf(t, one)))
	if changed, err := s.Cover(found(t, path, os.Getuid())); changed || err != nil || len(m.list) != 1 {
		t.Errorf("%v, %v, %d records", changed, err, len(m.list))
	}
	if _, err := s.Remove(t.Context()); err != nil || read(t, path) != string(other) {
		t.Errorf("%v, %s", err, read(t, path))
	}
}

// TestOtherKinds: what was made under another configuration is neither put in again nor forgotten.
func TestOtherKinds(t *testing.T) {
	one, other := newRoot(t, commonName+"one"), newRoot(t, "Other CA")
	s, m := newStore(t, Options{Roots: [][]byte{one}})
	path := site(t, t.TempDir(), other)
	if _, err := s.Cover(found(t, path, os.Getuid())); err != nil {
		t.Fatal(err)
	}
	write(t, path, other)
	none, err := New(Options{Ledger: m, Roots: [][]byte{one}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.Look(t.Context()); err != nil || read(t, path) != string(other) {
		t.Errorf("put in again: %v", err)
	}
	if n, err := none.Left(); n != 1 || err != nil {
		t.Errorf("%d left, %v", n, err)
	}
	if list, err := none.Remove(t.Context()); err != nil || len(list) != 1 || list[0].State != "removed" || len(m.list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}
