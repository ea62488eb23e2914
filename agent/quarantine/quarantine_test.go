// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want, wrong string }{
		{"unit:app.service", "unit:app.service", ""},
		{"app.service", "unit:app.service", ""},
		{"session-3.scope", "unit:session-3.scope", ""},
		{`unit:a\x2db.service`, `unit:a\x2db.service`, ""},
		{"cgroup:/a/b", "cgroup:/a/b", ""},
		{"/a/b:c", "cgroup:/a/b:c", ""},
		{"uid:0042", "uid:42", ""},
		{"1000", "uid:1000", ""},
		{"pod:8F1A-00", "pod:8f1a-00", ""},
		{"container:ab12", "container:ab12", ""},
		{"spiffe://x/unit/a.service", "spiffe://x/unit/a.service", ""},
		{"spiffe:spiffe://x/y", "spiffe://x/y", ""},
		{"", "", "want unit:NAME"},
		{"app", "", "want unit:NAME"},
		{"unit:app", "", "whole name of a unit"},
		{"unit:a*.service", "unit:a*.service", ""}, // a name: matched as it is
		{"unit:a/b.service", "", "whole name of a unit"},
		{"cgroup:/", "", "below the cgroup v2 root"},
		{"cgroup:/a/../b", "", "below the cgroup v2 root"},
		{"cgroup:/a/", "", "below the cgroup v2 root"},
		{"uid:-1", "", "user's number"},
		{"uid:4294967296", "", "user's number"},
		{"pod:", "", "whole ID"},
		{"pod:x.y", "", "whole ID"},
		{"spiffe:", "", "SPIFFE ID"},
		{"unit:a\x1b[2J.service", "", "control characters"},
		{"host:a", "", "want unit:NAME"},
	} {
		t.Run(c.text, func(t *testing.T) {
			s, err := Parse(c.text)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("%v, %v, want %q", s, err, c.wrong)
				}
				return
			}
			if err != nil || s.String() != c.want {
				t.Errorf("%s, %v, want %s", s, err, c.want)
			}
		})
	}
}

// FuzzParse: what is taken has one form, which means the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"unit:app.service", "/a/b", "uid:7", "pod:8f", "spiffe://a/b", "cgroup:/a", "x:y", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(s.String())
		if err != nil || again != s {
			t.Errorf("%q became %q, and that %q, %v", text, s, again, err)
		}
	})
}

func TestDeadline(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	n := now{wall: at, clock: 1000, boot: "this"}
	for _, c := range []struct {
		name string
		e    Entry
		want uint64
	}{
		{"without an end", Entry{}, forever},
		{"this boot", Entry{Until: at.Add(time.Hour), Boot: "this", AtBoot: 1001}, 1001},
		{"this boot, and somebody set the clock", Entry{Until: at.Add(-time.Hour), Boot: "this", AtBoot: 1001}, 1001},
		{"over", Entry{Until: at.Add(time.Hour), Boot: "this", AtBoot: 1000}, 0},
		{"another boot", Entry{Until: at.Add(5), Boot: "that", AtBoot: 1}, 1005},
		{"over since another boot", Entry{Until: at, Boot: "that", AtBoot: 99999}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.e.deadline(n); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

// TestUnrecorded: beginning and end come to the record in order, once each; what cannot be recorded comes again.
func TestUnrecorded(t *testing.T) {
	q := New(Options{File: filepath.Join(t.TempDir(), "q.json")})
	add := func(selector string, since int64) {
		t.Helper()
		if err := q.edit(func(st *state) error {
			st.Entries = append(st.Entries, Entry{Selector: selector, Since: time.Unix(since, 0), Reason: "r"})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	end := func(i int) {
		t.Helper()
		if err := q.edit(func(st *state) error { st.finish(i, time.Unix(99, 0), nil); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	full := errors.New("full")
	refuse := 1
	run := func(want error) {
		t.Helper()
		err := q.Unrecorded(func(e Entry) error {
			if refuse--; refuse == 0 {
				return full
			}
			seen = append(seen, e.Selector+map[bool]string{true: " begins", false: " ends"}[e.Ended.IsZero()])
			return nil
		})
		if !errors.Is(err, want) {
			t.Fatal(err)
		}
	}
	add("uid:1", 1)
	run(full)
	run(nil)
	run(nil)
	add("uid:2", 2)
	end(0)
	end(0)
	refuse = 3 // the end of the first is recorded, then the beginning of the second, not its end
	run(full)
	run(nil)
	run(nil)
	if got, want := strings.Join(seen, ", "), "uid:1 begins, uid:1 ends, uid:2 begins, uid:2 ends"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if q.Active() {
		t.Error("the file stays")
	}
}

// TestUnreadable: a file that cannot be read is an error, never nobody.
func TestUnreadable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "q.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	q := New(Options{File: file})
	if _, err := q.List(); err == nil || !strings.Contains(err.Error(), "mend it or remove it") {
		t.Error(err)
	}
	if err := q.edit(func(*state) error { return nil }); err == nil {
		t.Error("it was edited")
	}
}

func TestDescribe(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"status": "Name:\tx y\nUid:\t7\t0\t0\t0\n", "cgroup": "2:cpu:/z\n0::/a b\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if uid, comm, cgroup, err := describe(dir); uid != 7 || comm != "x y" || cgroup != "/a b" || err != nil {
		t.Error(uid, comm, cgroup, err)
	}
	if _, _, _, err := describe(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
