// SPDX-License-Identifier: Apache-2.0

package action

import (
	"regexp"
	"strings"
	"testing"
)

func replaced(k *Keys, a Action, typ, session, value string, piece int) (with, print string) {
	var v Value
	v.Start(k, a, typ, session)
	for p := []byte(value); len(p) > 0; {
		n := min(piece, len(p))
		v.Write(p[:n])
		p = p[n:]
	}
	b, print := v.End(nil)
	return string(b), print
}

func TestLastFour(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"card", "4242 4242 4242 4242", "[X:4242]"},
		{"separators do not count", "4242-4242-4242-42-42", "[X:4242]"},
		{"a quarter of twelve", "abcdefghijkl", "[X:jkl]"},
		{"a quarter of eight", "abcdefgh", "[X:gh]"},
		{"a quarter of seven", "abcdefg", "[X:g]"},
		{"too short", "abc", "[X]"},
		{"nothing", "", "[X]"},
		{"punctuation", "!!!!!!!!!!!!!!!!", "[X]"},
		{"quotes stay out", `aaaaaaaaaaaaaaaa"b"\c`, "[X:aabc]"},
		{"letters of others", "Grüße an Jürgen Müller", "[X:ller]"},
		{"no half of a word", "Jose Hernández Peña", "[X:a]"},
	} {
		for _, n := range []int{1, 2, 3, 100} {
			if got, _ := replaced(nil, LastFour, "X", "", c.value, n); got != c.want {
				t.Errorf("%s in pieces of %d: %s, want %s", c.name, n, got, c.want)
			}
		}
	}
}

func TestPseudonyms(t *testing.T) {
	k := NewKeys([]byte("0123456789abcdef0123456789abcdef"))
	one, print := replaced(k, Pseudonym, "EMAIL", "ses_1", "ada@example.com", 4)
	if !regexp.MustCompile(`^\[EMAIL_[0-9a-f]{8}\]$`).MatchString(one) {
		t.Fatal(one)
	}
	if strings.Contains(one, print[:8]) {
		t.Error("the pseudonym shows the fingerprint, which is the same in all sessions")
	}
	for _, c := range []struct {
		name, typ, session, value string
		same                      bool
	}{
		{"again", "EMAIL", "ses_1", "ada@example.com", true},
		{"other case", "EMAIL", "ses_1", "Ada@Example.com", true},
		{"other value", "EMAIL", "ses_1", "bob@example.com", false},
		{"other session", "EMAIL", "ses_2", "ada@example.com", false},
		{"other type", "PERSON", "ses_1", "ada@example.com", false},
	} {
		got, p := replaced(k, Pseudonym, c.typ, c.session, c.value, 3)
		if (got == one) != c.same {
			t.Errorf("%s: %s beside %s", c.name, got, one)
		}
		if c.typ == "EMAIL" && strings.EqualFold(c.value, "ada@example.com") && p != print {
			t.Errorf("%s: fingerprints %s and %s", c.name, p, print)
		}
	}
	if other, p := replaced(NewKeys([]byte("another key of thirty-two bytes!")), Pseudonym, "EMAIL", "ses_1", "ada@example.com", 9); other == one || p == print {
		t.Error("the key does not matter")
	}
	if got, p := replaced(nil, Pseudonym, "EMAIL", "s", "ada@example.com", 9); got != "[EMAIL]" || p != "" {
		t.Error(got, p)
	}
	k = NewKeys(nil)
	a, p := replaced(k, Pseudonym, "EMAIL", "s", "ada@example.com", 9)
	if b, _ := replaced(k, Pseudonym, "EMAIL", "s", "ada@example.com", 2); a != b || p != "" {
		t.Error(a, b, p)
	}
}

func TestFingerprints(t *testing.T) {
	k := NewKeys([]byte("0123456789abcdef0123456789abcdef"))
	for _, c := range []struct {
		typ, a, b string
		same      bool
	}{
		{"CREDIT_CARD", "4242 4242 4242 4242", "4242424242424242", true},
		{"PHONE", "+1 (212) 555-0100", "1-212-555-0100", true},
		{"US_SSN", "123-45-6789", "123 45 6789", true},
		{"IBAN", "DE89 3704 0044 0532 0130 00", "de89370400440532013000", true},
		{"API_KEY", "abc", "ABC", false},
		{"PERSON", "Ada Lovelace", "Ada  Lovelace", false},
	} {
		_, a := replaced(k, Tag, c.typ, "", c.a, 5)
		_, b := replaced(k, LastFour, c.typ, "ses", c.b, 1)
		if len(a) != 16 || len(b) != 16 || (a == b) != c.same {
			t.Errorf("%s: %s and %s", c.typ, a, b)
		}
	}
	for _, a := range []Action{Allow, Deny} {
		if with, p := replaced(k, a, "EMAIL", "", "ada@example.com", 5); with != "" || p != "" {
			t.Error(a, with, p)
		}
	}
	if got := string(AppendTag(nil, "EMAIL")); got != "[EMAIL]" {
		t.Error(got)
	}
}
