// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/fakees"
)

// rig is a journal, a fake server and at most one shipper between them.
type rig struct {
	t    *testing.T
	dir  string
	j    *journal.Journal
	f    *fakees.Server
	o    Options
	s    *Shipper
	stop func()
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), f: fakees.New(t.Errorf)}
	t.Cleanup(r.f.Close)
	r.o = Options{Options: client.Options{URLs: []string{r.f.URL}}, Host: "h1", Version: "v1", Linger: time.Millisecond, MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond}
	r.openJournal()
	return r
}

func (r *rig) openJournal() {
	r.t.Helper()
	j, err := journal.Open(journal.Options{Dir: filepath.Join(r.dir, "journal"), SegmentBytes: 64 << 10, EventDelay: time.Microsecond})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = j.Close() })
	r.j = j
}

// start runs a shipper until stop or the end of the test.
func (r *rig) start() {
	r.t.Helper()
	r.o.Journal = r.j
	s, err := New(r.o)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	r.s, r.stop = s, func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}
	r.t.Cleanup(r.stop)
}

func (r *rig) append(rec pipeline.Record) {
	r.t.Helper()
	_, done := r.j.Append(rec)
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) begin(id string) {
	r.t.Helper()
	r.append(pipeline.Record{Kind: pipeline.KindIntent, Session: "ses_1", Exchange: id, Body: &pipeline.Intent{
		Scope: "agents", Mode: pipeline.ModeEnforce, Method: "POST", Target: "/v1/chat/completions?x", Call: pipeline.Call{Operation: "chat", Model: "m"},
		Body: json.RawMessage(`{"secret":"a prompt"}`)}})
}

func (r *rig) end(id string) {
	r.t.Helper()
	r.append(pipeline.Record{Kind: pipeline.KindOutcome, Session: "ses_1", Exchange: id, Body: &pipeline.Outcome{Status: 200, Text: "a reply"}})
}

// exchanges writes n exchanges and returns their IDs.
func (r *rig) exchanges(prefix string, n int) []string {
	r.t.Helper()
	var ids []string
	for i := range n {
		id := fmt.Sprintf("exc_%s_%d", prefix, i)
		r.begin(id)
		r.end(id)
		ids = append(ids, id)
	}
	return ids
}

// eventually waits for a state that must come.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("never came: %s; state %+v", what, r.s.State())
		}
	}
}

func (r *rig) shipped() {
	r.t.Helper()
	r.eventually("no lag", func() bool { s := r.s.State(); return s.Lag == 0 && s.State == StateOK })
}

// got lists the exchange IDs of the documents in the order in which they came.
func (r *rig) got() []string {
	var out []string
	for _, h := range r.f.Docs(document.Exchange) {
		var doc struct{ Event struct{ ID string } }
		if err := json.Unmarshal(h.Source, &doc); err != nil {
			r.t.Error(err)
		}
		out = append(out, doc.Event.ID)
	}
	return out
}

func (r *rig) want(ids ...string) {
	r.t.Helper()
	if diff := cmp.Diff(ids, r.got()); diff != "" {
		r.t.Errorf("documents (-want +got):\n%s", diff)
	}
}

func TestShipsEachExchangeOnce(t *testing.T) {
	r := newRig(t)
	before := r.exchanges("before", 30)
	r.start()
	live := r.exchanges("live", 30)
	r.shipped()
	r.want(append(before, live...)...)
	r.stop()
	r.start()
	more := r.exchanges("more", 10)
	r.shipped()
	r.want(slices.Concat(before, live, more)...)
	if r.f.Conflicts != 0 {
		t.Errorf("%d documents were sent again", r.f.Conflicts)
	}
	if len(r.f.Put) != 16 {
		t.Errorf("templates %v", slices.Sorted(maps.Keys(r.f.Put)))
	}
	for _, h := range r.f.Docs(document.Exchange) {
		if s := string(h.Source); strings.Contains(s, "a prompt") || strings.Contains(s, "a reply") {
			t.Fatalf("content in a document: %s", s)
		}
	}
	if st, err := os.Stat(filepath.Join(r.dir, "journal", "elastic.cursor")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("cursor file: %v", err)
	}
}

