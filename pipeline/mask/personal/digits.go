// SPDX-License-Identifier: Apache-2.0

package personal

// digits collects the digits of s in buf, at most its capacity, and tells how many there are in all.
func digits(buf, s []byte) ([]byte, int) {
	n := 0
	for _, c := range s {
		if isDigit(c) {
			if len(buf) < cap(buf) {
				buf = append(buf, c-'0')
			}
			n++
		}
	}
	return buf, n
}

// luhn is the check of ISO/IEC 7812-1, annex B.
func luhn(d []byte) bool {
	sum := 0
	for i := range d {
		v := int(d[len(d)-1-i])
		if i&1 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// weighted is the sum of digits times weights.
func weighted(d []byte, weights string) (sum int) {
	for i := range len(weights) {
		w := int(weights[i] - '0')
		if weights[i] >= 'a' {
			w = int(weights[i]-'a') + 10
		}
		sum += w * int(d[i])
	}
	return sum
}

// mod11 is the check digit of many numbers: 11 less the weighted sum modulo 11, with 11 taken for 0. It is 10 if there is none.
func mod11(d []byte, weights string) int { return (11 - weighted(d, weights)%11) % 11 }

// iso11 is the check of ISO 7064, MOD 11,10, over all of d.
func iso11(d []byte) bool {
	p := 10
	for _, c := range d[:len(d)-1] {
		if p = (p + int(c)) % 10; p == 0 {
			p = 10
		}
		p = p * 2 % 11
	}
	return (p+int(d[len(d)-1]))%10 == 1
}

// verhoeff is the check of J. Verhoeff, Error Detecting Decimal Codes, 1969.
func verhoeff(d []byte) bool {
	const times = "0123456789" + "1234067895" + "2340178956" + "3401289567" + "4012395678" + "5987604321" + "6598710432" + "7659821043" + "8765932104" + "9876543210"
	const perm = "0123456789" + "1576283094" + "5803796142" + "8916043527" + "9453126870" + "4286573901" + "2793806415" + "7046913258"
	c := byte(0)
	for i := range d {
		c = times[c*10+perm[i%8*10+int(d[len(d)-1-i])]-'0'] - '0'
	}
	return c == 0
}

func allSame(d []byte) bool {
	for _, c := range d {
		if c != d[0] {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isUpper(c byte) bool  { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool  { return 'a' <= c && c <= 'z' }
func isLetter(c byte) bool { return isUpper(c) || isLower(c) }
func isAlnum(c byte) bool  { return isDigit(c) || isUpper(c) || isLower(c) }
func isWord(c byte) bool   { return isAlnum(c) || c == '_' || c >= 0x80 }

// afterHex tells whether left ends with a blank and, before it on the line, a word of hex digits: what follows is of a dump or of a row of numbers.
func afterHex(left []byte) bool {
	e := len(left)
	for e > 0 && left[e-1] == ' ' {
		e--
	}
	if e == len(left) {
		return false
	}
	s, num := e, false
	for s > 0 && (isDigit(left[s-1]) || left[s-1]|0x20 >= 'a' && left[s-1]|0x20 <= 'f') {
		s--
		num = num || isDigit(left[s])
	}
	return num && (s == 0 || !isWord(left[s-1]))
}

// inEscape tells whether c, which follows left, is of an escape of JSON: the n of \n, a digit of \u00e9.
func inEscape(left []byte, c byte) bool {
	e := len(left)
	for i := 0; i < 3 && e > 0 && left[e-1] != '\\' && left[e-1] != 'u'; i++ {
		e--
	}
	if e > 0 && left[e-1] == 'u' {
		e--
	} else if e != len(left) || c != 'n' && c != 'r' && c != 't' && c != 'b' && c != 'f' && c != 'u' {
		return false
	}
	n := 0
	for n < e && left[e-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// last is the byte i places before the end of left, 0 if there is none.
func last(left []byte, i int) byte {
	if i < len(left) {
		return left[len(left)-1-i]
	}
	return 0
}

// inNumber tells whether what follows left goes on a number that left ends with: a fraction, a date, a time. A comma parts cells.
func inNumber(left []byte) bool {
	switch last(left, 0) {
	case '.', '/', '-', ':':
		return isDigit(last(left, 1))
	}
	return false
}
