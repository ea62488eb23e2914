// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"bytes"
	"unicode/utf8"
)

const maxWords = 14

// What stands between a word and what is to the right of it: the next word, or the value.
const (
	digitsGap   = 1 << iota // a number of two digits or more
	sentenceGap             // the end of a sentence
	commaGap                // , ;
	colonGap                // : =
	lineGap                 // the end of a line
	blankGap                // an empty line
	cellGap                 // | or a tab
	braceGap                // { } [ ] or a tag
	hashGap                 // #
)

// around is the context of a value: words to its left, the nearest first.
type around struct {
	n     int
	keyed bool // the value is that of a key: "key": value, key=value
	col   bits // classes of the heading over the value, if one is in sight
	word  [maxWords]struct {
		class bits
		gap   uint16
	}
}

// look reads the words of left.
func (l *lexicon) look(a *around, left []byte) {
	a.n, a.keyed, a.col = 0, false, 0
	l.words(a, left)
	if a.n > 0 && a.word[0].gap&colonGap != 0 && a.word[0].gap&lineGap == 0 {
		a.keyed = true
	}
	a.col = l.column(left)
}

func (l *lexicon) words(a *around, left []byte) {
	var buf [longestWord]byte
	gap, digits := uint16(0), 0
	p := len(left)
	for p > 0 && a.n < maxWords {
		c := left[p-1]
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80:
			start := wordStart(left[:p])
			for p-start == 1 && start > 1 && left[start-1] == '.' && isLetter(left[start-2]) && (start == 2 || !isLetter(left[start-3])) || p-start > 1 && start > 1 && left[start] != '.' && left[start+1] == '.' && left[start-1] == '.' && isLetter(left[start-2]) && (start == 2 || !isLetter(left[start-3])) {
				start -= 2 // D.O.B.
			}
			w, foreign := fold(buf[:0], left[start:p])
			if digits >= 2 {
				gap |= digitsGap
			}
			if start > 0 && left[start-1] == '\\' && start < p && (left[start] == 'n' || left[start] == 't' || left[start] == 'r') { // an escape
				start--
				w = w[min(1, len(w)):]
				if len(w) == 0 {
					if left[start+1] == 't' {
						gap |= cellGap
					} else if gap&lineGap != 0 {
						gap |= blankGap
					} else {
						gap |= lineGap
					}
					p, digits = start, 0
					continue
				}
			}
			var class bits
			if foreign {
				class = foreignClass(left[start:p])
			} else {
				class = l.class(w)
			}
			class |= byLook(w, left, start, p)
			if gap&sentenceGap != 0 && (len(w) <= 4 && class != 0 && class&(fillWord|ourWord) == 0 || len(w) == 1) {
				gap &^= sentenceGap // an abbreviation: "tel.", "no."
			}
			a.word[a.n].class, a.word[a.n].gap = class, gap
			a.n++
			p, gap, digits = start, 0, 0
			continue
		case '0' <= c && c <= '9':
			if digits++; digits >= 3 {
				gap |= digitsGap
			}
		default:
			if digits >= 2 {
				gap |= digitsGap
			}
			digits = 0
			switch c {
			case '.', '!', '?':
				if p < len(left) && (left[p] == ' ' || left[p] == '\n') {
					gap |= sentenceGap
				}
			case ',', ';':
				gap |= commaGap
			case ':', '=':
				gap |= colonGap
			case '\n':
				if gap&lineGap != 0 {
					gap |= blankGap
				}
				gap |= lineGap
			case '|', '\t':
				gap |= cellGap
			case '{', '}', '[', ']', '<', '>':
				gap |= braceGap
			case '#':
				gap |= hashGap
			}
		}
		p--
	}
}

