// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"bytes"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

const cardMax = 19

// accounts are the rules for what money is moved by.
func (l *lexicon) accounts() []*rule.Rule {
	return []*rule.Rule{
		{Name: "card", Type: "CREDIT_CARD", Family: rule.Structured, Pattern: `[0-9](?:(?: {1,2}|[.` + blanks + dashes + `-])?[0-9]){11,18}(?:[-.]?[0-9])?`,
			Left: rule.Word, Right: rule.Word, Check: l.card,
			Why: "12 to 19 digits that pass Luhn, in the ranges of an issuer or behind words about cards"},
		{Name: "iban", Type: "IBAN", Family: rule.Structured, Pattern: `[A-Za-z]{2}[0-9]{2}(?:[` + blanks + dashes + ` -]?[A-Za-z0-9]{4}){2,7}(?:[` + blanks + dashes + ` -]?[A-Za-z0-9]{1,4})?`,
			Left: rule.Word, Check: l.iban,
			Why: "the length of its country and ISO 7064 MOD 97-10"},
		{Name: "routing-number", Type: "BANK_ROUTING", Family: rule.Structured, Pattern: `[0-9]{9}`, Left: rule.Word, Right: rule.Word, Check: l.routing,
			Why: "nine digits with the checksum of the ABA, behind words about routing"},
		{Name: "bic", Type: "BIC", Family: rule.Structured, Pattern: `[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?`, Left: rule.Word, Right: rule.Word, Check: l.bic,
			Why: "the form of ISO 9362, behind SWIFT or BIC"},
	}
}

func (l *lexicon) card(left, match []byte) (int, int, bool) {
	if inNumber(left) || last(left, 0) == '+' || last(left, 0) == '$' {
		return 0, 0, false
	}
	var buf [cardMax + 1]byte
	var ends [cardMax + 2]int // by the number of digits: where a number of so many digits ends, 0 within a group
	var group [cardMax + 2]byte
	d, groups := buf[:0], 0
	for i, c := range match {
		if !isDigit(c) {
			continue
		}
		if len(d) == cap(d) {
			return 0, 0, false
		}
		if i == 0 || !isDigit(match[i-1]) {
			groups++
		}
		group[groups-1]++
		d = append(d, c-'0')
		if i+1 == len(match) || !isDigit(match[i+1]) {
			ends[len(d)] = i + 1
		}
	}
	if len(d) > cardMax {
		if groups == 1 {
			return 0, 0, false
		}
	}
	dotted := bytes.IndexByte(match, '.') >= 0
	for n := min(len(d), cardMax); n >= 12; n-- {
		if ends[n] == 0 || allSame(d[:n]) || !luhn(d[:n]) {
			continue
		}
		whole := n == len(d)
		if (!whole || dotted) && !printed(group[:groups], n) {
			continue
		}
		rank := issuer(d[:n])
		if rank == 2 && printed(group[:groups], n) && groups > 1 {
			return 0, ends[n], !afterHex(left)
		}
		var a around
		l.look(&a, left)
		if a.col() != 0 {
			if a.col()&cardWord != 0 {
				return 0, ends[n], true
			}
			if a.col()&telling != 0 {
				return 0, 0, false
			}
		}
		if a.near(cardWord|payWord, telling&^cardWord, 5, false) >= 0 {
			return 0, ends[n], true
		}
		if rank == 2 && groups == 1 && a.near(otherWord|phoneWord|ibanWord, cardWord, 2, false) < 0 && n >= 13 {
			return 0, ends[n], true
		}
	}
	return 0, 0, false
}

// printed tells whether the groups of the first n digits are those on a card: 4-4-4-4 with a shorter or longer rest, 4-6-5, 4-6-4, or one.
func printed(g []byte, n int) bool {
	k := 0
	for sum := 0; k < len(g) && sum < n; k++ {
		sum += int(g[k])
	}
	switch k {
	case 1:
		return true
	case 3:
		return g[0] == 4 && g[1] == 6 && (g[2] == 4 || g[2] == 5)
	case 4, 5:
		return g[0] == 4 && g[1] == 4 && g[2] == 4 && (k == 4 || g[3] == 4) && g[k-1] <= 7
	}
	return false
}

