// SPDX-License-Identifier: Apache-2.0

package kibana_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/kibana"
)

var update = flag.Bool("update", false, "rewrite deploy/kibana/sallyport.ndjson")

// line is a saved object as Kibana reads it.
type line struct {
	ID, Type    string
	CoreVersion string `json:"coreMigrationVersion"`
	TypeVersion string `json:"typeMigrationVersion"`
	References  []kibana.Reference
	Attributes  struct {
		Title         string
		Name          string
		TimeFieldName string
		FieldFormats  string `json:"fieldFormatMap"`
		Columns       []string
		Sort          [][]string
		VisState      string
		UIState       string `json:"uiStateJSON"`
		Panels        string `json:"panelsJSON"`
		Options       string `json:"optionsJSON"`
		Meta          struct {
			Source string `json:"searchSourceJSON"`
		} `json:"kibanaSavedObjectMeta"`
	}
}

// committed reads the file in deploy as anybody else would: line by line.
func committed(t *testing.T) []line {
	t.Helper()
	file := filepath.Join("..", "..", "..", "deploy", "kibana", "sallyport.ndjson")
	if *update {
		if err := os.WriteFile(file, kibana.NDJSON(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(b), string(kibana.NDJSON())); diff != "" {
		t.Errorf("%s is out of date: run go test ./pipeline/elastic/kibana -update\n%s", file, diff)
	}
	var out []line
	for i, raw := range bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		out = append(out, l)
	}
	return out
}

func parse[T any](t *testing.T, where, s string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	if err := d.Decode(&v); err != nil || d.More() {
		t.Errorf("%s: %v in %q", where, err, s)
	}
	return v
}

type state struct {
	Title, Type string
	Aggs        []struct {
		ID, Type, Schema string
		Params           struct {
			Field   string
			OrderBy string
		}
	}
	Params map[string]any
}

type searchSource struct {
	Query        struct{ Query, Language string }
	IndexRefName string
}

// What Kibana does when it imports the file is done here as far as it is known: each line parses, and so does the JSON in
// strings; IDs are unique; what is named is there; forms are not newer than their types had when this was written.
func TestObjects(t *testing.T) {
	lines := committed(t)
	seen := map[string]line{}
	for _, l := range lines {
		if key := l.Type + "/" + l.ID; seen[key].ID != "" {
			t.Errorf("%s is there twice", key)
		} else {
			seen[key] = l
		}
	}
	versions := map[string]string{"index-pattern": "8.0.0", "search": "8.0.0", "visualization": "8.5.0", "dashboard": "8.9.0"}
	used := map[string]bool{}
	for _, l := range lines {
		if l.CoreVersion != "8.8.0" || l.TypeVersion != versions[l.Type] || l.Attributes.Title == "" {
			t.Errorf("%s %s: title %q, versions %s and %s", l.Type, l.ID, l.Attributes.Title, l.CoreVersion, l.TypeVersion)
		}
		names := map[string]string{}
		for _, r := range l.References {
			if names[r.Name] != "" {
				t.Errorf("%s: two references are named %s", l.ID, r.Name)
			}
			names[r.Name] = r.Type + "/" + r.ID
			used[names[r.Name]] = true
			if seen[names[r.Name]].ID == "" {
				t.Errorf("%s: %s is not in the file", l.ID, names[r.Name])
			}
		}
		if l.Type == "index-pattern" {
			if l.Attributes.TimeFieldName != "@timestamp" || l.Attributes.Name == "" {
				t.Errorf("%s: %+v", l.ID, l.Attributes)
			}
			parse[map[string]any](t, l.ID, l.Attributes.FieldFormats)
			continue
		}
		source := parse[searchSource](t, l.ID, l.Attributes.Meta.Source)
		if ref := source.IndexRefName; (ref == "") != (l.Type == "dashboard") || ref != "" && !strings.HasPrefix(names[ref], "index-pattern/") {
			t.Errorf("%s: data view %q", l.ID, ref)
		}
		switch l.Type {
		case "search":
			if len(l.Attributes.Columns) == 0 || !cmp.Equal(l.Attributes.Sort, [][]string{{"@timestamp", "desc"}}) {
				t.Errorf("%s: columns %v, order %v", l.ID, l.Attributes.Columns, l.Attributes.Sort)
			}
		case "visualization":
			checkState(t, l)
		case "dashboard":
			checkBoard(t, l, names)
		}
	}
	for key := range seen {
		if !used[key] && strings.HasPrefix(key, "visualization/") {
			t.Errorf("nobody shows %s", key)
		}
	}
}

func checkState(t *testing.T, l line) {
	t.Helper()
	parse[map[string]any](t, l.ID, l.Attributes.UIState)
	v := parse[state](t, l.ID, l.Attributes.VisState)
	if v.Title != l.Attributes.Title || len(v.Aggs) == 0 || len(v.Params) == 0 {
		t.Errorf("%s: %+v", l.ID, v)
	}
	ids, axes := map[string]bool{}, 0
	for _, a := range v.Aggs {
		if ids[a.ID] {
			t.Errorf("%s: two aggregations are %s", l.ID, a.ID)
		}
		ids[a.ID] = true
		if a.Params.OrderBy != "" && !ids[a.Params.OrderBy] {
			t.Errorf("%s: ordered by %s, which is not there", l.ID, a.Params.OrderBy)
		}
		if a.Schema == "segment" {
			axes++
		}
		schemas := map[string][]string{"metric": {"metric"}, "table": {"metric", "bucket"}, "histogram": {"metric", "segment", "group"}, "horizontal_bar": {"metric", "segment", "group"}}
		if !slices.Contains(schemas[v.Type], a.Schema) {
			t.Errorf("%s: a %s has no %s", l.ID, v.Type, a.Schema)
		}
	}
	if chart := v.Type == "histogram" || v.Type == "horizontal_bar"; chart && axes != 1 || !chart && axes != 0 {
		t.Errorf("%s: %d axes", l.ID, axes)
	}
}

func checkBoard(t *testing.T, l line, names map[string]string) {
	t.Helper()
	parse[map[string]any](t, l.ID, l.Attributes.Options)
	type grid struct {
		X, Y, W, H int
		I          string
	}
	panels := parse[[]struct {
		Type, PanelIndex, PanelRefName string
		GridData                       grid
	}](t, l.ID, l.Attributes.Panels)
	if len(panels) != len(names) {
		t.Errorf("%s: %d panels, %d references", l.ID, len(panels), len(names))
	}
	for i, p := range panels {
		if ref := names[p.PanelIndex+":"+p.PanelRefName]; !strings.HasPrefix(ref, p.Type+"/") {
			t.Errorf("%s: panel %s is a %s and refers to %q", l.ID, p.PanelIndex, p.Type, ref)
		}
		a := p.GridData
		if a.I != p.PanelIndex || a.X < 0 || a.W < 1 || a.H < 1 || a.X+a.W > 48 {
			t.Errorf("%s: panel %s stands at %+v", l.ID, p.PanelIndex, a)
		}
		for _, q := range panels[:i] {
			if b := q.GridData; a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s: panels %s and %s overlap", l.ID, q.PanelIndex, p.PanelIndex)
			}
		}
	}
}

