// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// node is the table as a tree of objects. A leaf has a field, an inner node children.
type node struct {
	name     string
	field    *Field
	children []*node
}

// newTree orders the table into objects, in the order of Fields.
func newTree() *node {
	root := &node{}
	fields := Fields()
	for i := range fields {
		at := root
		parts := strings.Split(fields[i].Name, ".")
		for k, part := range parts {
			last := k == len(parts)-1
			var next *node
			if n := len(at.children); n > 0 && at.children[n-1].name == part && !last {
				next = at.children[n-1]
			} else {
				next = &node{name: part}
				at.children = append(at.children, next)
			}
			at = next
		}
		at.field = &fields[i]
	}
	return root
}

// encoder writes documents. It is safe for concurrent use.
type encoder struct {
	root   *node
	origin Origin
}

func newEncoder(o Origin) *encoder { return &encoder{newTree(), o} }

// append writes an exchange as one JSON object without line breaks.
func (e *encoder) append(dst []byte, x *journal.Exchange) []byte {
	s := source{x, e.origin}
	dst, ok := appendNode(dst, e.root, &s)
	if !ok {
		dst = append(dst, "{}"...)
	}
	return dst
}

// appendNode writes a value; false if there is none.
func appendNode(dst []byte, n *node, s *source) ([]byte, bool) {
	if n.field != nil {
		return appendValue(dst, n.field.get(s))
	}
	start := len(dst)
	dst = append(dst, '{')
	for _, c := range n.children {
		mark := len(dst)
		if mark > start+1 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, c.name...) // names need no escaping; a test checks that
		dst = append(dst, '"', ':')
		var ok bool
		if dst, ok = appendNode(dst, c, s); !ok {
			dst = dst[:mark]
		}
	}
	if len(dst) == start+1 {
		return dst[:start], false
	}
	return append(dst, '}'), true
}

func appendValue(dst []byte, v any) ([]byte, bool) {
	switch v := v.(type) {
	case nil:
		return dst, false
	case string:
		if v == "" {
			return dst, false
		}
		return appendString(dst, v), true
	case []string:
		if len(v) == 0 {
			return dst, false
		}
		dst = append(dst, '[')
		for i, s := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, s)
		}
		return append(dst, ']'), true
	case bool:
		return strconv.AppendBool(dst, v), true
	case int64:
		return strconv.AppendInt(dst, v, 10), true
	case time.Time:
		if v.IsZero() {
			return dst, false
		}
		dst = append(dst, '"')
		dst = v.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
		return append(dst, '"'), true
	}
	return appendString(dst, fmt.Sprint(v)), true // a test sees to it that there is no other type
}

func appendString(dst []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return append(dst, `""`...) // a string always encodes
	}
	return append(dst, b...)
}

// mapping is the tree as the properties of an index.
func mapping(n *node) map[string]any {
	props := map[string]any{}
	for _, c := range n.children {
		switch {
		case c.field == nil:
			props[c.name] = map[string]any{"properties": mapping(c)}
		case c.field.Type == keyword:
			props[c.name] = map[string]any{"type": keyword, "ignore_above": 1024}
		default:
			props[c.name] = map[string]any{"type": c.field.Type}
		}
	}
	return props
}

// The names in Elasticsearch.
const (
	dataset          = "sallyport.exchange"
	templateName     = "logs-" + dataset
	mappingsName     = templateName + "@mappings"
	settingsName     = templateName + "@settings"
	templatePriority = 250 // above the built-in templates for logs-*-*
)

// Template is one thing that has to exist in Elasticsearch before the first document.
type Template struct {
	Name      string
	Component bool
	Body      json.RawMessage
}

// Templates lists the templates in the order in which they have to be made. An administrator can make them by hand, for a
// key that may only create documents.
func Templates() []Template {
	meta := map[string]any{"managed_by": "sallyport", "ecs_version": ECSVersion}
	return []Template{
		{mappingsName, true, mustJSON(map[string]any{"_meta": meta, "template": map[string]any{
			"mappings": map[string]any{"dynamic": false, "date_detection": false, "properties": mapping(newTree())}}})},
		{settingsName, true, mustJSON(map[string]any{"_meta": meta, "template": map[string]any{
			"settings": map[string]any{"index": map[string]any{"codec": "best_compression", "mapping": map[string]any{"ignore_malformed": false}}}}})},
		{templateName, false, mustJSON(map[string]any{"_meta": meta, "index_patterns": []string{templateName + "-*"}, "priority": templatePriority,
			"data_stream": map[string]any{}, "composed_of": []string{mappingsName, settingsName}})},
	}
}

func mustJSON(v any) json.RawMessage {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // constants of this package
	}
	return b
}
