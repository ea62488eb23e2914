// SPDX-License-Identifier: Apache-2.0

package jcs

import (
	"bytes"
	"strconv"
)

// AppendNumber appends a finite double as ECMAScript writes it: the shortest digits that read back as the same double.
func AppendNumber(dst []byte, f float64) []byte {
	if f == 0 { // -0 too
		return append(dst, '0')
	}
	if f < 0 {
		dst, f = append(dst, '-'), -f
	}
	var buf [32]byte
	digits, point := shortest(buf[:0], f)
	k := len(digits)
	switch {
	case k <= point && point <= 21:
		dst = append(dst, digits...)
		for range point - k {
			dst = append(dst, '0')
		}
		return dst
	case 0 < point && point <= 21:
		dst = append(dst, digits[:point]...)
		return append(append(dst, '.'), digits[point:]...)
	case -6 < point && point <= 0:
		dst = append(dst, '0', '.')
		for range -point {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	dst = append(dst, digits[0])
	if k > 1 {
		dst = append(append(dst, '.'), digits[1:]...)
	}
	dst = append(dst, 'e')
	if point > 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, int64(point-1), 10)
}

// shortest gives the digits of a positive double, and where its decimal point stands: the value is 0.DIGITS × 10^point.
func shortest(dst []byte, f float64) (digits []byte, point int) {
	s := strconv.AppendFloat(dst, f, 'e', -1, 64) // d.ddde±xx
	mantissa, exp, _ := bytes.Cut(s, []byte{'e'})
	point, _ = strconv.Atoi(string(exp)) // it was written just before
	digits = mantissa[:1]
	if len(mantissa) > 2 {
		digits = append(digits, mantissa[2:]...)
	}
	return digits, point + 1
}

// same tells whether a number as it is written has the value of the shortest form of f, digit by digit.
func same(written []byte, f float64) bool {
	negative := written[0] == '-'
	if negative {
		written, f = written[1:], -f
	}
	mantissa, exp := written, 0
	if i := bytes.IndexAny(written, "eE"); i >= 0 {
		var err error
		mantissa = written[:i]
		if exp, err = strconv.Atoi(string(written[i+1:])); err != nil {
			return false // beyond all exponents: only a zero can have it
		}
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte{'.'})
	digits := append(append([]byte(nil), whole...), fraction...)
	point := len(whole) + exp
	for len(digits) > 0 && digits[0] == '0' {
		digits, point = digits[1:], point-1
	}
	digits = bytes.TrimRight(digits, "0")
	if len(digits) == 0 {
		return f == 0 && !negative // some readers tell -0 from 0
	}
	if f <= 0 {
		return false
	}
	var buf [32]byte
	want, at := shortest(buf[:0], f)
	return at == point && bytes.Equal(want, digits)
}
