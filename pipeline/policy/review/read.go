// SPDX-License-Identifier: Apache-2.0

package review

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Document is one document of a policy folder.
type Document struct {
	File, Kind, Name string
	Line             int
	Spec             *yaml.Node // a mapping; nil if there is none
}

// Read gives the documents of the *.yaml and *.yml files in the top folder of fsys, by kind and name.
func Read(fsys fs.FS) ([]Document, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the policy folder: %w", err)
	}
	var out []Document
	for _, e := range entries {
		name := e.Name()
		if ext := path.Ext(name); ext != ".yaml" && ext != ".yml" || strings.HasPrefix(name, ".") {
			continue
		}
		raw, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("reading policy %s: %w", name, err)
		}
		for dec := yaml.NewDecoder(bytes.NewReader(raw)); ; {
			var n yaml.Node
			if err := dec.Decode(&n); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if n.Kind != yaml.DocumentNode || n.Content[0].Kind != yaml.MappingNode {
				continue
			}
			top := n.Content[0]
			d := Document{File: name, Line: top.Line, Spec: field(top, "spec")}
			if k := field(top, "kind"); k != nil {
				d.Kind = k.Value
			}
			if m := field(top, "metadata"); m != nil {
				if v := field(m, "name"); v != nil {
					d.Name = v.Value
				}
			}
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b Document) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return out, nil
}

// field is the value of a key; nil if it is absent. Aliases are followed.
func field(n *yaml.Node, key string) *yaml.Node {
	n = follow(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return follow(n.Content[i+1])
		}
	}
	return nil
}

func follow(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// items are the elements of a list.
func items(n *yaml.Node) []*yaml.Node {
	if n = follow(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	out := make([]*yaml.Node, 0, len(n.Content))
	for _, c := range n.Content {
		out = append(out, follow(c))
	}
	return out
}

// texts are the elements of a list of strings.
func texts(n *yaml.Node) []string {
	var out []string
	for _, c := range items(n) {
		out = append(out, c.Value)
	}
	return out
}

// canonical writes a value so that those that mean the same are the same text: keys sorted, and lists of strings too, as
// their order means nothing anywhere in a policy.
func canonical(n *yaml.Node) string {
	n = follow(n)
	switch {
	case n == nil:
		return ""
	case n.Kind == yaml.MappingNode:
		var parts []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, n.Content[i].Value+": "+canonical(n.Content[i+1]))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	case n.Kind == yaml.SequenceNode:
		var parts []string
		for _, c := range n.Content {
			parts = append(parts, canonical(c))
		}
		slices.Sort(parts)
		return "[" + strings.Join(slices.Compact(parts), ", ") + "]"
	}
	return n.Value
}
