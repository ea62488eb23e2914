// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline/archive"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// scripted is a search store with what goes wrong, in order; then it follows until it is stopped.
type scripted struct {
	began  time.Time
	t      *testing.T
	follow []error // nil: it follows for an hour and is then damaged
	renew  []error
	did    []string
}

func (s *scripted) note(what string) {
	s.did = append(s.did, fmt.Sprintf("%s@%s", what, time.Since(s.began).Round(time.Second)))
}

func (s *scripted) Follow(ctx context.Context, _ *journal.Journal) error {
	s.note("follow")
	if len(s.follow) == 0 {
		<-ctx.Done()
		return nil
	}
	err := s.follow[0]
	s.follow = s.follow[1:]
	if err == nil {
		time.Sleep(time.Hour)
		return damaged(s.t)
	}
	return err
}

func (s *scripted) Renew(ctx context.Context) error {
	s.note("renew")
	if ctx.Err() != nil || len(s.renew) == 0 {
		return ctx.Err()
	}
	err := s.renew[0]
	s.renew = s.renew[1:]
	return err
}

// damaged is what a search store says of a file that is no database.
func damaged(t *testing.T) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database"), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path) // archive registers it
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.Exec("CREATE TABLE t (x)")
	if !archive.IsDamaged(err) {
		t.Fatalf("%v is no damage", err)
	}
	return err
}

// TestFeed: a search store that fails is tried again, one that is damaged is renewed until that works, and neither is tried in a hurry.
func TestFeed(t *testing.T) {
	broken, full := damaged(t), errors.New("disk full")
	for _, c := range []struct {
		name          string
		follow, renew []error
		want          string
		down          bool // at the end
	}{
		{name: "nothing", want: "follow@0s"},
		{name: "it fails twice", follow: []error{full, full}, want: "follow@0s follow@1m0s follow@2m0s"},
		{name: "it is damaged", follow: []error{broken}, want: "follow@0s renew@0s follow@0s"},
		{name: "it is damaged after an hour", follow: []error{nil}, want: "follow@0s renew@1h0m0s follow@1h0m0s"},
		{name: "it cannot be renewed at first", follow: []error{broken}, renew: []error{full, full}, want: "follow@0s renew@0s renew@1m0s renew@2m0s follow@2m0s"},
		{name: "it is damaged again and again", follow: []error{broken, broken, broken}, want: "follow@0s renew@0s follow@0s renew@1m0s follow@1m0s renew@2m0s follow@2m0s"},
		{name: "it fails after it was renewed", follow: []error{broken, full}, want: "follow@0s renew@0s follow@0s follow@1m0s"},
		{name: "it never works", follow: slices.Repeat([]error{full}, 200), want: "", down: true},
		{name: "it can never be renewed", follow: []error{broken}, renew: slices.Repeat([]error{full}, 200), want: "", down: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &daemon{Options: Options{Log: slog.New(slog.DiscardHandler)}}
				s := &scripted{began: time.Now(), t: t, follow: c.follow, renew: c.renew}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { defer close(ended); d.feed(ctx, s) }()
				time.Sleep(2*time.Hour + time.Second)
				synctest.Wait()
				if d.archiveDown.Load() != c.down {
					t.Errorf("down: %t", !c.down)
				}
				n := len(s.did)
				cancel()
				<-ended
				if c.want != "" && strings.Join(s.did, " ") != c.want {
					t.Errorf("did %s, want %s", s.did, c.want)
				}
				if c.want == "" && n != 121 && n != 122 { // each minute
					t.Errorf("tried %d times", n)
				}
				if len(s.did) != n || time.Since(s.began) != 2*time.Hour+time.Second {
					t.Error("it did not end at once")
				}
			})
		})
	}
}

// found are the exchanges that a search for a word gives, oldest first.
func (r *recordRig) found(query string) []string {
	r.t.Helper()
	f, err := console{r.d}.Search(r.t.Context(), adminapi.Search{Query: query, Limit: 1000})
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for i := range f.Exchanges {
		out = append(out, f.Exchanges[i].ExchangeID)
	}
	slices.Reverse(out)
	return out
}

