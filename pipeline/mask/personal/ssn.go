// SPDX-License-Identifier: Apache-2.0

package personal

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

func (l *lexicon) ssnRule() *rule.Rule {
	return &rule.Rule{Name: "us-ssn", Type: "US_SSN", Family: rule.Structured, Pattern: `[0-9]{3}(?:[ .-]?[0-9]{2}[ .-]?|[` + blanks + dashes + `][0-9]{2}[` + blanks + dashes + `])[0-9]{4}(?:[.-]?[0-9])?`,
		Left: rule.Word, Right: rule.Word, Check: l.ssn,
		Why: "3-2-4 digits of an area that exists; without dashes only behind words about social security"}
}

func (l *lexicon) ssn(left, match []byte) (int, int, bool) {
	var buf [10]byte
	d, n := digits(buf[:0], match)
	if n != 9 || inNumber(left) {
		return 0, 0, false
	}
	area := int(d[0])*100 + int(d[1])*10 + int(d[2])
	if area == 0 || area == 666 || d[3] == 0 && d[4] == 0 || d[5] == 0 && d[6] == 0 && d[7] == 0 && d[8] == 0 {
		return 0, 0, false
	}
	sep := match[3]
	if len(match) > 9 && (len(match) < 11 || len(match) == 11 && match[6] != sep) {
		return 0, 0, false
	}
	switch last(left, 0) {
	case '-', '/', '+', '$', '.':
		if isAlnum(last(left, 1)) || last(left, 0) == '+' || last(left, 0) == '$' {
			return 0, 0, false
		}
	}
	var a around
	l.look(&a, left)
	if a.col()&telling != 0 {
		return 0, len(match), a.col()&(ssnWord|nationalWord) != 0
	}
	const own = ssnWord | nationalWord | taxDE
	const stop = telling&^own | patientWord | licenceWord
	if a.near(own, stop, 4, false) >= 0 || a.pair(socialWord, numberWord|recordWord|ninoWord|ssnWord|nirFR|sinCA|softWord, stop, 4) >= 0 {
		return 0, len(match), true
	}
	for i := 0; i < 4 && a.has(i); i++ {
		if a.word[i].class&socialWord != 0 {
			return 0, len(match), true
		}
	}
	if len(match) == 9 || area >= 900 {
		return 0, 0, false
	}
	// Nothing was said. Other words for numbers close by speak against it; the neighbours in a row, of any kind, do not.
	switch c := cell(left); {
	case c != 0:
		return 0, len(match), sep != '.' && (sep != ' ' || c != ' ')
	case sep == '-' || len(match) > 11:
		return 0, len(match), a.near(telling&^own|patientWord|licenceWord, own, 3, false) < 0
	}
	return 0, 0, false
}

// cell returns what parts the value from the one before it in a row: a comma, a semicolon, a bar or a tab, right before it but for blanks and quotes.
func cell(left []byte) byte {
	for i := range min(len(left), 4) {
		switch c := last(left, i); c {
		case ',', ';', '|', '\t':
			if i > 0 && c == ',' && last(left, 0) == ' ' && i == 1 {
				return ' ' // prose
			}
			return c
		case '/':
			if i == 1 && last(left, 2) == ' ' {
				return c
			}
			return 0
		case ' ', '"', '\'':
		default:
			return 0
		}
	}
	return 0
}
