// SPDX-License-Identifier: Apache-2.0

package fold

import "unsafe"

// strange tells whether a text has anything but printable ASCII and white space.
func strange(s string) bool {
	const tops, ones = 0x8080808080808080, 0x0101010101010101
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for len(b) >= 8 {
		x := le64(b)
		if (x|(x-ones*0x20)&^x|(x^ones*0x7f)-ones)&tops != 0 {
			for _, c := range b[:8] {
				if !ordinary(c) {
					return true
				}
			}
		}
		b = b[8:]
	}
	for _, c := range b {
		if !ordinary(c) {
			return true
		}
	}
	return false
}

func le64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func ordinary(c byte) bool {
	return c >= 0x20 && c < 0x7f || c == '\t' || c == '\n' || c == '\r'
}

// ignorable characters leave no trace on a screen: the default-ignorable ones of Unicode, and control characters.
func ignorable(c rune) bool {
	switch {
	case c < 0x20:
		return c != '\t' && c != '\n' && c != '\r'
	case c < 0x7f:
		return false
	case c < 0xa0, c == 0xad, c == 0x34f, c == 0x61c, c == 0x115f, c == 0x1160, c == 0x17b4, c == 0x17b5, c >= 0x180b && c <= 0x180f,
		c >= 0x200b && c <= 0x200f, c >= 0x202a && c <= 0x202e, c >= 0x2060 && c <= 0x206f, c == 0x3164, c >= 0xfe00 && c <= 0xfe0f,
		c == 0xfeff, c == 0xffa0, c >= 0xfff0 && c <= 0xfffb, c >= 0x1bca0 && c <= 0x1bca3, c >= 0x1d173 && c <= 0x1d17a,
		c >= 0xe0000 && c <= 0xe0fff:
		return true
	}
	return false
}

// likeness is the ASCII character that c is commonly taken for, 0 if there is none. Fullwidth, mathematical and circled letters
// are not here: the normal form knows them.
func likeness(c rune) byte {
	switch {
	case c < 0x80:
		return 0
	case c >= 0x1f150 && c <= 0x1f169: // negative circled
		return byte('A' + c - 0x1f150)
	case c >= 0x1f170 && c <= 0x1f189: // negative squared
		return byte('A' + c - 0x1f170)
	case c >= 0x1f1e6 && c <= 0x1f1ff: // regional indicators
		return byte('A' + c - 0x1f1e6)
	case c >= 0x2010 && c <= 0x2015 || c == 0x2212 || c == 0x2043 || c == 0x2e3a || c == 0xfe58:
		return '-'
	case c >= 0x2018 && c <= 0x201b || c == 0x2032 || c == 0x2b9 || c == 0x2bc:
		return '\''
	case c >= 0x201c && c <= 0x201f || c == 0x2033 || c == 0xab || c == 0xbb:
		return '"'
	case c == 0x2028 || c == 0x2029:
		return '\n'
	case c == 0x1680:
		return ' '
	}
	return likenesses[c]
}

// likenesses are pairs: the letter that looks like another, and that other.
var likenesses = table(
	// Cyrillic
	"аaеeоoрpсcуyхxіiјjѕsԁdһhԛqԝwѵvӏlгrпnкkмmтtвbнhьbАAВBЕEКKМMНHОOРPСCТTУYХXЅSІIЈJҮYӀIԌGԜWԚQҺhɡgүyЗ3ƽs" +
		// Greek
		"αaοoνvρpυuιiκkγyηnτtχxωwϲcϳjεeσoΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXϹCͿJ" +
		// Armenian and Cherokee
		"օoսuհhոnցgզqյjՕOՍUԼLᎠDᎡRᎢTᎪAᎫJᎬEᎳWᎷMᎻHᏀGᏃZᏚSᏞLᏢPᏦKᏟCᏴBᏙVᏔWᎥi" +
		// Latin letters of other shapes, small capitals
		"ıiɑaɩiɪiłlŁLđdĐDøoØOħhĦHŧtŦTƒfʋvɴnʀrʙbɢgʜhʟlʏyᴀaᴄcᴅdᴇeꜰfᴊjᴋkᴍmᴏoᴘpꞯqꜱsᴛtᴜuᴠvᴡwᴢzƄbƖlǃ!ɛeɾrʂsꓲI" +
		// marks
		"⁄/∕/⧸/∖\\⧵\\﹨\\․.。.꞉:ː:∶:‹<›>∗*∼~˜~⏐|∣|ǀ|‚,٫,⁎*٭*",
)

func table(pairs string) map[rune]byte {
	m := map[rune]byte{}
	var from rune
	for _, c := range pairs {
		if from == 0 {
			from = c
		} else {
			m[from], from = byte(c), 0
		}
	}
	return m
}
