// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// TestResume: an archive that is closed and opened again goes on where it was, and has each exchange once.
func TestResume(t *testing.T) {
	r := newRig(t)
	all := samples()
	r.write(all[:2]...)
	r.follow(2)
	if err := r.a.Close(); err != nil {
		t.Fatal(err)
	}
	r.write(all[2:]...)
	r.open(Options{})
	r.follow(4)
	if got := r.find(""); got != "4 3 2 1" {
		t.Errorf("found %s", got)
	}
	if s, err := r.a.Stats(t.Context()); err != nil || s.Exchanges != 4 || s.Sessions != 3 || s.Bytes == 0 || !s.Oldest.Equal(r.base) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestDamagedFile: an archive that cannot be read is made anew from the journal.
func TestDamagedFile(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(path string) error
	}{
		{"no database", func(p string) error { return os.WriteFile(p, []byte("this is not a database at all, but text"), 0o600) }},
		{"of another version", func(p string) error {
			a, err := Open(context.Background(), Options{Path: p})
			if err != nil {
				return err
			}
			_, err = a.write.Exec("PRAGMA user_version = 99")
			return errors.Join(err, a.Close())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.write(samples()...)
			r.follow(4)
			if err := r.a.Close(); err != nil {
				t.Fatal(err)
			}
			if err := c.harm(filepath.Join(r.dir, "archive.db")); err != nil {
				t.Fatal(err)
			}
			r.open(Options{})
			r.follow(4)
			if got := r.find("transfer"); got != "1" {
				t.Errorf("found %q", got)
			}
		})
	}
}

// TestOtherJournal: what was read from another journal does not stay.
func TestOtherJournal(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	if err := r.j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.j.Dir()); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.j, err = journal.Open(journal.Options{Dir: filepath.Join(r.dir, "journal"), EventDelay: time.Microsecond}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.j.Close() })
	r.n = 50
	r.write(samples()[:1]...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { _ = r.a.Follow(ctx, r.j) }()
	for r.find("") != "51" && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if got := r.find(""); got != "51" {
		t.Errorf("found %q", got)
	}
}

func TestRebuild(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	if err := r.j.Close(); err != nil {
		t.Fatal(err)
	}
	told := 0
	for range 2 {
		if err := r.a.Rebuild(t.Context(), r.j.Dir(), func(n int) { told = n }); err != nil {
			t.Fatal(err)
		}
		if got := r.find(""); got != "4 3 2 1" || told != 4 {
			t.Errorf("found %q, told %d", got, told)
		}
	}
}

func TestExpire(t *testing.T) {
	r := newRig(t)
	if err := r.a.Close(); err != nil {
		t.Fatal(err)
	}
	r.open(Options{Retain: 24*time.Hour - 90*time.Second}) // it is a day after the base
	r.write(samples()...)
	r.follow(4)
	if n, err := r.a.Expire(t.Context()); n != 2 || err != nil {
		t.Errorf("%d expired, %v", n, err)
	}
	if got := r.find(""); got != "4 3" {
		t.Errorf("found %q", got)
	}
}

func TestUsage(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	q, err := Parse("principal:ann", r.base)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.a.Usage(t.Context(), q, true)
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	// The second exchange did not say: 400 bytes asked and 13 answered, at four a token.
	if u := got[0]; u != (Usage{"2026-03-01", "spiffe://example.org/support.service", "ann", "agents", "openai", "gpt-4o", 2, 110, 8, 0, 1}) {
		t.Errorf("%+v", u)
	}
	keys, err := r.a.SharedKeys(t.Context(), time.Time{})
	if err != nil || len(keys) != 1 || keys[0].Credential != "k1" || strings.Join(keys[0].Workloads, " ") != "ops.service support.service" || keys[0].Exchanges != 2 {
		t.Errorf("%+v, %v", keys, err)
	}
	if keys, err = r.a.SharedKeys(t.Context(), r.base.Add(time.Hour)); err != nil || len(keys) != 0 {
		t.Errorf("%+v, %v", keys, err)
	}
}

func TestDeadline(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	r.a.o.Deadline = time.Nanosecond
	if got := r.find("word"); got != ErrDeadline.Error() {
		t.Errorf("%s", got)
	}
}
