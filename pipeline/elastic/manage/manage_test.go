// SPDX-License-Identifier: Apache-2.0

package manage_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/manage"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
	"github.com/sallyport-dev/sallyport/test/fakees"
)

func TestInstall(t *testing.T) {
	refuse := func(suffix string, status int, kind string) func(*fakees.Server) {
		return func(f *fakees.Server) {
			f.OnRequest = func(w http.ResponseWriter, r *http.Request) bool {
				hit := r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, suffix)
				if hit {
					fakees.Refuse(w, status, kind, "because")
				}
				return hit
			}
		}
	}
	for name, c := range map[string]struct {
		before func(*fakees.Server)
		made   int
		want   string
	}{
		"all":                          {made: 16},
		"the oldest that will do":      {before: func(f *fakees.Server) { f.Version = "8.7.0" }, made: 16},
		"a later one":                  {before: func(f *fakees.Server) { f.Version = "10.0.0-SNAPSHOT" }, made: 16},
		"an older minor":               {before: func(f *fakees.Server) { f.Version = "8.6.2" }, want: "this Elasticsearch, 8.6.2, is too old: 8.7 or later is needed"},
		"an older major":               {before: func(f *fakees.Server) { f.Version = "7.17.29" }, want: "7.17.29, is too old"},
		"no version":                   {before: func(f *fakees.Server) { f.Version = "cloud\n" }, want: `its version is "cloud"`},
		"the version is not told":      {before: func(f *fakees.Server) { f.Deny = []string{"/"} }, made: 16},
		"may not make templates":       {before: func(f *fakees.Server) { f.NoTempl = true }, want: "asking for the ilm policy sallyport-metadata: Elasticsearch answered 403"},
		"may not make policies":        {before: refuse("/sallyport-content", http.StatusForbidden, "security_exception"), made: 1, want: "making the ilm policy sallyport-content: Elasticsearch answered 403"},
		"a template is in the way":     {before: refuse("logs-sallyport.flow", http.StatusBadRequest, "illegal_argument_exception"), made: 11, want: "making the index template logs-sallyport.flow: Elasticsearch answered 400 Bad Request: illegal_argument_exception: because"},
		"another product":              {before: func(f *fakees.Server) { f.Foreign = true }, want: "not Elasticsearch"},
		"a key that is not known here": {before: func(f *fakees.Server) { f.Key = "APIKey other" }, want: "401"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if c.before != nil {
				c.before(r.f)
			}
			err := manage.Install(t.Context(), r.c, document.Lifecycle{}, manage.KeepPolicies)
			if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if len(r.f.Put) != c.made {
				t.Errorf("%d are made, want %d", len(r.f.Put), c.made)
			}
		})
	}
}

// A policy that an administrator has changed stays as it is unless somebody asks for ours; templates are ours.
func TestInstallKeepsPolicies(t *testing.T) {
	r := newRig(t)
	const policy, template = "/_ilm/policy/sallyport-content", "/_index_template/logs-sallyport.content"
	r.f.Put[policy], r.f.Put[template] = json.RawMessage(`{"theirs":1}`), json.RawMessage(`{"theirs":1}`)
	for _, c := range []struct {
		p    manage.Policies
		kept bool
	}{{manage.KeepPolicies, true}, {manage.ReplacePolicies, false}} {
		if err := manage.Install(t.Context(), r.c, document.Lifecycle{}, c.p); err != nil {
			t.Fatal(err)
		}
		if kept := string(r.f.Put[policy]) == `{"theirs":1}`; kept != c.kept || strings.Contains(string(r.f.Put[template]), "theirs") {
			t.Errorf("the policy is kept: %v, want %v", kept, c.kept)
		}
	}
}

