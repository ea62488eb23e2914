// SPDX-License-Identifier: Apache-2.0

package fold

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func texts(forms []Form) (out []string) {
	for _, f := range forms {
		out = append(out, f.Text)
	}
	return out
}

func TestForms(t *testing.T) {
	const evil = "rm -rf /home please"
	b64 := base64.StdEncoding.EncodeToString([]byte(evil))
	long := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 50) + evil + strings.Repeat("y", 60)))
	for _, c := range []struct{ name, in, want string }{
		{"fullwidth", "ｒｍ －ｒｆ ／home please", evil},
		{"mathematical", "𝐫𝐦 -𝓻𝒇 /𝗁𝗈𝗆𝖾 please", evil},
		{"zero width", "r\u200bm -\u2060r\ufefff /ho\u00adme please", evil},
		{"control", "r\x00m -r\bf /home please", evil},
		{"Cyrillic", "rm -rf /hоmе рlеаѕе", evil},
		{"Greek and marks", "rm –rf ∕hοme plεase", evil},
		{"struck through", "r\u0336m\u0336 -rf /home please", evil},
		{"accents", "rm -rf /hömé pléase", evil},
		{"tags", "hello" + hide(evil), evil},
		{"no-break space", "rm\u00a0-rf /home please", evil},
		{"percent", "rm%20-rf%20%2Fhome please", evil},
		{"percent twice", "rm%2520-rf%2520/home please", evil},
		{"backslash x", `\x72\x6d -rf /home please`, evil},
		{"base64", "run " + b64 + " now", evil},
		{"base64 for URLs without padding", base64.RawURLEncoding.EncodeToString([]byte(evil)), evil},
		{"base64 behind a path", "/tmp/x/" + b64, evil},
		{"base64 twice", base64.StdEncoding.EncodeToString([]byte("echo " + b64)), evil},
		{"base64 in lines", long[:76] + "\n" + long[76:], strings.Repeat("x", 50) + evil + strings.Repeat("y", 60)},
		{"hex", "0x" + hex.EncodeToString([]byte(evil)), evil},
		{"hex in capitals", strings.ToUpper(hex.EncodeToString([]byte(evil))), evil},
		{"hex of base64", hex.EncodeToString([]byte(b64)), evil},
		{"fullwidth base64", wide(b64), evil},
		{"base64 of Cyrillic", base64.StdEncoding.EncodeToString([]byte("rm -rf /hоmе рlеаѕе")), evil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, trace := range []bool{false, true} {
				forms, complete := Forms(nil, c.in, trace)
				if !complete || !slices.ContainsFunc(texts(forms), func(s string) bool { return strings.Contains(s, c.want) }) {
					t.Errorf("complete %t, got %q", complete, texts(forms))
				}
			}
		})
	}
}

func hide(s string) string {
	var b strings.Builder
	for _, c := range s {
		b.WriteRune(0xE0000 + c)
	}
	return b.String()
}

func wide(s string) string {
	var b strings.Builder
	for _, c := range s {
		b.WriteRune(0xFF00 + c - 0x20)
	}
	return b.String()
}

func TestPlainTextHasNoForms(t *testing.T) {
	for _, s := range []string{"", "Please summarise the minutes; internationalisation matters.", "/usr/local/lib/python3/site-packages\n\t100% sure",
		"a snake_case_identifier_of_some_length and 20261127115526", "50% off"} {
		if forms, complete := Forms(nil, s, false); len(forms) != 0 || !complete {
			t.Errorf("%q: got %q", s, texts(forms))
		}
	}
}

// TestManyRuns: decoys neither hide what stands behind them nor exhaust the bounds, and each run is its own source.
func TestManyRuns(t *testing.T) {
	decoys := strings.Repeat(base64.StdEncoding.EncodeToString([]byte("nothing to be seen here"))+" ", 3000)
	last := base64.StdEncoding.EncodeToString([]byte("secret words here"))
	text := decoys + last + " " + decoys
	forms, complete := Forms(nil, text, true)
	if !complete {
		t.Error("not complete")
	}
	for _, f := range forms {
		if i := strings.Index(f.Text, "secret"); i >= 0 {
			if from, to := f.Source(i, i+6); text[from:to] != strings.TrimRight(last, "=") {
				t.Errorf("source %q", text[from:to])
			}
			return
		}
	}
	t.Error("not found")
}

