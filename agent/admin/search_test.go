// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// shelf is an archive with one exchange.
type shelf struct{ asked adminapi.Search }

func (s *shelf) Search(_ context.Context, q adminapi.Search) (adminapi.Found, error) {
	s.asked = q
	if q.Query == "bad" {
		return adminapi.Found{}, &QueryError{errors.New("the query cannot be read")}
	}
	return adminapi.Found{Next: "7"}, nil
}

func (s *shelf) Usage(_ context.Context, query string, days bool) (adminapi.UsageReport, error) {
	if query == "bad" {
		return adminapi.UsageReport{}, &QueryError{errors.New("the query cannot be read")}
	}
	if days {
		return adminapi.UsageReport{Rows: []adminapi.UsageRow{{Day: "2026-01-31"}}}, nil
	}
	return adminapi.UsageReport{}, nil
}

func TestSearch(t *testing.T) {
	a := &shelf{}
	_, c := start(t, &fakeDaemon{}, 1000, func(o *Options) { o.Archive = a })
	f, err := c.Search(t.Context(), adminapi.Search{Query: "tool:x y", Limit: 3, Before: "9"})
	if err != nil || f.Next != "7" || f.Exchanges == nil || a.asked != (adminapi.Search{Query: "tool:x y", Limit: 3, Before: "9"}) {
		t.Errorf("%+v, asked %+v, %v", f, a.asked, err)
	}
	if _, err = c.Search(t.Context(), adminapi.Search{}); err != nil || a.asked.Limit != defaultLimit {
		t.Errorf("asked %+v, %v", a.asked, err)
	}
	u, err := c.Usage(t.Context(), "", true)
	if err != nil || len(u.Rows) != 1 || u.SharedKeys == nil {
		t.Errorf("%+v, %v", u, err)
	}
	_, err = c.Search(t.Context(), adminapi.Search{Query: "bad"})
	wantStatus(t, "a bad query", err, 400, "the query cannot be read")
	_, err = c.Search(t.Context(), adminapi.Search{Limit: maxLimit + 1})
	wantStatus(t, "too many", err, 400, "limit: want 1 to 1000")
	_, err = c.Usage(t.Context(), "bad", false)
	wantStatus(t, "a bad query for usage", err, 400, "the query cannot be read")
}

// TestSearchIsForOperators: who is none learns nothing from the archive.
func TestSearchIsForOperators(t *testing.T) {
	a := &shelf{}
	_, c := start(t, &fakeDaemon{}, 4321, func(o *Options) { o.Archive = a })
	if _, err := c.Search(t.Context(), adminapi.Search{Query: "x"}); err == nil || a.asked.Query != "" {
		t.Errorf("asked %+v, %v", a.asked, err)
	}
	if _, err := c.Usage(t.Context(), "", false); err == nil {
		t.Error("usage was told")
	}
}

// TestNoArchive: a daemon without one says so.
func TestNoArchive(t *testing.T) {
	_, c := start(t, &fakeDaemon{}, 1000)
	_, err := c.Search(t.Context(), adminapi.Search{})
	wantStatus(t, "search", err, 503, "the archive is not available in this daemon")
	_, err = c.Usage(t.Context(), "", false)
	wantStatus(t, "usage", err, 503, "the archive is not available in this daemon")
}

// TestSearchesAreRecorded: what is found by words tells what was said. A tail, which asks every second, is recorded once.
func TestSearchesAreRecorded(t *testing.T) {
	f := &fakeDaemon{}
	_, c := start(t, f, 1000, func(o *Options) { o.Archive = &shelf{} })
	for _, q := range []string{"", "tool:shell", `tool:"a b" -is:denied since:24h`, "since:2026-01-31T10:00:00Z"} {
		if _, err := c.Search(t.Context(), adminapi.Search{Query: q}); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.records) > 0 {
		t.Errorf("recorded %q", f.actions())
	}
	for _, q := range []string{"wire", `tool:x "wire transfer"`, `tool:"x"wire`, `since:1h"wire"`, ":wire", `-tool:"x y"-wire`, "since:1h tail", "since:2h tail"} {
		if _, err := c.Search(t.Context(), adminapi.Search{Query: q}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Usage(t.Context(), "salary", false)
	_, err2 := c.Sessions(t.Context(), adminapi.Query{Find: "pay*", Limit: 1})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	want := []string{"wire", `tool:x "wire transfer"`, `tool:"x"wire`, `since:1h"wire"`, ":wire", `-tool:"x y"-wire`, "since:1h tail", "salary", "pay*"}
	for i := range want {
		want[i] = "admin sessions.search " + want[i]
	}
	if d := cmp.Diff(want, f.actions()); d != "" {
		t.Error(d)
	}
	f.readonly = errors.New("full")
	_, err = c.Search(t.Context(), adminapi.Search{Query: "other"})
	wantStatus(t, "what cannot be recorded", err, 503, "cannot be recorded")
}
