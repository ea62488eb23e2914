// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// listing is what a client is told, in short: of each session how many exchanges it has, how many of them denied, and its minute and last minute.
func (r *recordRig) listing(q adminapi.Query) string {
	r.t.Helper()
	c := adminapi.NewClient(r.socket)
	defer c.Close()
	list, err := c.Sessions(r.t.Context(), q)
	r.must(err)
	return r.short(list)
}

func (r *recordRig) short(list []adminapi.Session) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%s:%d/%d@%d", strings.TrimPrefix(s.ID, "ses_"), s.Count, s.Denied, int(s.Started.Sub(r.began()).Minutes())))
	}
	return strings.Join(out, " ")
}

// began is when the first exchange did.
func (r *recordRig) began() time.Time { return r.at.Add(-time.Duration(r.n-1) * time.Minute) }

// shown are the exchanges of a session, as a client is told.
func (r *recordRig) shown(session string) []string {
	r.t.Helper()
	c := adminapi.NewClient(r.socket)
	defer c.Close()
	s, err := c.Session(r.t.Context(), session)
	r.must(err)
	var out []string
	for i := range s.Exchanges {
		if len(s.Exchanges[i].Steps) != 1 || s.Exchanges[i].Request.Body == nil {
			r.t.Errorf("%s is shown without its contents", s.Exchanges[i].ExchangeID)
		}
		out = append(out, s.Exchanges[i].ExchangeID)
	}
	return out
}

// TestListingOverTheSeam: what the index does not have any more comes out of the search store, as if there were no two places: whole, in order,
// and once.
func TestListingOverTheSeam(t *testing.T) {
	r := newRecordRig(t, 4)
	r.start()
	ask := func(session string) said {
		return said{session: "ses_" + session, user: "ada", prompt: "q", answer: "a"}
	}
	no := ask("old")
	no.deny, no.tool = true, "shell"
	wait := ask("new")
	wait.open = true
	old := r.say(ask("old"), no)
	gone := r.say(ask("gone"))
	seam := r.say(ask("seam"), ask("seam"))
	r.end()
	r.start()
	again := r.say(ask("new"), ask("seam"), ask("last"), wait) // these four the index has
	r.archived(8)
	if _, err := r.d.index.Exchange(seam[1]); err == nil {
		t.Fatal("the index has all of it: nothing is tested")
	}
	inSeam := []string{seam[0], seam[1], again[1]}
	check := func(when, all, late string) {
		t.Helper()
		for limit := 1; limit <= 7; limit++ {
			want := strings.Join(strings.Fields(all)[:min(limit, 5)], " ")
			if got := r.listing(adminapi.Query{Limit: limit}); got != want {
				t.Errorf("%s: of %d: %q, want %q", when, limit, got, want)
			}
		}
		if got := r.listing(adminapi.Query{Since: r.began().Add(150 * time.Second), Limit: 50}); got != late {
			t.Errorf("%s: since: %q", when, got)
		}
		for session, want := range map[string][]string{"ses_old": old, "ses_gone": gone, "ses_seam": inSeam, "ses_new": {again[0], again[3]}} {
			if got := r.shown(session); !slices.Equal(got, want) {
				t.Errorf("%s: %s: %q, want %q", when, session, got, want)
			}
		}
		c := console{r.d}
		list, err := c.Sessions(t.Context(), adminapi.Query{Limit: 50, Exchanges: true})
		if err != nil || len(list) != 5 {
			t.Errorf("%s: %d sessions with exchanges, %v", when, len(list), err)
		}
		for _, s := range list {
			if n := len(r.shown(s.ID)); len(s.Exchanges) != n || s.Count != n {
				t.Errorf("%s: %s has %d exchanges in the listing, %d shown by itself", when, s.ID, len(s.Exchanges), n)
			}
		}
		if d, err := c.Decision(t.Context(), old[1]); err != nil || d.Rule != "guardrail/no-shell" || d.UID != 1000 {
			t.Errorf("%s: why, of an exchange that the index does not have: %+v %v", when, d, err)
		}
		if _, err := c.Decision(t.Context(), "exc_none"); !errors.Is(err, admin.ErrNotFound) {
			t.Errorf("%s: why, of none: %v", when, err)
		}
		if _, err := c.Session(t.Context(), "ses_none"); !errors.Is(err, admin.ErrNotFound) {
			t.Errorf("%s: a session that is none: %v", when, err)
		}
	}
	check("running", "new:2/0@5 last:1/0@7 seam:3/0@3 gone:1/0@2 old:2/1@0", "new:2/0@5 last:1/0@7 seam:3/0@3")
	r.end()
	r.start()
	r.archived(9) // what was open is cut
	inSeam = append(inSeam, r.say(ask("seam"))...)
	r.archived(10)
	check("started again", "new:2/0@5 seam:4/0@3 last:1/0@7 gone:1/0@2 old:2/1@0", "new:2/0@5 seam:4/0@3 last:1/0@7")
	r.end()
	r.reads = 1
	r.start()
	r.archived(10)
	check("started with little of it in the index", "seam:4/0@3 new:2/0@5 last:1/0@7 gone:1/0@2 old:2/1@0", "seam:4/0@3 new:2/0@5 last:1/0@7")
	without := console{&daemon{cfg: r.d.cfg, Options: r.d.Options, index: r.d.index, journal: r.d.journal}}
	list, err := without.Sessions(t.Context(), adminapi.Query{Limit: 50})
	if got := r.short(list); err != nil || got != "seam:1/0@9" {
		t.Errorf("without a search store: %q %v", got, err)
	}
}

