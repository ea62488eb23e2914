// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package es_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/kibana"
	"github.com/sallyport-dev/sallyport/test/es"
)

// What every panel and saved search of deploy/kibana asks is asked of a real server that holds documents with a value in
// each field: the query finds them, each level of buckets has some, each figure has a value.
func TestKibanaPanels(t *testing.T) {
	ctx := context.Background()
	server, err := es.Start(ctx, filepath.Join(t.TempDir(), "es"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Stop() }()
	for _, template := range document.Templates(document.Lifecycle{}) {
		if err := server.Do(ctx, http.MethodPut, template.Path, template.Body, nil); err != nil {
			t.Fatal(err)
		}
	}
	const each = 6
	for _, stream := range kibana.Streams() {
		for n := range each {
			path := fmt.Sprintf("/%s/_create/%d", document.Index(string(stream), "default"), n)
			if err := server.Do(ctx, http.MethodPut, path, sample(stream, n), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := server.Do(ctx, http.MethodPost, "/"+kibana.All.Pattern()+"/_refresh", nil, nil); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, s := range kibana.Searches("now-7d") {
		t.Run(s.ID, func(t *testing.T) {
			var caps struct{ Fields map[string]any }
			if err := server.Do(ctx, http.MethodGet, "/"+s.Stream.Pattern()+"/_field_caps?fields="+strings.Join(s.Fields, ","), nil, &caps); err != nil {
				t.Fatal(err)
			}
			for _, f := range s.Fields {
				if caps.Fields[f] == nil {
					t.Errorf("the server knows no field %s", f)
				}
			}
			var found struct {
				Hits struct {
					Total struct{ Value int }
					Hits  []struct{ Fields map[string][]any }
				}
				Aggregations map[string]json.RawMessage
			}
			if err := server.Do(ctx, http.MethodPost, "/"+s.Stream.Pattern()+"/_search", s.Body, &found); err != nil {
				t.Fatal(err)
			}
			want := each
			if s.Stream == kibana.All {
				want *= len(kibana.Streams())
			}
			if got := found.Hits.Total.Value; got == 0 || got > want || s.Query == "" && got != want {
				t.Errorf("%d documents, want %d or, with a query, fewer", got, want)
			}
			if s.Levels == 0 && found.Aggregations == nil {
				for _, h := range found.Hits.Hits {
					for _, f := range s.Fields {
						if len(h.Fields[f]) == 0 {
							t.Errorf("a document without %s", f)
						}
					}
				}
			}
			checkBuckets(t, found.Aggregations, 0, s.Levels)
			asked++
		})
	}
	t.Logf("%d searches", asked)
}

// checkBuckets goes down through all levels of an answer.
func checkBuckets(t *testing.T, aggs map[string]json.RawMessage, level, levels int) {
	t.Helper()
	divided := false
	for name, raw := range aggs {
		var a struct {
			Value   *float64
			Values  map[string]*float64
			Buckets []map[string]json.RawMessage
		}
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatalf("%s: %v in %s", name, err, raw)
		}
		switch {
		case a.Buckets != nil:
			divided = true
			if len(a.Buckets) == 0 {
				t.Errorf("no buckets at level %d", level)
			}
			for _, b := range a.Buckets {
				inner := map[string]json.RawMessage{}
				for k, v := range b {
					if strings.HasPrefix(string(v), "{") {
						inner[k] = v
					}
				}
				checkBuckets(t, inner, level+1, levels)
			}
		case a.Values != nil:
			for percent, v := range a.Values {
				if v == nil {
					t.Errorf("%s: no percentile %s", name, percent)
				}
			}
		case a.Value == nil || *a.Value == 0:
			t.Errorf("%s: no value in %s", name, raw)
		}
	}
	if divided != (level < levels) {
		t.Errorf("level %d of %d: %v", level, levels, aggs)
	}
}

// sample is a document with a value in each field of a stream, such that every query of the panels matches it.
func sample(stream kibana.Stream, n int) map[string]any {
	doc := map[string]any{}
	for _, f := range document.Fields(string(stream)) {
		var v any
		switch f.Type {
		case "date":
			v = time.Now().Add(-time.Duration(n) * time.Hour).UTC().Format(time.RFC3339Nano)
		case "long", "integer", "float", "double":
			v = 1 + n
		case "boolean":
			v = n%2 == 0
		case "ip":
			v = "192.0.2.1"
		case "flattened", "object":
			v = map[string]any{"a": "b"}
		default:
			v = fmt.Sprintf("%s %d", f.Name, n)
		}
		if known, ok := samples[f.Name]; ok {
			v = known[n%len(known)]
		}
		set(doc, strings.Split(f.Name, "."), v)
	}
	return doc
}

// samples are the values that queries ask for: document n has the n-th of them, in turn.
var samples = map[string][]any{
	"event.kind":   {"alert"},
	"event.action": {"decision", "approval", "elevation", "gap", "missed", "open"},
}

func set(doc map[string]any, path []string, v any) {
	if len(path) == 1 {
		doc[path[0]] = v
		return
	}
	next, _ := doc[path[0]].(map[string]any)
	if next == nil {
		next = map[string]any{}
		doc[path[0]] = next
	}
	set(next, path[1:], v)
}
