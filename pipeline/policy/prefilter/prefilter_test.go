// SPDX-License-Identifier: Apache-2.0

package prefilter

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
)

func index(t testing.TB, exprs ...string) *Index {
	t.Helper()
	var list []*syntax.Regexp
	for _, e := range exprs {
		re, err := syntax.Parse(e, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, re)
	}
	return New(list)
}

// TestNeverHides: what matches is named, also beside expressions with other literals.
func TestNeverHides(t *testing.T) {
	for _, c := range []struct{ re, text string }{
		{`rm\s+-[a-z]*r`, "x rm  -fr"}, {`(?i)kiosk`, "\u212aIOſ\u212a"}, {`(?i)STRASSE|straße`, "STRAſſE"}, {`[Aa][Bb]c`, "ABc"},
		{`(ab|cd)+ef`, "cdef"}, {`(ab|)ef`, "ef"}, {`(ab)?cd`, "cd"}, {`(ab){0,2}cd`, "cd"}, {`(ab){2}`, "abab"}, {`a\x{FFFD}b`, "a\xffb"},
		{`über`, "über"}, {`(?i)Über`, "üBER"}, {`^$`, ""}, {`\bword\b`, "a word"}, {`(?s)a.b`, "a\nb"}, {`a*?bc`, "bc"}, {`(?i:ab)cd`, "ABcd"},
		{`(?i)ignore (all|previous) instructions`, "please IGNORE PREVIOUS Instructions"}, {`[Kk\x{212a}]ey`, "Key"}, {`@\[x`, "@[x"},
		{`ſecret`, "a ſecret"}, {`x\x{212a}ey`, "x\u212aey"}, {`(?:ab)ſ`, "abſ"},
		{`BEGIN RSA PRIVATE KEY`, strings.Repeat("x", 13) + "BEGIN RSA PRIVATE KEY"},
	} {
		x := index(t, `other`, c.re, `thirdthing`, `zq`)
		var s Scan
		if !regexp.MustCompile(c.re).MatchString(c.text) || !slices.Contains(x.Scan(c.text, &s), 1) {
			t.Errorf("%s hides %q", c.re, c.text)
		}
	}
}

func TestRulesOut(t *testing.T) {
	x := index(t, `(?i)ignore (all|previous) instructions`, `rm\s+-rf`, `(?i)\b(drop|truncate)\s+table\b`, `[0-9]+`, `AKIA[0-9A-Z]{16}`)
	var s Scan
	for text, want := range map[string][]int32{
		"": {3}, "all previous": {3}, "ignore the rm, drop a table": {2, 3}, "my IGNORE ALL INSTRUCTIONS": {0, 3}, "AKIA": {3, 4}, "rm x -rf": {1, 3},
	} {
		if got := slices.Sorted(slices.Values(x.Scan(text, &s))); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestStarts(t *testing.T) {
	x := index(t, `rm\s+-rf`, `(?i)\b(drop|truncate)\s+table\b`, `x?drop`, `-rf|[0-9]`)
	var s Scan
	x.Scan("rm and DROP or rm -rf drop table", &s)
	for i, want := range [][]int{{0, 15}, {7, 22}, nil, nil} {
		got, known := s.Starts(int32(i), 10, nil)
		slices.Sort(got)
		if known != (want != nil) || !slices.Equal(got, want) {
			t.Errorf("%d: %v, %t", i, got, known)
		}
	}
	if _, known := s.Starts(0, 1, nil); known {
		t.Error("more than the most")
	}
}

// FuzzNeed looks for a match that is hidden, or that begins where none is said to begin.
func FuzzNeed(f *testing.F) {
	f.Add(`(?i)ignore (all|previous)`, "Ignore ALL")
	f.Fuzz(func(t *testing.T, expr, text string) {
		re, err := regexp.Compile(expr)
		if err != nil {
			return
		}
		parsed, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		at := re.FindStringIndex(text)
		if at == nil {
			return
		}
		other, err := syntax.Parse("other|thing", syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		var s Scan
		x := New([]*syntax.Regexp{other, parsed})
		if !slices.Contains(x.Scan(text, &s), 1) {
			t.Errorf("%q hides %q", expr, text)
		}
		if starts, known := s.Starts(1, 1<<20, nil); known && !slices.Contains(starts, at[0]) {
			t.Errorf("%q begins at %d in %q, not one of %v", expr, at[0], text, starts)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	text := strings.Repeat("Please summarise the minutes of the last meeting and list what is to be done. ", 106)[:8192]
	x := index(b, `(?i)ignore (all|previous) instructions`, `rm\s+-rf`, `(?i)\b(drop|truncate)\s+table\b`, `AKIA[0-9A-Z]{16}`)
	var s Scan
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		x.Scan(text, &s)
	}
}
