// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"math"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// near tells whether one of the words, which are in lower case, stands in a text as a word of its own. Letters that are not ASCII must be written
// as they are.
func near(text []byte, words [][]byte) bool {
	for _, w := range words {
		for p := 0; p+len(w) <= len(text); p++ {
			if equal(text[p:p+len(w)], w) && edge(text, p, w[0]) && edge(text, p+len(w), w[len(w)-1]) {
				return true
			}
		}
	}
	return false
}

// edge tells whether a word whose outermost byte there is c may end at p.
func edge(text []byte, p int, c byte) bool {
	if p == 0 || p == len(text) || !rule.Any.Has(c) {
		return true
	}
	return !rule.Any.Has(text[p-1]) || !rule.Any.Has(text[p])
}

func equal(text, lower []byte) bool {
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// luhn is the check of ISO/IEC 7812-1, annex B, over the digits of a match.
func luhn(_, match []byte) bool {
	sum, n := 0, 0
	for i := len(match) - 1; i >= 0; i-- {
		c := match[i]
		if c < '0' || c > '9' {
			continue
		}
		v := int(c - '0')
		if n&1 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
		n++
	}
	return n > 1 && sum%10 == 0
}

// mod97 is that of ISO 13616 (IBAN): the first four characters go to the end, letters count from A = 10, and the rest of the division by 97 is 1.
func mod97(_, match []byte) bool {
	rest, n := 0, 0
	add := func(c byte) {
		switch {
		case '0' <= c && c <= '9':
			rest = (rest*10 + int(c-'0')) % 97
		case 'A' <= c && c <= 'Z':
			rest = (rest*100 + int(c-'A') + 10) % 97
		case 'a' <= c && c <= 'z':
			rest = (rest*100 + int(c-'a') + 10) % 97
		default:
			return
		}
		n++
	}
	head := 0
	for seen := 0; head < len(match) && seen < 4; head++ {
		if rule.Alnum.Has(match[head]) {
			seen++
		}
	}
	for _, c := range match[head:] {
		add(c)
	}
	for _, c := range match[:head] {
		add(c)
	}
	return n > 4 && rest == 1
}

// minEntropy, in bits for each character, is below that of random hex digits of the length of a key (16 of them have 3.2 on average), and above that of
// words and numbers that are counted up.
const minEntropy = 3.0

// entropy tells whether a match is as random as a key: by how often its characters repeat, and as it has digits and letters.
func entropy(_, match []byte) bool {
	var count [256]uint16
	digits, letters := false, false
	for _, c := range match {
		count[c]++
		digits = digits || rule.Digit.Has(c)
		letters = letters || rule.Letter.Has(c)
	}
	if !digits || !letters {
		return false
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(match))
			bits -= p * math.Log2(p)
		}
	}
	return bits >= minEntropy
}
