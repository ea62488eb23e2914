// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// escapedRules are rules that no match of begins behind a letter or a digit.
func escapedRules() []*rule.Rule {
	return []*rule.Rule{
		{Name: "key", Type: "KEY", Family: rule.Secret, Pattern: "k_[a-z0-9]{4,10}", Left: rule.Alnum, Tail: &rule.Tail{Class: rule.Alnum}},
		{Name: "number", Type: "NUMBER", Family: rule.Structured, Pattern: "[0-9]{4}", Left: rule.Alnum, Right: rule.Digit},
		{Name: "word", Type: "WORD", Family: rule.Structured, Pattern: "m[a-z]{3,6}", Left: rule.Alnum},
	}
}

// TestBehindEscapes: a value is found behind whatever stands for a character, or for nothing that is seen.
func TestBehindEscapes(t *testing.T) {
	r := newRig(t, escapedRules(), nil)
	for _, c := range []struct{ name, before, in string }{
		{"a line end in JSON", `a\n`, ""}, {"in JSON in JSON", `a\\n`, ""}, {"once more", `a\\\\n`, ""}, {"a letter", `caf\u00e9`, ""}, {"a letter in JSON in JSON", `caf\\u00e9`, ""},
		{"a byte of Python", `b'\xe9`, ""}, {"a colour", "a\x1b[32m", ""}, {"colours", "\x1b[38;2;255;100;0m", ""}, {"the end of colours", "a\x1b[m", ""},
		{"a colour in JSON", `a\u001b[1;31m`, ""}, {"a colour in JSON in JSON", `a\\u001b[0m`, ""}, {"a colour of Python", `a\x1b[0m`, ""},
		{"a quote in a URL", "a%22", ""}, {"a colon in a URL", "a%3A", ""}, {"in a URL in a URL", "a%253a", ""}, {"a percent sign in a URL", "a%25", ""},
		{"no escape: a letter", "a", "no"}, {"no escape: a percent sign", "20%a", "no"}, {"no escape: brackets", "x[32m", "no"}, {"no escape: behind one", `\nz`, "no"},
		{"no escape: three digits", `\u00ez`, "no"}, {"no escape: a colour that is none", "\x1b32m", "no"},
	} {
		for _, value := range []string{"k_ab12cd", "1234"} {
			got, masks := r.masked(nil, "", c.before+value+"!")
			if (len(masks) == 1) == (c.in != "") {
				t.Errorf("%s: %q becomes %q", c.name, c.before+value, got)
			}
			if err := r.differs("", c.before+value+"!", 0, true, 1); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

// TestEqualEscapes: the engine and the reference agree on what an escape is, however one is broken off.
func TestEqualEscapes(t *testing.T) {
	r := newRig(t, escapedRules(), nil)
	rnd := rand.New(rand.NewPCG(7, 7))
	pieces := strings.Split("\\ \\ \\\\ u x n % 2 5 25 4 a f z [ ; m \x1b 001b 1234 k_ab12cd mabcd é", " ")
	for i := range 4000 {
		text := randomText(rnd, pieces, 14)
		if err := r.differs("", text, 0, len(text) < 24, uint64(i)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	}
}
