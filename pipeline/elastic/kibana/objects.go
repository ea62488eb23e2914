// SPDX-License-Identifier: Apache-2.0

package kibana

import (
	"bytes"
	"encoding/json"
)

// Object is one saved object: one line of the file that Kibana imports.
type Object struct {
	ID          string         `json:"id"`
	Type        string         `json:"type"`
	Attributes  map[string]any `json:"attributes"`
	References  []Reference    `json:"references"`
	CoreVersion string         `json:"coreMigrationVersion"`
	TypeVersion string         `json:"typeMigrationVersion"`
}

// Reference is how one object names another: by a name that its attributes use.
type Reference struct {
	Name string `json:"name"`
	Type string `json:"type"`
	ID   string `json:"id"`
}

// The types of saved objects, and the versions of their forms. Kibana migrates older forms when it imports them and refuses
// newer ones, so these are the oldest that have the form below: any Kibana from 8.9 on should take them.
const (
	viewType      = "index-pattern"
	searchType    = "search"
	visType       = "visualization"
	dashboardType = "dashboard"
	coreVersion   = "8.8.0"
)

func versionOf(typ string) string {
	switch typ {
	case visType:
		return "8.5.0"
	case dashboardType:
		return "8.9.0"
	}
	return "8.0.0"
}

// indexRef names the data view in the search source of an object.
const indexRef = "kibanaSavedObjectMeta.searchSourceJSON.index"

// Objects lists all saved objects: data views, saved searches, visualisations, dashboards.
func Objects() []Object {
	out := []Object{dataView(All, "Sallyport: everything")}
	for _, s := range Streams() {
		out = append(out, dataView(s, "Sallyport: "+string(s)))
	}
	for _, s := range searches() {
		out = append(out, object(searchType, s.id, map[string]any{
			"title": s.title, "description": "", "columns": s.columns, "sort": [][]string{{timeField, "desc"}}, "grid": map[string]any{}, "hideChart": false,
			"kibanaSavedObjectMeta": source(s.query, "lucene", true),
		}, Reference{indexRef, viewType, s.stream.viewID()}))
	}
	for _, b := range boards() {
		for i := range b.panels {
			p := &b.panels[i]
			out = append(out, object(visType, p.id, map[string]any{
				"title": p.title, "description": "", "version": 1, "uiStateJSON": "{}", "visState": inner(p.state()),
				"kibanaSavedObjectMeta": source(p.query, "lucene", true),
			}, Reference{indexRef, viewType, p.stream.viewID()}))
		}
	}
	for _, b := range boards() {
		out = append(out, b.object())
	}
	return out
}

// NDJSON is the file: one object a line.
func NDJSON() []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, o := range Objects() {
		if err := enc.Encode(o); err != nil {
			panic(err) // constants of this package
		}
	}
	return out.Bytes()
}

func object(typ, id string, attributes map[string]any, refs ...Reference) Object {
	return Object{ID: id, Type: typ, Attributes: attributes, References: refs, CoreVersion: coreVersion, TypeVersion: versionOf(typ)}
}

// inner is JSON in a string, as which Kibana keeps most of what it saves.
func inner(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // constants of this package
	}
	return string(b)
}

// source is the query of an object. indexed objects have a data view.
func source(query, language string, indexed bool) map[string]any {
	s := map[string]any{"query": map[string]any{"query": query, "language": language}, "filter": []any{}}
	if indexed {
		s["indexRefName"] = indexRef
	}
	return map[string]any{"searchSourceJSON": inner(s)}
}

func dataView(s Stream, name string) Object {
	return object(viewType, s.viewID(), map[string]any{
		"title": s.Pattern(), "name": name, "timeFieldName": timeField, "fields": "[]", "fieldAttrs": "{}", "runtimeFieldMap": "{}",
		"sourceFilters": "[]", "typeMeta": "{}", "fieldFormatMap": inner(formats()), "allowNoIndex": true,
	})
}

// formats says how numbers are shown that are not plain ones.
func formats() map[string]any {
	size := map[string]any{"id": "bytes"}
	return map[string]any{
		"http.request.body.bytes":  size,
		"http.response.body.bytes": size,
		"event.duration": map[string]any{"id": "duration", "params": map[string]any{
			"inputFormat": "nanoseconds", "outputFormat": "asMilliseconds", "outputPrecision": 0}},
	}
}

func (b *board) object() Object {
	var refs []Reference
	var panels []any
	x, y, tall := 0, 0, 0
	add := func(typ, id string, width, height int) {
		if x+width > columns {
			x, y, tall = 0, y+tall, 0
		}
		name := "panel_" + id
		panels = append(panels, map[string]any{"type": typ, "panelIndex": id, "panelRefName": name, "embeddableConfig": map[string]any{},
			"gridData": map[string]any{"x": x, "y": y, "w": width, "h": height, "i": id}})
		refs = append(refs, Reference{id + ":" + name, typ, id})
		x, tall = x+width, max(tall, height)
	}
	for i := range b.panels {
		add(visType, b.panels[i].id, b.panels[i].width, b.panels[i].height)
	}
	add(searchType, b.search, columns, 18)
	return object(dashboardType, b.id, map[string]any{
		"title": b.title, "description": b.description, "version": 1, "panelsJSON": inner(panels),
		"optionsJSON": inner(map[string]any{"useMargins": true, "syncColors": true, "syncCursor": true, "syncTooltips": false, "hidePanelTitles": false}),
		"timeRestore": true, "timeFrom": "now-7d", "timeTo": "now", "refreshInterval": map[string]any{"pause": true, "value": 60000},
		"kibanaSavedObjectMeta": source("", "kuery", false),
	}, refs...)
}
