// SPDX-License-Identifier: Apache-2.0

package action

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

var (
	key   = &rule.Rule{Name: "github-token", Type: "GITHUB_TOKEN", Family: rule.Secret}
	mail  = &rule.Rule{Name: "mail", Type: "EMAIL", Family: rule.Structured}
	card  = &rule.Rule{Name: "card", Type: "CREDIT_CARD", Family: rule.Structured}
	phone = &rule.Rule{Name: "phone", Type: "PHONE", Family: rule.Structured}
	ip    = &rule.Rule{Name: "ip", Type: "IP_ADDRESS", Family: rule.Structured}
	iban  = &rule.Rule{Name: "iban", Type: "IBAN", Family: rule.Structured}
	who   = &rule.Rule{Name: "names", Type: "PERSON", Family: rule.Name}
)

func table(t *testing.T, s Settings) *Table {
	t.Helper()
	tab, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestBuiltinRows(t *testing.T) {
	for _, tab := range []*Table{nil, table(t, Settings{})} {
		for _, c := range []struct {
			what string
			plan *Plan
			of   *rule.Rule
			want Action
		}{
			{"secret in text", tab.Plan(Text, nil), key, Tag},
			{"secret in arguments", tab.Plan(Args, nil), key, Tag},
			{"mail in text", tab.Plan(Text, nil), mail, Tag},
			{"mail in reasoning", tab.Plan("reasoning", nil), mail, Tag},
			{"mail in arguments", tab.Plan(Args, nil), mail, Allow},
			{"name in arguments", tab.Plan(Args, nil), who, Allow},
			{"name in a prompt, recorded", tab.Record(Prompt, nil), who, Tag},
			{"mail in arguments, recorded", tab.Record(Args, nil), mail, Allow},
			{"secret in a prompt, sent", tab.Sent(Prompt, nil), key, Allow},
		} {
			if got := c.plan.Of(c.of); got != c.want {
				t.Errorf("%s: %v, want %v", c.what, got, c.want)
			}
		}
		if !tab.Sent(Prompt, nil).Idle() || tab.Plan(Args, nil).Idle() || tab.Plan(Text, nil).Idle() {
			t.Error("wrong plans are idle")
		}
	}
	if got := (*Plan)(nil).Of(mail); got != Tag {
		t.Error("no plan:", got)
	}
}

func TestRows(t *testing.T) {
	tab := table(t, Settings{Rows: []Row{
		{Types: []string{"EMAIL", "PHO*"}, Roles: []string{"support-*"}, Action: Allow},
		{Types: []string{"EMAIL"}, Action: Pseudonym},
		{Types: []string{Personal}, Carriers: []string{Args}, Action: Tag},
		{Types: []string{Secrets}, Carriers: []string{Text}, Action: Deny},
		{Types: []string{Names}, Carriers: []string{"reasoning"}, Action: Allow},
		{Rules: []string{"card"}, Action: LastFour},
		{Types: []string{Secrets}, Carriers: []string{Prompt}, Action: Tag},
	}})
	sup := []string{"other", "support-eu"}
	for _, c := range []struct {
		what string
		plan *Plan
		of   *rule.Rule
		want Action
	}{
		{"role", tab.Plan(Text, sup), mail, Allow},
		{"role and glob", tab.Plan(Text, sup), phone, Allow},
		{"other role", tab.Plan(Text, []string{"support"}), mail, Pseudonym},
		{"first of two", tab.Plan(Args, nil), mail, Pseudonym},
		{"before the built-in row", tab.Plan(Args, nil), who, Tag},
		{"carrier", tab.Plan(Text, nil), key, Deny},
		{"text is every text of a reply", tab.Plan("refusal", nil), key, Deny},
		{"other carrier", tab.Plan(Args, nil), key, Tag},
		{"one text", tab.Plan("reasoning", nil), who, Allow},
		{"not that text", tab.Plan(Text, nil), who, Tag},
		{"rule", tab.Plan(Text, nil), card, LastFour},
		{"nothing is denied in a record", tab.Record(Prompt, nil), key, Tag},
		{"prompt", tab.Sent(Prompt, nil), key, Tag},
		{"result in a request", tab.Sent("result", nil), key, Tag},
		{"rows of replies are not for prompts", tab.Sent(Prompt, nil), mail, Allow},
		{"embeddings are not prompts", tab.Sent(Input, nil), key, Allow},
	} {
		if got := c.plan.Of(c.of); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	if tab.Sent(Prompt, nil).Idle() || !tab.Sent(Input, nil).Idle() {
		t.Error("wrong plans are idle")
	}
	tab = table(t, Settings{Prompts: true, Rows: []Row{{Types: []string{Personal}, Carriers: []string{Input}, Action: Allow}}})
	for what, ok := range map[string]bool{
		"mail in a prompt":                      tab.Sent(Prompt, nil).Of(mail) == Tag,
		"mail in embeddings":                    tab.Sent(Input, nil).Of(mail) == Allow,
		"secret in embeddings":                  tab.Sent(Input, nil).Of(key) == Tag,
		"mail in repeated arguments":            tab.Sent(Args, nil).Of(mail) == Allow,
		"mail in embeddings, recorded, as sent": tab.Record(Input, nil).Of(mail) == Tag,
	} {
		if !ok {
			t.Error(what)
		}
	}
}

func TestSettingsErrors(t *testing.T) {
	many := make([]Row, 80)
	for i := range many {
		many[i] = Row{Roles: []string{strings.Repeat("r", i+1)}}
	}
	for _, c := range []struct {
		name string
		s    Settings
		want string
	}{
		{"small letters", Settings{Rows: []Row{{Types: []string{"Email"}}}}, "in capitals"},
		{"empty type", Settings{Rows: []Row{{Types: []string{""}}}}, "empty entry of types"},
		{"class", Settings{Rows: []Row{{Roles: []string{"a[b]"}}}}, "only * is a wildcard"},
		{"glob of carriers", Settings{Rows: []Row{{}, {Carriers: []string{"t*"}}}}, "actions[1]: carriers"},
		{"unknown carrier", Settings{Rows: []Row{{Carriers: []string{"texts"}}}}, "want one of text, args, prompt"},
		{"action", Settings{Rows: []Row{{Action: 9}}}, "unknown"},
		{"roles", Settings{Rows: many}, "use globs"},
		{"rows", Settings{Rows: make([]Row, 300)}, "at most 256"},
		{"allow nothing", Settings{Allow: []string{"a", " "}}, "allow[1]: an empty entry"},
		{"allow all", Settings{Allow: []string{"**a"}}, "allows too much"},
		{"allow long", Settings{Allow: []string{strings.Repeat("x", 257)}}, "longer than 256 bytes"},
		{"allow many", Settings{Allow: make([]string, 5000)}, "at most 4096"},
	} {
		if _, err := New(c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	tab := table(t, Settings{Rows: []Row{{Types: []string{"EMIAL"}}, {Types: []string{"CREDIT_*", Secrets}}, {Rules: []string{"nobody"}}}})
	err := tab.Unknown([]*rule.Rule{key, mail, card})
	if err == nil || !strings.Contains(err.Error(), "actions[0]") || !strings.Contains(err.Error(), "actions[2]") || strings.Contains(err.Error(), "actions[1]") {
		t.Error(err)
	}
	for _, a := range []Action{Tag, LastFour, Pseudonym, Deny, Allow} {
		if b, err := Parse(a.String()); b != a || err != nil {
			t.Error(a, b, err)
		}
	}
	if _, err := Parse("hash"); err == nil {
		t.Error("an unknown action has a meaning")
	}
}

func TestAllowed(t *testing.T) {
	example := "ghp_" + strings.Repeat("0", 36)
	tab := table(t, Settings{Allow: []string{example, "*@example.com", "Ada.Lovelace@mail.test", "10.0.0.0/8", "2001:db8::1", "4242 4242 4242 4242", "+49 30 901820",
		"DE89 3704 0044 0532 0130 00", "Ada Lovelace", "ghp_*"}})
	for _, c := range []struct {
		name  string
		of    *rule.Rule
		value string
		want  bool
	}{
		{"exact secret", key, example, true},
		{"longer secret", key, example + "0", false},
		{"no patterns for secrets", key, "ghp_" + strings.Repeat("1", 36), false},
		{"domain", mail, "Bob@Example.com", true},
		{"domain in the middle", mail, "bob@example.com.evil.test", false},
		{"address", mail, "ada.lovelace@MAIL.test", true},
		{"network", ip, "10.1.2.3", true},
		{"mapped", ip, "::ffff:10.1.2.3", true},
		{"with a length", ip, "10.1.2.0/24", true},
		{"other network", ip, "11.1.2.3", false},
		{"one address", ip, "2001:db8:0::1", true},
		{"networks are for addresses", phone, "10.1.2.3", false},
		{"digits of a card", card, "4242-4242-4242-4242", true},
		{"digits of a phone", phone, "+49 (30) 90-18-20", true},
		{"other digits", phone, "+49 30 901821", false},
		{"iban", iban, "de89370400440532013000", true},
		{"name", who, "ADA LOVELACE", true},
		{"other name", who, "Ada", false},
		{"nothing", who, "", false},
		{"too long", mail, strings.Repeat("a", 300) + "@example.com", false},
	} {
		if got := tab.Allowed(c.of, []byte(c.value)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if (*Table)(nil).Allowed(mail, []byte("a@example.com")) {
		t.Error("no table allows")
	}
}

// What is held of a value of an open rule ends with the longest entry that begins so.
func TestBegins(t *testing.T) {
	tab := table(t, Settings{Allow: []string{"abc", "abcdef", "abd", "*zzz"}})
	for _, c := range []struct {
		value   string
		may, is bool
	}{{"a", true, false}, {"ab", true, false}, {"abc", true, true}, {"abcd", true, false}, {"abcdef", true, true}, {"abcdefg", false, false},
		{"abcx", false, false}, {"abd", true, true}, {"b", false, false}, {"", true, false}, {"z", false, false}} {
		if may, is := tab.Begins([]byte(c.value)); may != c.may || is != c.is {
			t.Errorf("%q: %v %v", c.value, may, is)
		}
	}
	if may, _ := (*Table)(nil).Begins(nil); may {
		t.Error("no table allows")
	}
	if may, _ := table(t, Settings{}).Begins([]byte("a")); may {
		t.Error("an empty list holds")
	}
}

// Once a value cannot be allowed any more it never can, and what is allowed was held up to there.
func FuzzBegins(f *testing.F) {
	f.Add("abc\nabd", "abcd")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, entries, value string) {
		tab, err := New(Settings{Allow: strings.Split(entries, "\n")})
		if err != nil {
			return
		}
		ever := true
		for n := range len(value) + 1 {
			may, is := tab.Begins([]byte(value[:n]))
			if is && !may || may && !ever || may && n > MaxAllow {
				t.Fatalf("%q: %v %v after %v", value[:n], may, is, ever)
			}
			if is != tab.Allowed(key, []byte(value[:n])) {
				t.Fatalf("%q: open and closed rules differ", value[:n])
			}
			ever = may
		}
	})
}

func TestNoAllocation(t *testing.T) {
	tab := table(t, Settings{Rows: []Row{{Types: []string{"EMAIL"}, Roles: []string{"a*"}, Action: LastFour}}, Allow: []string{"*@example.com", "10.0.0.0/8", "abcdef"}})
	keys := NewKeys([]byte("0123456789abcdef0123456789abcdef"))
	roles := []string{"auditor", "reader"}
	buf := make([]byte, 0, 128)
	values := [][]byte{[]byte("Ada.Lovelace@Example.com"), []byte("10.1.2.3"), []byte("+49 30 901820")}
	var v Value
	if n := testing.AllocsPerRun(100, func() {
		p := tab.Plan(Text, roles)
		_ = tab.Sent(Prompt, roles).Idle()
		for i, r := range []*rule.Rule{mail, ip, phone} {
			_ = p.Of(r)
			_ = tab.Allowed(r, values[i])
			_, _ = tab.Begins(values[i])
		}
		for _, a := range []Action{Tag, LastFour, Pseudonym} {
			v.Start(keys, a, "EMAIL", "ses_1")
			v.Write(values[0])
			buf, _ = v.End(buf[:0])
		}
	}); n > 3 { // the three fingerprints
		t.Errorf("%v allocations", n)
	}
}
