// SPDX-License-Identifier: Apache-2.0

package mask

const (
	localMax  = 64 // RFC 5321, 4.5.3.1
	labelMax  = 63 // RFC 1035, 2.3.4
	domainMax = 253
	mailBound = localMax + 1 + domainMax + 1 // and the @, and the byte before a decision
)

// mailState follows addresses. An address is decided at local@label.tld with two letters of tld.
type mailState struct {
	run    int // start of the current run of local-part bytes, or none
	at     int // position of the @ of a candidate, or none
	start  int // of the candidate
	label  int // bytes of the current label
	alpha  int // of these, leading letters
	dotted bool
}

// localStart is where a local part that ends before p begins: the start of the run, or the last localMax bytes of it
// from the next whole rune on.
func (r *Rewriter) localStart(p int) int {
	if p-r.mail.run <= localMax {
		return max(r.mail.run, r.out)
	}
	s := max(p-localMax, r.out)
	for s < p && classes[r.at(s)]&cCont != 0 {
		s++
	}
	return s
}

// mailStep feeds one byte.
func (r *Rewriter) mailStep(dst []byte, c byte, f class) []byte {
	m := &r.mail
	if f&cCont != 0 && classes[r.prev]&cLead != 0 {
		f = cLocal | cDomain | cLetter // the second byte of a letter
	} else if f&cLead != 0 {
		f |= cLetter
	}
	if r.open == &mailRule {
		if r.insideMail(c, f) {
			return dst
		}
		m.run = none
	}
	if m.at >= 0 {
		if dst = r.domainStep(dst, c, f); r.open != nil {
			return dst
		}
	}
	switch {
	case c == '@' && m.run >= 0:
		m.start = r.localStart(r.n)
		for i := range r.np {
			if s := r.pending[i]; s.start < m.start && m.start < s.end {
				m.start = s.end
			}
		}
		if m.start < r.n {
			m.at, m.label, m.alpha, m.dotted = r.n, 0, 0, false
		}
		m.run = none
	case f&cLocal == 0:
		m.run = none
	case m.run < 0 && f&cStart != 0:
		m.run = r.n
	}
	return dst
}

// domainStep feeds one byte behind the @ of a candidate.
func (r *Rewriter) domainStep(dst []byte, c byte, f class) []byte {
	m := &r.mail
	switch {
	case f&cDomain != 0:
		if f&cLetter != 0 && m.alpha == m.label {
			m.alpha++
		}
		m.label++
	case c == '-' && m.label > 0:
		m.label++
	case c == '.' && m.label > 0:
		m.label, m.alpha, m.dotted = 0, 0, true
	default:
		m.at = none
		return dst
	}
	if m.dotted && m.alpha >= 2 || m.label > labelMax || r.n-m.at > domainMax {
		m.at, m.run = none, none
		dst = r.replace(dst, &mailRule, m.start)
	}
	return dst
}

// insideMail takes c if it belongs to the open address: letters, digits, and single dots or up to two dashes between them.
func (r *Rewriter) insideMail(c byte, f class) bool {
	switch {
	case f&cDomain != 0:
		r.tail = 0
		r.out = r.n + 1
		return true
	case c == '.' && r.tail == 0, c == '-' && r.tail == 0, c == '-' && r.tail == 1 && r.prev == '-':
		r.tail++
		return true
	}
	r.closeOpen()
	return false
}