// TestListingChance: for any conversations, and whatever the index has of them, all listings are those of one record.
func TestListingChance(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			r := newRecordRig(t, 1+rnd.IntN(30))
			r.start()
			type session struct {
				id              string
				count, denied   int
				started, newest int
				exchanges       []string
			}
			model := map[string]*session{}
			for n := range 60 {
				s := said{session: fmt.Sprintf("ses_%c", 'a'+rnd.IntN(12)), user: "ada", prompt: "q", answer: "a", deny: rnd.IntN(4) == 0}
				m := model[s.session]
				if m == nil {
					m = &session{id: strings.TrimPrefix(s.session, "ses_"), started: n}
					model[s.session] = m
				}
				m.newest = n
				m.count++
				if s.deny {
					m.denied++
				}
				m.exchanges = append(m.exchanges, r.say(s)...)
			}
			r.archived(60)
			var order []*session
			for id, m := range model {
				order = append(order, m)
				if got := r.shown(id); !slices.Equal(got, m.exchanges) {
					t.Errorf("%s: %q, want %q", id, got, m.exchanges)
				}
			}
			slices.SortFunc(order, func(a, b *session) int { return cmp.Compare(b.newest, a.newest) })
			for limit := 1; limit <= len(order)+1; limit++ {
				var want []string
				for _, m := range order[:min(limit, len(order))] {
					want = append(want, fmt.Sprintf("%s:%d/%d@%d", m.id, m.count, m.denied, m.started))
				}
				if got := r.listing(adminapi.Query{Limit: limit}); got != strings.Join(want, " ") {
					t.Errorf("of %d, index %d:\ngot  %s\nwant %s", limit, r.indexed, got, strings.Join(want, " "))
				}
			}
		})
	}
}

// TestPagesWhileMoreComes: a listing that is paged through the socket has each exchange once, also those that were there from the beginning while
// others come in between, and what ends late comes where it began.
func TestPagesWhileMoreComes(t *testing.T) {
	r := newRecordRig(t, 3)
	r.start()
	ask := said{session: "ses_a", user: "ada", prompt: "word", answer: "a"}
	var there []string
	for range 20 {
		there = append(there, r.say(ask)...)
	}
	r.archived(20)
	c := adminapi.NewClient(r.socket)
	defer c.Close()
	seen, n := map[string]bool{}, int64(20)
	for q := (adminapi.Search{Query: "word", Limit: 3}); ; {
		f, err := c.Search(t.Context(), q)
		r.must(err)
		last := time.Time{}
		for _, h := range f.Exchanges {
			if seen[h.ExchangeID] {
				t.Errorf("%s comes twice", h.ExchangeID)
			}
			if !last.IsZero() && !h.Time.Before(last) {
				t.Errorf("%s comes out of order", h.ExchangeID)
			}
			seen[h.ExchangeID], last = true, h.Time
		}
		if q.Before = f.Next; q.Before == "" {
			break
		}
		r.say(ask)
		n++
		r.archived(n)
	}
	for _, id := range there {
		if !seen[id] {
			t.Errorf("%s does not come", id)
		}
	}
	if len(seen) != len(there) {
		t.Errorf("%d come, want those %d that were there when it began", len(seen), len(there))
	}
	for _, before := range []string{"x", "-3", "0", "1.5", "99999999999999999999"} {
		var status *adminapi.StatusError
		if _, err := c.Search(t.Context(), adminapi.Search{Query: "word", Before: before}); !errors.As(err, &status) || status.Status != 400 || !strings.Contains(err.Error(), "is not what a page") {
			t.Errorf("before %q: %v", before, err)
		}
	}
	if f, err := c.Search(t.Context(), adminapi.Search{Query: "word", Before: "1"}); err != nil || len(f.Exchanges) != 0 || f.Next != "" {
		t.Errorf("before all: %+v %v", f, err)
	}
}