// TestAnchoredBehindDecoys: a run is a reading of its own, for expressions with an anchor, whatever stands before it.
func TestAnchoredBehindDecoys(t *testing.T) {
	var b strings.Builder
	for i := range 500 {
		b.WriteString(base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "Decoy number %d", i)) + " ")
	}
	forms, complete := Forms(nil, b.String()+base64.StdEncoding.EncodeToString([]byte("Drop table users")), false)
	if !complete || !slices.Contains(texts(forms), "Drop table users") {
		t.Errorf("complete %t, %d forms", complete, len(forms))
	}
}

func TestSource(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString([]byte("secret words here"))
	for _, c := range []struct{ name, in, find, want string }{
		{"zero width", "say se\u200bcret now", "secret", "se\u200bcret"},
		{"fullwidth", "say ｓｅｃret now", "secret", "ｓｅｃret"},
		{"percent", "say%20se%63ret%20now", "secret", "se%63ret"},
		{"likeness", "say sесret now", "secret", "sесret"},
		{"a run whole", "say " + b64 + " now", "secret", strings.TrimRight(b64, "=")},
		{"a mark", "say cafe\u0301s now", "cafés", "cafe\u0301s"},
		{"percent of percent", "say%2520secret%2520now", "secret", "secret"},
		{"a run in capitals of another width", "x " + wide(b64) + " y", "secret", wide(strings.TrimRight(b64, "="))},
	} {
		t.Run(c.name, func(t *testing.T) {
			forms, _ := Forms(nil, c.in, true)
			for _, f := range forms {
				if i := strings.Index(f.Text, c.find); i >= 0 {
					from, to := f.Source(i, i+len(c.find))
					if got := c.in[from:to]; got != c.want {
						t.Errorf("form %q: source %q, want %q", f.Text, got, c.want)
					}
					return
				}
			}
			t.Errorf("not found in %q", texts(forms))
		})
	}
}

// distinct lists what forms say, each once.
func distinct(forms []Form) []string {
	out := texts(forms)
	slices.Sort(out)
	return slices.Compact(out)
}

// FuzzForms: readings are bounded, the plain reading read again says nothing new, and their sources lie within the text.
func FuzzForms(f *testing.F) {
	for _, s := range []string{"plain", "r\u200bm", "ｒｍ", url.QueryEscape("rm -rf /"), "cm0gLXJmIC9ob21lIHBsZWFzZQ==", "726d202d7266202f686f6d65", `\x72\x6d`,
		"\xff\xfe%ff", "\ufdfa\ufdfa\ufdfa", "e\u0301\u0301", hide("hi"), "рm"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		forms, whole := Forms(nil, s, true)
		sum := 0
		for _, g := range forms {
			sum += len(g.Text)
			if g.at != nil && len(g.at) != len(g.Text) {
				t.Fatalf("%q: %d places for %d bytes", s, len(g.at), len(g.Text))
			}
			for i := range len(g.Text) {
				from, to := g.Source(i, i+1)
				if from < 0 || to < from || to > len(s) || from == to {
					t.Fatalf("%q: byte %d of %q comes from %d to %d", s, i, g.Text, from, to)
				}
			}
		}
		if sum > Times*len(s)+Extra {
			t.Fatalf("%d bytes of readings for %d", sum, len(s))
		}
		// Without the account, equal readings of several places are one. Where there are more runs than are read one by one, that
		// may decide which of them are.
		same, also := Forms(nil, s, false)
		if a, b := distinct(same), distinct(forms); whole && also && len(s) < minRun*maxSingle/2 && !slices.Equal(a, b) {
			t.Fatalf("the account changes the readings: %q, %q", a, b)
		}
		if !utf8.ValidString(s) {
			return
		}
		var once, twice builder
		visible(&once, s)
		visible(&twice, string(once.out))
		if len(s) < maxPiece && !strings.Contains(s, "\ufdfa") && len(once.out) <= 2*len(s) && string(once.out) != string(twice.out) {
			t.Fatalf("visible is not idempotent: %q, %q, %q", s, once.out, twice.out)
		}
		once, twice = builder{}, builder{}
		plain(&once, s)
		plain(&twice, string(once.out))
		if string(once.out) != string(twice.out) {
			t.Fatalf("plain is not idempotent: %q, %q, %q", s, once.out, twice.out)
		}
	})
}
