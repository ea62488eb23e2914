// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode"

	"github.com/sallyport-dev/sallyport/pipeline/mask/names/token"
)

// doc is a text in which it is known who and what is where.
type doc struct {
	group string
	text  string
	spans []span
}

type span struct {
	start, end int
	tag        token.Tag
}

// filler fills templates.
type filler struct {
	*sources
	r       *rand.Rand
	home    string // locale
	out     strings.Builder
	spans   []span
	negs    []string
	foreign []string
	posts   []string
	escape  bool // write letters that are not ASCII as escapes
}

func (f *filler) pick(list []string) string { return list[f.r.IntN(len(list))] }

func (f *filler) chance(percent int) bool { return f.r.IntN(100) < percent }

func (f *filler) num(lo, hi int) string { return fmt.Sprint(lo + f.r.IntN(hi-lo+1)) }

func (f *filler) digits(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '0' + byte(f.r.IntN(10))
	}
	return string(b)
}

func (f *filler) letters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'A' + byte(f.r.IntN(26))
	}
	return string(b)
}

// newHome chooses a locale.
func (f *filler) newHome() {
	f.home = f.pick(f.locales)
	if f.chance(25) {
		for _, l := range []string{"census", "en_US", "en_GB", "own"} {
			if f.locale[l] != nil && f.chance(45) {
				f.home = l
				return
			}
		}
	}
}

func (f *filler) first() string { return f.pick(f.locale[f.home].first) }
func (f *filler) last() string  { return f.pick(f.locale[f.home].last) }

func (f *filler) full() string {
	if f.chance(8) {
		f.newHome()
	}
	a, b := f.first(), f.last()
	switch k := f.r.IntN(100); {
	case k < 70:
		return a + " " + b
	case k < 78:
		return a + " " + string(rune('A'+f.r.IntN(26))) + ". " + b
	case k < 81:
		return a + " " + string(rune('A'+f.r.IntN(26))) + " " + b
	case k < 84:
		return a + " " + f.first() + " " + b
	case k < 87:
		return a + " " + b + "-" + f.last()
	case k < 90:
		return a + " " + b + " " + f.last()
	case k < 92:
		return a + " " + f.pick([]string{"van", "van der", "van den", "de", "de la", "del", "di", "von", "da", "dos", "bin", "al", "El", "Al", "Mac", "De", "Van", "Di", "zu", "af", "le", "Le"}) + " " + b
	case k < 93:
		return a + " " + f.pick([]string{"O'", "D'", "Mc", "Mac", "d'", "O’", "Al-", "El-"}) + b
	case k < 94:
		return a[:len(string([]rune(a)[:1]))] + ". " + b
	case k < 95:
		return a + "-" + f.first() + " " + b
	case k < 96:
		return a + " " + b + f.pick([]string{" Jr.", " Jr", " III", " Sr."})
	}
	return a + " " + b
}

func (f *filler) person() string {
	switch k := f.r.IntN(100); {
	case k < 62:
		return f.full()
	case k < 82:
		return f.first()
	case k < 92:
		return f.last()
	case k < 95:
		return f.last() + ", " + f.first()
	}
	return f.pick([]string{"A", "J", "M", "S", "R"}) + ". " + f.last()
}

func (f *filler) company() string {
	switch k := f.r.IntN(10); {
	case k < 4:
		return f.pick(f.words["orgname"])
	case k < 7:
		return f.last() + " " + f.pick(f.words["org"])
	case k < 8:
		return f.last() + f.pick([]string{"-", " & ", " and "}) + f.last()
	case k < 9:
		return f.last() + ", " + f.last() + " and " + f.last()
	}
	return f.pick(f.words["word"]) + " " + f.pick(f.words["org"])
}

func (f *filler) heading() string {
	n := 1 + f.r.IntN(4)
	var w []string
	for i := range n {
		if i > 0 && f.chance(25) {
			w = append(w, f.pick([]string{"of", "and", "for", "in", "the", "to", "with"}))
		}
		if f.chance(70) {
			w = append(w, f.pick(f.words["word"]))
		} else if e := f.common[f.r.IntN(len(f.common))]; e.level >= 2 {
			w = append(w, strings.ToUpper(e.name[:1])+e.name[1:])
		}
	}
	return strings.Join(w, " ")
}

