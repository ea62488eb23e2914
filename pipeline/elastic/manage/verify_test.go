// SPDX-License-Identifier: Apache-2.0

package manage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/manage"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/fakees"
)

// rig is a journal, what was shipped of it, and somebody who looks after that.
type rig struct {
	t   *testing.T
	dir string
	j   *journal.Journal
	f   *fakees.Server
	c   *client.Client
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "journal"), f: fakees.New(t.Errorf)}
	t.Cleanup(r.f.Close)
	var err error
	if r.j, err = journal.Open(journal.Options{Dir: r.dir, SegmentBytes: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.j.Close() })
	if r.c, err = client.New(client.Options{URLs: []string{r.f.URL}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.c.Close)
	return r
}

func (r *rig) append(rec pipeline.Record) {
	r.t.Helper()
	if _, done := r.j.Append(rec); true {
		if err := <-done; err != nil {
			r.t.Fatal(err)
		}
	}
}

// turn writes turn n of a conversation, from 0, which repeats all before it.
func (r *rig) turn(session, user string, n int) {
	r.t.Helper()
	id := fmt.Sprintf("exc_%s_%d", session, n)
	in := &pipeline.Intent{Body: json.RawMessage(`{"b":1}`), BodyBytes: 7, Principal: pipeline.Principal{SPIFFEID: "spiffe://x/" + user, User: user}, Call: pipeline.Call{Operation: "chat"}}
	in.Call.Steps = append(in.Call.Steps, pipeline.Step{Kind: pipeline.StepToolOffer, Name: "search", Text: "finds things"})
	for i := range n + 1 {
		in.Call.Steps = append(in.Call.Steps, pipeline.Step{Kind: pipeline.StepPrompt, Index: i, Text: fmt.Sprintf("question %d of %s", i, session)})
	}
	if n > 0 {
		in.Parent, in.Repeats = fmt.Sprintf("exc_%s_%d", session, n-1), n
	}
	r.append(pipeline.Record{Kind: pipeline.KindIntent, Session: session, Exchange: id, Body: in})
	r.append(pipeline.Record{Kind: pipeline.KindOutcome, Session: session, Exchange: id, Body: &pipeline.Outcome{Status: 200, Text: "a reply"}})
}

// ship ships all that is there.
func (r *rig) ship(host, version string, whole bool) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := elastic.New(elastic.Options{Options: client.Options{URLs: []string{r.f.URL}}, Journal: r.j, Host: host, Version: version, Whole: whole, Linger: time.Millisecond})
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for st := s.State(); st.Lag > 0 || st.State != elastic.StateOK; st = s.State() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("not shipped: %+v", st)
		}
	}
	cancel()
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) verify(change func(*manage.VerifyOptions)) (*manage.Report, error) {
	o := manage.VerifyOptions{Dir: r.dir, Namespace: "default", Host: "h1", Version: "v1"}
	if change != nil {
		change(&o)
	}
	return manage.Verify(context.Background(), r.c, o)
}

// docs are the documents of a stream as they are there now.
func (r *rig) docs(stream string) (out []*fakees.Hit) {
	r.f.Set(func() {
		if s := r.f.Streams[document.Index(stream, "default")]; s != nil {
			for _, x := range s.Indices {
				for i := range x.Docs {
					out = append(out, &x.Docs[i])
				}
			}
		}
	})
	return out
}

// put brings a document in as whoever rules the server can.
func (r *rig) put(stream, id string, source map[string]any) {
	r.t.Helper()
	b, err := json.Marshal(source)
	if err != nil {
		r.t.Fatal(err)
	}
	r.f.Set(func() {
		s := r.f.Streams[document.Index(stream, "default")]
		x := s.Indices[len(s.Indices)-1]
		x.Docs = append(x.Docs, fakees.Hit{Index: x.Name, ID: id, Source: b})
	})
}

// edit changes a document in its place.
func (r *rig) edit(h *fakees.Hit, change func(doc map[string]any)) {
	r.t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(h.Source, &doc); err != nil {
		r.t.Fatal(err)
	}
	change(doc)
	b, err := json.Marshal(doc)
	if err != nil {
		r.t.Fatal(err)
	}
	r.f.Set(func() { h.Source = b })
}

func at(doc map[string]any, path ...string) map[string]any {
	for _, p := range path {
		doc = doc[p].(map[string]any)
	}
	return doc
}

func (r *rig) remove(stream string, i int) {
	r.f.Set(func() {
		x := r.f.Streams[document.Index(stream, "default")].Indices[0]
		x.Docs = append(x.Docs[:i:i], x.Docs[i+1:]...)
	})
}

