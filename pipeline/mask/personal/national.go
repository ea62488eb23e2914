// SPDX-License-Identifier: Apache-2.0

package personal

// national finds numbers that states give to people. Most are digits with one check digit, which every tenth number passes, so their
// name must stand before them; the few whose form says enough need none.
func (l *lexicon) national(left, match []byte) (int, int, bool) {
	if inNumber(left) || last(left, 0) == '$' {
		return 0, 0, false
	}
	var buf [20]byte
	var text [20]byte // letters and digits, without separators
	t, seps := text[:0], 0
	for _, c := range match {
		if isAlnum(c) {
			if len(t) == cap(t) {
				return 0, 0, false
			}
			if isLower(c) {
				c -= 0x20
			}
			t = append(t, c)
		} else {
			seps++
		}
	}
	d, n := digits(buf[:0], t)
	letters := len(t) - n
	if n == 0 || n > 18 {
		return 0, 0, false
	}
	want, alone := bits(0), false
	switch {
	case letters == 0:
		want, alone = digitsOnly(d, match)
	case len(t) == 16 && fiscal(t):
		return 0, len(match), true
	case len(t) == 9 && dni(t):
		want, alone = dniES|nationalWord|passportWord, letters == 2
	case len(t) == 10 && letters == 6 && isUpper(match[0]) && pan(t):
		want, alone = panIN|cardWord, true
	case len(t) == 9 && letters == 3 && nino(t):
		want, alone = ninoWord, seps == 0
	case len(t) == 11 && n == 10 && hetu(t, d):
		want, alone = personFI, true
	default:
		want = nationalWord
		if len(t) < 6 || letters > 12 {
			return 0, 0, false
		}
	}
	if want == 0 {
		return 0, 0, false
	}
	var a around
	l.look(&a, left)
	if alone && !afterHex(left) {
		return 0, len(match), a.near(otherWord, want, 2, false) < 0
	}
	if a.col()&telling != 0 {
		return 0, len(match), a.col()&(want|nationalWord) != 0
	}
	if dateLike(match) {
		return 0, 0, false
	}
	stop := telling&^want&^nationalWord | patientWord
	return 0, len(match), a.near(want|nationalWord, stop, 4, false) >= 0 || want&nationalWord != 0 && a.pair(stateWord, numberWord, stop, 2) >= 0
}

// digitsOnly returns the classes of the numbers that d may be, and whether the form says enough.
func digitsOnly(d, match []byte) (want bits, alone bool) {
	if allSame(d) {
		return 0, false
	}
	switch len(d) {
	case 9:
		if luhn(d) {
			want |= sinCA
		}
		if weighted(d, "987654321")%11 == 2*int(d[8])%11 { // the last weight is -1
			want |= bsnNL
		}
		if weighted(d, "14375869a")%11 == 0 {
			want |= tfnAU
		}
		if v := mod11(d, "98765432"); v%10 == int(d[8]) {
			want |= nifPT
		}
	case 10:
		if mod11(d, "a98765432") == int(d[9]) {
			want |= nhsWord
		}
		if medicare(d) {
			want |= medicareAU
		}
		if luhn(d) {
			want |= personSE
		}
		if day(d) {
			want |= personDK
		}
	case 11:
		if iso11(d) {
			want |= taxDE
		}
		if (10-weighted(d, "1379137913")%10)%10 == int(d[10]) {
			want |= peselPL
		}
		if mod11(d, "376189452") == int(d[9]) && mod11(d, "5432765432") == int(d[10]) {
			want |= personNO
		}
		if rijks(d) {
			want |= rijksBE
		}
		if medicare(d[:10]) {
			want |= medicareAU
		}
		if cpf(d) {
			want |= cpfWord
			alone = len(match) == 14 && match[3] == '.' && match[7] == '.' && match[11] == '-'
		}
	case 12:
		if d[0] >= 2 && verhoeff(d) {
			want |= aadhaarIN
			alone = len(match) == 14 && match[4] == ' ' && match[9] == ' '
		}
		if luhn(d[2:]) {
			want |= personSE
			alone = alone || len(match) == 13 && match[8] == '-' && (d[0] == 1 && d[1] == 9 || d[0] == 2 && d[1] == 0) && d[4] < 2 && d[6] < 4
		}
	case 13:
		if nir(d, -1) || d[0] == 1 || d[0] == 2 {
			want |= nirFR
		}
		if ean13(d) && d[0] == 7 && d[1] == 5 && d[2] == 6 {
			want |= ahvCH
			alone = len(match) == 16 && match[3] == '.'
		}
	case 14:
		if mod11(d, "543298765432")%10 == int(d[12]) && mod11(d, "6543298765432")%10 == int(d[13]) {
			want |= cpfWord
		}
	case 15:
		if nir(d, int(d[13])*10+int(d[14])) {
			want |= nirFR
			alone = len(match) > 18
		}
	}
	if len(d) >= 6 && len(d) <= 18 {
		want |= nationalWord
	}
	return want, alone
}

