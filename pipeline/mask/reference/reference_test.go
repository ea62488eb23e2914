// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// TestFind holds the words of package rule to cases that can be read.
func TestFind(t *testing.T) {
	set, err := New([]*rule.Rule{
		{Name: "key", Type: "KEY", Family: rule.Secret, Pattern: "k_[a-z0-9]{4,10}", Left: rule.Alnum, Tail: &rule.Tail{Class: rule.Alnum, Joint: rule.Of("-")},
			Check: func(_, m []byte) (int, int, bool) {
				return 0, len(m), strings.ContainsAny(string(m[2:]), "0123456789")
			}},
		{Name: "block", Type: "BLOCK", Family: rule.Secret, Pattern: "<<<", Tail: &rule.Tail{Class: rule.Of("a-z <>\n"), Until: ">>>"}},
		{Name: "mail", Type: "MAIL", Family: rule.Structured, Pattern: `[a-z0-9]{1,64}@[a-z]{1,63}(\.[a-z]{2,63}){1,4}`, Left: rule.Of("a-z0-9.")},
		{Name: "birth", Type: "BORN", Family: rule.Structured, Pattern: `[0-9]{4}`, Left: rule.Digit, Right: rule.Digit,
			Check: func(left, m []byte) (int, int, bool) { return 0, len(m), strings.Contains(string(left), "born") }},
		{Name: "two", Type: "NAME", Family: rule.Name, Pattern: `ann [a-z0-9]{1,9}`},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"decided at the first digit, swallowed to the end", "a k_abcdefg1xyz-q9- b", "KEY[k_abcdefg1xyz-q9]"},
		{"no digit, no key", "k_abcdefgh", ""},
		{"in a word", "xk_abc1", ""},
		{"behind an escape", `x\nk_abc1`, "KEY[k_abc1]"},
		{"a block to its end", "<<<a\nb>>> born 1999", "BLOCK[<<<a\nb>>>] BORN[1999]"},
		{"a block that is cut", "<<<a\nb", "BLOCK[<<<a\nb]"},
		{"an open value begins a text of its own", "born k_abc1 1999", "KEY[k_abc1]"},
		{"the longest", "x a@b.co.uk.", "MAIL[a@b.co.uk]"},
		{"a name loses what is mail's", "ann bob@c.de", "NAME[ann ] MAIL[bob@c.de]"},
		{"too long for what stands behind", "born 19991", ""},
	} {
		var got []string
		for _, s := range set.Find([]byte(c.text)) {
			got = append(got, fmt.Sprintf("%s[%s]", s.Rule.Type, c.text[s.Start:s.End]))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: %s: got %s, want %s", c.name, c.text, g, c.want)
		}
	}
}

// TestCompile refuses what cannot be run on a stream.
func TestCompile(t *testing.T) {
	for _, c := range []struct{ pattern, want string }{
		{"a+", "no maximum"}, {"a*b", "no maximum"}, {"a{3,}", "no maximum"}, {`\ba`, "word boundaries"}, {"^a", "word boundaries"},
		{"a?", "empty"}, {"(ab){600}", "1200 bytes"}, {"a{", ""}, {"(", "missing"}, {"é{1,3}", ""},
	} {
		_, _, err := (&rule.Rule{Name: "r", Pattern: c.pattern}).Compile()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.pattern, err, c.want)
		}
	}
}