// TestArchiveIsBuiltAnew: whatever happens to its file while the daemon runs or is away, the search store comes to have each exchange once, those
// that come meanwhile included.
func TestArchiveIsBuiltAnew(t *testing.T) {
	remove := func(path string) error {
		var errs []error
		for _, end := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + end); !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
	overwrite := func(path string) error {
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(bytes.Repeat([]byte{0xA5}, int(st.Size())), 0)
		return errors.Join(err, f.Close())
	}
	schema := func(path string) error {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			return err
		}
		_, err = db.Exec("PRAGMA user_version = 1; DROP TABLE sessions")
		return errors.Join(err, db.Close())
	}
	for _, c := range []struct {
		name string
		away bool // the daemon is, when it happens
		gone bool // the file is, while it is in use
		harm func(path string) error
	}{
		{"removed in use", false, true, remove},
		{"replaced in use", false, true, func(path string) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o600), os.Rename(path+".new", path))
		}},
		{"overwritten in use", false, false, func(path string) error { return errors.Join(remove(path+"-wal"), overwrite(path)) }},
		{"missing at the start", true, false, remove},
		{"damaged at the start", true, false, overwrite},
		{"cut at the start", true, false, func(path string) error { return os.Truncate(path, 5000) }},
		{"empty at the start", true, false, func(path string) error { return os.Truncate(path, 0) }},
		{"of another schema", true, false, schema},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecordRig(t, 2)
			r.start()
			path := r.d.cfg.Archive.Path
			ask := said{session: "ses_a", user: "ada", prompt: "quagga", answer: "a"}
			var want []string
			more := func(n int) {
				for range n {
					want = append(want, r.say(ask)...)
				}
			}
			more(50)
			r.archived(50)
			if c.away {
				r.end()
			}
			r.must(c.harm(path))
			if c.away {
				r.start()
			}
			r.until("it is built anew and complete", func() bool {
				if len(want) < 90 {
					more(1)
				}
				st := r.d.archiveStatus(t.Context()) // a file that was removed takes exchanges until that is noticed
				return len(want) == 90 && st.State == "ok" && (st.Rebuilt > 0 || !c.gone) && slices.Equal(r.found("quagga"), want)
			})
			if got := r.shown("ses_a"); !slices.Equal(got, want) {
				t.Errorf("the session has %d exchanges, want %d", len(got), len(want))
			}
			if st := r.d.archiveStatus(t.Context()); st.State != "ok" || st.Exchanges != 90 {
				t.Errorf("status %+v", st)
			}
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("its file: %v %v", st, err)
			}
			r.end() // which waits for it
		})
	}
}

// TestArchiveCannotBeOpened: then the daemon runs without it, lists what the index has, and what asks for it is told.
func TestArchiveCannotBeOpened(t *testing.T) {
	r := newRecordRig(t, 0)
	r.must(os.MkdirAll(filepath.Join(r.dir, "archive.db", "x"), 0o700))
	r.start()
	r.say(said{session: "ses_a", user: "ada", prompt: "q", answer: "a"})
	if st := r.d.archiveStatus(t.Context()); st.State != "stopped" || !strings.Contains(st.Error, "is a directory") {
		t.Errorf("status %+v", st)
	}
	if got := r.listing(adminapi.Query{Limit: 50}); got != "a:1/0@0" {
		t.Errorf("listed %q", got)
	}
	if got := r.shown("ses_a"); len(got) != 1 {
		t.Errorf("shown %q", got)
	}
	if _, err := (console{r.d}).Search(t.Context(), adminapi.Search{Query: "x"}); err == nil || !strings.Contains(err.Error(), "not open") {
		t.Errorf("search: %v", err)
	}
	if _, err := (console{r.d}).Usage(t.Context(), "", false); err == nil || !strings.Contains(err.Error(), "not open") {
		t.Errorf("usage: %v", err)
	}
	off := console{&daemon{}}
	if _, err := off.Search(t.Context(), adminapi.Search{Query: "x"}); err == nil || !strings.Contains(err.Error(), "no search store") {
		t.Errorf("search without one: %v", err)
	}
}
