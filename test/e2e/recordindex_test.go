// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// document is what is read of one in the index.
type document struct {
	Index  string `json:"_index"`
	Sort   []any
	Source struct {
		Event     struct{ ID, Outcome string }
		Sallyport struct {
			Request struct{ SHA256 string }
			Cut     string
		}
	} `json:"_source"`
}

// documents reads all of the data stream, in the order of exchanges.
func (r *record) documents() (out []document) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Minute)
	defer cancel()
	must(r.t, r.server.Do(ctx, http.MethodPost, "/"+exchangeStream+"/_refresh", nil, nil))
	body := map[string]any{"size": 5000, "sort": []any{map[string]any{"event.id": "asc"}, map[string]any{"_index": "asc"}},
		"_source": []string{"event.id", "event.outcome", "sallyport.request.sha256", "sallyport.cut"}}
	for {
		var found struct{ Hits struct{ Hits []document } }
		must(r.t, r.server.Do(ctx, http.MethodPost, "/"+exchangeStream+"/_search", body, &found))
		hits := found.Hits.Hits
		if len(hits) == 0 {
			return out
		}
		out = append(out, hits...)
		body["search_after"] = hits[len(hits)-1].Sort
	}
}

// request is what the journal tells of the request of an exchange. Without one on record, or with one whose content was left out
// because there was no room for its key, there is nothing that a digest could be of.
type request struct {
	digest string
	body   bool // it is on record
}

// journalled reads the exchanges of the journal that have ended.
func (r *record) journalled() map[string]request {
	r.t.Helper()
	in, err := journal.OpenReader(r.disk, pipeline.Position{})
	must(r.t, err)
	defer in.Close()
	begun, ended := map[string]request{}, map[string]request{}
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return ended
		}
		must(r.t, err)
		switch e.Kind {
		case pipeline.KindIntent:
			var intent pipeline.Intent
			must(r.t, e.Decode(&intent))
			begun[e.Exchange] = request{intent.Digest(), len(intent.Body) > 0}
		case pipeline.KindOutcome:
			ended[e.Exchange] = begun[e.Exchange]
			delete(begun, e.Exchange)
		}
	}
}

func (r *record) compare(failed string) {
	t := r.t
	t.Helper()
	docs, records := r.documents(), r.journalled()
	bad := 0
	wrong := func(format string, args ...any) {
		t.Helper()
		if bad++; bad <= 20 {
			t.Errorf(format, args...)
		}
	}
	if n := r.count(); n != len(docs) {
		t.Errorf("%d documents read, %d counted", len(docs), n)
	}
	indices := map[string]bool{}
	times := map[string]int{} // exchanges
	whole := map[string]int{} // requests that are on record as answered
	known := map[string]int{} // requests
	unasked := 0              // exchanges without a request on record
	for _, d := range docs {
		indices[d.Index] = true
		id, digest := d.Source.Event.ID, d.Source.Sallyport.Request.SHA256
		if times[id]++; times[id] > 1 {
			wrong("exchange %s is there %d times", id, times[id])
			continue
		}
		want, ok := records[id]
		if !ok || want.digest != digest {
			wrong("exchange %s: request %.8s in the index, %.8s in the journal (%v)", id, digest, want.digest, ok)
		}
		if want.body && want.digest == "" {
			wrong("exchange %s: its request is on record without a digest", id)
		}
		if !want.body && d.Source.Event.Outcome == "success" {
			wrong("exchange %s is on record as answered, and its request is not on record", id)
		}
		if digest == "" {
			unasked++
			continue
		}
		known[digest]++
		if d.Source.Event.Outcome == "success" {
			whole[digest]++
		}
	}
	for id := range records {
		if times[id] == 0 {
			wrong("exchange %s is in the journal and not in the index", id)
		}
	}
	asked := map[string]int{}
	for _, q := range r.w.fake.Requests() {
		if asked[q.BodySHA256]++; known[q.BodySHA256] != 1 || asked[q.BodySHA256] != 1 {
			wrong("request %.8s: the provider got it %d times, it is %d times in the index", q.BodySHA256, asked[q.BodySHA256], known[q.BodySHA256])
		}
	}
	for digest := range whole {
		if asked[digest] == 0 {
			wrong("request %.8s is on record as answered, and the provider knows nothing of it", digest)
		}
	}
	f, err := os.Open(r.answered)
	must(t, err)
	defer f.Close()
	got := 0
	for lines := bufio.NewScanner(f); lines.Scan(); got++ {
		if whole[lines.Text()] != 1 {
			wrong("request %.8s was answered and is %d times on record as that", lines.Text(), whole[lines.Text()])
		}
	}
	if bad > 20 {
		t.Errorf("%d errors in all", bad)
	}
	if got < r.questions {
		t.Errorf("%d questions were answered, want %d or more", got, r.questions)
	}
	never := len(docs) - len(asked) // recorded before they were to be sent, and then the agent died or there was no room
	t.Logf("%d questions answered; the provider was asked %d times; %d documents in %d indices, %d of them never sent, %d without a request on record, %d cut or refused; failed at the client: %s",
		got, len(asked), len(docs), len(indices), never, unasked, len(docs)-len(whole), failed)
	if len(indices) < 2 { // what came after the last rollover may be nothing
		t.Errorf("the data stream has %d indices: it did not roll over", len(indices))
	}
}
