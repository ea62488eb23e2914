// SPDX-License-Identifier: Apache-2.0

package mask

const (
	cardMin = 12 // Maestro
	cardMax = 19
	// cardBound is cardMax digits with a separator behind each.
	cardBound = 2 * cardMax
)

// cardState is the current run of digit groups, each separated from the next by one space or dash. Group 0 is the first
// that may still begin a card number, so that the run holds no more than cardMax digits between two bytes.
type cardState struct {
	groups  int
	digits  int
	dropped bool // the run began before group 0
	group   [cardMax + 1]group
	digit   [cardMax + 1]byte // values of the digits
}

type group struct{ start, end, first int } // positions [start, end); index of its first digit

// cardStep feeds one byte and tells whether a number was found.
func (r *Rewriter) cardStep(c byte, f class) bool {
	k := &r.card
	if f&cDigit == 0 {
		if (c == ' ' || c == '-') && k.group[k.groups-1].end == r.n {
			return false
		}
		return r.cardEnd(c)
	}
	switch {
	case k.groups == 0:
		if classes[r.prev]&cAlnum != 0 || r.prev == '_' || r.prev == '+' ||
			(r.prev == '.' || r.prev == ',') && classes[r.prev2]&cDigit != 0 {
			return false // in a word, a phone number, a fraction
		}
		k.dropped = false
		fallthrough
	case k.group[k.groups-1].end != r.n:
		k.group[k.groups] = group{start: r.n, first: k.digits}
		k.groups++
	}
	k.group[k.groups-1].end = r.n + 1
	k.digit[k.digits] = c - '0'
	k.digits++
	found := false
	for k.digits > cardMax {
		if k.groups == 1 { // one long number; its further digits have a digit before them
			*k = cardState{}
			break
		}
		found = r.cardFirst(k.groups-1) || found
	}
	return found
}

// cardEnd ends the run at byte c, which is 0 at the end of the text.
func (r *Rewriter) cardEnd(c byte) (found bool) {
	k := &r.card
	if last := k.group[k.groups-1]; last.end == r.n && (classes[c]&cAlnum != 0 || c == '_') {
		k.groups--
		k.digits = last.first
	}
	for k.groups > 0 {
		found = r.cardFirst(k.groups) || found
	}
	*k = cardState{}
	return found
}

// cardFirst settles group 0 with the first n groups as the choice: the longest number that begins there is masked,
// else the group is given up.
func (r *Rewriter) cardFirst(n int) bool {
	k := &r.card
	for e := n; e > 0; e-- {
		if k.valid(e, e == k.groups && !k.dropped) {
			r.found(span{k.group[0].start, k.group[e-1].end})
			k.drop(e)
			return true
		}
	}
	k.drop(1)
	return false
}

func (k *cardState) drop(n int) {
	k.dropped = true
	gone := k.digits
	if n < k.groups {
		gone = k.group[n].first
	}
	copy(k.digit[:], k.digit[gone:k.digits])
	k.digits -= gone
	k.groups = copy(k.group[:], k.group[n:k.groups])
	for i := range k.groups {
		k.group[i].first -= gone
	}
}

// found notes a number to be masked. It stays pending while a candidate before it lives, which may yet swallow it.
func (r *Rewriter) found(s span) {
	s.start = max(s.start, r.out)
	if s.start >= s.end {
		return
	}
	r.pending[r.np] = s
	r.np++
	if s.start < r.mail.run && r.mail.run < s.end {
		r.mail.run = none // the last group, taken for a local part
		if s.end < r.n {
			r.mail.run = s.end
		}
	}
}

// valid tells whether the first n groups are a card number. whole: they are the whole run, which may be grouped in
// any way; a part of a run must be grouped as cards are.
func (k *cardState) valid(n int, whole bool) bool {
	d := k.digits
	if n < k.groups {
		d = k.group[n].first
	}
	if d < cardMin || d > cardMax || n > 1 && !whole && !k.printed(n) {
		return false
	}
	return issuer(k.digit[:d]) && luhn(k.digit[:d])
}

// printed tells whether the first n groups are grouped as on a card: 4-4-4-4 with a shorter or longer rest, 4-6-5, 4-6-4.
func (k *cardState) printed(n int) bool {
	size := func(i int) int { return k.group[i].end - k.group[i].start }
	if size(0) != 4 {
		return false
	}
	if n == 3 {
		return size(1) == 6 && (size(2) == 5 || size(2) == 4)
	}
	return (n == 4 || n == 5) && size(1) == 4 && size(2) == 4 && (n == 4 || size(3) == 4) && size(n-1) <= 7
}

// issuer tells whether the leading digits belong to a payment network (ISO/IEC 7812 ranges in use) that issues
// numbers of this length.
func issuer(d []byte) bool {
	n := len(d)
	head := int(d[0])*1000 + int(d[1])*100 + int(d[2])*10 + int(d[3])
	two := head / 100
	switch {
	case d[0] == 4:
		return n == 13 || n == 16 || n == 19
	case two == 34, two == 37, head == 1800, head == 2131:
		return n == 15
	case two >= 51 && two <= 55, head >= 2200 && head <= 2720:
		return n == 16 || head < 2205 && n > 16
	case head/10 >= 300 && head/10 <= 305, two == 36, two == 38, two == 39:
		return n >= 14
	case two == 35:
		return n >= 16
	case two == 50, two >= 56 && two <= 58, two == 63, two == 67:
		return true
	case d[0] == 6, two == 81, two == 82:
		return n >= 13
	}
	return false
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