// Every data stream has a data view whose pattern matches it, and one that matches all; no pattern matches another's.
func TestDataViewsMatchTheStreams(t *testing.T) {
	var names []kibana.Stream
	for _, s := range document.Streams() {
		names = append(names, kibana.Stream(s.Name))
	}
	if diff := cmp.Diff(names, kibana.Streams()); diff != "" {
		t.Errorf("streams written and shown: %s", diff)
	}
	for _, s := range kibana.Streams() {
		for _, tenant := range []string{"default", "acme"} {
			name := document.Index(string(s), tenant)
			for _, v := range append(kibana.Streams(), kibana.All) {
				ok, err := path.Match(v.Pattern(), name)
				if err != nil || ok != (v == s || v == kibana.All) {
					t.Errorf("%s and %s: %v, %v", v.Pattern(), name, ok, err)
				}
			}
		}
	}
}

var named = regexp.MustCompile(`(?:^|[ (])([a-z@][a-z0-9_.]*):`) // fields of a query

// Every field that a panel or a saved search names is one that documents of its stream have, of a type that its
// aggregation takes; and the search that is tested asks what the saved object shows.
func TestFieldsExist(t *testing.T) {
	objects := map[string]line{}
	for _, l := range committed(t) {
		objects[l.ID] = l
	}
	for _, s := range kibana.Searches("now-7d") {
		types := typesOf(s.Stream)
		l, ok := objects[s.ID]
		if !ok {
			t.Errorf("%s is asked for and not in the file", s.ID)
			continue
		}
		delete(objects, s.ID)
		if got := parse[searchSource](t, s.ID, l.Attributes.Meta.Source).Query; got.Query != s.Query || got.Language != "lucene" {
			t.Errorf("%s: asks %q, shows %+v", s.ID, s.Query, got)
		}
		shown := l.Attributes.Columns
		if l.Type == "visualization" {
			for _, a := range parse[state](t, s.ID, l.Attributes.VisState).Aggs {
				if a.Params.Field == "" {
					continue
				}
				shown = append(shown, a.Params.Field)
				typ := types[a.Params.Field]
				numeric := a.Type == "sum" || a.Type == "percentiles"
				if numeric && typ != "long" || a.Type == "date_histogram" && typ != "date" || a.Type == "terms" && !slices.Contains([]string{"keyword", "boolean", "long"}, typ) ||
					a.Type == "max" && typ != "date" && typ != "long" {
					t.Errorf("%s: %s of %s, which is a %s", s.ID, a.Type, a.Params.Field, typ)
				}
			}
		}
		if diff := cmp.Diff(shown, s.Fields); diff != "" {
			t.Errorf("%s: shown and asked for: %s", s.ID, diff)
		}
		for _, f := range named.FindAllStringSubmatch(s.Query, -1) {
			shown = append(shown, f[1])
		}
		if s.Query != "" && len(shown) == len(s.Fields) {
			t.Errorf("%s: no field found in %q", s.ID, s.Query)
		}
		for _, f := range shown {
			if types[f] == "" {
				t.Errorf("%s: documents of %s have no field %s", s.ID, s.Stream, f)
			}
		}
	}
	for id, l := range objects {
		if l.Type == "search" || l.Type == "visualization" {
			t.Errorf("%s is in the file and nobody asks for it", id)
		}
		if l.Type == "index-pattern" {
			for f := range parse[map[string]any](t, id, l.Attributes.FieldFormats) {
				if typesOf(kibana.Exchange)[f] == "" {
					t.Errorf("%s: no document has a field %s", id, f)
				}
			}
		}
	}
}

// typesOf gives the mapping types of the fields of a stream's documents; of all streams, of those that all have.
func typesOf(s kibana.Stream) map[string]string {
	out := map[string]string{}
	if s != kibana.All {
		for _, f := range document.Fields(string(s)) {
			out[f.Name] = f.Type
		}
		return out
	}
	times := map[string]int{}
	for _, one := range kibana.Streams() {
		for name, typ := range typesOf(one) {
			if times[name]++; times[name] == len(kibana.Streams()) {
				out[name] = typ
			}
		}
	}
	return out
}
