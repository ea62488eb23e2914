// SPDX-License-Identifier: Apache-2.0

package personal

import "bytes"

const phoneGroups = 10

// run is a number in groups of digits.
type run struct {
	plus   bool
	named  bool // a word behind it says that it is a phone number
	n      int  // groups
	digits int
	d      [20]byte
	group  [phoneGroups]struct {
		size, digits int  // digits; with those of the groups before
		end          int  // offset behind it, and behind its closing parenthesis
		sep          byte // what follows: space, - . / ) or 0
		paren        bool
	}
}

// read splits a match into groups. It is false if it has too many.
func (r *run) read(m []byte) bool {
	i, ext := 0, false
	if m[0] == '%' {
		i, r.plus = 3, true
	}
	for ; i < len(m) && !isDigit(m[i]); i++ {
		r.plus = r.plus || m[i] == '+'
	}
	open := i > 0 && m[i-1] == '('
	for i < len(m) {
		if r.n == phoneGroups {
			return false
		}
		g := &r.group[r.n]
		g.paren, g.sep = open, 0
		for g.size = 0; i < len(m) && isDigit(m[i]); i++ {
			if r.digits == len(r.d) {
				return false
			}
			r.d[r.digits] = m[i] - '0'
			r.digits++
			g.size++
		}
		g.digits, g.end = r.digits, i
		r.n++
		open = false
		if i == len(m) {
			g.paren = false
			break
		}
		g.paren = g.paren && m[i] == ')'
		j := i
		for ; j < len(m) && !isDigit(m[j]); j++ {
			switch c := m[j]; c {
			case '(':
				open = true
				if g.sep == 0 {
					g.sep = ' '
				}
			case ')':
				if j == i {
					g.end = j + 1
				}
				g.sep = ' '
			case 0xc2, 0xe2, 0x80:
			case 0xa0, 0x89, 0xaf:
				g.sep = ' '
			case 0x90, 0x91, 0x92, 0x93:
				g.sep = '-'
			case ' ', '-', '.', '/':
				if g.sep != ' ' || c == '-' {
					g.sep = c
				}
			case 'x', 'X', 'e', 'E', 'p', '#':
				if ext {
					continue
				}
				ext = true
			default:
				if !ext {
					if r.named = j+3 <= len(m) && isAlnum(m[j+1]) && isAlnum(m[j+2]); r.named {
						return true
					}
					if j == i {
						r.drop() // the group is of a word
					}
					return r.n > 0
				}
			}
		}
		if ext {
			k := j
			for k < len(m) && isDigit(m[k]) {
				k++
			}
			if k > j {
				g.end, g.sep = k, 0
			} else if isAlnum(m[i]) {
				r.drop()
			}
			break
		}
		if j == len(m) {
			break
		}
		i = j
	}
	return r.n > 0
}

func (r *run) drop() {
	r.digits -= r.group[r.n-1].size
	r.n--
}

// thousands tells whether the groups are those of one large number: 1 234 567.
func (r *run) thousands(k int) bool {
	if k < 2 || r.d[0] == 0 || r.plus || r.group[0].size > 3 {
		return false
	}
	for i := range k {
		if i > 0 && r.group[i].size != 3 || i+1 < k && r.group[i].sep != ' ' && r.group[i].sep != '.' {
			return false
		}
	}
	return true
}

// pairs tells whether the first k groups are pairs of digits with blanks between, as in a dump.
func (r *run) pairs(k int) bool {
	for i := range k {
		if r.group[i].size != 2 || i+1 < k && r.group[i].sep != ' ' {
			return false
		}
	}
	return !r.plus
}

// weak tells whether the first k groups could be a phone number if something says so.
func (r *run) weak(k int) bool {
	n := r.group[k-1].digits
	if n < 6 || n > 15 || k == 2 && n == 6 && r.group[0].sep == '/' {
		return false
	}
	dots := 0
	for i := range k {
		if i+1 < k && r.group[i].sep == '.' {
			dots++
		}
	}
	if k == 2 && r.group[0].size == 4 && r.group[1].size == 4 && year(r.d[0:4]) && year(r.d[4:8]) {
		return false
	}
	if r.pairs(k) && k < r.n && k > 5 {
		return false
	}
	return !(k == 4 && dots == 3 && n <= 12 && r.group[0].size < 4 && r.group[1].size < 4 && r.group[3].size < 4) // an address of a host
}

// part returns where the first k groups are in a match, without parentheses around them all.
func (r *run) part(m []byte, k int) (from, to int, ok bool) {
	to = r.group[k-1].end
	open, close := bytes.Count(m[:to], []byte{'('}), bytes.Count(m[:to], []byte{')'})
	if m[0] == '(' && (open > close || !r.group[0].paren && m[to-1] == ')') {
		from, open = 1, open-1
	}
	if m[to-1] == ')' && close > open {
		to--
	}
	return from, to, true
}

func year(d []byte) bool { return d[0] == 1 || d[0] == 2 && d[1] == 0 }
