// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"bytes"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// paperPattern is a number of a paper or of a record: letters, then digits and letters, in groups. A group behind a space begins with a
// digit, so that prose does not go on a number.
const paperPattern = `(?:[A-Z]{1,3} |[A-Za-z]{1,9}(?:-[A-Z]{0,4})?[/-]?)?[0-9](?:[A-Za-z0-9*]|[ ./-][0-9]|-[A-Z]|[` + dashes + `][0-9A-Z]){2,19}`

// papers are the rules for numbers that only the words before them tell apart.
func (l *lexicon) papers() []*rule.Rule {
	paper := func(name, typ, why string, check func(left, match []byte) (int, int, bool)) *rule.Rule {
		return &rule.Rule{Name: name, Type: typ, Family: rule.Structured, Pattern: paperPattern, Left: rule.Word, Right: rule.Word, Check: check, Why: why}
	}
	return []*rule.Rule{
		paper("passport", "PASSPORT", "6 to 10 digits and letters behind words about passports", l.passport),
		paper("driver-license", "DRIVER_LICENSE", "5 to 18 digits and letters behind words about driving licences", l.licence),
		paper("medical-record", "MRN", "4 to 14 digits and letters behind words about records of patients", l.record),
		paper("national-id", "NATIONAL_ID", "a national number with its check digit, mostly behind its name", l.national),
	}
}

// form is what a number looks like.
type form struct {
	to              int
	letters, digits int
	lower           bool // has small letters
	head            int  // leading letters
	date            bool // looks like a date
}

// groups picks the number of a match: the first group, and those behind it while groups are short. ok: the first part may be of it.
func (l *lexicon) groups(f *form, left, match []byte) bool {
	*f = form{}
	switch c := last(left, 0); {
	case c == '$', c == '%', c == '\\', inNumber(left), (c == '-' || c == '/' || c == '+') && isAlnum(last(left, 1)):
		return false
	}
	p := 0
	for p < len(match) && !isDigit(match[p]) && match[p] != ' ' && match[p] != '-' && match[p] != '/' {
		p++
	}
	f.head = p
	if p < len(match) && match[p] == ' ' {
		var buf [longestWord]byte
		w, _ := fold(buf[:0], match[:p])
		if l.class(w)&^(otherWord|fillWord|callWord|softWord|nationals) != 0 {
			return false // "MRN 123": the number comes by itself
		}
		p++
	}
	first, size := true, 0
	for ; p < len(match); p++ {
		c := match[p]
		if c == ' ' {
			if first && size > 4 {
				break
			}
			first = false
			continue
		}
		size++
	}
	f.to = p
	for _, c := range match[:p] {
		switch {
		case isDigit(c):
			f.digits++
		case isAlnum(c):
			f.letters++
			f.lower = f.lower || isLower(c)
		}
	}
	f.date = dateLike(match[:p])
	return true
}

// dateLike tells whether s is digits in the groups of a date or of a time.
func dateLike(s []byte) bool {
	var size, value [4]int
	k := 0
	for i, c := range s {
		switch {
		case isDigit(c):
			size[k]++
			value[k] = value[k]*10 + int(c-'0')
			if size[k] > 4 {
				return false
			}
		case (c == '-' || c == '/' || c == '.' || c == ' ') && i > 0:
			if k++; k > 2 {
				return false
			}
		default:
			return false
		}
	}
	if k != 2 {
		return false
	}
	if size[0] == 4 {
		return value[0] >= 1800 && value[0] < 2200 && size[1] <= 2 && size[2] <= 2 && value[1] >= 1 && value[1] <= 12 && value[2] >= 1 && value[2] <= 31
	}
	return size[0] <= 2 && size[1] <= 2 && (size[2] == 4 && value[2] >= 1800 && value[2] < 2200) && value[0] >= 1 && value[1] >= 1 && value[0] <= 31 && value[1] <= 31
}

