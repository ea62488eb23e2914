// SPDX-License-Identifier: Apache-2.0

package manage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/manage"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/fakees"
)

func session(id string) manage.Subject { return manage.Subject{Sessions: []string{id}} }

func of(principal string) manage.Subject { return manage.Subject{Principal: principal} }

// talked has two sessions, shipped: three exchanges of ada's, one of bob's.
func talked(t *testing.T) *rig {
	r := newRig(t)
	for n := range 3 {
		r.turn("ses_a", "ada", n)
	}
	r.turn("ses_b", "bob", 0)
	r.ship("h1", "v1", false)
	return r
}

func TestErase(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(*rig)
		subject manage.Subject
		o       manage.EraseOptions
		deleted int
		left    int // documents of contents
		want    string
	}{
		"a session":                  {subject: session("ses_a"), deleted: 3, left: 1},
		"two sessions":               {subject: manage.Subject{Sessions: []string{"ses_a", "ses_b"}}, deleted: 4},
		"a user":                     {subject: of("ada"), deleted: 3, left: 1},
		"a workload":                 {subject: of("spiffe://x/bob"), deleted: 1, left: 3},
		"nobody of that name":        {subject: of("eve"), left: 4},
		"only counted":               {subject: session("ses_a"), o: manage.EraseOptions{Dry: true}, deleted: 3, left: 4},
		"nobody said":                {left: 4, want: "say whose"},
		"a name that is not indexed": {subject: of("spiffe://x/" + strings.Repeat("a", 1024)), left: 4, want: "is not indexed"},
		"in several backing indices": {before: func(r *rig) {
			r.f.Rollover()
			r.turn("ses_a", "ada", 3)
			r.ship("h1", "v1", false)
		}, subject: session("ses_a"), deleted: 4, left: 1},
		"nothing was shipped": {before: func(r *rig) { r.f.Set(func() { clear(r.f.Streams) }) }, subject: session("ses_a")},
		"may not delete": {before: func(r *rig) {
			r.f.OnRequest = func(w http.ResponseWriter, q *http.Request) bool {
				if q.URL.Path == "/_bulk" {
					fakees.Refuse(w, http.StatusForbidden, "security_exception", "unauthorized")
				}
				return q.URL.Path == "/_bulk"
			}
		}, subject: session("ses_a"), left: 4, want: "deleting documents: Elasticsearch answered 403"},
		"may not refresh": {before: func(r *rig) { r.f.Deny = []string{"/*/_refresh"} }, subject: session("ses_a"), left: 4, want: "refreshing logs-sallyport.content-default"},
		"may not read":    {before: func(r *rig) { r.f.Deny = []string{"/logs-sallyport.content-default/_pit"} }, subject: session("ses_a"), left: 4, want: "403"},
		"may not read what is held": {before: func(r *rig) { r.f.Deny = []string{"/logs-sallyport.admin-default/_pit"} }, subject: session("ses_a"), left: 4,
			want: "whether a legal hold forbids it cannot be known: the privilege read on logs-sallyport.admin-default"},
		"an index that may not be written": {before: func(r *rig) {
			third := r.docs(document.Content)[2].ID
			r.f.OnDelete = func(_, id string) (int, bool) { return http.StatusForbidden, id == third }
		}, subject: session("ses_a"), deleted: 2, left: 2, want: "2 documents were deleted, then: deleting document "},
		"deletions that do not take effect": {before: func(r *rig) {
			r.f.OnDelete = func(string, string) (int, bool) { return http.StatusOK, true }
		}, subject: session("ses_b"), deleted: 20, left: 4, want: "there are still more"},
		"somebody else deletes too": {before: func(r *rig) {
			first := r.docs(document.Content)[0].ID
			r.f.OnDelete = func(_, id string) (int, bool) {
				if id == first {
					x := r.f.Streams[document.Index(document.Content, "default")].Indices[0]
					x.Docs = x.Docs[1:]
					first = ""
					return http.StatusNotFound, true
				}
				return 0, false
			}
		}, subject: session("ses_a"), deleted: 2, left: 1},
		"a shard fails": {before: func(r *rig) {
			r.f.OnRequest = func(w http.ResponseWriter, q *http.Request) bool {
				if q.URL.Path == "/_search" {
					_, _ = w.Write([]byte(`{"_shards":{"total":2,"failed":1},"hits":{"hits":[]}}`))
				}
				return q.URL.Path == "/_search"
			}
		}, subject: session("ses_a"), left: 4, want: "1 of 2 shards failed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := talked(t)
			if c.before != nil {
				c.before(r)
			}
			n, err := manage.Erase(t.Context(), r.c, "default", c.subject, c.o)
			if n != c.deleted || (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d deleted, error %v; want %d, %q", n, err, c.deleted, c.want)
			}
			if left := len(r.docs(document.Content)); left != c.left {
				t.Errorf("%d documents are left, want %d", left, c.left)
			}
		})
	}
}

