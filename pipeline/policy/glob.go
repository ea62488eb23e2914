// SPDX-License-Identifier: Apache-2.0

package policy

import "strings"

// glob is a pattern in which "*" stands for any run of characters, "/" and nothing included.
type glob struct {
	text  string
	parts []string // the text between the stars
}

func newGlob(s string) glob { return glob{s, strings.Split(s, "*")} }

func (g glob) match(s string) bool {
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	if len(g.parts) == 1 {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, p := range g.parts[1 : len(g.parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return true
}

func matchAny(globs []glob, s string) bool {
	for _, g := range globs {
		if g.match(s) {
			return true
		}
	}
	return false
}

// matchNamed is matchAny without the pattern that is a star alone: it wants the tool to have been thought of.
func matchNamed(globs []glob, s string) bool {
	for _, g := range globs {
		if g.text != "*" && strings.Trim(g.text, "*") != "" && g.match(s) {
			return true
		}
	}
	return false
}