func (l *lexicon) passport(left, match []byte) (int, int, bool) {
	var f form
	if !l.groups(&f, left, match) {
		return 0, 0, false
	}
	n := f.letters + f.digits
	if n < 6 || n > 11 || f.date || f.digits < 5 && (f.lower || n < 8 || f.digits == 0) || f.letters > 8 || bytes.IndexByte(match[:f.to], '*') >= 0 {
		return 0, 0, false
	}
	var a around
	l.look(&a, left)
	if a.col()&telling != 0 {
		return 0, f.to, a.col()&passportWord != 0
	}
	if i := a.near(numberWord, telling|eventWord, 0, false); i >= 0 && i < 2 && a.has(i+1) && a.word[i+1].class&passWord != 0 {
		return 0, f.to, true
	}
	if a.pair(travelWord, numberWord, telling&^passportWord, 1) >= 0 {
		return 0, f.to, true
	}
	far := 6
	if f.letters == 0 && n != 9 {
		far = 1 // passports are counted, too
		if a.numbered() {
			far = 3
		}
	}
	return 0, f.to, a.near(passportWord, telling&^passportWord|eventWord, far, a.numbered()) >= 0
}

func (l *lexicon) licence(left, match []byte) (int, int, bool) {
	var f form
	if !l.groups(&f, left, match) {
		return 0, 0, false
	}
	if n := f.letters + f.digits; n < 5 || n == 5 && f.letters == 0 || n > 20 || f.date || f.digits < 4 || f.letters > 10 {
		return 0, 0, false
	}
	var a around
	l.look(&a, left)
	if c := a.col(); c&telling != 0 {
		return 0, f.to, c&drivingWord != 0 || c&licenceWord != 0 && c&driveWord != 0
	}
	const stop = telling&^(drivingWord|driveWord|cardWord) | eventWord
	if a.near(drivingWord, stop, 6, a.numbered()) >= 0 || a.pair(licenceWord, driveWord, stop, 6) >= 0 || a.pair(driveWord, numberWord, stop|softWord|versionWord&^driveWord, 0) == 0 {
		return 0, f.to, true
	}
	// "License no. D1234567", but not that of a program.
	i := a.near(licenceWord, stop|softWord, 0, false)
	if i < 0 || i > 2 || f.lower || i == 0 && !a.keyed && a.word[0].gap&hashGap == 0 && f.letters+f.digits < 6 {
		return 0, 0, false
	}
	for k := 0; k < i+3 && a.has(k); k++ {
		if a.word[k].class&softWord != 0 {
			return 0, 0, false
		}
	}
	return 0, f.to, true
}

func (l *lexicon) record(left, match []byte) (int, int, bool) {
	var f form
	if !l.groups(&f, left, match) {
		return 0, 0, false
	}
	if n := f.letters + f.digits; n < 4 || n > 14 || f.date || f.digits < 4 || f.letters > 6 || n == 4 && (match[0] == '1' || match[0] == '2') {
		return 0, 0, false
	}
	if f.head > 1 {
		var buf [longestWord]byte
		w, _ := fold(buf[:0], match[:f.head])
		if string(w) == "mrn" {
			return 0, f.to, true
		}
	}
	var a around
	l.look(&a, left)
	if c := a.col(); c&telling != 0 {
		return 0, f.to, c&mrnWord != 0
	}
	const stop = telling&^(mrnWord) | eventWord
	if a.near(mrnWord, stop, 6, a.numbered()) >= 0 || a.pair(patientWord, recordWord|numberWord, stop, 3) >= 0 {
		return 0, f.to, true
	}
	if f.digits > 5 && a.has(1) && a.word[0].class&(numberWord|fillWord) == numberWord && a.word[1].class&(fileWord|chartWord) != 0 && a.word[0].gap&(digitsGap|sentenceGap|lineGap|commaGap) == 0 && a.near(otherWord, 0, 3, true) < 0 {
		return 0, f.to, true // "record no. 1234567"
	}
	// "Patient Ann Lee (1234567)"
	if c := last(left, 0); (c == '(' || c == ' ' && last(left, 1) == ',') && f.digits > 5 {
		for i := 0; i < 4 && a.has(i) && a.word[i].gap&(digitsGap|sentenceGap|lineGap|cellGap|colonGap) == 0; i++ {
			if i > 0 && a.word[i].class&chartWord != 0 && a.word[i].class&patientWord != 0 {
				return 0, f.to, true
			}
			if a.word[i].class != 0 {
				break
			}
		}
	}
	return 0, f.to, a.has(0) && (a.word[0].class&patientWord != 0 && a.word[0].gap&hashGap != 0 && (f.digits > 5 || a.word[0].class&chartWord != 0) || a.word[0].class&chartWord != 0 && f.digits > 5) && a.word[0].gap&(digitsGap|lineGap|sentenceGap) == 0
}