func TestAsk(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(*fakees.Server)
		missing []string
		unknown int
		exist   int
		counted int // documents of the exchange stream
		want    string
	}{
		"all is well":      {exist: 3, counted: 4},
		"nothing is there": {before: func(f *fakees.Server) { clear(f.Put); clear(f.Streams) }, missing: []string{"ilm policy sallyport-metadata", "index template logs-sallyport.agent"}},
		"a template is missing": {before: func(f *fakees.Server) { delete(f.Put, "/_index_template/logs-sallyport.flow") },
			missing: []string{"index template logs-sallyport.flow"}, exist: 3, counted: 4},
		"may not ask for templates": {before: func(f *fakees.Server) { f.NoTempl = true }, unknown: 16, exist: 3, counted: 4},
		"may not count":             {before: func(f *fakees.Server) { f.Deny = []string{"/logs-sallyport.*/_search"} }, exist: 3, counted: -1},
		"may not list streams":      {before: func(f *fakees.Server) { f.Deny = []string{"/_data_stream/*"} }, want: "asking for the data streams: Elasticsearch answered 403"},
		"a shard fails": {before: func(f *fakees.Server) {
			f.OnRequest = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "_search") {
					_, _ = w.Write([]byte(`{"_shards":{"total":2,"failed":2},"hits":{"hits":[]}}`))
				}
				return strings.HasSuffix(r.URL.Path, "_search")
			}
		}, want: "2 of 2 shards failed"},
		"it is ill": {before: func(f *fakees.Server) {
			f.OnRequest = func(w http.ResponseWriter, r *http.Request) bool {
				fakees.Refuse(w, http.StatusServiceUnavailable, "master_not_discovered_exception", "")
				return true
			}
		}, want: "asking for the ilm policy sallyport-metadata: Elasticsearch answered 503"},
	} {
		t.Run(name, func(t *testing.T) {
			r := talked(t)
			if c.before != nil {
				r.f.Set(func() { c.before(r.f) })
			}
			st, err := manage.Ask(t.Context(), r.c, "default")
			if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if err != nil {
				return
			}
			exist := 0
			for _, s := range st.Streams {
				if s.Exists {
					exist++
				}
			}
			if len(st.Streams) != 6 || exist != c.exist || len(st.Unknown) != c.unknown || st.Streams[0].Documents != c.counted || (c.counted > 0) == st.Streams[0].Newest.IsZero() {
				t.Errorf("%d exist: %+v", exist, st)
			}
			for _, name := range c.missing {
				if !slices.Contains(st.Missing, name) {
					t.Errorf("%s is not said to be missing: %v", name, st.Missing)
				}
			}
			if len(c.missing) == 0 && len(st.Missing) > 0 {
				t.Errorf("missing %v", st.Missing)
			}
		})
	}
}

// What the agent's keys and the roles of people may do is what they need, and on the streams of their tenant alone.
func TestSuggest(t *testing.T) {
	seen := 0
	for _, p := range manage.Suggest("acme") {
		var body struct {
			Roles map[string]struct {
				Indices []struct{ Names, Privileges []string }
			} `json:"role_descriptors"`
			Indices []struct{ Names, Privileges []string }
		}
		if err := json.Unmarshal(p.Body, &body); err != nil {
			t.Fatal(err)
		}
		list := body.Indices
		for _, r := range body.Roles {
			list = append(list, r.Indices...)
		}
		for _, x := range list {
			seen++
			for _, name := range x.Names {
				if !strings.HasPrefix(name, "logs-sallyport.") || !strings.HasSuffix(name, "-acme") {
					t.Errorf("%s: %s", p.Path, name)
				}
				if strings.HasSuffix(p.Path, "-metadata") && (strings.Contains(name, "content") || strings.Contains(name, "*")) {
					t.Errorf("who reads metadata reads %s", name)
				}
				if slices.Contains(x.Privileges, "delete") && name != "logs-sallyport.content-acme" {
					t.Errorf("%s deletes from %s", p.Path, name)
				}
			}
			if strings.HasSuffix(p.Path, "api_key") && slices.ContainsFunc(x.Privileges, func(s string) bool {
				return s == "delete" || s == "write" || s == "index" || s == "all" || s == "manage"
			}) {
				t.Errorf("the agent's key has %v", x.Privileges)
			}
		}
	}
	if seen != 7 {
		t.Errorf("%d grants", seen)
	}
}

