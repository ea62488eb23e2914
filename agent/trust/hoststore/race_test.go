// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSwappedBetween: at each step the folder is exchanged for a link to another store; that one does not change.
func TestSwappedBetween(t *testing.T) {
	other := newRoot(t, "Other CA")
	for _, at := range []string{"announced", "written", "exchanged", "unlinked", "cutting"} {
		t.Run(at, func(t *testing.T) {
			dir := t.TempDir()
			victim := filepath.Join(dir, "victim/certifi")
			write(t, filepath.Join(victim, "cacert.pem"), other)
			path := site(t, filepath.Join(dir, "venv"), other)
			swapped := false
			s, _ := newStore(t, Options{Roots: [][]byte{newRoot(t, commonName+"one")}, Step: func(step string) {
				if step == at && !swapped {
					swapped = true
					if err := errors.Join(os.Rename(filepath.Dir(path), filepath.Dir(path)+"~"), os.Symlink(victim, filepath.Dir(path))); err != nil {
						t.Error(err)
					}
				}
			}})
			_, cerr := s.Cover(found(t, path, os.Getuid()))
			_, rerr := s.Remove(t.Context())
			if list, err := os.ReadDir(victim); err != nil || len(list) != 1 || read(t, filepath.Join(victim, "cacert.pem")) != string(other) || !swapped {
				t.Errorf("the other store was changed: %v, %v, %v, %v", list, err, cerr, rerr)
			}
		})
	}
}

// TestSwapped: the owner of the folders exchanges them for links to another store again and again; that one never changes.
func TestSwapped(t *testing.T) {
	dir := t.TempDir()
	one, other := newRoot(t, commonName+"one"), newRoot(t, "Other CA")
	s, _ := newStore(t, Options{Roots: [][]byte{one}})
	victim := filepath.Join(dir, "victim/certifi")
	write(t, filepath.Join(victim, "cacert.pem"), other)
	path := site(t, filepath.Join(dir, "venv"), other)
	certifi := filepath.Dir(path)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(certifi, certifi+"~")
			_ = os.Symlink(victim, certifi)
			_ = os.Remove(certifi)
			_ = os.Rename(certifi+"~", certifi)
			_ = os.Rename(path, path+"~")
			_ = os.Symlink(filepath.Join(victim, "cacert.pem"), path)
			_ = os.Remove(path)
			_ = os.Rename(path+"~", path)
		}
	}()
	tried := 0
	for range 2000 {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			continue
		}
		tried++
		_, _ = s.Cover(File{Store: "certifi", Path: path, Dev: st.Dev, Ino: st.Ino, UID: uint32(os.Getuid())}) // it may fail, but only here
		if tried%2 == 0 {
			_, _ = s.Remove(t.Context())
		}
	}
	close(stop)
	<-done
	if tried == 0 {
		t.Error("never tried")
	}
	list, err := os.ReadDir(victim)
	if err != nil || len(list) != 1 || read(t, filepath.Join(victim, "cacert.pem")) != string(other) {
		t.Errorf("the other store was changed: %v, %v", list, err)
	}
}

// TestWriters: programs write the file anew, in place and by exchanging it, while we look at it; nothing that they wrote is
// lost, and in the end our roots are in what the last of them wrote.
func TestWriters(t *testing.T) {
	one, other := newRoot(t, commonName+"one"), newRoot(t, "Other CA")
	s, m := newStore(t, Options{Roots: [][]byte{one}})
	path := site(t, t.TempDir(), other)
	if _, err := s.Cover(found(t, path, os.Getuid())); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- s.Watch(ctx, func(map[string]error, error) {}) }()
	looked := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := s.Look(ctx); err != nil {
				looked <- err
				return
			}
		}
		looked <- nil
	}()
	write := func(n int) string {
		text := fmt.Sprintf("# version %d\n%s", n, other)
		if n%2 == 0 { // pip and cp write so
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			for part := range strings.SplitAfterSeq(text, "\n") {
				runtime.Gosched()
				if _, err := f.WriteString(part); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			return text
		}
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		return text
	}
	for n := range 300 {
		text := write(n)
		if n%10 == 0 || n == 299 {
			deadline := time.Now().Add(20 * time.Second)
			for {
				now := []byte(read(t, path))
				rest, found := cutBlock(now, s.roots)
				if found && string(rest) == text {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("version %d was lost, or has no root: found %v\n%s", n, found, rest)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
	stop()
	if err := <-looked; err != nil {
		t.Error(err)
	}
	if err := <-watched; err != nil {
		t.Error(err)
	}
	if len(m.list) != 1 {
		t.Errorf("%+v", m.list)
	}
}
