// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"bytes"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// phonePattern is 6 to 18 digits in groups, an extension, and what shows that the last group goes on, or
// that it is of a UUID.
const phonePattern = `(?:%2[Bb]|[+(]{1,2})?[0-9](?:(?: ?\(| ?\)[ /-]{0,2}| ?[/-] ?| {1,2}|[.` + blanks + dashes + `])?[0-9]){5,17}\)?` +
	`(?: ?(?:x|X|ext\.?|Ext\.?|extn|poste|#) ?[0-9]{1,5})?(?:[A-Za-z0-9_%]|:[0-9]|-[0-9a-fA-F]{4}-| ?[-(]?(?:[Oo]ffice|[Ff]ax|[Mm]obile|[Cc]ell|[Dd]esk|[Hh]ome|[Ww]ork|tel|mob))?`

func (l *lexicon) phoneRule() *rule.Rule {
	return &rule.Rule{Name: "phone", Type: "PHONE", Family: rule.Structured, Pattern: phonePattern, Left: rule.Word, Check: l.phone,
		Why: "the code of a country and a length that it has, or groups as numbers are written, or digits behind words about phones"}
}

// dated tells whether the first groups are a date.
func (r *run) dated(m []byte, k int) bool {
	if k < 3 || r.plus {
		return false
	}
	s := 0
	for s < len(m) && !isDigit(m[s]) {
		s++
	}
	return dateLike(bytes.TrimRight(m[s:r.group[2].end], ")")) && (k == 3 || r.group[0].size == 4 || r.group[0].sep != ' ' && r.group[2].size == 4)
}

// strong tells whether the first k groups are a phone number by their form alone.
func (l *lexicon) strong(r *run, k int) bool {
	g := r.group[:k]
	n := g[k-1].digits
	d := r.d[:n]
	switch {
	case r.plus:
		return n >= 8 && l.international(r, d, k)
	case n > 7 && d[0] == 0 && d[1] == 0:
		return k > 1 && d[2] != 0 && l.international(r, d[2:], k)
	}
	if n < 8 || n > 13 {
		return false
	}
	if k == 4 && g[0].size == 1 && d[0] == 1 && g[1].size == 3 && g[2].size == 3 && g[3].size == 4 {
		return g[1].paren || g[1].sep != ' '
	}
	if k == 3 && g[0].size == 3 && g[1].size == 3 && g[2].size == 4 {
		switch {
		case g[0].paren:
			return true
		case d[0] == 0:
		case g[1].sep == '-' && (g[0].sep == '-' || g[0].sep == ' '):
			return true
		case g[1].sep == '.' && g[0].sep == '.':
			return d[0] >= 2 && d[3] >= 2
		default:
			return false
		}
	}
	if k >= 4 && g[1].paren && g[0].size == 1 && g[1].size == 3 && n == 11 && (d[0] == 7 || d[0] == 8) {
		return true
	}
	if k == 3 && g[0].size == 2 && !g[0].paren && g[1].size == 5 && d[2] == 9 && g[2].size == 4 && g[1].sep == '-' {
		return true // a mobile of Brazil
	}
	for i := range k {
		if g[i].size == 1 {
			return false
		}
	}
	if g[0].paren && k > 1 && g[0].size >= 2 && g[0].size <= 5 {
		return d[0] == 0 && n >= 9 || n >= 10 && g[0].size < 4
	}
	if d[0] != 0 || d[1] == 0 || k < 2 || k > 5 || n < 9 || n > 13 || g[0].size > 5 || k == 2 && g[0].size == 5 && g[1].size == 4 {
		return false
	}
	if g[0].sep == '.' {
		for i := range k {
			if k < 3 || i+1 < k && g[i].sep != '.' {
				return false
			}
		}
		return !(k == 4 && g[0].size == 3 && g[1].size == 3)
	}
	return true
}

// international tells whether d is a calling code and a national number of a length that is in use behind it.
func (l *lexicon) international(r *run, d []byte, k int) bool {
	code := 0
	for i := range min(3, len(d)) {
		code = code*10 + int(d[i])
		lengths := l.lengths[code]
		if lengths == 0 {
			continue
		}
		n := len(d) - i - 1
		zero := 0 // the trunk prefix, which people write in parentheses or leave in
		if n > 0 && d[i+1] == 0 {
			zero = 1
		}
		if r.plus && k > 1 && k == r.n && n >= 7 && n <= 12 {
			return true // groups behind a code that exists; not all that is written is a number that works
		}
		return n < 16 && n-zero >= 4 && (lengths>>n&1 != 0 || zero == 1 && lengths>>(n-1)&1 != 0 || r.plus && k > 2 && (lengths>>(n+1)&1 != 0 || lengths>>(n-1)&1 != 0))
	}
	return false
}

