// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline/archive"
)

// ended is an exchange of a daemon in a test: when it began, and when it can be found.
type ended struct {
	id           string
	began, found time.Time
}

// away is a time in which a daemon does not answer, and what it says instead.
type away struct {
	from, to time.Time
	err      error
}

// restarting is a daemon that finds what has ended, newest first, page by page, and is away at times.
type restarting struct {
	all   []ended
	aways []away
	page  int // exchanges on a page
	asked int
	// broken, if not nil, is asked before the second and later pages of a listing.
	broken func() error
}

func (d *restarting) Search(ctx context.Context, s adminapi.Search) (out adminapi.Found, err error) {
	d.asked++
	now := time.Now()
	if err := ctx.Err(); err != nil {
		return out, err
	}
	for _, a := range d.aways {
		if !now.Before(a.from) && now.Before(a.to) {
			return out, a.err
		}
	}
	q, err := archive.Parse(s.Query, now)
	if err != nil {
		return out, err
	}
	before, err := archive.Number(s.Before)
	if err != nil {
		return out, err
	}
	if before > 0 && d.broken != nil {
		if err := d.broken(); err != nil {
			return out, err
		}
	}
	newest := func(a, b ended) int { return b.began.Compare(a.began) }
	if !slices.IsSortedFunc(d.all, newest) {
		slices.SortFunc(d.all, newest)
	}
	var list []ended
	for _, e := range d.all {
		if !now.Before(e.found) && !e.began.Before(q.Since) && (before == 0 || e.began.UnixMicro() < before) {
			list = append(list, e)
		}
	}
	if n := min(s.Limit, d.page); len(list) > n {
		list = list[:n]
		out.Next = strconv.FormatInt(list[n-1].began.UnixMicro(), 10)
	}
	for _, e := range list {
		out.Exchanges = append(out.Exchanges, adminapi.Hit{ExchangeID: e.id, SessionID: "ses_1", Time: e.began, Action: "allow"})
	}
	return out, nil
}

// tailFor lets a tail run for so long in a bubble, and gives what it showed, what it complained of, and its error.
func tailFor(t *testing.T, d *restarting, long time.Duration) (shown []string, complaints string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{out: &out, err: &errs, getenv: func(string) string { return "" }, format: "json"}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	err = a.tail(ctx, d, "")
	for line := range strings.Lines(out.String()) {
		var h adminapi.Hit
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatal(err)
		}
		shown = append(shown, h.ExchangeID)
	}
	return shown, errs.String(), err
}

var errAway = fmt.Errorf("%w: nobody listens", adminapi.ErrNotRunning)

// TestTailOverRestarts: what ends is shown once, whatever happens to the daemon meanwhile, and the wait is told.
func TestTailOverRestarts(t *testing.T) {
	const lines = "sallyport: %s; waiting for it\nsallyport: the daemon answers again; what ended meanwhile comes now\n"
	told := func(errs ...error) (out string) {
		for _, err := range errs {
			out += fmt.Sprintf(lines, err)
		}
		return out
	}
	for _, c := range []struct {
		name string
		// make gives what ends, and what goes wrong; at is a time after the begin of tail.
		make func(at func(time.Duration) time.Time) restarting
		long time.Duration
		want string
		told string
		most int // asked at most so often; 0 = any number
	}{
		{name: "nothing happens", long: time.Minute, want: "b c", make: func(at func(time.Duration) time.Time) restarting {
			return restarting{all: []ended{{"a", at(-time.Minute), at(-time.Second)}, {"b", at(-30 * time.Minute), at(5 * time.Second)}, {"c", at(time.Second), at(40 * time.Second)}}}
		}},
		{name: "it restarts", long: time.Minute, want: "b c d e", told: told(errAway), make: func(at func(time.Duration) time.Time) restarting {
			return restarting{aways: []away{{at(10 * time.Second), at(20 * time.Second), errAway}}, all: []ended{{"a", at(-time.Minute), at(-time.Second)}, {"b", at(time.Second), at(9500 * time.Millisecond)},
				{"c", at(2 * time.Second), at(15 * time.Second)}, {"d", at(19 * time.Second), at(21 * time.Second)}, {"e", at(30 * time.Second), at(31 * time.Second)}}}
		}},
		{name: "what its death cut began long before", long: 2 * time.Minute, want: "old", told: told(errAway), make: func(at func(time.Duration) time.Time) restarting {
			d := restarting{page: 2, aways: []away{{at(10 * time.Second), at(20 * time.Second), errAway}}, all: []ended{{"old", at(-50 * time.Minute), at(21 * time.Second)}}}
			for i := range 20 {
				d.all = append(d.all, ended{fmt.Sprint("before", i), at(-time.Duration(i+1) * time.Minute), at(-time.Second)})
			}
			return d
		}},
		{name: "it is away for longer than the window", long: 9 * time.Hour, want: "b c d e", told: told(errAway), most: 9*3600 - 3*3600 + 3*3600/15 + 1000, make: func(at func(time.Duration) time.Time) restarting {
			return restarting{aways: []away{{at(10 * time.Minute), at(190 * time.Minute), errAway}}, all: []ended{{"a", at(-time.Minute), at(-time.Second)}, {"b", at(time.Minute), at(2 * time.Minute)},
				{"c", at(-45 * time.Minute), at(191 * time.Minute)}, {"d", at(9 * time.Minute), at(191 * time.Minute)}, {"e", at(8 * time.Hour), at(8*time.Hour + time.Second)}}}
		}},
		{name: "its search store is built anew for a while", long: 2 * time.Hour, want: "b c", told: told(errAway), make: func(at func(time.Duration) time.Time) restarting {
			return restarting{aways: []away{{at(10 * time.Minute), at(11 * time.Minute), errAway}}, all: []ended{{"a", at(-time.Minute), at(-time.Second)},
				{"b", at(-50 * time.Minute), at(31 * time.Minute)}, {"c", at(9 * time.Minute), at(60 * time.Minute)}}}
		}},
		{name: "two reasons in a row", long: time.Minute, want: "b", make: func(at func(time.Duration) time.Time) restarting {
			return restarting{aways: []away{{at(5 * time.Second), at(15 * time.Second), errAway}, {at(15 * time.Second), at(30 * time.Second), &adminapi.StatusError{Status: 500, Message: "the archive is damaged and is built anew"}}},
				all: []ended{{"b", at(time.Second), at(8 * time.Second)}}}
		}, told: "sallyport: " + errAway.Error() + "; waiting for it\n" + told(errors.New("the archive is damaged and is built anew"))},
		{name: "the answer breaks off behind the first page", long: time.Minute, want: "a1 a2 a3 a4 a5", told: told(io.ErrUnexpectedEOF), make: func(at func(time.Duration) time.Time) restarting {
			d := restarting{page: 2}
			for i := range 5 {
				d.all = append(d.all, ended{fmt.Sprint("a", i+1), at(time.Duration(i) * time.Second), at(8 * time.Second)})
			}
			broke := 0
			d.broken = func() error {
				if broke++; broke <= 3 {
					return io.ErrUnexpectedEOF
				}
				return nil
			}
			return d
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(24 * time.Hour)
				now := time.Now()
				d := c.make(func(after time.Duration) time.Time { return now.Add(after) })
				d.page = cmp.Or(d.page, tailPage)
				shown, complaints, err := tailFor(t, &d, c.long)
				if got := strings.Join(shown, " "); got != c.want || complaints != c.told || err != nil {
					t.Errorf("shown %q, want %q; told %q, want %q; %v", got, c.want, complaints, c.told, err)
				}
				if c.most > 0 && d.asked > c.most {
					t.Errorf("asked %d times, want at most %d", d.asked, c.most)
				}
			})
		})
	}
}

