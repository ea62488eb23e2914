// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fake is an Elasticsearch with one data stream: it keeps templates and documents, refuses what the real one refuses,
// and can be told to misbehave.
type fake struct {
	*httptest.Server
	t *testing.T

	mu        sync.Mutex
	templates map[string]json.RawMessage
	docs      map[string]json.RawMessage
	order     []string // IDs as they were created
	sent      []int    // documents of each bulk request
	conflicts int
	auth      string // of the last request

	foreign bool                                            // another product answers
	key     string                                          // the Authorization that is wanted; "" = any
	noTempl bool                                            // the key may not make templates
	request func(n int, w http.ResponseWriter) bool         // for bulk request n, from 1: true if it has answered
	item    func(id string, doc map[string]any) (int, bool) // status instead of creating
	after   func(n int, w http.ResponseWriter) bool         // the same after the documents are stored
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, templates: map[string]json.RawMessage{}, docs: map[string]json.RawMessage{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil { // a shipper that was stopped while it sent: nothing is done with half a request
		drop(w)
		return
	}
	if !f.foreign {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
	}
	w.Header().Set("Content-Type", "application/json")
	f.auth = r.Header.Get("Authorization")
	if f.key != "" && f.auth != f.key {
		refuse(w, http.StatusUnauthorized, "security_exception", "unable to authenticate")
		return
	}
	first, _, _ := strings.Cut(r.URL.Path[1:], "/")
	switch {
	case r.Method == http.MethodPut && (first == "_component_template" || first == "_index_template"):
		if f.noTempl {
			refuse(w, http.StatusForbidden, "security_exception", "action is unauthorized")
			return
		}
		f.templates[strings.TrimPrefix(r.URL.Path, "/"+first+"/")] = body
		_, _ = w.Write([]byte(`{"acknowledged":true}`))
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/_bulk"):
		f.bulk(w, r, first, body)
	default:
		f.t.Errorf("fake: unexpected %s %s", r.Method, r.URL)
		refuse(w, http.StatusBadRequest, "unexpected", r.URL.Path)
	}
}

func refuse(w http.ResponseWriter, status int, kind, reason string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"type":%q,"reason":%q},"status":%d}`, kind, reason, status)
}

// drop cuts the connection without an answer.
func drop(w http.ResponseWriter) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

func (f *fake) bulk(w http.ResponseWriter, r *http.Request, stream string, body []byte) {
	type line struct {
		id  string
		doc json.RawMessage
	}
	var items []line
	for sc := bufio.NewScanner(bytes.NewReader(body)); sc.Scan(); {
		var op struct {
			Create struct {
				ID string `json:"_id"`
			}
		}
		if err := json.Unmarshal(sc.Bytes(), &op); err != nil || op.Create.ID == "" || !sc.Scan() {
			f.t.Errorf("fake: operation %q: %v", sc.Text(), err)
			return
		}
		items = append(items, line{op.Create.ID, bytes.Clone(sc.Bytes())})
	}
	if r.URL.Query().Get("require_data_stream") != "true" || stream != "logs-sallyport.exchange-default" {
		f.t.Errorf("fake: documents for %s?%s", stream, r.URL.RawQuery)
	}
	f.sent = append(f.sent, len(items))
	if f.request != nil && f.request(len(f.sent), w) {
		return
	}
	var out []string
	for _, it := range items {
		status, kind := http.StatusCreated, ""
		var doc map[string]any
		if err := json.Unmarshal(it.doc, &doc); err != nil {
			f.t.Errorf("fake: document %q: %v", it.doc, err)
		}
		switch {
		case f.templates[templateName] == nil && !f.noTempl:
			status, kind = http.StatusNotFound, "index_not_found_exception"
		case f.docs[it.id] != nil:
			status, kind = http.StatusConflict, "version_conflict_engine_exception"
			f.conflicts++
		}
		if f.item != nil && status == http.StatusCreated {
			if s, ok := f.item(it.id, doc); ok {
				status, kind = s, "made_up_exception"
			}
		}
		if kind != "" {
			out = append(out, fmt.Sprintf(`{"create":{"_id":%q,"status":%d,"error":{"type":%q,"reason":"because"}}}`, it.id, status, kind))
			continue
		}
		f.docs[it.id] = it.doc
		f.order = append(f.order, it.id)
		out = append(out, fmt.Sprintf(`{"create":{"_id":%q,"status":201}}`, it.id))
	}
	if f.after != nil && f.after(len(f.sent), w) {
		return
	}
	_, _ = fmt.Fprintf(w, `{"errors":true,"items":[%s]}`, strings.Join(out, ","))
}

// exchanges lists the exchange IDs of the documents in the order in which they came.
func (f *fake) exchanges() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, id := range f.order {
		var doc struct{ Event struct{ ID string } }
		if err := json.Unmarshal(f.docs[id], &doc); err != nil {
			f.t.Error(err)
		}
		out = append(out, doc.Event.ID)
	}
	return out
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// biggest is the size of the largest bulk request, in documents.
func (f *fake) biggest() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Max(append([]int{0}, f.sent...))
}