func (f *filler) put(s string, tag token.Tag) {
	at := f.out.Len()
	if f.escape {
		s = escape(s)
	}
	f.out.WriteString(s)
	if tag != token.Other && s != "" {
		f.spans = append(f.spans, span{at, f.out.Len(), tag})
	}
}

// escape writes letters as JSON does when it must be ASCII.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 0x80 && r < 0x10000 {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// near tells whether an address has just ended: a city behind it belongs to it.
func (f *filler) near() bool {
	if len(f.spans) == 0 || f.spans[len(f.spans)-1].tag != token.Address {
		return false
	}
	return strings.Trim(f.out.String()[f.spans[len(f.spans)-1].end:], " \n,>?") == ""
}

func (f *filler) put1(name string) {
	months := f.words["calendar"][:12]
	date := func() string {
		m, d, y := f.r.IntN(12), 1+f.r.IntN(28), 1940+f.r.IntN(90)
		return f.pick([]string{fmt.Sprintf("%d-%02d-%02d", y, m+1, d), fmt.Sprintf("%d %s %d", d, months[m], y),
			fmt.Sprintf("%s %d, %d", months[m], d, y), fmt.Sprintf("%02d/%02d/%d", m+1, d, y), fmt.Sprintf("%02d.%02d.%d", d, m+1, y)})
	}
	person := func(s string) { f.put(s, token.Person) }
	switch name {
	case "P", "PERSON":
		person(f.person())
	case "FL":
		person(f.full())
	case "F":
		person(f.first())
	case "L":
		person(f.last())
	case "f":
		person(strings.ToLower(f.first()))
	case "l":
		person(strings.ToLower(f.last()))
	case "fl":
		person(strings.ToLower(f.full()))
	case "UFL":
		person(strings.ToUpper(f.full()))
	case "UL":
		person(strings.ToUpper(f.last()))
	case "UF":
		person(strings.ToUpper(f.first()))
	case "A", "ADDRESS":
		f.put(f.address(name == "ADDRESS"), token.Address)
	case "a":
		f.put(strings.ToLower(f.address(false)), token.Address)
	case "STREET":
		f.put(f.streetOf(f.r.IntN(forms)), token.Address)
	case "CITYA":
		f.put(f.pick(f.all), token.Address)
	case "ZIPA":
		f.put(f.digits(5), token.Address)
	case "GPE", "CITY", "COUNTRY", "ZIP", "YEAR":
		s := ""
		switch name {
		case "GPE", "CITY":
			s = f.pick(f.all)
			if f.chance(10) {
				s = f.pick([]string{"Port ", "East ", "New ", "North ", "Lake ", "West "}) + f.first() + f.pick([]string{"", "ville", "bury", "ton", "mouth", "burgh", "shire"})
			} else if f.chance(4) {
				s = strings.ToUpper(s)
			}
		case "COUNTRY":
			s = f.pick(f.lands)
		case "ZIP":
			s = f.digits(5)
		default:
			s = f.num(1900, 2030)
		}
		tag := token.Other
		if f.near() && name != "CITY" {
			tag = token.Address
		}
		f.put(s, tag)
	case "NRP", "LANG":
		f.put(f.pick(f.words["country"]), 0)
	case "TITLE":
		f.put(f.pick([]string{"Mr.", "Mrs.", "Ms.", "Dr.", "Mr", "Mrs", "Ms", "Dr", "Miss", "Prof."}), 0)
	case "ROLE":
		f.put(f.pick(f.words["job"]), 0)
	case "ORG":
		f.put(f.company(), 0)
	case "PRODUCT":
		f.put(f.pick(f.words["product"]), 0)
	case "TITLECASE":
		f.put(f.heading(), 0)
	case "NEG":
		f.put(strings.ReplaceAll(f.pick(f.negs), `\n`, "\n"), 0)
	case "PNEG":
		f.put(f.pick(f.posts), 0)
	case "LNEG":
		f.put(f.pick(f.foreign), 0)
	case "MONTH":
		f.put(f.pick(months), 0)
	case "WEEKDAY":
		f.put(f.pick(f.words["calendar"][22:29]), 0)
	case "DATE", "DATE_OF_BIRTH":
		f.put(date(), 0)
	case "AGE":
		f.put(f.num(1, 90), 0)
	case "N", "D":
		f.put(f.num(0, f.r.IntN(3)*500+20), 0)
	case "U":
		f.put(strings.ToLower(f.first())+f.num(1, 99), 0)
	case "URL":
		f.put("https://www."+strings.ToLower(f.pick(f.words["word"]))+".com/", 0)
	case "EMAIL":
		f.put(strings.ToLower(f.first())+f.pick([]string{"", ".", "_"})+f.num(1, 99)+"@"+f.pick([]string{"example.com", "gmail.com", "mail.example.org", "firma.de"}), 0)
	case "PHONE":
		f.put(f.pick([]string{"+1 ", "(" + f.digits(3) + ") ", "+49 ", "0", "+" + f.digits(2) + " " + f.digits(2) + " ", f.digits(3) + "-", "0" + f.digits(3) + "/"})+f.digits(3)+f.pick([]string{"-", " ", "", " " + f.digits(2) + " "})+f.digits(4), 0)
	case "IP_ADDRESS":
		f.put("10."+f.num(0, 255)+"."+f.num(0, 255)+"."+f.num(1, 254), 0)
	case "STATE":
		f.put(f.pick(states), 0)
	case "US_SSN":
		f.put(f.digits(3)+f.pick([]string{"-", " "})+f.digits(2)+f.pick([]string{"-", " "})+f.digits(4), 0)
	case "IBAN":
		s := f.letters(2) + f.digits(2)
		sep := f.pick([]string{" ", ""})
		for range 4 + f.r.IntN(2) {
			s += sep + f.digits(4)
		}
		f.put(s, 0)
	case "BIC":
		f.put(f.letters(8), 0)
	case "CREDIT_CARD":
		sep := f.pick([]string{" ", "-", ""})
		f.put(f.digits(4)+sep+f.digits(4)+sep+f.digits(4)+sep+f.digits(4), 0)
	default:
		f.put(f.pick([]string{f.digits(4) + " " + f.digits(4) + " " + f.digits(4), f.letters(1) + f.digits(7), f.letters(2) + f.digits(6), f.digits(8),
			f.letters(1) + f.digits(3) + "-" + f.digits(4) + "-" + f.digits(4), f.letters(3) + "-" + f.digits(5), f.letters(2) + " " + f.digits(3) + " " + f.digits(3),
			f.letters(5) + f.digits(4) + f.letters(1), f.digits(2) + f.letters(2) + f.digits(5)}), 0)
	}
}

