// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/reference"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

func found(t *testing.T, s Spec, text string) string {
	t.Helper()
	rules, rows, err := Compile([]Spec{s})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || len(rows[0].Rules) != 1 || rows[0].Rules[0] != s.Name {
		t.Fatalf("rows %+v", rows)
	}
	set, err := reference.New(rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range set.Find([]byte(text)) {
		out = append(out, text[f.Start:f.End])
	}
	return strings.Join(out, "|")
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name       string
		spec       Spec
		text, want string
	}{
		{"plain", Spec{Pattern: `E[0-9]{6}`}, "xE123456 E1234567", "E123456|E123456"},
		{"word", Spec{Pattern: `E[0-9]{6}`, Word: true}, "xE123456 E1234567 E654321.", "E654321"},
		{"boundaries", Spec{Pattern: `\bE[0-9]{6}\b`}, "xE123456 E1234567 E654321.", "E654321"},
		{"left", Spec{Pattern: `[0-9]{4}`, Left: "0-9#", Right: "0-9"}, "12345 #1234 1234", "1234"},
		{"near", Spec{Pattern: `[0-9]{6}`, Word: true, Near: []string{"Employee", "staff no."}}, "order 111111; EMPLOYEE: 123456. Staff No. 654321; employees are", "123456|654321"},
		{"not near", Spec{Pattern: `[0-9]{6}`, Near: []string{"employee"}}, "employees 123456", ""},
		{"within", Spec{Pattern: `[0-9]{6}`, Near: []string{"id"}, Within: 4}, "id: 123456 id is now 123457", "123456"},
		{"far", Spec{Pattern: `[0-9]{6}`, Near: []string{"id"}, Within: rule.Context}, "id " + strings.Repeat("x ", 100) + "123456", "123456"},
		{"as far as usual", Spec{Pattern: `[0-9]{6}`, Near: []string{"id"}}, "id " + strings.Repeat("x ", 50) + "123456", ""},
		{"luhn", Spec{Pattern: `[0-9]{2}-[0-9]{3}`, Check: "luhn"}, "18-184 18-180 79-927", "18-184"},
		{"mod97", Spec{Pattern: `[A-Z]{2}[0-9]{2} [0-9]{4} [0-9]{4} [0-9]{4} [0-9]{4} [0-9]{2}`, Check: "mod97"}, "DE89 3704 0044 0532 0130 00 DE88 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00"},
		{"entropy", Spec{Pattern: `[a-z0-9]{16}`, Word: true, Check: "entropy"}, "aaaaaaaaaaaaaaa1 abcdefghijklmnop k3v9q7x1z5m2b8tw", "k3v9q7x1z5m2b8tw"},
		{"two checks", Spec{Pattern: `[0-9]{5}`, Word: true, Check: "luhn", Near: []string{"card"}}, "18184 card 18184 card 18181", "18184"},
	} {
		c.spec.Name, c.spec.Type = "mine", "MINE"
		if got := found(t, c.spec, c.text); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestFamilies(t *testing.T) {
	rules, rows, err := Compile([]Spec{{Name: "a", Type: "A", Pattern: "aa", Secret: true, Action: "deny"}, {Name: "b", Type: "B", Pattern: "bb"}})
	if err != nil || rules[0].Family != rule.Secret || rules[1].Family != rule.Structured || rows[0].Action != action.Deny || rows[1].Action != action.Tag {
		t.Error(rules, rows, err)
	}
	if !strings.Contains(rules[0].Why, "configuration") {
		t.Error(rules[0].Why)
	}
}

func TestRefused(t *testing.T) {
	ok := Spec{Name: "mine", Type: "MINE", Pattern: "E[0-9]{6}"}
	for _, c := range []struct {
		name   string
		change func(*Spec)
		want   string
	}{
		{"without bound", func(s *Spec) { s.Pattern = "E[0-9]+" }, "held back without bound: write {0,64} for * and {1,64} for +"},
		{"long", func(s *Spec) { s.Pattern = "[a-z]{900}[a-z]{200}" }, "at most 1024 are allowed"},
		{"states", func(s *Spec) { s.Pattern = `(?i)[\pL\pN]{1,250}` }, "states"},
		{"empty match", func(s *Spec) { s.Pattern = "a?" }, "empty text"},
		{"anchor", func(s *Spec) { s.Pattern = "^a" }, "anchors"},
		{"no pattern", func(s *Spec) { s.Pattern = "" }, "no pattern"},
		{"syntax", func(s *Spec) { s.Pattern = "(" }, "pattern: error parsing regexp"},
		{"name", func(s *Spec) { s.Name = "My Rule" }, "small letters"},
		{"type", func(s *Spec) { s.Type = "mine" }, "capitals"},
		{"word and left", func(s *Spec) { s.Word, s.Left = true, "a-z" }, "keep one"},
		{"class", func(s *Spec) { s.Left = "[a-z]" }, "alone"},
		{"within alone", func(s *Spec) { s.Within = 9 }, "give near"},
		{"within far", func(s *Spec) { s.Near, s.Within = []string{"id"}, rule.Context+1 }, "from 4 to "},
		{"near nothing", func(s *Spec) { s.Near = []string{"a"} }, "2 to 64 bytes"},
		{"near many", func(s *Spec) { s.Near = make([]string, 40) }, "at most 32"},
		{"check", func(s *Spec) { s.Check = "crc" }, "luhn, mod97 or entropy"},
		{"action", func(s *Spec) { s.Action = "hash" }, "want tag, last_four"},
	} {
		s := ok
		c.change(&s)
		_, _, err := Compile([]Spec{ok, s})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "rules[1]") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, _, err := Compile([]Spec{ok, ok}); err == nil || !strings.Contains(err.Error(), "another rule of that name") {
		t.Error(err)
	}
	if _, _, err := Compile(make([]Spec, 200)); err == nil || !strings.Contains(err.Error(), "at most 128") {
		t.Error(err)
	}
}

func TestChecksDoNotAllocate(t *testing.T) {
	rules, _, err := Compile([]Spec{{Name: "a", Type: "A", Pattern: "[0-9a-f]{16}", Near: []string{"key", "token"}, Check: "entropy"}})
	if err != nil {
		t.Fatal(err)
	}
	left, match := []byte(strings.Repeat("x ", 40)+"the Key is: "), []byte("0f3a9c57b1e2d846")
	if n := testing.AllocsPerRun(100, func() {
		if _, _, ok := rules[0].Check(left, match); !ok {
			t.Fatal("not found")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
