// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDamagedInTheMiddle: pages that were overwritten while the file was closed are found by what reads them, and the file is built anew, as often
// as it says.
func TestDamagedInTheMiddle(t *testing.T) {
	for _, every := range []int{2, 7} {
		t.Run(fmt.Sprint("every ", every), func(t *testing.T) {
			r := newRig(t)
			for range 50 {
				r.write(samples()...)
			}
			r.follow(200)
			if err := r.a.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(r.dir, "archive.db")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for page := 1; page < len(b)/4096; page++ {
				if page%every == 1 {
					for i := range 64 {
						b[page*4096+i] ^= 0xFF
					}
				}
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := Open(t.Context(), r.a.o) // it may be found here already
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = a.Close() })
			r.a = a
			r.write(samples()...)
			for range 3 {
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- a.Follow(ctx, r.j) }()
				var failed error
				for s := (Stats{}); s.Exchanges < 204 && failed == nil; {
					r.find("transfer -is:masked")
					r.find("verdict:deny tool:sh*")
					s, _ = a.Stats(ctx)
					select {
					case failed = <-done:
					case <-time.After(time.Millisecond):
					}
				}
				cancel()
				if failed == nil {
					if failed = <-done; failed == nil {
						break
					}
				}
				if !IsDamaged(failed) {
					t.Fatalf("follow ended with %v", failed)
				}
				if err := a.Renew(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if s := r.whole("renewed"); s.Exchanges != 204 || s.Renewed < 1 || len(strings.Fields(r.find("tool:shell"))) != 51 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestDamagedTables: a table that is not there, or holds what we did not put there, is damage, not a failure to be tried again for ever.
func TestDamagedTables(t *testing.T) {
	for _, harm := range []string{"DROP TABLE totals", "DROP TABLE sessions", "UPDATE meta SET value = '{' WHERE name = 'place'", "UPDATE exchanges SET records = ''", "UPDATE found_config SET v = 77 WHERE k = 'version'"} {
		t.Run(harm, func(t *testing.T) {
			r := newRig(t)
			r.write(samples()...)
			r.follow(4)
			if _, err := r.a.write.Exec(harm); err != nil {
				t.Fatal(err)
			}
			if err := r.a.Close(); err != nil {
				t.Fatal(err)
			}
			r.open(Options{})
			r.write(samples()[:1]...)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if r.a.renewed.Load() == 0 { // else it was found when the file was opened
				if err := r.a.Follow(ctx, r.j); !IsDamaged(err) {
					t.Fatalf("follow ended with %v", err)
				}
				if err := r.a.Renew(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			r.follow(5)
			if s := r.whole("renewed"); s.Renewed != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestNotOpen: an archive that cannot be opened now says why, keeps its file, and is opened by Follow when it can be.
func TestNotOpen(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	if err := r.a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.a.Stats(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := r.a.Follow(t.Context(), r.j); !errors.Is(err, errClosed) {
		t.Errorf("closed: %v", err)
	}
	path := filepath.Join(r.dir, "archive.db")
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(path, path+".kept"), os.Mkdir(path, 0o700)); err != nil { // no file can be opened there
		t.Fatal(err)
	}
	a, err := Open(t.Context(), Options{Path: path})
	if err == nil || IsDamaged(err) {
		t.Fatalf("opened: %v", err)
	}
	t.Cleanup(func() { _ = a.Close() })
	r.a = a
	if got := r.find("transfer"); !strings.HasPrefix(got, "the archive is not open: opening the archive: ") {
		t.Errorf("found %q", got)
	}
	if err := a.Forget(t.Context(), r.j.Dir(), "ses_a"); err == nil {
		t.Error("forgotten")
	}
	if err := a.Follow(t.Context(), r.j); err == nil || IsDamaged(err) {
		t.Errorf("followed: %v", err)
	}
	if err := errors.Join(os.Remove(path), os.Rename(path+".kept", path)); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(kept, again) {
		t.Fatalf("the file was touched: %v", err)
	}
	r.until(func() bool { return a.shut() == nil })
	if got := r.find("transfer"); got != "1" {
		t.Errorf("found %q", got)
	}
	if s := r.whole("opened"); s.Renewed != 0 {
		t.Errorf("%+v", s)
	}
}