// fill fills a template.
func (f *filler) fill(group, template string) doc {
	f.out.Reset()
	f.spans = nil
	f.newHome()
	f.escape = f.chance(4)
	t := template
	for t != "" {
		i := strings.IndexByte(t, '{')
		if i < 0 {
			f.out.WriteString(t)
			break
		}
		f.out.WriteString(t[:i])
		j := strings.IndexByte(t[i:], '}')
		if name := t[i+1 : i+max(j, 1)]; j > 1 && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && r != '_' }) < 0 {
			f.put1(name)
			t = t[i+j+1:]
			continue
		}
		f.out.WriteByte('{')
		t = t[i+1:]
	}
	d := doc{group: group, text: f.out.String(), spans: f.spans}
	switch k := f.r.IntN(100); {
	case f.escape:
		f.escape = false
	case k < 4 && len(strings.ToLower(d.text)) == len(d.text):
		d.text = strings.ToLower(d.text)
	case k < 6 && len(strings.ToUpper(d.text)) == len(d.text):
		d.text = strings.ToUpper(d.text)
	case k < 9: // the names alone
		b := []byte(d.text)
		for _, s := range d.spans {
			if low := strings.ToLower(d.text[s.start:s.end]); len(low) == s.end-s.start {
				copy(b[s.start:s.end], low)
			}
		}
		d.text = string(b)
	case k < 12:
		b := []byte(d.text)
		for _, s := range d.spans {
			if up := strings.ToUpper(d.text[s.start:s.end]); len(up) == s.end-s.start {
				copy(b[s.start:s.end], up)
			}
		}
		d.text = string(b)
	}
	return d
}