// wordStart is where the word begins that left ends with. A capital after a small letter begins a word.
func wordStart(left []byte) int {
	p := len(left)
	for p > 0 {
		c := left[p-1]
		switch {
		case 'a' <= c && c <= 'z' || c >= 0x80:
		case 'A' <= c && c <= 'Z':
			if p > 1 && 'a' <= left[p-2] && left[p-2] <= 'z' && !(p > 2 && left[p-3] == '\\') {
				return p - 1
			}
		default:
			return p
		}
		p--
	}
	return 0
}

// byLook returns classes of words that are telling only as they are written: "né", "b. 1980", "T: 030 1234".
func byLook(w, left []byte, start, p int) bits {
	switch {
	case len(w) == 2 && w[0] == 'n' && w[1] == 'e' && p-start == 3:
		return birthWord
	case len(w) != 1 || p >= len(left):
	case w[0] == 'b' && left[p] == '.':
		return birthWord
	case left[p] == ':' && isUpper(left[start]) && (w[0] == 't' || w[0] == 'm' || w[0] == 'f' || w[0] == 'p' || w[0] == 'c' || w[0] == 'h' || w[0] == 'w'):
		return callWord
	}
	return 0
}

// fold writes w in lower case and without marks. foreign: it has letters that are not Latin.
func fold(buf, w []byte) (out []byte, foreign bool) {
	for i := 0; i < len(w) && len(buf) < longestWord; {
		c := w[i]
		if c < utf8.RuneSelf {
			if c == '.' {
				i++
				continue
			}
			if 'A' <= c && c <= 'Z' {
				c |= 0x20
			}
			buf = append(buf, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(w[i:])
		i += n
		if r >= 0x180 {
			foreign = foreign || r >= 0x370 && (r < 0x2000 || r > 0x206f) && r != 0xfeff // neither a mark on the letter before nor punctuation
			continue
		}
		if b := base(r); b != 0 {
			buf = append(buf, b)
		}
	}
	return buf, foreign
}

// base is the letter of ASCII that a Latin letter is made of, or 0.
func base(r rune) byte {
	const latin1 = "aaaaaaaceeeeiiiidnooooo\x00ouuuuytsaaaaaaaceeeeiiiidnooooo\x00ouuuuyty"
	const extended = "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkkllllllllllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs"
	switch {
	case r >= 0xc0 && r < 0x100:
		return latin1[r-0xc0]
	case r >= 0x100 && r < 0x180:
		return extended[r-0x100]
	}
	return 0
}

func foreignClass(w []byte) (c bits) {
	for i := range scripts {
		if bytes.Contains(w, []byte(scripts[i].word)) {
			c |= scripts[i].class
		}
	}
	return c
}

// column returns the classes of the heading over a value in a table: the cell of the same place in an earlier line that is whole in sight.
func (l *lexicon) column(left []byte) bits {
	if i := bytes.LastIndex(left, []byte("VALUES")); i >= 0 {
		return l.inserted(left[:i], left[i:])
	}
	line := bytes.LastIndexByte(left, '\n')
	if line < 0 && !bytes.HasPrefix(left, []byte("PID|")) {
		return 0
	}
	row := left[line+1:]
	delim := byte(0)
	for p := len(row); p > 0 && delim == 0; p-- {
		switch c := row[p-1]; c {
		case '|', ',', ';', '\t':
			delim = c
		case ' ', '"', '\'', '(', '+':
		default:
			return 0
		}
	}
	if delim == 0 && len(row) > 1 {
		return 0
	}
	k := bytes.Count(row, []byte{delim})
	if delim == '|' && bytes.HasPrefix(row, []byte("PID|")) {
		return patientSegment(k)
	}
	if delim == 0 {
		k = 0
	}
	for end := line; end > 0; {
		start := bytes.LastIndexByte(left[:end], '\n')
		if start < 0 && len(left) >= 96 {
			return 0
		}
		head := left[start+1 : end]
		end = start
		if delim == 0 { // the first cell: whatever parts the heading
			i := bytes.IndexAny(head, "|,;\t")
			if i <= 0 {
				return 0
			}
			head = head[:i]
		}
		if c := l.cell(head, delim, k); c&(telling|licenceWord|patientWord|callWord) != 0 {
			return c
		}
	}
	return 0
}

// inserted returns the classes of the column that a value of SQL goes to: INSERT INTO t (name, dob) VALUES ('x', '.
func (l *lexicon) inserted(head, row []byte) bits {
	open, close := bytes.LastIndexByte(head, '('), bytes.LastIndexByte(head, ')')
	i := bytes.LastIndexByte(row, '(')
	if open < 0 || close < open || i < 0 {
		return 0
	}
	return l.cell(head[open+1:close], ',', bytes.Count(row[i:], []byte{','}))
}

// patientSegment returns the class of field k of a PID segment of HL7 version 2.
func patientSegment(k int) bits {
	switch k {
	case 2, 3, 4:
		return mrnWord
	case 7:
		return birthWord
	case 13, 14:
		return phoneWord
	case 19:
		return ssnWord
	case 20:
		return drivingWord
	}
	return fillWord
}

// cell returns the classes of the words of cell k.
func (l *lexicon) cell(head []byte, delim byte, k int) (c bits) {
	for range k {
		i := bytes.IndexByte(head, delim)
		if i < 0 {
			return 0
		}
		head = head[i+1:]
	}
	if i := bytes.IndexByte(head, delim); i >= 0 && delim != 0 {
		head = head[:i]
	}
	var a around
	l.words(&a, head)
	if a.n > 5 {
		return 0
	}
	for i := range a.n {
		c |= a.word[i].class
	}
	return c
}

// near looks for a word of want, from the value to the left, over at most far words that say nothing known. stop ends the search.
// digits: numbers may stand in between. It returns the place of the word, or -1.
func (a *around) near(want, stop bits, far int, digits bool) int {
	number, special := false, false // special: the key says something; "value" and "number" do not
	for i := range a.n {
		w := &a.word[i]
		switch {
		case w.gap&blankGap != 0 && !(i == 0 && w.gap&colonGap != 0),
			i > 0 && a.keyed && special && w.gap&(commaGap|braceGap|lineGap|cellGap) != 0 && w.gap&(colonGap|digitsGap) != colonGap,
			i > 0 && w.gap&cellGap != 0,
			!digits && w.gap&digitsGap != 0,
			w.gap&sentenceGap != 0 && !number && i > 0:
			return -1
		}
		if w.gap&lineGap != 0 && i > 0 {
			far -= 2
		}
		special = special || w.class&(fillWord|numberWord) == 0
		if w.class&want != 0 {
			return i
		}
		if w.class&stop != 0 && (w.class&issueWord == 0 || want&(passportWord|drivingWord|licenceWord) == 0) {
			return -1
		}
		if w.class&numberWord != 0 {
			number = true
		}
		if w.class&^(callWord|hostWord|versionWord|softWord|closeWord) == 0 {
			if far--; far < 0 {
				return -1
			}
		}
	}
	return -1
}

// numbered tells whether the nearest word says that a number follows, so that it may be far from what it is the number of.
func (a *around) numbered() bool {
	return a.n > 0 && a.word[0].class&numberWord != 0 && a.word[0].class&fillWord == 0
}

// pair looks for words of x and y at most three words apart, from the value to the left.
func (a *around) pair(x, y, stop bits, far int) int {
	i := a.near(x|y, stop, far, false)
	if i < 0 {
		return -1
	}
	other := x
	if a.word[i].class&x != 0 {
		other = y
	}
	if a.word[i].class&x != 0 && a.word[i].class&y != 0 {
		other = x | y
	}
	for k := i + 1; k < min(a.n, i+4); k++ {
		if a.word[k].gap&(blankGap|digitsGap|cellGap|lineGap|sentenceGap) != 0 {
			return -1
		}
		if a.word[k].class&other != 0 {
			return i
		}
	}
	return -1
}
