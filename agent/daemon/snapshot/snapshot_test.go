// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) *Folder {
	t.Helper()
	s, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"b.yaml": "b", "a.yml": "a", ".hidden.yaml": "x", "note.md": "x", "a.yml~": "x"} {
		write(t, filepath.Join(dir, name), text)
	}
	s := read(t, dir)
	if len(s.Files) != 2 || s.Files[0].Name != "a.yml" || s.Files[1].UID != uint32(os.Getuid()) || s.Files[0].Modified.IsZero() {
		t.Fatalf("%+v", s.Files)
	}
	if raw, err := fs.ReadFile(s, "b.yaml"); err != nil || string(raw) != "b" {
		t.Errorf("%q, %v", raw, err)
	}
	if m, err := Look(dir); err != nil || m != s.Mark {
		t.Errorf("the mark moved by itself: %v", err)
	}
	write(t, filepath.Join(dir, "b.yaml"), "c")
	write(t, filepath.Join(dir, "c.yaml"), "")
	if err := os.Remove(filepath.Join(dir, "a.yml")); err != nil {
		t.Fatal(err)
	}
	n := read(t, dir)
	if n.Mark == s.Mark {
		t.Error("a change of the same length is not seen")
	}
	fresh, gone := n.Changed(s)
	if len(fresh) != 2 || fresh[0].Name != "b.yaml" || fresh[1].Name != "c.yaml" || len(gone) != 1 || gone[0].Name != "a.yml" {
		t.Errorf("%+v, %+v", fresh, gone)
	}
	if fresh, gone := s.Changed(nil); len(fresh) != 2 || len(gone) != 0 {
		t.Errorf("from nothing: %+v, %+v", fresh, gone)
	}
}

// A file that is being written is not read, however long its writer takes.
func TestOpenForWriting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.yaml")
	write(t, path, "half")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Read(dir)
	if cerr := f.Close(); cerr != nil {
		t.Fatal(cerr)
	}
	var st unix.Statfs_t
	if serr := unix.Statfs(dir, &st); serr != nil {
		t.Fatal(serr)
	}
	if !errors.Is(err, ErrMoving) {
		t.Fatalf("a file that is open for writing was read (file system %#x): %v", st.Type, err)
	}
	read(t, dir)
}

// TestConfigMap swaps a folder as a kubelet does.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"..1", "..2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, v, "p.yaml"), v)
	}
	link := func(to, at string) {
		if err := errors.Join(os.Symlink(to, filepath.Join(dir, "tmp")), os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, at))); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/p.yaml", "p.yaml")
	s := read(t, dir)
	link("..2", "..data")
	n := read(t, dir)
	if len(s.Files) != 1 || n.Mark == s.Mark {
		t.Fatalf("%+v: the swap is not seen", s.Files)
	}
	if raw, err := fs.ReadFile(n, "p.yaml"); err != nil || string(raw) != "..2" {
		t.Errorf("%q, %v", raw, err)
	}
	// In the middle of a swap.
	if err := os.Remove(filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); !errors.Is(err, ErrMoving) {
		t.Errorf("got %v", err)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(filepath.Join(dir, "none")); err == nil {
		t.Error("no folder, no error")
	}
	if err := os.Mkdir(filepath.Join(dir, "d.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil {
		t.Error("a folder that is named as a file, no error")
	}
	if err := os.Remove(filepath.Join(dir, "d.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil {
		t.Error("a pipe, no error")
	}
	if err := os.Remove(filepath.Join(dir, "pipe.yaml")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "big.yaml"), "")
	if err := os.Truncate(filepath.Join(dir, "big.yaml"), maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || errors.Is(err, ErrMoving) {
		t.Errorf("a file that is too large: %v", err)
	}
}