func TestSurvivesTroubles(t *testing.T) {
	tests := map[string]func(*fakees.Server){
		"503 three times": func(f *fakees.Server) {
			f.OnBulk = func(n int, w http.ResponseWriter) bool {
				if n <= 3 {
					fakees.Refuse(w, http.StatusServiceUnavailable, "unavailable", "not now")
				}
				return n <= 3
			}
		},
		"429 for the request": func(f *fakees.Server) {
			f.OnBulk = func(n int, w http.ResponseWriter) bool {
				if n == 1 {
					fakees.Refuse(w, http.StatusTooManyRequests, "es_rejected_execution_exception", "busy")
				}
				return n == 1
			}
		},
		"429 for every third document": func(f *fakees.Server) {
			n := 0
			f.OnItem = func(string, string, map[string]any) (int, bool) {
				n++
				return http.StatusTooManyRequests, n%3 == 0 && n < 100
			}
		},
		"connection dropped before": func(f *fakees.Server) {
			f.OnBulk = func(n int, w http.ResponseWriter) bool {
				if n <= 2 {
					fakees.Drop(w)
				}
				return n <= 2
			}
		},
		"connection dropped after": func(f *fakees.Server) {
			f.AfterBulk = func(n int, w http.ResponseWriter) bool {
				if n%2 == 1 && n < 8 {
					fakees.Drop(w)
					return true
				}
				return false
			}
		},
		"answer cut": func(f *fakees.Server) {
			f.AfterBulk = once(func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"items":[{"cre`)) })
		},
		"answer for too few": func(f *fakees.Server) {
			f.AfterBulk = once(func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"items":[]}`)) })
		},
		"answer of a proxy": func(f *fakees.Server) {
			f.OnBulk = once(func(w http.ResponseWriter) { w.WriteHeader(502); _, _ = w.Write([]byte("<html>")) })
		},
		"templates deleted": func(f *fakees.Server) {
			f.OnBulk = func(n int, _ http.ResponseWriter) bool { drop1(f, n); return false }
		},
		"index read only": func(f *fakees.Server) {
			n := 0
			f.OnItem = func(string, string, map[string]any) (int, bool) { n++; return 403, n < 20 }
		},
		"rights come later": func(f *fakees.Server) {
			f.OnBulk = once(func(w http.ResponseWriter) { fakees.Refuse(w, 403, "security_exception", "no") })
		},
		"request is too long": func(f *fakees.Server) { f.OnBulk = tooLong(f, 3) },
		"may not make templates": func(f *fakees.Server) {
			f.NoTempl = true
		},
	}
	for name, trouble := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.o.BatchDocs = 16
			trouble(r.f)
			ids := r.exchanges("a", 50)
			r.start()
			ids = append(ids, r.exchanges("b", 10)...)
			r.shipped()
			got := r.got()
			slices.Sort(got)
			slices.Sort(ids)
			if diff := cmp.Diff(ids, got); diff != "" {
				t.Errorf("documents (-want +got):\n%s", diff)
			}
			if st := r.s.State(); st.Dead != 0 || len(r.f.Docs(document.Content)) != 60 || st.LastError != "" {
				t.Errorf("state %+v", st)
			}
			if n := r.f.Biggest(); n > 17 {
				t.Errorf("%d documents in one request", n)
			}
		})
	}
}

// once misbehaves at the first bulk request only.
func once(do func(http.ResponseWriter)) func(int, http.ResponseWriter) bool {
	return func(n int, w http.ResponseWriter) bool {
		if n == 1 {
			do(w)
		}
		return n == 1
	}
}

func drop1(f *fakees.Server, n int) {
	if n == 2 {
		clear(f.Put)
	}
}

func tooLong(f *fakees.Server, limit int) func(int, http.ResponseWriter) bool {
	return func(n int, w http.ResponseWriter) bool {
		if f.Sent[n-1] > limit {
			fakees.Refuse(w, http.StatusRequestEntityTooLarge, "too_long", "too long")
			return true
		}
		return false
	}
}

// letters reads those that are on record.
func (r *rig) letters() (out []letter) {
	r.t.Helper()
	rd, err := journal.OpenReader(filepath.Join(r.dir, "journal"), pipeline.Position{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer rd.Close()
	for {
		e, err := rd.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			r.t.Fatal(err)
		}
		var d DeadLetters
		if e.Kind != pipeline.KindAdmin {
			continue
		}
		if err := e.Decode(&d); err != nil || d.Action != ActionDeadLetter {
			r.t.Errorf("%+v %v", d, err)
		}
		out = append(out, d.Letters...)
	}
}

func TestDeadLetters(t *testing.T) {
	r := newRig(t)
	r.f.OnItem = func(stream, _ string, doc map[string]any) (int, bool) {
		return http.StatusBadRequest, strings.Contains(stream, ".exchange") && strings.HasSuffix(doc["event"].(map[string]any)["id"].(string), "3")
	}
	r.exchanges("a", 20)
	r.start()
	r.shipped()
	if st := r.s.State(); st.Dead != 2 || len(r.f.Docs(document.Exchange)) != 18 || len(r.f.Docs(document.Content)) != 20 {
		t.Errorf("state %+v", st)
	}
	var got []string
	for _, l := range r.letters() {
		if l.Status != 400 || l.Reason != "made_up_exception: because" || l.At.Segment == 0 || len(l.Hash) != 64 || l.Stream != document.Exchange || l.Kind != pipeline.KindOutcome {
			t.Errorf("letter %+v", l)
		}
		got = append(got, l.Exchange)
	}
	if diff := cmp.Diff([]string{"exc_a_3", "exc_a_13"}, got); diff != "" {
		t.Error(diff)
	}
	// That it is on record can be found too.
	r.eventually("the letters are found", func() bool { return len(r.f.Docs(document.Admin)) > 0 })
	if doc := string(r.f.Docs(document.Admin)[0].Source); !strings.Contains(doc, ActionDeadLetter) || !strings.Contains(doc, "logs-sallyport.exchange-default") {
		t.Errorf("document %s", doc)
	}

	// A document that is too long by itself is given up alone. That the record of it is refused as well makes no further one.
	r.f.Set(func() { r.f.OnItem, r.f.OnBulk = nil, tooLong(r.f, 0) })
	r.exchanges("b", 3)
	r.shipped()
	r.eventually("the last letter is given up", func() bool { return r.s.State().Dead > 8 && r.s.State().Lag == 0 })
	n := len(r.letters())
	r.f.Set(func() { r.f.OnBulk = nil })
	ids := r.exchanges("c", 1)
	r.shipped()
	r.eventually("others are taken", func() bool { return slices.Contains(r.got(), ids[0]) })
	if n != 8 || len(r.letters()) != n {
		t.Errorf("%d letters, then %d, want 8", n, len(r.letters()))
	}
}

// While the server is away, the journal is what grows: one batch is in memory, the rest is lag.
func TestServerAway(t *testing.T) {
	r := newRig(t)
	r.o.BatchDocs = 10
	r.f.OnBulk = func(_ int, w http.ResponseWriter) bool { fakees.Drop(w); return true }
	r.start()
	ids := r.exchanges("a", 200)
	r.eventually("retrying", func() bool { return r.s.State().State == StateRetrying })
	if st := r.s.State(); st.Lag < 380 || st.Acked != 0 || st.LastError == "" {
		t.Errorf("state %+v", st)
	}
	if n := r.f.Biggest(); n > 11 {
		t.Errorf("%d documents in one request", n)
	}
	r.f.Set(func() { r.f.OnBulk = nil })
	r.shipped()
	r.want(ids...)
}
