// SPDX-License-Identifier: Apache-2.0

package review

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Finding is something in a folder that compiles and is yet hardly meant.
type Finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Level   string `json:"level"` // Warning or Note
	Message string `json:"message"`
}

// The levels of a Finding: a Warning is a document, rule or pattern without effect; a Note may well be meant.
const (
	Warning = "warning"
	Note    = "note"
)

// lists are what a rule must have to grant anything, and tools.
var lists = []string{"endpoints", "operations", "models", "tools"}

// Lint finds roles that nobody has, rules and patterns that others cover, bindings that repeat others, and guardrails that
// cannot match, or never get a say.
func Lint(docs []Document) []Finding {
	l := &linter{bound: map[string]bool{}}
	for i := range docs {
		if d := &docs[i]; d.Kind == "RoleBinding" {
			if r := field(d.Spec, "role"); r != nil {
				l.bound[r.Value] = true
			}
		}
	}
	for i := range docs {
		if d := &docs[i]; d.Kind == "Role" {
			l.role(d)
		}
	}
	subjects := map[string]string{}
	for i := range docs {
		switch d := &docs[i]; d.Kind {
		case "RoleBinding":
			l.binding(d, subjects)
		case "Guardrail":
			l.guardrail(d, docs)
		}
	}
	slices.SortStableFunc(l.out, func(a, b Finding) int {
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		return a.Line - b.Line
	})
	return l.out
}

type linter struct {
	out   []Finding
	bound map[string]bool
	tools []string // what roles that somebody has grant
}

func (l *linter) add(d *Document, line int, level, format string, args ...any) {
	l.out = append(l.out, Finding{d.File, max(line, d.Line), level, fmt.Sprintf("%s %s: ", d.Kind, d.Name) + fmt.Sprintf(format, args...)})
}

func (l *linter) role(d *Document) {
	if !l.bound[d.Name] {
		l.add(d, 0, Warning, "no RoleBinding gives it to anybody: bind it or remove it")
	}
	rules := items(field(d.Spec, "rules"))
	if len(rules) == 0 {
		l.add(d, 0, Warning, "it has no rules and grants nothing: add one or remove the role")
	}
	for i, r := range rules {
		for _, key := range lists[:3] {
			if len(items(field(r, key))) == 0 {
				l.add(d, r.Line, Warning, "rule %d has no %s and so grants nothing: list them, or [\"*\"]", i+1, key)
			}
		}
		if l.bound[d.Name] {
			l.tools = append(l.tools, texts(field(r, "tools"))...)
		}
		for _, key := range lists {
			l.patterns(d, field(r, key))
		}
		for j, o := range rules {
			if i != j && covers(o, r) && (j < i || !covers(r, o)) {
				l.add(d, r.Line, Warning, "rule %d grants nothing that rule %d does not: remove it", i+1, j+1)
				break
			}
		}
	}
}

// patterns finds entries of a list that another covers.
func (l *linter) patterns(d *Document, n *yaml.Node) {
	all := items(n)
	for i, p := range all {
		for j, o := range all {
			if i != j && within(p.Value, o.Value) && (j < i || p.Value != o.Value) {
				l.add(d, p.Line, Note, "pattern %q says nothing beside %q", p.Value, o.Value)
				break
			}
		}
	}
}

// covers says whether rule a grants all that b does. Only rules without conditions are compared.
func covers(a, b *yaml.Node) bool {
	for i := 0; i+1 < len(a.Content); i += 2 {
		if !slices.Contains(lists, a.Content[i].Value) {
			return false
		}
	}
	for _, key := range lists {
		have := texts(field(a, key))
		for _, want := range texts(field(b, key)) {
			if !slices.ContainsFunc(have, func(h string) bool { return within(want, h) }) {
				return false
			}
		}
		if key != "tools" && len(texts(field(b, key))) == 0 {
			return false // it grants nothing anyway, and that is said
		}
	}
	return true
}

