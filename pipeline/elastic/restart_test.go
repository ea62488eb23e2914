// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	if err := json.Unmarshal(r.f.docs[r.f.order[20]], &doc); err != nil || doc.GenAI.Request.Model != "m" {
		t.Errorf("the document lacks its intent: %s %v", r.f.docs[r.f.order[20]], err)
	}
	if r.f.conflicts != 0 {
		t.Errorf("%d documents were sent again", r.f.conflicts)
	}
}

func TestCursorThatDoesNotFit(t *testing.T) {
	for name, content := range map[string]string{
		"garbage":         "}",
		"cut":             `{"resume":{"segm`,
		"other journal":   `{"resume":{"segment":77,"offset":80},"done":{"segment":77,"offset":80},"generation":1,"sequence":9}`,
		"behind the end":  `{"resume":{"segment":1,"offset":9999999},"done":{"segment":1,"offset":9999999},"generation":1,"sequence":9}`,
		"done before all": `{"resume":{"segment":2,"offset":80},"done":{"segment":1,"offset":80},"generation":1,"sequence":9}`,
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
			if r.f.conflicts != 5 {
				t.Errorf("%d conflicts, want 5", r.f.conflicts)
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

func TestServersThatAreNotOurs(t *testing.T) {
	tests := map[string]struct {
		prepare func(*rig)
		want    string
	}{
		"another product": {func(r *rig) { r.f.foreign = true }, "not Elasticsearch"},
		"wrong key":       {func(r *rig) { r.f.key, r.o.APIKey = "APIKey right", NewSecret("wrong") }, "401"},
		"unknown authority": {func(r *rig) {
			s := httptest.NewUnstartedServer(r.f)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			r.t.Cleanup(s.Close)
			r.o.URL = s.URL
		}, "certificate"},
		"nobody there": {func(r *rig) { r.o.URL = "http://127.0.0.1:1" }, "refused"},
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
			if n := len(r.f.exchanges()); n != 0 {
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
		"API key":  {func(o *Options) { o.APIKey = NewSecret("a2V5") }, "APIKey a2V5"},
		"password": {func(o *Options) { o.Username, o.Password = "u", NewSecret("p") }, "Basic dTpw"},
		"nothing":  {func(*Options) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tt.set(&r.o)
			r.exchanges("a", 1)
			r.start()
			r.shipped()
			if r.f.auth != tt.want {
				t.Errorf("Authorization %q, want %q", r.f.auth, tt.want)
			}
		})
	}
}

func TestLag(t *testing.T) {
	older := []journal.Generation{{Number: 1, Last: 10}, {Number: 2, Last: 5}, {Number: 4, Last: 7}}
	for name, tt := range map[string]struct {
		done, head place
		want       int64
	}{
		"same generation": {place{5, 3}, place{5, 9}, 6},
		"nothing done":    {place{}, place{5, 9}, 31},
		"one before":      {place{4, 2}, place{5, 9}, 14},
		"two before":      {place{2, 5}, place{5, 9}, 16},
		"first":           {place{1, 9}, place{5, 1}, 14},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lag(older, tt.done, tt.head); got != tt.want {
				t.Errorf("lag %d, want %d", got, tt.want)
			}
		})
	}
}
