// SPDX-License-Identifier: Apache-2.0

package fakees

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
)

// query is what a search may ask: documents of some IDs, or those that have values in all of some fields.
type query struct {
	IDs *struct {
		Values []string `json:"values"`
	} `json:"ids"`
	Term   map[string]any          `json:"term"`
	Exists *struct{ Field string } `json:"exists"`
	Bool   *struct {
		Filter  []query `json:"filter"`
		Should  []query `json:"should"`
		MustNot []query `json:"must_not"`
	} `json:"bool"`
	MatchAll *struct{} `json:"match_all"`
}

func (q *query) fits(h *Hit, doc map[string]any) bool {
	switch {
	case q == nil || q.MatchAll != nil:
		return true
	case q.IDs != nil:
		return slices.Contains(q.IDs.Values, h.ID)
	case q.Exists != nil:
		return value(doc, q.Exists.Field) != nil
	case q.Bool != nil:
		for i := range q.Bool.Filter {
			if !q.Bool.Filter[i].fits(h, doc) {
				return false
			}
		}
		if slices.ContainsFunc(q.Bool.MustNot, func(s query) bool { return s.fits(h, doc) }) {
			return false
		}
		return len(q.Bool.Should) == 0 || slices.ContainsFunc(q.Bool.Should, func(s query) bool { return s.fits(h, doc) })
	}
	for field, want := range q.Term {
		if fmt.Sprint(value(doc, field)) != fmt.Sprint(want) {
			return false
		}
	}
	return true
}

func value(doc map[string]any, field string) any {
	first, rest, deeper := strings.Cut(field, ".")
	v := doc[first]
	if !deeper {
		return v
	}
	m, _ := v.(map[string]any)
	return value(m, rest)
}

func (f *Server) search(w http.ResponseWriter, r *http.Request, pattern string, body []byte) {
	switch {
	case r.Method == http.MethodDelete:
		f.pits--
		_, _ = w.Write([]byte(`{"succeeded":true}`))
		return
	case f.missing(pattern):
		Refuse(w, http.StatusNotFound, "index_not_found_exception", pattern)
		return
	case strings.HasSuffix(r.URL.Path, "/_pit"):
		f.pits++
		_, _ = fmt.Fprintf(w, `{"id":%q}`, pattern)
		return
	}
	var ask struct {
		Query  *query `json:"query"`
		Size   int    `json:"size"`
		After  []int  `json:"search_after"`
		Source any    `json:"_source"`
		Pit    *struct{ ID string }
	}
	if err := json.Unmarshal(body, &ask); err != nil {
		f.complain("fake: search %s: %v", body, err)
	}
	if ask.Pit != nil {
		pattern = ask.Pit.ID
	}
	if r.URL.Query().Get("allow_partial_search_results") != "false" {
		f.complain("fake: a search that may leave out what cannot be reached: %s", r.URL)
	}
	var hits []Hit
	total, n := 0, 0
	for _, name := range f.names() {
		if ok, _ := path.Match(pattern, name); !ok {
			continue
		}
		for _, x := range f.Streams[name].Indices {
			for _, h := range x.Docs {
				var doc map[string]any
				if err := json.Unmarshal(h.Source, &doc); err != nil {
					f.complain("fake: %v", err)
				}
				if !ask.Query.fits(&h, doc) {
					continue
				}
				total++
				if n++; len(ask.After) > 0 && n <= ask.After[0] || len(hits) >= ask.Size {
					continue
				}
				if ask.Source == false {
					h.Source = nil
				}
				h.Sort = []any{n}
				hits = append(hits, h)
			}
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"pit_id": pattern, "_shards": map[string]any{"total": 1, "failed": 0}, "hits": map[string]any{"total": map[string]any{"value": total}, "hits": append([]Hit{}, hits...)}})
}

func (f *Server) names() (out []string) {
	for name := range f.Streams {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Pits is how many points in time are open.
func (f *Server) Pits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pits
}
