// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"bytes"
	"unicode"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// column returns the classes of the heading over a value in a table: the cell of the same place in an earlier line that is whole in sight.
func (l *lexicon) column(left []byte) bits {
	switch c := last(bytes.TrimRight(left, " '\""), 0); c {
	case '(', ',':
		if i := bytes.LastIndex(left, []byte("VALUES")); i >= 0 {
			return l.inserted(left[:i], left[i:])
		}
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
	top := bits(0) // fillWord if the top row has words in this place that say nothing known
	for end := line; end > 0; {
		start := bytes.LastIndexByte(left[:end], '\n')
		if start < 0 && len(left) >= rule.Context {
			return top
		}
		head := left[start+1 : end]
		if len(head) == 0 || bytes.Count(head, []byte{delim}) < k {
			return top // no row of this table
		}
		end = start
		if delim == 0 { // the first cell: whatever parts the heading
			i := bytes.IndexAny(head, "|,;\t")
			if i <= 0 {
				return top
			}
			head = head[:i]
		}
		cell := place(head, delim, k)
		if c := heading(l.cell(cell)); c&(telling|eventWord) != 0 {
			return c
		}
		if top = 0; bytes.IndexFunc(cell, unicode.IsLetter) >= 0 && !bytes.ContainsAny(cell, "0123456789") {
			top = fillWord
		}
	}
	return top
}

// heading makes of classes that tell together, or that tell in a heading, the class that they tell.
func heading(c bits) bits {
	if c&telling != 0 {
		return c
	}
	switch {
	case c&socialWord != 0:
		c |= ssnWord
	case c&licenceWord != 0 && c&softWord == 0:
		c |= drivingWord
	case c&patientWord != 0 && c&(numberWord|recordWord) != 0:
		c |= mrnWord
	case c&callWord != 0:
		c |= phoneWord
	}
	return c
}

// tabular tells whether the line before the one that left ends in is a row of cells.
func tabular(left []byte) bool {
	line := left[:max(0, bytes.LastIndexByte(left, '\n'))]
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	return bytes.ContainsAny(line, "|;\t") || bytes.Count(line, []byte{','}) > 1
}

// inserted returns the classes of the column that a value of SQL goes to: INSERT INTO t (name, dob) VALUES ('x', '.
func (l *lexicon) inserted(head, row []byte) bits {
	open, close := bytes.LastIndexByte(head, '('), bytes.LastIndexByte(head, ')')
	i := bytes.LastIndexByte(row, '(')
	if open < 0 || close < open || i < 0 {
		return 0
	}
	return heading(l.cell(place(head[open+1:close], ',', bytes.Count(row[i:], []byte{','}))))
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

// place returns cell k of a row.
func place(row []byte, delim byte, k int) []byte {
	for range k {
		row = row[bytes.IndexByte(row, delim)+1:]
	}
	if i := bytes.IndexByte(row, delim); i >= 0 && delim != 0 {
		row = row[:i]
	}
	return row
}

// cell returns the classes of the words of a cell, unless it has many.
func (l *lexicon) cell(text []byte) (c bits) {
	a := around{l: l, left: text, rest: len(text)}
	if a.has(5) {
		return 0
	}
	for i := range a.n {
		c |= a.word[i].class
	}
	return c
}
