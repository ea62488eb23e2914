// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name     string
		args     []string
		verbatim bool
		want     []string
		x        string
		wrong    bool
	}{
		{"flags before", []string{"-x", "1", "a"}, false, []string{"a"}, "1", false},
		{"flags after", []string{"a", "-x", "1", "b"}, false, []string{"a", "b"}, "1", false},
		{"after --", []string{"a", "--", "-x", "1"}, false, []string{"a", "-x", "1"}, "", false},
		{"unknown after an argument", []string{"a", "-y"}, false, nil, "", true},
		{"verbatim", []string{"-x", "1", "a", "-x", "2"}, true, []string{"a", "-x", "2"}, "1", false},
		{"verbatim after --", []string{"--", "-x", "2"}, true, []string{"-x", "2"}, "", false},
		{"none", nil, false, nil, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := flag.NewFlagSet("", flag.ContinueOnError)
			fs.SetOutput(io.Discard)
			x := fs.String("x", "", "")
			got, err := parse(fs, c.args, c.verbatim)
			if (err != nil) != c.wrong || !slices.Equal(got, c.want) || *x != c.x {
				t.Errorf("got %q, x=%q, %v", got, *x, err)
			}
		})
	}
}

// TestSteers: what programs and models write does not steer the terminal of who decides about it, in whatever format.
func TestSteers(t *testing.T) {
	evil := "a\u202eb\u009bc\u007fd\u2028e\U000e0041f\u200bg\u3164h\x1bi"
	if got, want := clean(evil), strings.Join(strings.Split("abcdefghi", ""), "\uFFFD"); got != want {
		t.Errorf("cleaned %q, want %q", got, want)
	}
	for name, print := range map[string]func(*app, any) error{"document": (*app).printJSON, "line": (*app).printLine} {
		var out bytes.Buffer
		if err := print(&app{out: &out}, map[string]any{"x": evil, "args": json.RawMessage(`{"p":"` + evil[:len(evil)-2] + `"}`)}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(out.String(), steers) {
			t.Errorf("%s: %q", name, out.String())
		}
		var back struct {
			X    string
			Args struct{ P string }
		}
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.X != evil || back.Args.P != evil[:len(evil)-2] {
			t.Errorf("%s: %+q, %v", name, back, err)
		}
	}
}

// TestConditions: what a query excludes is no flag, as long as it cannot be one.
func TestConditions(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "--",
		"tool:x --limit 3":               "tool:x --limit 3 --",
		"-tool:x --limit 3 word":         "--limit 3 word -- -tool:x",
		`-"a b" -o json`:                 `-o json -- -"a b"`,
		"-since=2026-01-31T00:00:00Z x":  "-since=2026-01-31T00:00:00Z x --",
		"word -- -word":                  "word -- -word",
		"-is:held word -- -word":         "word -- -is:held -word",
		"--since 2026-01-31T00:00:00Z -": "--since 2026-01-31T00:00:00Z - --",
	} {
		var args []string
		for _, s := range strings.Split(strings.ReplaceAll(in, "a b", "a_b"), " ") {
			if s != "" {
				args = append(args, strings.ReplaceAll(s, "a_b", "a b"))
			}
		}
		if got := strings.Join(conditions(args), " "); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestCell: names that programs chose are no formulas in a spreadsheet.
func TestCell(t *testing.T) {
	for in, want := range map[string]string{
		"":                  "",
		"gpt-4o":            "gpt-4o",
		"=1+1":              "'=1+1",
		"@SUM(A1)":          "'@SUM(A1)",
		" \t=1+1":           "'=1+1",
		"\n=1+1":            "'=1+1",
		"\uFF1D1":           "'\uFF1D1",
		"a;=cmd|' /C x'!A0": "'a,=cmd|' /C x'!A0",
		"a\n=1":             "a =1",
		"\u200b=1":          "\uFFFD=1",
	} {
		if got := cell(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.Local)
	for in, want := range map[string]time.Time{
		"":                     {},
		"90m":                  now.Add(-90 * time.Minute),
		"7d":                   now.AddDate(0, 0, -7),
		"2026-01-31":           time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local),
		"2026-01-31T10:00:00Z": time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC),
	} {
		if got, err := parseSince(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"x", "-1h", "d", "-3d", "99999999d", "2026-13-01"} {
		var u *usageError
		if got, err := parseSince(in, now); !errors.As(err, &u) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü 你好\n\tx":  "plain ü 你好\n\tx",
		"\x1b[31mred":      "\uFFFD[31mred",
		"a\rb\x00c\x7f":    "a\uFFFDb\uFFFDc\uFFFD",
		"\u009b31m":        "\uFFFD31m",
		"user\u202egpj":    "user\uFFFDgpj",
		"bad \xff\xfe end": "bad \uFFFD\uFFFD end",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestWithNode(t *testing.T) {
	for _, c := range []struct{ env, want []string }{
		{[]string{"A=1"}, []string{"A=1", "NODE_EXTRA_CA_CERTS=/r"}},
		{[]string{"NODE_EXTRA_CA_CERTS=/mine"}, []string{"NODE_EXTRA_CA_CERTS=/mine"}},
	} {
		if d := cmp.Diff(c.want, withNode(c.env, "/r")); d != "" {
			t.Error(d)
		}
	}
	if got := withNode([]string{"A=1"}, ""); len(got) != 1 {
		t.Errorf("without roots: %q", got)
	}
}

func TestLookUp(t *testing.T) {
	if got, err := lookUp("root"); err != nil || got.uid != 0 || got.gid != 0 {
		t.Errorf("root: %+v, %v", got, err)
	}
	if got, err := lookUp("0"); err != nil || got.uid != 0 {
		t.Errorf("0: %+v, %v", got, err)
	}
	if got, err := lookUp("1999999999"); err != nil || got.uid != 1999999999 || got.gid != 1999999999 || len(got.groups) != 1 {
		t.Errorf("a number without a name: %+v, %v", got, err)
	}
	for _, name := range []string{"no-such-user", "-1", "4294967296", ""} {
		if got, err := lookUp(name); err == nil {
			t.Errorf("%q: %+v", name, got)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 20: "5.0 MiB", 1 << 62: "4096.0 PiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestCommonPrefix(t *testing.T) {
	a := []pipeline.Step{{Kind: "prompt", Text: "x"}, {Kind: "prompt", Text: "y"}}
	if n := commonPrefix(a[:1], a); n != 1 {
		t.Error(n)
	}
	if n := commonPrefix([]pipeline.Step{{Kind: "prompt", Text: "z"}}, a); n != 0 {
		t.Error(n)
	}
}

// What is no terminal gets no colours.
func TestColours(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, getenv: func(string) string { return "" }}
	if got := a.paint(red, "x"); got != "x" {
		t.Errorf("painted %q", got)
	}
}