// Anchors are those of the host, the oldest first, each once; what is none is an error; and a stream that says otherwise than the journal is
// found by whoever verifies with them.
func TestAnchors(t *testing.T) {
	r := talked(t)
	for n := range 3 {
		if err := r.j.Close(); err != nil { // signs a last checkpoint
			t.Fatal(err)
		}
		var err error
		if r.j, err = journal.Open(journal.Options{Dir: r.dir, SegmentBytes: 64 << 10}); err != nil {
			t.Fatal(err)
		}
		r.turn("ses_c", "ada", n)
	}
	r.ship("h1", "v1", false)
	list, err := manage.Anchors(t.Context(), r.c, "default", "h1")
	if err != nil || len(list) < 2 {
		t.Fatalf("%d anchors, %v", len(list), err)
	}
	if !slices.IsSortedFunc(list, func(a, b anchor.Anchor) int {
		return int(a.Sequence) - int(b.Sequence) + 1000*(int(a.Epoch)-int(b.Epoch))
	}) {
		t.Errorf("not in order: %+v", list)
	}
	check := func(want bool) {
		t.Helper()
		got, err := manage.Anchors(t.Context(), r.c, "default", "")
		if err != nil {
			t.Fatal(err)
		}
		rep, err := journal.VerifyWith(r.dir, journal.VerifyOptions{Anchors: got, Anchored: true})
		if err != nil || rep.OK != want {
			t.Errorf("with %d anchors the journal is whole: %v (%v), error %v; want %v", len(got), rep.OK, rep.Problem, err, want)
		}
	}
	check(true)
	if other, err := manage.Anchors(t.Context(), r.c, "default", "h2"); err != nil || len(other) != 0 {
		t.Errorf("%d anchors of a host that has none, %v", len(other), err)
	}

	// One that is there twice is given once.
	var first *fakees.Hit
	for _, h := range r.docs(document.Agent) {
		if strings.Contains(string(h.Source), `"signature"`) {
			first = h
			break
		}
	}
	var doc map[string]any
	if err := json.Unmarshal(first.Source, &doc); err != nil {
		t.Fatal(err)
	}
	r.f.Rollover()
	r.put(document.Agent, first.ID, doc)
	if again, err := manage.Anchors(t.Context(), r.c, "default", "h1"); err != nil || !slices.Equal(again, list) {
		t.Errorf("%d anchors, %v", len(again), err)
	}

	// One whose head is another is in the list, and whoever verifies with it hears of it.
	head := at(doc, "sallyport", "anchor")["head"].(string)
	at(doc, "sallyport", "anchor")["head"] = strings.Repeat("0", len(head))
	r.put(document.Agent, strings.Repeat("ab", 32), doc)
	check(false)

	at(doc, "sallyport", "anchor")["time"] = "yesterday"
	r.put(document.Agent, strings.Repeat("cd", 32), doc)
	if _, err := manage.Anchors(t.Context(), r.c, "default", ""); err == nil || !strings.Contains(err.Error(), "is no anchor") {
		t.Errorf("error %v", err)
	}
	r.f.Set(func() { r.f.Deny = []string{"/logs-sallyport.agent-default/_pit"} })
	if _, err := manage.Anchors(t.Context(), r.c, "default", ""); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("error %v", err)
	}
	r.f.Set(func() { r.f.Deny = nil; clear(r.f.Streams) })
	if none, err := manage.Anchors(t.Context(), r.c, "default", ""); err != nil || len(none) != 0 {
		t.Errorf("%d anchors where nothing was shipped, %v", len(none), err)
	}
}