// Whatever is not as the journal has it is found, and said to be; nothing else is.
func TestVerify(t *testing.T) {
	host := map[string]any{"name": "h1"}
	for name, c := range map[string]struct {
		spoil  func(*rig)
		change func(*manage.VerifyOptions)
		want   map[string]int
		ok     bool
	}{
		"all is there":          {ok: true},
		"a document is missing": {spoil: func(r *rig) { r.remove(document.Exchange, 1) }, want: map[string]int{manage.Missing: 1}},
		"contents are missing":  {spoil: func(r *rig) { r.remove(document.Content, 0) }, want: map[string]int{manage.Missing: 1}},
		"a stream is missing": {spoil: func(r *rig) {
			r.f.Set(func() { delete(r.f.Streams, document.Index(document.Flow, "default")) })
		}, want: map[string]int{manage.Missing: 1}},
		"there twice": {spoil: func(r *rig) {
			h := r.docs(document.Exchange)[0]
			r.f.Rollover()
			var doc map[string]any
			_ = json.Unmarshal(h.Source, &doc)
			r.put(document.Exchange, h.ID, doc)
		}, want: map[string]int{manage.Duplicate: 1}},
		"a value is another": {spoil: func(r *rig) {
			r.edit(r.docs(document.Flow)[0], func(doc map[string]any) { at(doc, "event")["action"] = "passed" })
		}, want: map[string]int{manage.Altered: 1}},
		"a word is another": {spoil: func(r *rig) {
			r.edit(r.docs(document.Content)[2], func(doc map[string]any) {
				at(doc, "sallyport")["messages"].([]any)[0].(map[string]any)["text"] = "innocent"
			})
		}, want: map[string]int{manage.Altered: 1}},
		"a field more": {spoil: func(r *rig) {
			r.edit(r.docs(document.Flow)[0], func(doc map[string]any) { doc["note"] = "x" })
		}, want: map[string]int{manage.Altered: 1}},
		"a field less": {spoil: func(r *rig) {
			r.edit(r.docs(document.Flow)[0], func(doc map[string]any) { delete(at(doc, "event"), "reason") })
		}, want: map[string]int{manage.Altered: 1}},
		"no document any more": {spoil: func(r *rig) {
			r.f.Set(func() {
				r.f.Streams[document.Index(document.Flow, "default")].Indices[0].Docs[0].Source = json.RawMessage(`{"host":7}`)
			})
		}, want: map[string]int{manage.Altered: 1}},
		"given to another host": {spoil: func(r *rig) {
			r.edit(r.docs(document.Flow)[0], func(doc map[string]any) { at(doc, "host")["name"] = "h2" })
		}, want: map[string]int{manage.Altered: 1}},
		"a field less, and a version that had not got it": {spoil: func(r *rig) {
			r.edit(r.docs(document.Flow)[0], func(doc map[string]any) {
				delete(at(doc, "event"), "reason")
				at(doc, "agent")["version"] = "v0"
			})
		}, want: map[string]int{manage.Version: 1}},
		"the same, and that version was there": {spoil: func(r *rig) {
			r.edit(r.docs(document.Flow)[0], func(doc map[string]any) {
				delete(at(doc, "event"), "reason")
				at(doc, "agent")["version"] = "v0"
			})
		}, change: func(o *manage.VerifyOptions) { o.Versions = []string{"v0"} }, want: map[string]int{manage.Version: 1}, ok: true},
		"a value is another, and the version is": {spoil: func(r *rig) {
			r.edit(r.docs(document.Flow)[0], func(doc map[string]any) {
				at(doc, "event")["action"] = "passed"
				at(doc, "agent")["version"] = "v0"
			})
		}, change: func(o *manage.VerifyOptions) { o.Versions = []string{"v0"} }, want: map[string]int{manage.Altered: 1}},
		"another schema by the same version": {spoil: func(r *rig) {
			r.edit(r.docs(document.Flow)[0], func(doc map[string]any) { at(doc, "ecs")["version"] = "1.0.0" })
		}, want: map[string]int{manage.Altered: 1}},
		"a document without a record": {spoil: func(r *rig) {
			r.put(document.Flow, strings.Repeat("ab", 32), map[string]any{"host": host})
		}, want: map[string]int{manage.Foreign: 1}},
		"one that says it is older than the journal, which has its beginning": {spoil: func(r *rig) {
			r.put(document.Flow, strings.Repeat("ab", 32), map[string]any{"host": host, "sallyport": map[string]any{"record": map[string]any{"segment": 0}}})
		}, want: map[string]int{manage.Foreign: 1}},
		"an ID that is no hash": {spoil: func(r *rig) { r.put(document.Flow, "x", map[string]any{"host": host}) }, want: map[string]int{manage.Foreign: 1}},
		"the beginning of a hash": {spoil: func(r *rig) {
			r.put(document.Exchange, r.docs(document.Exchange)[0].ID[:32]+strings.Repeat("0", 32), map[string]any{"host": host})
		}, want: map[string]int{manage.Foreign: 1}},
		"a hash in capitals": {spoil: func(r *rig) {
			r.put(document.Exchange, strings.ToUpper(r.docs(document.Exchange)[0].ID), map[string]any{"host": host})
		}, want: map[string]int{manage.Foreign: 1}},
		"the hash of a record of another stream": {spoil: func(r *rig) {
			r.put(document.Admin, r.docs(document.Exchange)[0].ID, map[string]any{"host": host})
		}, want: map[string]int{manage.Foreign: 1}},
		"contents behind the last": {spoil: func(r *rig) {
			r.put(document.Content, r.docs(document.Exchange)[0].ID+"-2", map[string]any{"host": host})
		}, want: map[string]int{manage.Foreign: 1}},
		"contents before the first": {spoil: func(r *rig) {
			r.put(document.Content, r.docs(document.Exchange)[0].ID+"-0", map[string]any{"host": host})
		}, want: map[string]int{manage.Foreign: 1}},
		"contents of a connection": {spoil: func(r *rig) {
			r.put(document.Content, r.docs(document.Flow)[0].ID+"-1", map[string]any{"host": host})
		}, want: map[string]int{manage.Foreign: 1}},
		"contents in another spelling": {spoil: func(r *rig) {
			r.put(document.Content, r.docs(document.Exchange)[0].ID+"-01", map[string]any{"host": host})
		}, want: map[string]int{manage.Foreign: 1}},
		"of another host": {spoil: func(r *rig) {
			r.put(document.Flow, strings.Repeat("ab", 32), map[string]any{"host": map[string]any{"name": "h2"}})
		}, ok: true},
		"erased in the journal only": {spoil: func(r *rig) {
			if _, err := r.j.Erase(r.t.Context(), journal.Subject{Session: "ses_a"}, pipeline.Person{User: "ada"}, "asked"); err != nil {
				r.t.Fatal(err)
			}
			r.ship("h1", "v1", false)
		}, want: map[string]int{manage.Left: 3}},
		"erased, and what is left altered": {spoil: func(r *rig) {
			if _, err := r.j.Erase(r.t.Context(), journal.Subject{Session: "ses_a"}, pipeline.Person{User: "ada"}, "asked"); err != nil {
				r.t.Fatal(err)
			}
			r.ship("h1", "v1", false)
			r.edit(r.docs(document.Exchange)[0], func(doc map[string]any) { at(doc, "event")["outcome"] = "failure" })
			if _, err := manage.Erase(r.t.Context(), r.c, "default", manage.Subject{Sessions: []string{"ses_a"}}, manage.EraseOptions{}); err != nil {
				r.t.Error(err)
			}
		}, want: map[string]int{manage.Altered: 1}},
		"it names another exchange": {spoil: func(r *rig) {
			r.edit(r.docs(document.Content)[1], func(doc map[string]any) { at(doc, "sallyport", "content")["earlier"] = "exc_ses_b_0" })
		}, want: map[string]int{manage.Altered: 1}},
		"it says that all is there": {spoil: func(r *rig) {
			r.edit(r.docs(document.Content)[1], func(doc map[string]any) {
				c := at(doc, "sallyport", "content")
				delete(c, "earlier")
				delete(c, "repeats")
			})
		}, want: map[string]int{manage.Altered: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for n := range 3 {
				r.turn("ses_a", "ada", n)
			}
			r.turn("ses_b", "bob", 0)
			r.append(pipeline.Record{Kind: pipeline.KindFlow, Body: &pipeline.Flow{ID: "flw_1", Disposition: "missed", Reason: "why"}})
			r.append(pipeline.Record{Kind: pipeline.KindAdmin, Body: map[string]any{"action": "session.read"}})
			r.ship("h1", "v1", false)
			if c.spoil != nil {
				c.spoil(r)
			}
			rep, err := r.verify(c.change)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				c.want = map[string]int{}
			}
			if diff := cmp.Diff(c.want, rep.Counts); diff != "" || rep.OK != c.ok {
				t.Errorf("OK %v, problems (-want +got):\n%s%+v", rep.OK, diff, rep.Problems)
			}
			if r.f.Pits() != 0 {
				t.Errorf("%d points in time are left open", r.f.Pits())
			}
		})
	}
}
