// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// rig is a journal, a fake server and at most one shipper between them.
type rig struct {
	t    *testing.T
	dir  string
	j    *journal.Journal
	f    *fake
	o    Options
	s    *Shipper
	stop func()
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), f: newFake(t)}
	r.o = Options{URL: r.f.URL, Host: "h1", Version: "v1", Linger: time.Millisecond, MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond}
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

func (r *rig) want(ids ...string) {
	r.t.Helper()
	if diff := cmp.Diff(ids, r.f.exchanges()); diff != "" {
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
	if r.f.conflicts != 0 {
		t.Errorf("%d documents were sent again", r.f.conflicts)
	}
	if len(r.f.templates) != 3 {
		t.Errorf("templates %v", r.f.templates)
	}
	for _, doc := range r.f.docs {
		if s := string(doc); strings.Contains(s, "a prompt") || strings.Contains(s, "a reply") {
			t.Fatalf("content in a document: %s", s)
		}
	}
	if st, err := os.Stat(filepath.Join(r.dir, "journal", "elastic.cursor")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("cursor file: %v", err)
	}
}

func TestSurvivesTroubles(t *testing.T) {
	tests := map[string]func(*fake){
		"503 three times": func(f *fake) {
			f.request = func(n int, w http.ResponseWriter) bool {
				if n <= 3 {
					refuse(w, http.StatusServiceUnavailable, "unavailable", "not now")
				}
				return n <= 3
			}
		},
		"429 for the request": func(f *fake) {
			f.request = func(n int, w http.ResponseWriter) bool {
				if n == 1 {
					refuse(w, http.StatusTooManyRequests, "es_rejected_execution_exception", "busy")
				}
				return n == 1
			}
		},
		"429 for every third document": func(f *fake) {
			n := 0
			f.item = func(string, map[string]any) (int, bool) { n++; return http.StatusTooManyRequests, n%3 == 0 && n < 100 }
		},
		"connection dropped before": func(f *fake) {
			f.request = func(n int, w http.ResponseWriter) bool {
				if n <= 2 {
					drop(w)
				}
				return n <= 2
			}
		},
		"connection dropped after": func(f *fake) {
			f.after = func(n int, w http.ResponseWriter) bool {
				if n%2 == 1 && n < 8 {
					drop(w)
					return true
				}
				return false
			}
		},
		"answer cut": func(f *fake) {
			f.after = once(func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"items":[{"cre`)) })
		},
		"answer for too few": func(f *fake) { f.after = once(func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"items":[]}`)) }) },
		"answer of a proxy": func(f *fake) {
			f.request = once(func(w http.ResponseWriter) { w.WriteHeader(502); _, _ = w.Write([]byte("<html>")) })
		},
		"templates deleted": func(f *fake) { f.request = func(n int, _ http.ResponseWriter) bool { drop1(f, n); return false } },
		"index read only":   func(f *fake) { n := 0; f.item = func(string, map[string]any) (int, bool) { n++; return 403, n < 20 } },
		"rights come later": func(f *fake) {
			f.request = once(func(w http.ResponseWriter) { refuse(w, 403, "security_exception", "no") })
		},
		"request is too long": func(f *fake) { f.request = tooLong(f, 3) },
		"may not make templates": func(f *fake) {
			f.noTempl = true
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
			got := r.f.exchanges()
			slices.Sort(got)
			slices.Sort(ids)
			if diff := cmp.Diff(ids, got); diff != "" {
				t.Errorf("documents (-want +got):\n%s", diff)
			}
			if st := r.s.State(); st.Dead != 0 || st.Acked != 60 || st.LastError != "" {
				t.Errorf("state %+v", st)
			}
			if n := r.f.biggest(); n > 16 {
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

func drop1(f *fake, n int) {
	if n == 2 {
		clear(f.templates)
	}
}

func tooLong(f *fake, limit int) func(int, http.ResponseWriter) bool {
	return func(n int, w http.ResponseWriter) bool {
		if f.sent[n-1] > limit {
			refuse(w, http.StatusRequestEntityTooLarge, "too_long", "too long")
			return true
		}
		return false
	}
}

func TestDeadLetters(t *testing.T) {
	r := newRig(t)
	r.f.item = func(_ string, doc map[string]any) (int, bool) {
		return http.StatusBadRequest, strings.HasSuffix(doc["event"].(map[string]any)["id"].(string), "3")
	}
	r.exchanges("a", 20)
	r.start()
	r.shipped()
	if st := r.s.State(); st.Dead != 2 || st.Acked != 18 {
		t.Errorf("state %+v", st)
	}
	path := filepath.Join(r.dir, "journal", "elastic.dead.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(b)) {
		var l letter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Status != 400 || l.Reason != "made_up_exception: because" || l.At.Segment == 0 || len(l.Hash) != 64 {
			t.Errorf("letter %+v", l)
		}
		got = append(got, l.Exchange)
	}
	if diff := cmp.Diff([]string{"exc_a_3", "exc_a_13"}, got); diff != "" {
		t.Error(diff)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("dead letters: %v %v", st.Mode(), err)
	}

	// A document that is too long by itself is given up alone.
	r.f.set(func() { r.f.item, r.f.request = nil, tooLong(r.f, 0) })
	r.exchanges("b", 3)
	r.shipped()
	if st := r.s.State(); st.Dead != 5 {
		t.Errorf("state %+v", st)
	}
}

// While the server is away, the journal is what grows: one batch is in memory, the rest is lag.
func TestServerAway(t *testing.T) {
	r := newRig(t)
	r.o.BatchDocs = 10
	r.f.request = func(_ int, w http.ResponseWriter) bool { drop(w); return true }
	r.start()
	ids := r.exchanges("a", 200)
	r.eventually("retrying", func() bool { return r.s.State().State == StateRetrying })
	if st := r.s.State(); st.Lag < 380 || st.Acked != 0 || st.LastError == "" {
		t.Errorf("state %+v", st)
	}
	if n := r.f.biggest(); n > 10 {
		t.Errorf("%d documents in one request", n)
	}
	r.f.set(func() { r.f.request = nil })
	r.shipped()
	r.want(ids...)
}
