// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"bytes"
	"unicode/utf8"
)

const (
	maxWords = 14
	reach    = 96 // bytes to the left in which words are looked for; headings may be farther
)

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

// around is the context of a value: the words to its left, the nearest first. They are read as they are asked for, because most values are
// settled by the first of them.
type around struct {
	l     *lexicon
	left  []byte
	first int // words begin here or behind
	rest  int // left[first:rest] has not been read
	n     int
	keyed bool // the value is that of a key: "key": value, key=value
	word  [maxWords]struct {
		class bits
		gap   uint16
	}
	heading bits
	headed  bool // heading is known
}

// look begins with left.
func (l *lexicon) look(a *around, left []byte) {
	a.l, a.left, a.rest, a.first = l, left, len(left), max(0, len(left)-reach)
	a.keyed = a.has(0) && a.word[0].gap&colonGap != 0 && a.word[0].gap&lineGap == 0
}

// has tells whether there is word i, and reads up to it.
func (a *around) has(i int) bool {
	for a.n <= i && a.rest > a.first && a.n < maxWords {
		a.next()
	}
	return i < a.n
}

// col returns the classes of the heading over the value, 0 if none is in sight.
func (a *around) col() bits {
	if !a.headed {
		a.heading, a.headed = a.l.column(a.left), true
	}
	return a.heading
}

// next reads one word, if there is one.
func (a *around) next() {
	gap, digits, p := uint16(0), 0, a.rest
	for p > a.first {
		c := a.left[p-1]
		switch {
		case isLetter(c) || c >= 0x80:
			if digits >= 2 {
				gap |= digitsGap
			}
			digits = 0
			start, class, size := a.read(p)
			if size == 0 { // an escape of JSON: the end of a line, a tab
				gap |= escapeGap(a.left[start+1], gap)
				p = start
				continue
			}
			if gap&sentenceGap != 0 && (size <= 4 && class != 0 && class&(fillWord|ourWord) == 0 || size == 1) {
				gap &^= sentenceGap // an abbreviation: "tel.", "no."
			}
			a.word[a.n].class, a.word[a.n].gap = class, gap
			a.n++
			a.rest = start
			return
		case isDigit(c):
			if digits++; digits >= 3 {
				gap |= digitsGap
			}
		default:
			if digits >= 2 {
				gap |= digitsGap
			}
			digits = 0
			if (c == '.' || c == '!' || c == '?') && p < len(a.left) && (a.left[p] == ' ' || a.left[p] == '\n') {
				gap |= sentenceGap
			}
			gap |= gapOf(c, gap)
		}
		p--
	}
	a.rest = a.first
}

// gapOf returns what c adds to a gap.
func gapOf(c byte, gap uint16) uint16 {
	switch c {
	case ',', ';':
		return commaGap
	case ':', '=':
		return colonGap
	case '\n':
		if gap&lineGap != 0 {
			return blankGap
		}
		return lineGap
	case '|', '\t':
		return cellGap
	case '{', '}', '[', ']', '<', '>':
		return braceGap
	case '#':
		return hashGap
	}
	return 0
}

func escapeGap(c byte, gap uint16) uint16 {
	if c == 't' {
		return cellGap
	}
	return gapOf('\n', gap)
}

// read reads the word that ends at p: where it begins, its classes, and its length. The length is 0 for an escape of JSON by itself.
func (a *around) read(p int) (start int, class bits, size int) {
	var buf [longestWord]byte
	left := a.left
	start = wordStart(left[:p])
	for p-start == 1 || start+1 < p && left[start+1] == '.' { // D.O.B.
		if start < 2 || left[start-1] != '.' || !isLetter(left[start-2]) || start > 2 && isLetter(left[start-3]) {
			break
		}
		start -= 2
	}
	w, foreign := fold(buf[:0], left[start:p])
	if start > 0 && left[start-1] == '\\' && (left[start] == 'n' || left[start] == 't' || left[start] == 'r') {
		start--
		if w = w[min(1, len(w)):]; len(w) == 0 {
			return start, 0, 0
		}
	}
	if foreign {
		return start, foreignClass(left[start:p]), max(1, len(w))
	}
	return start, a.l.class(w) | byLook(w, left, start, p), max(1, len(w))
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

// near looks for a word of want, from the value to the left, over at most far words that say nothing known. stop ends the search.
// digits: numbers may stand in between. It returns the place of the word, or -1.
func (a *around) near(want, stop bits, far int, digits bool) int {
	number, special := false, false // special: the key says something; "value" and "number" do not
	for i := 0; a.has(i); i++ {
		w := &a.word[i]
		switch {
		case w.gap&blankGap != 0 && !(i == 0 && w.gap&colonGap != 0),
			i > 0 && a.keyed && special && w.gap&(commaGap|braceGap|lineGap|cellGap) != 0 && w.gap&(colonGap|digitsGap) != colonGap,
			i > 0 && w.gap&cellGap != 0,
			i == 0 && w.gap&lineGap != 0 && tabular(a.left),
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
	return a.has(0) && a.word[0].class&numberWord != 0 && a.word[0].class&fillWord == 0
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
	for k := i + 1; k < i+4 && a.has(k); k++ {
		if a.word[k].gap&(blankGap|digitsGap|cellGap|lineGap|sentenceGap) != 0 {
			return -1
		}
		if a.word[k].class&other != 0 {
			return i
		}
	}
	return -1
}