// TestTailEnds: what waiting does not mend ends it, also after an outage; and the first answer must come.
func TestTailEnds(t *testing.T) {
	refused := &adminapi.StatusError{Status: 400, Code: adminapi.CodeBadRequest, Message: "the query cannot be read"}
	for _, c := range []struct {
		name string
		from time.Duration
		err  error
	}{
		{"not there at first", 0, errAway},
		{"trouble at first", 0, &adminapi.StatusError{Status: 500, Message: "trouble"}},
		{"refused at first", 0, refused},
		{"refused later", 10 * time.Second, refused},
		{"not allowed later", 10 * time.Second, fmt.Errorf("%w to open the socket", adminapi.ErrPermission)},
		{"something else answers later", 10 * time.Second, &adminapi.StatusError{Status: 404, Message: "is no sallyportd"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				d := &restarting{page: 5, aways: []away{{now.Add(c.from / 2), now.Add(c.from), errAway}, {now.Add(c.from), now.Add(time.Hour), c.err}}}
				if _, _, err := tailFor(t, d, 30*time.Minute); !errors.Is(err, c.err) {
					t.Errorf("it ended with %v", err)
				}
			})
		})
	}
}

// TestTailInterrupted: it ends at once, and well, also while it waits for a daemon.
func TestTailInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		d := &restarting{page: 5, aways: []away{{now.Add(10 * time.Second), now.Add(time.Hour), errAway}}}
		if _, _, err := tailFor(t, d, 10*time.Minute); err != nil {
			t.Error(err)
		}
		if long := time.Since(now); long != 10*time.Minute {
			t.Errorf("it ended after %s", long)
		}
	})
}

// TestTailChance: whatever ends within an hour is shown once, over hours in which a daemon is away at any time, and its store takes what it
// takes to catch up.
func TestTailChance(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				time.Sleep(24 * time.Hour)
				now := time.Now()
				d := &restarting{page: 20 + r.IntN(50)}
				long := 3 * time.Hour
				for at := time.Minute; at < long-90*time.Minute; at += time.Duration(1+r.IntN(3000)) * time.Second {
					end := at + time.Duration(r.IntN(1200))*time.Second
					d.aways = append(d.aways, away{now.Add(at), now.Add(end), []error{errAway, io.ErrUnexpectedEOF}[r.IntN(2)]})
					at = end
				}
				d.broken = func() error {
					if r.IntN(100) == 0 {
						return io.ErrUnexpectedEOF
					}
					return nil
				}
				want := map[string]bool{}
				for i := range 300 {
					end := time.Duration(r.Int64N(int64(long - time.Hour)))
					if end < 2*time.Second {
						end += 2 * time.Second
					}
					e := ended{id: fmt.Sprint("exc_", i), began: now.Add(end - time.Duration(r.Int64N(int64(50*time.Minute)))), found: now.Add(end)}
					for _, a := range d.aways { // what nobody reads is found later
						if !e.found.Before(a.from) && e.found.Before(a.to) {
							e.found = a.to.Add(time.Duration(r.IntN(600)) * time.Second)
						}
					}
					d.all, want[e.id] = append(d.all, e), true
				}
				shown, _, err := tailFor(t, d, long)
				if err != nil {
					t.Fatal(err)
				}
				for _, id := range shown {
					if !want[id] {
						t.Errorf("%s is shown twice", id)
					}
					delete(want, id)
				}
				for id := range want {
					t.Errorf("%s is not shown", id)
				}
			})
		})
	}
}