func (l *lexicon) phone(left, match []byte) (int, int, bool) {
	var r run
	c, before := last(left, 0), last(left, 1)
	switch c {
	case '.', '/', ':', '-':
		if isDigit(before) || c == '-' && isAlnum(before) || c == '/' && isAlnum(before) && !bytes.HasSuffix(left, []byte("wa.me/")) || c == '.' && isAlnum(before) {
			return 0, 0, false
		}
	case '$', '#', '%', '\\', '^', '@', '&', '+', '~':
		return 0, 0, false
	case '=':
		if before == '=' {
			return 0, 0, false
		}
	}
	if len(match) > 2 && match[0] == '0' && match[1] == '.' && fraction(match[2:]) || match[len(match)-1] == '-' { // a UUID
		return 0, 0, false
	}
	if !r.read(match) || c == ',' && isDigit(before) && r.group[0].size == 3 && !r.plus && r.n < 3 {
		return 0, 0, false
	}
	var a around
	looked := false
	for k := r.n; k > 0; k-- {
		if k < r.n && r.group[k-1].sep != ' ' || r.dated(match, k) || !l.strong(&r, k) {
			continue
		}
		if !r.plus && afterHex(left) || r.pairs(k) && k < r.n {
			break // of a row of numbers
		}
		if !looked {
			l.look(&a, left)
			looked = true
		}
		if !r.plus && (a.col()&telling != 0 && a.col()&phoneWord == 0 || a.col() == 0 && a.near(telling&^phoneWord&^cardWord&^birthWord|patientWord, phoneWord|callWord, 1, false) >= 0) {
			break
		}
		return r.part(match, k)
	}
	if r.digits < 6 {
		return 0, 0, false
	}
	if !looked {
		l.look(&a, left)
	}
	for k := r.n; k > 0; k-- {
		if k < r.n && r.group[k-1].sep != ' ' || r.dated(match, k) || !r.weak(k) {
			continue
		}
		if l.said(&r, &a, left, k) {
			return r.part(match, k)
		}
	}
	return 0, 0, false
}

// fraction tells whether s begins with the decimals of a number, of which there are more than a group of a phone number has.
func fraction(s []byte) bool {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n > 6
}

// barely tells whether a number that only its words give away is too small or too much like another thing for any but a plain word.
func (r *run) barely(k int) bool {
	return r.group[k-1].digits < 7 || k == 2 && r.group[0].sep == '.'
}

// said tells whether what stands to the left says that the first k groups are a phone number.
func (l *lexicon) said(r *run, a *around, left []byte, k int) bool {
	if a.col()&telling != 0 {
		return a.col()&phoneWord != 0
	}
	n := r.group[k-1].digits
	if last(left, 0) == '-' && k == 1 {
		return false
	}
	if r.named && k == r.n && (k > 1 || n > 6) && (!r.thousands(k) || n > 8) {
		return true
	}
	const stop = telling &^ (phoneWord | cardWord)
	if i := a.near(phoneWord, stop, 4, true); i >= 0 {
		if k == 1 && n < 7 && (i > 0 || !a.keyed) {
			return false
		}
		return !r.thousands(k) || n >= 9 || a.keyed
	}
	if r.barely(k) || r.thousands(k) && n < 9 {
		return false
	}
	far := 3
	if k == 1 && r.d[0] != 0 {
		far = 1
	}
	if i := a.near(callWord, stop, far, true); i >= 0 && (k > 1 || n >= 8 || i < 2) {
		return true
	}
	if i := a.near(numberWord, stop, 1, true); i >= 0 && a.has(i+1) && n < 14 && (a.word[i+1].class&ourWord != 0 || k > 1 && n > 7 && !r.thousands(k) && a.near(telling|patientWord|licenceWord, 0, 4, true) < 0) {
		return true
	}
	if c := last(left, 0); k == 1 && r.d[0] == 0 && (n == 10 || n == 11 && r.d[1] != 0 || n > 11 && r.d[1] == 0 && l.international(r, r.d[2:n], 1)) && (c == ' ' || c == '(') && !a.keyed && cell(left) == 0 && !afterHex(left) && a.near(telling|patientWord|numberWord, phoneWord, 3, true) < 0 {
		return true
	}
	if k == 1 && n < 9 || n > 13 && r.d[1] != 0 || n < 8 {
		return false
	}
	// The end of a letter: a closing word, a name, the number on a line of its own.
	if line := bytes.TrimRight(left, " \t"); len(line) > 0 && line[len(line)-1] == '\n' {
		for i := 0; i < 8 && a.has(i); i++ {
			if a.word[i].gap&digitsGap != 0 {
				break
			}
			if a.word[i].class&closeWord != 0 {
				return true
			}
		}
		return mailbox(line[:len(line)-1])
	}
	if row := bytes.TrimSuffix(left, []byte("(")); len(row) < len(left) && (k > 1 || r.d[0] == 0 || n > 9) && namely(row) {
		return true
	}
	// A row with an address of mail, or a name, in it.
	sep := cell(left)
	if sep == 0 || sep == ' ' && k == 1 {
		return false
	}
	if sep != ' ' && afterPerson(left, sep, true) {
		return true
	}
	return mailbox(left)
}

// mailbox tells whether the last line of left has an address of mail in it.
func mailbox(left []byte) bool {
	row := left[bytes.LastIndexByte(left, '\n')+1:]
	at := bytes.LastIndexByte(row, '@')
	return at > 0 && isAlnum(row[at-1]) && bytes.IndexByte(row[at:], '.') > 0
}
