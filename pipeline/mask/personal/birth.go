// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"bytes"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

const (
	monthName = `[A-Za-z` + latin + `]{3,12}`
	ordinal   = `(?:st|nd|rd|th|er|\x{ba}|\x{aa}|\x{b0})?`
)

// births are the rules for dates of birth. A date is one only by what stands before it.
func (l *lexicon) births() []*rule.Rule {
	birth := func(name, pattern, why string, left rule.Class) *rule.Rule {
		return &rule.Rule{Name: name, Type: "DATE_OF_BIRTH", Family: rule.Structured, Pattern: pattern, Left: left, Right: rule.Digit, Check: l.birth, Why: why}
	}
	const why = " behind words about birth, or behind a name in a row"
	return []*rule.Rule{
		birth("birth-date", `[0-9]{1,4}(?:[-/. `+dashes+`]|\. | / |\\/)[0-9]{1,2}(?:[-/. `+dashes+`]|\. | / |\\/)[0-9]{2,4}|[0-9]{8}|[0-9]{4} ?(?:年|년) ?[0-9]{1,2} ?(?:月|월) ?[0-9]{1,2} ?(?:日|일)`, "a date in digits"+why, rule.Word),
		birth("birth-date-month", `[0-9]{1,2}`+ordinal+`[ ,./-]{0,2}(?:of |de |den |d')?`+monthName+`[ ,./-]{0,3}(?:de |del |of )?'?[0-9]{2,4}`, "a day, a month by its name, a year"+why, rule.Word),
		birth("birth-month-date", monthName+`[ ./-]{1,2}(?:the )?[0-9]{1,2}`+ordinal+`[ ,./-]{1,3}(?:of )?'?[0-9]{2,4}`, "a month by its name, a day, a year"+why, rule.Word),
		birth("birth-year-month", `[0-9]{4}[ ./-]{1,2}`+monthName+`[ ./-]{1,2}[0-9]{1,2}`, "a year, a month by its name, a day"+why, rule.Word),
	}
}

// date reads a date: whether there can be one, and its year.
func date(match []byte) (year int, ok bool) {
	var size, value [3]int
	k, month, inDigits := 0, false, false
	for i := 0; i < len(match); i++ {
		c := match[i]
		switch {
		case isDigit(c):
			if !inDigits {
				if k == 3 {
					return 0, false
				}
				k++
			}
			inDigits = true
			size[k-1]++
			value[k-1] = value[k-1]*10 + int(c-'0')
			continue
		case isUpper(c) || isLower(c) || c >= 0xc3 && c <= 0xc9:
			j := i
			for j < len(match) && (isUpper(match[j]) || isLower(match[j]) || match[j] >= 0x80) {
				j++
			}
			month = month || isMonth(match[i:j])
			i = j - 1
		}
		inDigits = false
	}
	if month {
		if k != 2 {
			return 0, false
		}
		d, y, s := value[0], value[1], size[1]
		if size[0] == 4 {
			d, y, s = value[1], value[0], size[0]
		}
		if s == 2 {
			y += 1900
		}
		return y, d >= 1 && d <= 31 && y >= 1850 && y <= 2100 && s != 3
	}
	if k == 1 && size[0] == 8 {
		v := value[0]
		if y, m, d := v/10000, v/100%100, v%100; y >= 1900 && y <= 2100 && m >= 1 && m <= 12 && d >= 1 && d <= 31 {
			return y, true
		}
		y, m, d := v%10000, v/10000%100, v/1000000
		return y, y >= 1900 && y <= 2100 && (m >= 1 && m <= 12 && d >= 1 && d <= 31 || d >= 1 && d <= 12 && m >= 1 && m <= 31)
	}
	if k != 3 {
		return 0, false
	}
	y, a, b := value[2], value[0], value[1]
	switch {
	case size[0] == 4 && size[2] <= 2:
		y, a, b = value[0], value[1], value[2]
	case size[0] > 2 || size[2] == 3:
		return 0, false
	case size[2] == 2:
		y += 1900
	}
	return y, y >= 1850 && y <= 2100 && a >= 1 && b >= 1 && a <= 31 && b <= 31 && (a <= 12 || b <= 12)
}

// months are the beginnings of names of months in a dozen languages, folded; three letters do.
const months = " jan feb mar apr may jun jul aug sep oct nov dec ene abr mai ago set dic dez out mag giu lug ott gen fev avr jui aou maj okt mrt mei " +
	"sty lut kwi cze lip sie wrz paz lis gru led uno bre dub kve cer srp zar rij pro tam hel maa huh tou kes hei elo syy lok mar jou marz mrz oca sub nis haz tem agu eyl eki kas ara ian iun iul noi "

