// SPDX-License-Identifier: Apache-2.0

package review

import (
	"cmp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// The ways in which a document differs.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// Difference is a document that is not the same in two folders.
type Difference struct {
	Kind  string   `json:"kind"`
	Name  string   `json:"name"`
	What  string   `json:"what"`            // Added, Removed, Changed
	File  string   `json:"file"`            // where it is now; where it was, if it was removed
	Gone  []Detail `json:"gone,omitempty"`  // what only the old one says
	Fresh []Detail `json:"fresh,omitempty"` // what only the new one says
}

// Detail is one value at one place: an element of a list, or a field.
type Detail struct {
	Where string `json:"where"` // "rules", "subjects", "match.regex"
	Value string `json:"value"`
}

// Diff compares the meaning of two folders: where a document stands, in which order, and how it is laid out counts for
// nothing.
func Diff(old, fresh []Document) []Difference {
	type key struct{ kind, name string }
	was := map[key]Document{}
	for _, d := range old {
		was[key{d.Kind, d.Name}] = d
	}
	out := []Difference{}
	for _, d := range fresh {
		k := key{d.Kind, d.Name}
		o, both := was[k]
		delete(was, k)
		a, b := details(o.Spec), details(d.Spec)
		diff := Difference{Kind: d.Kind, Name: d.Name, What: Added, File: d.File, Fresh: minus(b, a)}
		if both {
			diff.What, diff.Gone = Changed, minus(a, b)
			if len(diff.Gone) == 0 && len(diff.Fresh) == 0 {
				continue
			}
		}
		out = append(out, diff)
	}
	for k, d := range was {
		out = append(out, Difference{Kind: k.kind, Name: k.name, What: Removed, File: d.File, Gone: details(d.Spec)})
	}
	slices.SortFunc(out, func(a, b Difference) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return out
}

// details takes a spec apart: rules and subjects one by one, nested fields by their path.
func details(spec *yaml.Node) []Detail {
	var out []Detail
	var walk func(n *yaml.Node, at string)
	walk = func(n *yaml.Node, at string) {
		if n = follow(n); n == nil {
			return
		}
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := n.Content[i].Value
				if at != "" {
					key = at + "." + key
				}
				walk(n.Content[i+1], key)
			}
		case yaml.SequenceNode:
			if len(n.Content) == 0 {
				out = append(out, Detail{at, "[]"})
			}
			for _, c := range n.Content {
				out = append(out, Detail{at, canonical(c)})
			}
		default:
			out = append(out, Detail{at, n.Value})
		}
	}
	walk(spec, "")
	slices.SortFunc(out, func(a, b Detail) int { return cmp.Or(cmp.Compare(a.Where, b.Where), cmp.Compare(a.Value, b.Value)) })
	return slices.Compact(out)
}

func minus(a, b []Detail) []Detail {
	var out []Detail
	for _, d := range a {
		if !slices.Contains(b, d) {
			out = append(out, d)
		}
	}
	return out
}
