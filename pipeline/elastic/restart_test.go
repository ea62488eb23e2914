// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// What began before the cursor and ends after a restart is shipped whole.
func TestExchangeAcrossRestart(t *testing.T) {
	r := newRig(t)
	r.begin("exc_long")
	r.start()
	ids := r.exchanges("a", 20)
	r.shipped()
	r.stop()
	if err := r.j.Close(); err != nil {
		t.Fatal(err)
	}
	r.openJournal()
	r.start()
	r.end("exc_long")
	r.shipped()
	r.want(append(ids, "exc_long")...)
	var doc struct {
		GenAI struct {
			Request struct{ Model string }
		} `json:"gen_ai"`
	}
	if err := json.Unmarshal(r.f.Docs(document.Exchange)[20].Source, &doc); err != nil || doc.GenAI.Request.Model != "m" {
		t.Errorf("the document lacks its intent: %s %v", r.f.Docs(document.Exchange)[20].Source, err)
	}
	if r.f.Conflicts != 0 {
		t.Errorf("%d documents were sent again", r.f.Conflicts)
	}
}

func TestCursorThatDoesNotFit(t *testing.T) {
	for name, content := range map[string]string{
		"garbage":         "}",
		"cut":             `{"resume":{"segm`,
		"other journal":   `{"resume":[{"generation":1,"sequence":9,"segment":77,"offset":80}],"done":[{"generation":1,"sequence":9,"segment":77,"offset":80}]}`,
		"behind the end":  `{"resume":[{"generation":1,"segment":1,"offset":9999999}],"done":[{"generation":1,"segment":1,"offset":9999999}]}`,
		"done before all": `{"resume":[{"generation":1,"segment":2,"offset":80}],"done":[{"generation":1,"segment":1,"offset":80}]}`,
		"older format":    `{"resume":{"segment":1,"offset":80},"done":{"segment":1,"offset":80},"generation":1,"sequence":9}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			ids := r.exchanges("a", 5)
			r.start()
			r.shipped()
			r.stop()
			if err := os.WriteFile(filepath.Join(r.dir, "journal", "elastic.cursor"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			r.start()
			ids = append(ids, r.exchanges("b", 1)...)
			r.shipped()
			r.want(ids...)
			if r.f.Conflicts != 0 || r.f.Looked < 10 {
				t.Errorf("%d conflicts; %d documents were looked for", r.f.Conflicts, r.f.Looked)
			}
		})
	}
}

func TestRunEndsWithTheJournal(t *testing.T) {
	r := newRig(t)
	ids := r.exchanges("a", 5)
	r.o.Journal = r.j
	s, err := New(r.o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	if err := r.j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.want(ids...)
}

// Files of our own that cannot be written stop the shipping, not the daemon.
func TestStopsWhenItCannotNote(t *testing.T) {
	r := newRig(t)
	r.o.Dir = filepath.Join(r.dir, "missing")
	r.exchanges("a", 2)
	r.start()
	r.eventually("stopped", func() bool { return r.s.State().State == StateStopped })
	if st := r.s.State(); !strings.Contains(st.LastError, "writing the cursor") {
		t.Errorf("state %+v", st)
	}
}

// A disk that is full for a time stops nothing for good: shipping goes on when there is room, and each document is there once.
func TestGoesOnWhenThereIsRoom(t *testing.T) {
	r := newRig(t)
	r.o.Dir = filepath.Join(r.dir, "state")
	if err := os.Mkdir(r.o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(r.o.Dir, "elastic.cursor.new")
	if err := os.Symlink("/dev/full", full); err != nil { // each write to it fails with ENOSPC
		t.Fatal(err)
	}
	ids := r.exchanges("a", 2)
	r.start()
	r.eventually("retrying", func() bool {
		st := r.s.State()
		return st.State == StateRetrying && strings.Contains(st.LastError, "no space left")
	})
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, r.exchanges("b", 2)...)
	r.shipped()
	r.want(ids...)
}

func TestServersThatAreNotOurs(t *testing.T) {
	tests := map[string]struct {
		prepare func(*rig)
		want    string
	}{
		"another product": {func(r *rig) { r.f.Foreign = true }, "not Elasticsearch"},
		"wrong key":       {func(r *rig) { r.f.Key, r.o.APIKey = "APIKey right", client.NewSecret("wrong") }, "401"},
		"unknown authority": {func(r *rig) {
			s := httptest.NewUnstartedServer(r.f)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			r.t.Cleanup(s.Close)
			r.o.URLs = []string{s.URL}
		}, "certificate"},
		"nobody there": {func(r *rig) { r.o.URLs = []string{"http://127.0.0.1:1"} }, "refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tt.prepare(r)
			r.exchanges("a", 1)
			r.start()
			r.eventually("retrying", func() bool { return r.s.State().State == StateRetrying })
			if st := r.s.State(); !strings.Contains(st.LastError, tt.want) || strings.Contains(st.LastError, "\n") {
				t.Errorf("state %+v, want %q", st, tt.want)
			}
			r.stop()
			if n := len(r.got()); n != 0 {
				t.Errorf("%d documents", n)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(*Options)
		want string
	}{
		"API key":  {func(o *Options) { o.APIKey = client.NewSecret("a2V5") }, "APIKey a2V5"},
		"password": {func(o *Options) { o.Username, o.Password = "u", client.NewSecret("p") }, "Basic dTpw"},
		"nothing":  {func(*Options) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tt.set(&r.o)
			r.exchanges("a", 1)
			r.start()
			r.shipped()
			if r.f.Auth != tt.want {
				t.Errorf("Authorization %q, want %q", r.f.Auth, tt.want)
			}
		})
	}
}

// Two generations are written side by side while the shipper of the newer one ships both: each exchange once and whole,
// also those that begin before the hand-over, and also if the shipper starts anew meanwhile.
func TestAcrossHandOver(t *testing.T) {
	r := newRig(t)
	r.begin("exc_long")
	r.begin("exc_cut")
	r.start()
	ids := r.exchanges("before", 10)
	r.shipped()
	r.stop()
	old := r.j
	var err error
	r.j, err = journal.Open(journal.Options{Dir: old.Dir(), SegmentBytes: 64 << 10, EventDelay: time.Microsecond, Beside: true, Follow: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.j.Close() })
	if n, err := r.j.CloseOpen(context.Background()); n != 0 || err != nil {
		t.Fatalf("%d exchanges of a generation that runs were closed: %v", n, err)
	}
	young := r.j
	for round := range 4 {
		r.start()
		r.j = old
		ids = append(ids, r.exchanges(fmt.Sprintf("old_%d", round), 40)...)
		r.j = young
		ids = append(ids, r.exchanges(fmt.Sprintf("new_%d", round), 40)...)
		if round%2 == 0 {
			r.stop()
		} else {
			r.eventually("most is shipped", func() bool { return r.s.State().Lag < 10 })
			r.stop()
		}
	}
	r.j = old
	r.end("exc_long")
	r.j = young
	r.start()
	if err := old.Close(); err != nil { // with an exchange open, as after a drain that came to its limit
		t.Fatal(err)
	}
	r.eventually("both are there", func() bool { return len(r.got()) == len(ids)+2 })
	r.shipped()
	got := r.got()
	slices.Sort(got)
	ids = append(ids, "exc_long", "exc_cut")
	slices.Sort(ids)
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	for _, d := range r.f.Docs(document.Exchange) {
		if !strings.Contains(string(d.Source), `"model":"m"`) {
			t.Errorf("a document lacks its intent: %s", d.Source)
		}
	}
	r.stop()
	r.start()
	r.exchanges("after", 3)
	r.shipped()
	if n := len(r.got()); n != len(ids)+3 {
		t.Errorf("%d documents, want %d", n, len(ids)+3)
	}
}