func day(d []byte) bool {
	dd, mm := d[0]*10+d[1], d[2]*10+d[3]
	return dd >= 1 && dd <= 31 && mm >= 1 && mm <= 12
}

func medicare(d []byte) bool {
	return d[0] >= 2 && d[0] <= 6 && weighted(d, "13791379")%10 == int(d[8])
}

// cpf checks the two digits of a Brazilian CPF.
func cpf(d []byte) bool {
	return mod11(d, "a98765432")%10 == int(d[9]) && mod11(d, "ba98765432")%10 == int(d[10])
}

// rijks checks a Belgian national number, of people born before and after 2000.
func rijks(d []byte) bool {
	v := 0
	for _, c := range d[:9] {
		v = v*10 + int(c)
	}
	check := int(d[9])*10 + int(d[10])
	return 97-v%97 == check || 97-(v+2_000_000_000)%97 == check
}

func ean13(d []byte) bool {
	return (10-weighted(d, "131313131313")%10)%10 == int(d[12])
}

// nir checks a French NIR: sex, year, month, and 97 less the rest of the first 13 digits.
func nir(d []byte, key int) bool {
	if d[0] != 1 && d[0] != 2 {
		return false
	}
	v := 0
	for _, c := range d[:13] {
		v = v*10 + int(c)
	}
	return 97-v%97 == key
}

// dni checks a Spanish DNI (8 digits and a letter) or NIE (a letter, 7 digits and a letter).
func dni(t []byte) bool {
	v := 0
	switch {
	case isDigit(t[0]):
	case 'X' <= t[0] && t[0] <= 'Z':
		v = int(t[0] - 'X')
	default:
		return false
	}
	for i, c := range t[:8] {
		if i == 0 && !isDigit(c) {
			continue
		}
		if !isDigit(c) {
			return false
		}
		v = v*10 + int(c-'0')
	}
	return t[8] == "TRWAGMYFPDXBNJZSQVHLCKE"[v%23]
}

// pan has the form of an Indian PAN of a person: five letters, of which the fourth is P, four digits, a letter.
func pan(t []byte) bool {
	for i, c := range t {
		if isDigit(c) != (i >= 5 && i < 9) {
			return false
		}
	}
	return t[3] == 'P'
}

// nino has the form of a British National Insurance number.
func nino(t []byte) bool {
	if !isUpper(t[0]) || !isUpper(t[1]) || t[8] < 'A' || t[8] > 'D' {
		return false
	}
	for _, c := range t[2:8] {
		if !isDigit(c) {
			return false
		}
	}
	for _, c := range "DFIQUV" {
		if t[0] == byte(c) || t[1] == byte(c) {
			return false
		}
	}
	switch string(t[:2]) {
	case "BG", "GB", "KN", "NK", "NT", "TN", "ZZ":
		return false
	}
	return t[1] != 'O'
}

// hetu checks a Finnish personal identity code: ddmmyy, a sign, three digits, a letter or digit. The sign + or - has been dropped, so only
// those of this century, with a letter for a sign, come here.
func hetu(t, d []byte) bool {
	if t[6] < 'A' || t[6] > 'F' || !day(d) {
		return false
	}
	v := 0
	for _, c := range d[:9] {
		v = v*10 + int(c)
	}
	return isDigit(t[10]) && t[10] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[v%31]
}

// fiscal checks an Italian codice fiscale.
func fiscal(t []byte) bool {
	const odd = "\x01\x00\x05\x07\x09\x0d\x0f\x11\x13\x15\x02\x04\x12\x14\x0b\x03\x06\x08\x0c\x0e\x10\x0a\x16\x19\x18\x17" // values of A to Z, and of 0 to 9, on odd places
	sum := 0
	for i, c := range t[:15] {
		if i < 6 && isDigit(c) || i == 8 && isDigit(c) || i == 11 && isDigit(c) || (i == 6 || i == 7 || i == 9 || i == 10) && !isDigit(c) {
			return false
		}
		v := int(c - 'A')
		if isDigit(c) {
			v = int(c - '0')
		}
		if i%2 == 0 {
			v = int(odd[v])
		}
		sum += v
	}
	return isUpper(t[15]) && int(t[15]-'A') == sum%26
}
