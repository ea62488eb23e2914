// SPDX-License-Identifier: Apache-2.0

package document

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// node is the table as a tree of objects. A leaf has a field, an inner node children.
type node struct {
	name     string
	field    *Field
	children []*node
}

// newTree orders the fields of a stream into objects.
func newTree(s *Stream) *node {
	root := &node{}
	fields := fieldsOf(s)
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
	case json.RawMessage:
		return append(dst, v...), len(v) > 0
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