func isMonth(w []byte) bool {
	var buf [longestWord]byte
	f, _ := fold(buf[:0], w)
	if len(f) < 3 {
		return false
	}
	for i := 0; i+4 < len(months); i++ {
		if months[i] == ' ' && months[i+1] == f[0] && months[i+2] == f[1] && months[i+3] == f[2] {
			return true
		}
	}
	return false
}

func (l *lexicon) birth(left, match []byte) (int, int, bool) {
	year, ok := date(match)
	if !ok || inNumber(left) || (last(left, 0) == '-' || last(left, 0) == '/') && isAlnum(last(left, 1)) || year > 2030 {
		return 0, 0, false
	}
	var a around
	l.look(&a, left)
	if a.col()&(telling|eventWord) != 0 {
		return 0, len(match), a.col()&birthWord != 0
	}
	const stop = telling&^birthWord&^passportWord&^driveWord | eventWord
	if a.near(birthWord, stop, 5, false) >= 0 {
		return 0, len(match), true
	}
	if last(left, 0) == '*' && (last(left, 1) == '(' || last(left, 1) == ' ' && isAlnum(last(left, 3))) && isDigit(match[0]) && year <= 2015 {
		return 0, len(match), true // German: Frau Meier, *3.5.1980
	}
	if row := bytes.TrimSuffix(left, []byte("(")); len(row) < len(left) && year >= 1920 && year <= 2010 && isDigit(match[0]) && isDigit(match[len(match)-1]) && len(match) <= 10 && !isLetter(match[len(match)/2]) && namely(row) {
		return 0, len(match), true
	}
	c := cell(left)
	if c == 0 || c == ' ' || year < 1920 || year > 2012 || a.col() != 0 {
		return 0, 0, false
	}
	return 0, len(match), afterPerson(left, c, year > 2006)
}

// namely tells whether row ends with two words with capitals.
func namely(row []byte) bool {
	row = bytes.TrimRight(row, " ")
	for range 2 {
		i := bytes.LastIndexByte(row, ' ')
		w := row[i+1:]
		if len(w) < 2 || !isUpper(w[0]) && w[0] < 0x80 || !isLower(w[1]) && w[1] < 0x80 && w[1] != '\'' || bytes.ContainsAny(w, "0123456789:;,|.()") {
			return false
		}
		row = row[:max(i, 0)]
	}
	return true
}

// afterPerson tells whether a cell before the last one of a row is the name of somebody, an address of mail, or a sex; with next, the one
// right before it must be a name.
func afterPerson(left []byte, delim byte, next bool) bool {
	row := left[bytes.LastIndexByte(left, '\n')+1:]
	cut := len(row) == len(left) && len(left) >= rule.Context
	row = row[:max(0, bytes.LastIndexByte(row, delim))]
	for first := true; len(row) > 0; first = false {
		s := bytes.LastIndexByte(row, delim) + 1
		if s == 0 && cut {
			return false
		}
		c := bytes.Trim(row[s:], " \"'")
		if name(c) || !next && person(c) {
			return true
		}
		if next && first {
			return false
		}
		row = row[:max(0, s-1)]
	}
	return false
}

// person tells whether a cell is an address of mail, or says a sex.
func person(c []byte) bool {
	switch string(c) {
	case "M", "F", "male", "female", "Male", "Female":
		return true
	}
	at := bytes.IndexByte(c, '@')
	return at > 0 && bytes.IndexByte(c[at:], '.') > 0 && bytes.IndexByte(c, ' ') < 0
}

// name tells whether a cell is the name of somebody: two to four words with capitals.
func name(c []byte) bool {
	if len(c) < 5 || len(c) > 40 {
		return false
	}
	words, start := 0, true
	for i, b := range c {
		switch {
		case b == ' ':
			start = true
			continue
		case start && !isUpper(b) && b < 0x80:
			if !particle(c[i:]) {
				return false
			}
		case start:
			words++
		case !isUpper(b) && !isLower(b) && b < 0x80 && b != '-' && b != '\'' && b != '.':
			return false
		}
		start = false
	}
	return words >= 2 && words <= 4
}

// particle tells whether s begins with a small word of names.
func particle(s []byte) bool {
	i := bytes.IndexByte(s, ' ')
	switch string(s[:max(i, 0)]) {
	case "de", "da", "do", "dos", "das", "del", "della", "di", "du", "la", "le", "van", "von", "der", "den", "ter", "ten", "af", "al", "bin", "y", "e":
		return true
	}
	return false
}
