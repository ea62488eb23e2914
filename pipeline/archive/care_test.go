// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// whole holds what is kept against what is there: totals, rows of the index, and exchanges of sessions.
func (r *rig) whole(when string) Stats {
	r.t.Helper()
	s, err := r.a.Stats(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var exchanges, sessions, found, orphans int64
	if err := r.a.write.QueryRow(`SELECT (SELECT count(*) FROM exchanges), (SELECT count(*) FROM sessions), (SELECT count(*) FROM found_docsize),
		(SELECT count(*) FROM sessions WHERE NOT EXISTS (SELECT 1 FROM exchanges WHERE session = sessions.id))`).Scan(&exchanges, &sessions, &found, &orphans); err != nil {
		r.t.Fatal(err)
	}
	if s.Exchanges != exchanges || s.Sessions != sessions || found != exchanges || orphans != 0 {
		r.t.Fatalf("%s: kept are %d exchanges and %d sessions; there are %d and %d, %d in the index, %d sessions without any", when, s.Exchanges, s.Sessions, exchanges, sessions, found, orphans)
	}
	return s
}

// TestTotals: what Stats says without counting is what there is, after whatever was added, erased, forgotten and rolled back.
func TestTotals(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	now := r.base
	if err := r.a.Close(); err != nil {
		t.Fatal(err)
	}
	r.open(Options{Retain: time.Hour, Now: func() time.Time { return now }})
	did := map[string]int{}
	for range 300 {
		before := r.whole("before")
		var what string
		switch k := rnd.IntN(10); {
		case k < 5:
			what = "add"
			r.put(1+rnd.IntN(9), func(int, *pipeline.Intent, *pipeline.Outcome) {})
		case k < 7: // the journal does not have what was put
			what = "erase"
			if err := r.a.Forget(t.Context(), r.j.Dir(), fmt.Sprint("ses_", rnd.IntN(1+r.n/2))); err != nil {
				t.Fatal(err)
			}
		case k < 8:
			what = "expire"
			now = r.base.Add(time.Hour + time.Duration(r.n-rnd.IntN(40))*time.Second)
			if _, err := r.a.Expire(t.Context()); err != nil {
				t.Fatal(err)
			}
		case k < 9:
			what = "roll back"
			fails := errors.New("fails")
			if err := r.a.in(t.Context(), func(tx *sql.Tx) error {
				r.a.more.exchanges, r.a.more.sessions = 5, 5
				_, err := tx.Exec("DELETE FROM exchanges")
				return errors.Join(err, fails)
			}); !errors.Is(err, fails) {
				t.Fatal(err)
			}
		default:
			what = "open again"
			if err := r.a.Close(); err != nil {
				t.Fatal(err)
			}
			r.open(r.a.o)
		}
		if after := r.whole(what); after.Exchanges != before.Exchanges || what == "roll back" || what == "open again" {
			did[what]++
			if (what == "roll back" || what == "open again") && after.Exchanges != before.Exchanges {
				t.Errorf("%s: %d exchanges, then %d", what, before.Exchanges, after.Exchanges)
			}
		}
	}
	if len(did) != 5 {
		t.Errorf("not all was done: %v", did)
	}
	if err := r.a.empty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.whole("emptied"); s.Exchanges != 0 {
		t.Errorf("%+v", s)
	}
}

// TestTotalsErased: sessions that are brought in anew count as often as before.
func TestTotalsErased(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	for _, s := range []string{"ses_a", "ses_b", "ses_a", "ses_none"} {
		if err := r.a.Forget(t.Context(), r.j.Dir(), s); err != nil {
			t.Fatal(err)
		}
		if st := r.whole(s); st.Exchanges != 4 || st.Sessions != 3 {
			t.Errorf("%+v", st)
		}
	}
}

// TestExpireInSteps: what is due is forgotten a part at a time, oldest first, and what is new comes in between.
func TestExpireInSteps(t *testing.T) {
	r := newRig(t)
	const n = 3*forgetStep + 7
	r.put(n, func(i int, in *pipeline.Intent, _ *pipeline.Outcome) { in.Principal.User = fmt.Sprint("user", i%3) })
	r.a.o.Retain, r.a.o.Now = time.Hour, func() time.Time { return r.base.Add(time.Hour + (n-4)*time.Second) }
	c := &care{a: r.a, dir: r.j.Dir(), looked: r.a.o.Now(), expiring: true}
	left := int64(n)
	for steps := 1; ; steps++ {
		more, err := c.step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := r.whole("a step")
		if left-s.Exchanges > forgetStep {
			t.Fatalf("%d in one step", left-s.Exchanges)
		}
		if left = s.Exchanges; !more {
			break
		}
		if steps < 4 {
			r.put(1, func(_ int, in *pipeline.Intent, _ *pipeline.Outcome) { in.Principal.User = "new" })
			left++
		}
	}
	if got := r.find("principal:new"); len(strings.Fields(got)) != 3 || left != 3+5 { // four seconds, both ends included
		t.Errorf("%q is new, %d are left", got, left)
	}
}

// TestSwept: words of what was forgotten because it was old leave the file within a day, also over restarts, and not at every look.
func TestSwept(t *testing.T) {
	const word = "zyxquartz"
	r := newRig(t)
	now := r.base.Add(time.Hour)
	o := Options{Retain: time.Hour, Now: func() time.Time { return now }}
	put := func() {
		r.put(60, func(_ int, in *pipeline.Intent, _ *pipeline.Outcome) { // a minute
			in.Call.Steps = []pipeline.Step{{Kind: pipeline.StepPrompt, Text: fmt.Sprint("q", r.n, word)}}
		})
	}
	settled := func() {
		t.Helper()
		c := &care{a: r.a, dir: r.j.Dir()}
		for {
			more, err := c.step(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				return
			}
		}
	}
	reopen := func() {
		if err := r.a.Close(); err != nil {
			t.Fatal(err)
		}
		r.open(o)
	}
	reopen()
	put()
	now = now.Add(2 * time.Minute)
	settled()
	if s := r.whole("a first minute"); s.Exchanges != 0 || r.stored(word[1:]) {
		t.Errorf("%+v, stored %t", s, r.stored(word[1:]))
	}
	put()
	now = now.Add(time.Minute)
	reopen()
	settled()
	if s := r.whole("a second minute"); s.Exchanges != 0 || !r.stored(word[1:]) {
		t.Errorf("%+v, stored %t: it is written anew more often than once a day", s, r.stored(word[1:]))
	}
	now = now.Add(sweepEvery - time.Minute)
	put()
	reopen()
	settled()
	if s := r.whole("a day later"); s.Exchanges != 0 || r.stored(word[1:]) {
		t.Errorf("%+v, stored %t", s, r.stored(word[1:]))
	}
}

// TestShrinks: a file of which most is free gives it back, and keeps what is in it.
func TestShrinks(t *testing.T) {
	r := newRig(t)
	long := strings.Repeat("word ", 400)
	r.put(1, func(_ int, in *pipeline.Intent, _ *pipeline.Outcome) { in.Principal.User = "stays" })
	if _, err := r.a.write.Exec("CREATE TABLE big (x BLOB); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 6000) INSERT INTO big SELECT zeroblob(4000) FROM c"); err != nil {
		t.Fatal(err)
	}
	r.put(3, func(_ int, in *pipeline.Intent, _ *pipeline.Outcome) {
		in.Call.Steps = []pipeline.Step{{Kind: pipeline.StepPrompt, Text: long}}
	})
	before := r.whole("full")
	if more, err := r.a.shrink(t.Context()); more || err != nil {
		t.Fatalf("nothing is free: %t, %v", more, err)
	}
	if _, err := r.a.write.Exec("DROP TABLE big"); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for ; ; steps++ {
		more, err := r.a.shrink(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
	}
	if after := r.whole("shrunk"); steps < 2 || after.Bytes*2 > before.Bytes || r.find("principal:stays") != "1" || r.find("word") != "4 3 2" {
		t.Errorf("after %d steps %d of %d bytes", steps, after.Bytes, before.Bytes)
	}
}

// TestScrubbed: no part of an erased word is left in the files: not in the index, its marks of what is deleted, pages that are free or half used, nor
// the log. The last part of a canary is the same in all, for the index leaves out how a word begins if the one before it begins so too.
func TestScrubbed(t *testing.T) {
	const end = "xylophagousquincunx"
	for _, c := range []struct {
		name        string
		seed        uint64
		batch, word int  // up to so many exchanges in a batch, of so many words
		meanwhile   bool // more is added and erased while the first is being taken out
	}{
		{"many small batches", 1, 3, 150, false}, {"long texts", 2, 3, 1500, false}, {"large batches", 3, 60, 150, false}, {"erased and added meanwhile", 4, 20, 300, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			rnd := rand.New(rand.NewPCG(c.seed, 1))
			put := func(canary bool, batches int) {
				for range batches {
					r.put(1+rnd.IntN(c.batch), func(_ int, in *pipeline.Intent, out *pipeline.Outcome) {
						var w []string
						for range rnd.IntN(c.word) {
							w = append(w, fmt.Sprint("w", rnd.IntN(5000)))
						}
						if in.Principal.User = "stays"; canary && rnd.IntN(3) == 0 {
							in.Principal.User = "eve"
							w = append(w, fmt.Sprintf("%c%c%d%s", 'a'+rnd.IntN(26), 'a'+rnd.IntN(26), r.n, end))
						}
						in.Call.Steps, out.Text = []pipeline.Step{{Kind: pipeline.StepPrompt, Text: strings.Join(w, " ")}}, "ok"
					})
				}
			}
			put(true, 100)
			if !r.stored(end) {
				t.Fatal("nothing to take out")
			}
			erase := func() {
				if err := r.a.erase(t.Context(), &erased{dir: r.j.Dir(), principal: "eve"}); err != nil {
					t.Fatal(err)
				}
			}
			step := func() (more bool) {
				more, err := r.a.scrub(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return more
			}
			if c.meanwhile {
				put(true, 30)
				erase()
				step()
				put(true, 5)
				erase()
				step()
				put(false, 5)
			} else {
				erase()
			}
			for step() {
			}
			if r.find("principal:eve") != "" || r.stored(end) {
				t.Error("words are left")
			}
			if s := r.whole("scrubbed"); s.Exchanges == 0 {
				t.Error("all is gone")
			}
		})
	}
}

// TestScrubWaitsForReaders: as long as a query reads from the log it cannot be emptied; that is not taken for done, also not over a restart.
func TestScrubWaitsForReaders(t *testing.T) {
	const word = "zyxquartz"
	r := newRig(t)
	r.put(5, func(_ int, in *pipeline.Intent, _ *pipeline.Outcome) {
		in.Principal.User, in.Call.Steps = "eve", []pipeline.Step{{Kind: pipeline.StepPrompt, Text: word}}
	})
	reader, err := r.a.read.Load().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.QueryRow("SELECT count(*) FROM exchanges").Scan(&n); err != nil || n != 5 {
		t.Fatal(n, err)
	}
	if _, err := r.a.write.Exec("PRAGMA busy_timeout = 1"); err != nil {
		t.Fatal(err)
	}
	if err := r.a.erase(t.Context(), &erased{dir: r.j.Dir(), principal: "eve"}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if more, err := r.a.scrub(t.Context()); !more || err != nil {
			t.Fatalf("more %t, %v", more, err)
		}
	}
	if !r.stored(word[1:]) {
		t.Fatal("this tests nothing: the log was emptied")
	}
	if err := errors.Join(reader.Rollback(), r.a.Close()); err != nil {
		t.Fatal(err)
	}
	r.open(Options{})
	r.until(func() bool {
		var left int
		if err := r.a.read.Load().QueryRow("SELECT count(*) FROM meta WHERE name = 'scrub'").Scan(&left); err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
	if r.stored(word[1:]) {
		t.Error("it is left")
	}
}

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