// issuer ranks leading digits and length (ISO/IEC 7812 ranges in use): 2, of a network that all know; 1, of some network; 0, of none.
func issuer(d []byte) int {
	n := len(d)
	head := int(d[0])*1000 + int(d[1])*100 + int(d[2])*10 + int(d[3])
	two := head / 100
	rank := 0
	switch {
	case d[0] == 4:
		if n == 16 || n == 19 {
			rank = 2
		} else if n == 13 {
			rank = 1
		}
	case two == 34, two == 37:
		if n == 15 {
			rank = 2
		}
	case two >= 51 && two <= 55, head >= 2221 && head <= 2720:
		if n == 16 {
			rank = 2
		}
	case head >= 2200 && head <= 2204:
		rank = 1
	case head == 1800, head == 2131:
		if n == 15 {
			rank = 2
		}
	case head/10 >= 300 && head/10 <= 305, two == 36, two == 38, two == 39:
		if n == 14 {
			rank = 2
		} else if n >= 14 {
			rank = 1
		}
	case two == 35:
		if n == 16 {
			rank = 2
		}
	case head == 6011, two == 65, head/10 >= 644 && head/10 <= 649, two == 62:
		if n == 16 {
			rank = 2
		} else if n >= 13 {
			rank = 1
		}
	case two == 50, two >= 56 && two <= 58, d[0] == 6, two == 81, two == 82:
		rank = 1
	}
	return rank
}

// ibanLengths are the lengths of the SWIFT IBAN registry: country and length.
const ibanLengths = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30"

func ibanLength(a, b byte) int {
	a, b = a&^0x20, b&^0x20
	for i := 0; i < len(ibanLengths); i += 4 {
		if ibanLengths[i] == a && ibanLengths[i+1] == b {
			return int(ibanLengths[i+2]-'0')*10 + int(ibanLengths[i+3]-'0')
		}
	}
	return 0
}

func (l *lexicon) iban(left, match []byte) (int, int, bool) {
	want := ibanLength(match[0], match[1])
	if want == 0 {
		return otherIBAN(match)
	}
	// The country and the check digits are taken as if they stood at the end, so they are added last.
	n, end, rest := 0, 0, 0
	for i, c := range match {
		if !isAlnum(c) {
			continue
		}
		if n++; n > 4 {
			rest = mod97(rest, c)
		}
		if n == want {
			end = i + 1
			break
		}
	}
	if end == 0 || end < len(match) && isAlnum(match[end]) {
		return otherIBAN(match)
	}
	for _, c := range match[:4] {
		rest = mod97(rest, c)
	}
	if rest == 1 {
		return 0, end, true
	}
	var a around
	l.look(&a, left)
	return 0, end, a.near(ibanWord, telling&^ibanWord, 3, false) >= 0
}

// otherIBAN takes what the registry does not have: another country, or a length that its members have not agreed on. It must be in
// capitals, end with a group, and pass the check.
func otherIBAN(match []byte) (int, int, bool) {
	n, rest, nums := 0, 0, 0
	for i, c := range match {
		if isAlnum(c) {
			if isLower(c) {
				return 0, 0, false
			}
			if isDigit(c) {
				nums++
			}
			if n++; n > 4 {
				rest = mod97(rest, c)
			}
		}
		if n < 15 || nums < 10 || i+1 < len(match) && isAlnum(match[i+1]) || !isAlnum(c) {
			continue
		}
		all := rest
		for _, h := range match[:4] {
			all = mod97(all, h)
		}
		if all == 1 {
			return 0, i + 1, true
		}
	}
	return 0, 0, false
}

func mod97(rest int, c byte) int {
	if isDigit(c) {
		return (rest*10 + int(c-'0')) % 97
	}
	return (rest*100 + int(c&^0x20-'A') + 10) % 97
}

func (l *lexicon) routing(left, match []byte) (int, int, bool) {
	var buf [9]byte
	d, _ := digits(buf[:0], match)
	if weighted(d, "371371371")%10 != 0 || allSame(d) || inNumber(left) {
		return 0, 0, false
	}
	var a around
	l.look(&a, left)
	return 0, 9, a.col()&routeWord != 0 || a.col() == 0 && a.near(routeWord, telling&^routeWord, 3, false) >= 0
}

func (l *lexicon) bic(left, match []byte) (int, int, bool) {
	var a around
	l.look(&a, left)
	i := a.near(bicWord, telling&^bicWord, 0, false)
	return 0, len(match), a.col()&bicWord != 0 || a.col() == 0 && i >= 0 && (a.keyed || i == 0 || a.word[0].class&numberWord != 0)
}