// What is under hold stays, whoever knows of the hold and however those who said it are named; and what stays is readable.
func TestEraseHeld(t *testing.T) {
	by := pipeline.Person{User: "ada", UID: 1000}
	hold := func(s journal.Subject) func(*rig) {
		return func(r *rig) {
			if _, err := r.j.AddHold(s, by, "a case"); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	both := func(list ...func(*rig)) func(*rig) {
		return func(r *rig) {
			for _, f := range list {
				f(r)
			}
		}
	}
	release := func(s journal.Subject) func(*rig) {
		return func(r *rig) {
			if _, err := r.j.ReleaseHold(s, by, "closed"); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	ship := func(host string) func(*rig) { return func(r *rig) { r.ship(host, "v1", false) } }
	for name, c := range map[string]struct {
		before  func(*rig)
		known   []manage.Subject // to the daemon of this host
		subject manage.Subject
		held    bool
	}{
		"the session, known here":                      {known: []manage.Subject{session("ses_a")}, subject: session("ses_a"), held: true},
		"the session, on record":                       {before: both(hold(journal.Subject{Session: "ses_a"}), ship("h1")), subject: session("ses_a"), held: true},
		"another session, on record":                   {before: both(hold(journal.Subject{Session: "ses_b"}), ship("h1")), subject: session("ses_a")},
		"the user, and the session is to go":           {before: both(hold(journal.Subject{Principal: "ada"}), ship("h1")), subject: session("ses_a"), held: true},
		"the workload, and the user is to go":          {before: both(hold(journal.Subject{Principal: "spiffe://x/ada"}), ship("h1")), subject: of("ada"), held: true},
		"the session, and the user is to go":           {known: []manage.Subject{session("ses_a")}, subject: of("ada"), held: true},
		"another user":                                 {before: both(hold(journal.Subject{Principal: "bob"}), ship("h1")), subject: session("ses_a")},
		"released":                                     {before: both(hold(journal.Subject{Session: "ses_a"}), release(journal.Subject{Session: "ses_a"}), ship("h1")), subject: session("ses_a")},
		"released and held again":                      {before: both(hold(journal.Subject{Session: "ses_a"}), release(journal.Subject{Session: "ses_a"}), hold(journal.Subject{Session: "ses_a"}), ship("h1")), subject: session("ses_a"), held: true},
		"of two holds one is released":                 {before: both(hold(journal.Subject{Session: "ses_a"}), hold(journal.Subject{Principal: "ada"}), release(journal.Subject{Session: "ses_a"}), ship("h1")), subject: session("ses_a"), held: true},
		"of another host":                              {before: both(hold(journal.Subject{Session: "ses_a"}), ship("h2")), subject: session("ses_a"), held: true},
		"released by a host that did not make it":      {before: both(hold(journal.Subject{Session: "ses_a"}), ship("h2"), release(journal.Subject{Session: "ses_a"}), ship("h3")), subject: session("ses_a"), held: true},
		"a session that has a held exchange among two": {before: both(func(r *rig) { r.turn("ses_b", "ada", 1) }, hold(journal.Subject{Principal: "ada"}), ship("h1")), subject: session("ses_b"), held: true},
		"only counted":                                 {known: []manage.Subject{session("ses_a")}, subject: session("ses_a"), held: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := talked(t)
			if c.before != nil {
				c.before(r)
			}
			was := len(r.docs(document.Content))
			n, err := manage.Erase(t.Context(), r.c, "default", c.subject, manage.EraseOptions{Dry: name == "only counted", Holds: c.known})
			if left := len(r.docs(document.Content)); errors.Is(err, manage.ErrHeld) != c.held || c.held && (n != 0 || left != was) || !c.held && (err != nil || left == was) {
				t.Errorf("%d deleted, %d of %d left, error %v", n, left, was, err)
			}
		})
	}
}

// A hold that comes while documents are deleted keeps what is left, and one that cannot be read keeps all.
func TestEraseHeldMeanwhile(t *testing.T) {
	r := talked(t)
	hold := func(detail string) {
		r.f.Streams[document.Index(document.Admin, "default")] = &fakees.Stream{Indices: []*fakees.Index{{Name: "x", Docs: []fakees.Hit{{Index: "x", ID: "y",
			Source: fmt.Appendf(nil, `{"host":{"name":"h9"},"event":{"action":"record.hold"},"sallyport":{"admin":{"detail":%q}}}`, detail)}}}}}
	}
	var kept string
	r.f.OnDelete = func(_, id string) (int, bool) {
		if kept == "" || kept == id {
			kept = id
			hold(`{"action":"record.hold","session":"ses_a"}`)
			return http.StatusTooManyRequests, true
		}
		return 0, false
	}
	n, err := manage.Erase(t.Context(), r.c, "default", session("ses_a"), manage.EraseOptions{})
	if !errors.Is(err, manage.ErrHeld) || n != 2 || !strings.HasPrefix(err.Error(), "2 documents were deleted, then: 1 of these") || len(r.docs(document.Content)) != 2 {
		t.Errorf("%d deleted, %v", n, err)
	}
	r.f.Set(func() { hold("{") })
	if n, err := manage.Erase(t.Context(), r.c, "default", session("ses_b"), manage.EraseOptions{}); n != 0 || err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("%d deleted, %v", n, err)
	}
}

// What another session said is readable when one is erased: nothing of it was left to that one.
func TestEraseLeavesOthersWhole(t *testing.T) {
	r := talked(t)
	r.turn("ses_b", "bob", 1)
	r.ship("h1", "v1", false)
	by := pipeline.Person{User: "ada"}
	if _, err := r.j.Erase(t.Context(), journal.Subject{Session: "ses_a"}, by, "asked"); err != nil {
		t.Fatal(err)
	}
	r.ship("h1", "v1", false)
	if n, err := manage.Erase(context.Background(), r.c, "default", session("ses_a"), manage.EraseOptions{}); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	rep, err := r.verify(nil)
	if err != nil || !rep.OK {
		t.Errorf("%+v %v", rep, err)
	}
	for _, h := range r.docs(document.Content) {
		if !strings.Contains(string(h.Source), "of ses_b") || strings.Contains(string(h.Source), "exc_ses_a") {
			t.Errorf("document %s", h.Source)
		}
	}
}
