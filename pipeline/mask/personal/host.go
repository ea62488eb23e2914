// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"bytes"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// hosts are the rules for addresses of machines.
func (l *lexicon) hosts() []*rule.Rule {
	return []*rule.Rule{
		{Name: "ipv4", Type: "IP_ADDRESS", Family: rule.Structured, Pattern: `[0-9]{1,3}(?:(?:\.|\[\.\])[0-9]{1,3}){3}(?:\.[0-9]|/[0-9]{1,2}|:[0-9]{2,5})?`,
			Left: rule.Word.And(rule.Of(".")), Right: rule.Word, Check: l.ipv4,
			Why: "four bytes with dots that are not a version, a mask or the host itself"},
		{Name: "ipv6", Type: "IP_ADDRESS", Family: rule.Structured, Pattern: `(?:[0-9A-Fa-f]{1,4}:|::)[0-9A-Fa-f:.]{1,41}(?:%[0-9A-Za-z]{1,15})?`,
			Left: rule.Word.And(rule.Of(".:")), Right: rule.Word, Check: ipv6,
			Why: "an address of RFC 4291 in any of its forms, with a zone"},
		{Name: "mac", Type: "MAC_ADDRESS", Family: rule.Structured, Pattern: `[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?:[:-][0-9A-Fa-f])?`,
			Left: rule.Word.And(rule.Of(":-")), Right: rule.Word, Check: l.mac,
			Why: "six bytes in hex behind words about network cards"},
	}
}

func (l *lexicon) ipv4(left, match []byte) (int, int, bool) {
	var oct [4]int
	if i := bytes.IndexByte(match, '/'); i >= 0 {
		if match = match[:i]; bytes.HasSuffix(match, []byte(".0")) {
			return 0, 0, false // a network
		}
	}
	port := bytes.IndexByte(match, ':')
	if port >= 0 {
		match = match[:port]
	}
	k, n, small := 0, 0, true // no number of it is large, as in a version
	for _, c := range match {
		if c == '[' || c == ']' {
			continue // 203[.]0[.]113[.]77
		}
		if c == '.' {
			if k++; k > 3 {
				return 0, 0, false
			}
			n = 0
			continue
		}
		if n == 1 && oct[k] == 0 {
			return 0, 0, false // 01
		}
		oct[k] = oct[k]*10 + int(c-'0')
		n++
		if oct[k] > 255 {
			return 0, 0, false
		}
		small = small && oct[k] < 100
	}
	small = small && oct[0] != 10 && port < 0
	if oct[0] == 0 || oct[0] == 127 || oct[0] >= 224 {
		return 0, 0, false
	}
	switch c := last(left, 0); {
	case c == '/' && isAlnum(last(left, 1)) && (small || oct[1] == 0), // Chrome/120.0.6.1
		c == '=' && last(left, 1) == '=', // pip: name==1.2.3.4
		c == '-' && isAlnum(last(left, 1)) && !isDigit(last(left, 1)),
		c == '^' || c == '~':
		return 0, 0, false
	}
	var a around
	l.look(&a, left)
	for i := 0; a.has(i); i++ {
		w := &a.word[i]
		if w.gap&(blankGap|sentenceGap) != 0 && !(i == 0 && w.gap&colonGap != 0) || i > 6 {
			break
		}
		if w.class&versionWord != 0 && (small || i < 2) {
			return 0, 0, false
		}
		if w.class&hostWord != 0 && (w.class&fillWord == 0 || !small) {
			return 0, len(match), true
		}
	}
	return 0, len(match), !small
}

// ipv6 takes full addresses as they are, and compressed ones of the ranges in use: a::b is also C++.
func ipv6(_, match []byte) (int, int, bool) {
	end := bytes.IndexByte(match, '%')
	zone := end >= 0
	if end < 0 {
		end = len(match)
		for end > 0 && (match[end-1] == '.' || match[end-1] == ':' && (end < 2 || match[end-2] != ':')) {
			end--
		}
	}
	s := match[:end]
	groups, compressed, first, size, v := 0, false, -1, 0, 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == ':':
			if i+1 < len(s) && s[i+1] == ':' {
				if compressed {
					return 0, 0, false
				}
				compressed = true
				if i++; i+1 < len(s) && s[i+1] == ':' {
					return 0, 0, false
				}
			}
			size, v = 0, 0
		case c == '.':
			// the group that has been begun is the first byte of an IPv4 address
			from := i - size
			if !dotted(s[from:]) || bytes.HasPrefix(s[from:], []byte("127.")) || size == 0 || !compressed && groups != 7 {
				return 0, 0, false
			}
			groups++
			i = len(s)
		default:
			if size == 0 {
				groups++
			}
			d := int(c-'0') & 0xf
			if c >= 'A' {
				d = int(c&^0x20-'A') + 10
			}
			v = v<<4 | d
			if size++; size > 4 {
				return 0, 0, false
			}
			if groups == 1 {
				first = v
			}
		}
	}
	if groups > 8 || !compressed && groups != 8 || compressed && groups > 7 {
		return 0, 0, false
	}
	if zone {
		end = len(match)
	}
	if groups == 8 {
		return 0, end, first >= 0x100 || len(s) > 28
	}
	if bytes.HasPrefix(s, []byte("::")) {
		return 0, end, first == 0xffff && groups == 3
	}
	ok := first >= 0x2000 && first < 0x4000 || first >= 0xfc00 && first < 0xfec0 || first >= 0xff00 || first == 0x64 && groups > 2
	return 0, end, ok
}

// dotted tells whether s is four bytes with dots.
func dotted(s []byte) bool {
	n, v, size := 1, 0, 0
	for _, c := range s {
		switch {
		case c == '.':
			if size == 0 {
				return false
			}
			n, v, size = n+1, 0, 0
		case isDigit(c):
			v = v*10 + int(c-'0')
			if size++; size > 3 || v > 255 {
				return false
			}
		default:
			return false
		}
	}
	return n == 4 && size > 0
}

func (l *lexicon) mac(left, match []byte) (int, int, bool) {
	if len(match) != 17 {
		return 0, 0, false
	}
	for i := 5; i < 17; i += 3 {
		if match[i] != match[2] {
			return 0, 0, false
		}
	}
	var a around
	l.look(&a, left)
	return 0, 17, a.col()&macWord != 0 || a.near(macWord, otherWord|hostWord&^macWord, 4, true) >= 0
}
