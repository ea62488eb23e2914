// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"regexp"
	"strings"
	"testing"
)

func TestWritten(t *testing.T) {
	for _, c := range []struct {
		name, expr  string
		bound       int
		left, right Class
		err         string
	}{
		{name: "plain", expr: `E[0-9]{6}`, bound: 7},
		{name: "words", expr: `\bE[0-9]{6}\b`, bound: 7, left: Word, right: Word},
		{name: "in parentheses", expr: `(\bPRJ-[0-9]{4})`, bound: 8, left: Word},
		{name: "one of", expr: `\b(?:ab|cd)[0-9]{1,3}\b`, bound: 5, left: Word, right: Word},
		{name: "case", expr: `(?i)\bprj[0-9]\b`, bound: 4, left: Word, right: Word},
		{name: "no end", expr: `E[0-9]+`, err: "write {0,64} for * and {1,64} for +"},
		{name: "no end of a range", expr: `E[0-9]{2,}`, err: "no maximum"},
		{name: "empty", expr: `(a|b)?`, err: "matches the empty text"},
		{name: "too long", expr: `[a-z]{600}[a-z]{500}`, err: "1100 bytes"},
		{name: "lazy", expr: `a{1,3}?b`, err: "lazy"},
		{name: "anchor", expr: `^a`, err: "anchors and word boundaries"},
		{name: "boundary in the middle", expr: `a\b-b`, err: "anchors and word boundaries"},
		{name: "boundary before a sign", expr: `\b#[0-9]{3}`, err: "at the start"},
		{name: "boundary behind a sign", expr: `[0-9]{3}%\b`, err: "at the end"},
		{name: "boundary behind what may be absent", expr: `x[0-9]?\b`, err: "at the end"},
		{name: "syntax", expr: `a(`, err: "missing closing"},
		{name: "states", expr: `(?i)[\pL\pN]{1,250}`, err: "states"},
	} {
		pattern, left, right, bound, err := Written(c.expr)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil || bound != c.bound || left != c.left || right != c.right {
			t.Errorf("%s: bound %d, %v", c.name, bound, err)
			continue
		}
		if strings.Contains(pattern, `\b`) {
			t.Errorf("%s: %s", c.name, pattern)
		}
	}
}

// What Written accepts has a bound that no match exceeds, and says the same as the expression.
func FuzzWritten(f *testing.F) {
	f.Add(`\bE[0-9]{6}\b`, "x E123456 y E1234567 E654321")
	f.Add(`(?i)straße|k`, "STRASSE Straße \u212a")
	f.Fuzz(func(t *testing.T, expr, text string) {
		pattern, left, right, bound, err := Written(expr)
		if err != nil {
			return
		}
		want := regexp.MustCompile(expr)
		want.Longest()
		got := regexp.MustCompile(pattern)
		got.Longest()
		for _, m := range want.FindAllStringIndex(text, -1) {
			if m[1]-m[0] > bound {
				t.Fatalf("%q matches %d bytes of %q, bound %d", expr, m[1]-m[0], text, bound)
			}
			if !got.MatchString(text[m[0]:m[1]]) {
				t.Fatalf("%q finds %q, %q does not", expr, text[m[0]:m[1]], pattern)
			}
			if m[0] > 0 && left.Has(text[m[0]-1]) || m[1] < len(text) && right.Has(text[m[1]]) {
				t.Fatalf("%q finds %q, which the classes forbid", expr, text[m[0]:m[1]])
			}
		}
	})
}
