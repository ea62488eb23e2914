// SPDX-License-Identifier: Apache-2.0

package document

import (
	"encoding/json"
	"fmt"
	"time"
)

// The classes of streams, of which each has a lifecycle policy.
const (
	ClassMetadata = "metadata"
	ClassContent  = "content"
	ClassAdmin    = "admin"
)

// Lifecycle says when a backing index is full, and how long documents are kept. Zero values are the defaults.
type Lifecycle struct {
	RolloverBytes int64         // of a primary shard; 50 GB
	RolloverAge   time.Duration // 30 days
	Metadata      time.Duration // after the rollover; 365 days
	Content       time.Duration // 30 days
	Admin         time.Duration // 730 days
}

const day = 24 * time.Hour

// The priorities and names of what is made in Elasticsearch.
const (
	templatePriority = 250 // above the built-in templates for logs-*-*
	settingsName     = "logs-sallyport@settings"
)

// PolicyName is the lifecycle policy of a class.
func PolicyName(class string) string { return "sallyport-" + class }

// The kinds of Template.
const (
	KindPolicy    = "ilm policy"
	KindComponent = "component template"
	KindIndex     = "index template"
)

// Template is one thing that has to exist in Elasticsearch before the first document.
type Template struct {
	Kind string
	Name string
	Path string // below which it is put
	Body json.RawMessage
}

// Templates lists them in the order in which they have to be made. An administrator can make them by hand, for a key that may only
// create documents.
func Templates(l Lifecycle) []Template {
	meta := map[string]any{"managed_by": "sallyport", "ecs_version": ECSVersion}
	var out []Template
	add := func(kind, path, name string, body map[string]any) {
		out = append(out, Template{kind, name, path + name, mustJSON(body)})
	}
	for _, c := range []struct {
		class     string
		keep, def time.Duration
	}{{ClassMetadata, l.Metadata, 365 * day}, {ClassContent, l.Content, 30 * day}, {ClassAdmin, l.Admin, 730 * day}} {
		rollover := map[string]any{"max_age": span(l.RolloverAge, 30*day), "max_primary_shard_size": fmt.Sprintf("%db", or(l.RolloverBytes, 50_000_000_000))}
		add(KindPolicy, "/_ilm/policy/", PolicyName(c.class), map[string]any{"policy": map[string]any{"_meta": meta, "phases": map[string]any{
			"hot":    map[string]any{"min_age": "0ms", "actions": map[string]any{"rollover": rollover}},
			"delete": map[string]any{"min_age": span(c.keep, c.def), "actions": map[string]any{"delete": map[string]any{}}}}}})
	}
	add(KindComponent, "/_component_template/", settingsName, map[string]any{"_meta": meta, "template": map[string]any{
		"settings": map[string]any{"index": map[string]any{"codec": "best_compression", "mapping": map[string]any{"ignore_malformed": false}}}}})
	for _, s := range Streams() {
		name := s.Template()
		add(KindComponent, "/_component_template/", name+"@mappings", map[string]any{"_meta": meta, "template": map[string]any{
			"mappings": map[string]any{"dynamic": false, "date_detection": false, "properties": mapping(newTree(&s))},
			"settings": map[string]any{"index": map[string]any{"lifecycle": map[string]any{"name": PolicyName(s.Class)}}}}})
		custom := name + "@custom" // an administrator's own settings, if there are any
		add(KindIndex, "/_index_template/", name, map[string]any{"_meta": meta, "index_patterns": []string{name + "-*"}, "priority": templatePriority,
			"data_stream": map[string]any{}, "composed_of": []string{settingsName, name + "@mappings", custom}, "ignore_missing_component_templates": []string{custom}})
	}
	return out
}

func or(n, def int64) int64 {
	if n > 0 {
		return n
	}
	return def
}

func span(d, def time.Duration) string {
	if d <= 0 {
		d = def
	}
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return fmt.Sprintf("%ds", int64(d/time.Second))
}

// mapping is a tree as the properties of an index.
func mapping(n *node) map[string]any {
	props := map[string]any{}
	for _, c := range n.children {
		switch {
		case c.field == nil:
			props[c.name] = map[string]any{"properties": mapping(c)}
		case c.field.Type == keyword:
			props[c.name] = map[string]any{"type": keyword, "ignore_above": 1024}
		case c.field.Type == opaque:
			props[c.name] = map[string]any{"type": opaque, "enabled": false}
		default:
			props[c.name] = map[string]any{"type": c.field.Type}
		}
	}
	return props
}

func mustJSON(v any) json.RawMessage {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // constants of this package
	}
	return b
}