func (l *linter) binding(d *Document, seen map[string]string) {
	role := ""
	if r := field(d.Spec, "role"); r != nil {
		role = r.Value
	}
	for _, s := range items(field(d.Spec, "subjects")) {
		k := role + " " + canonical(s)
		if by, ok := seen[k]; ok {
			l.add(d, s.Line, Warning, "%s has the role %s already by RoleBinding %s: remove one", canonical(s), role, by)
			continue
		}
		seen[k] = d.Name
	}
}

func (l *linter) guardrail(d *Document, docs []Document) {
	match := field(d.Spec, "match")
	if re := field(match, "regex"); re != nil {
		if parsed, err := syntax.Parse(re.Value, syntax.Perl); err == nil {
			if never(parsed.Simplify()) {
				l.add(d, re.Line, Warning, "its regex matches no text at all: mend it")
			} else if always(parsed) {
				l.add(d, re.Line, Note, "its regex matches every text: leave it out if that is meant")
			}
		}
	}
	tools := field(match, "tools")
	l.patterns(d, tools)
	on := texts(field(d.Spec, "on"))
	if names := texts(tools); len(names) > 0 && !slices.Contains(on, "toolResult") && !slices.ContainsFunc(names, func(n string) bool {
		return slices.ContainsFunc(l.tools, func(g string) bool { return meet(n, g) })
	}) {
		l.add(d, tools.Line, Note, "no role that anybody has grants a tool that it names: it never gets a say, for such calls are refused already")
	}
	for i := range docs {
		o := &docs[i]
		if o.Kind == "Guardrail" && o.Name < d.Name && same(o.Spec, d.Spec) {
			l.add(d, 0, Warning, "it does what Guardrail %s does: remove one", o.Name)
			break
		}
	}
}

// same compares guardrails but for what they say to people.
func same(a, b *yaml.Node) bool {
	without := func(n *yaml.Node) string {
		c := yaml.Node{Kind: yaml.MappingNode}
		if n != nil {
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value != "message" {
					c.Content = append(c.Content, n.Content[i], n.Content[i+1])
				}
			}
		}
		return canonical(&c)
	}
	return without(a) == without(b)
}

// never says whether an expression cannot match: a part of it asks for a character of no set, or for a text after the end or
// before the beginning.
func never(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpNoMatch:
		return true
	case syntax.OpCharClass:
		return len(re.Rune) == 0
	case syntax.OpCapture, syntax.OpPlus:
		return never(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min > 0 && never(re.Sub[0])
	case syntax.OpAlternate:
		return !slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return !never(s) })
	case syntax.OpConcat:
		eats, ended := false, false
		for _, s := range re.Sub {
			if never(s) || s.Op == syntax.OpBeginText && eats || ended && takes(s) {
				return true
			}
			eats, ended = eats || takes(s), ended || s.Op == syntax.OpEndText
		}
	}
	return false
}

// takes says whether every match of an expression has at least one character.
func takes(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral, syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpCapture, syntax.OpPlus:
		return takes(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min > 0 && takes(re.Sub[0])
	case syntax.OpConcat:
		return slices.ContainsFunc(re.Sub, takes)
	case syntax.OpAlternate:
		return !slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return !takes(s) })
	}
	return false
}

// always says whether an expression matches the empty text without looking around.
func always(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpCapture, syntax.OpPlus:
		return always(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || always(re.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return !always(s) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, always)
	}
	return false
}

// within says whether pattern b matches all that pattern a does. It may say no where the answer is yes.
func within(a, b string) bool {
	if a == b || b == "*" {
		return true
	}
	return b != "" && glob(b, a) // a star of a is a character that only a star of b takes
}

// glob matches a text with a pattern in which * stands for any run of characters.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return s == pattern
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return true
}

// meet says whether some text matches both patterns.
func meet(a, b string) bool {
	for a != "" && b != "" && a[0] != '*' && b[0] != '*' {
		if a[0] != b[0] {
			return false
		}
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] != '*' && b[len(b)-1] != '*' {
		if a[len(a)-1] != b[len(b)-1] {
			return false
		}
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	starA, starB := strings.Contains(a, "*"), strings.Contains(b, "*")
	switch {
	case starA && starB:
		return true // what stands between stars can always be had
	case starA:
		return glob(a, b)
	case starB:
		return glob(b, a)
	}
	return a == b
}
