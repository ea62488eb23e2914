// SPDX-License-Identifier: Apache-2.0

package mask

// prefixes is a deterministic automaton that recognises all rule prefixes at once, each only where it begins after a
// byte that is no ASCII letter or digit. It is an Aho-Corasick automaton whose failure links keep that condition: two
// roots tell whether a prefix may start at the next byte.
type prefixes struct {
	sym    [256]uint8 // byte to column
	shift  uint       // log2 of the row length
	next   []uint16   // row of a state, column of a byte; with the accepts bit if a prefix ends there
	depth  []uint8    // length of the longest candidate that ends here
	accept [][]uint16 // rules whose prefix ends here, the longest first

	text, args [256]uint16 // what skip needs to know of a byte, for either kind of carrier
}

const (
	accepts = 1 << 15 // bit of an entry of next

	stateFresh  = 0 // no letter or digit before: a prefix may start
	stateInWord = 1
)

func compilePrefixes(rules []rule) *prefixes {
	p := &prefixes{}
	// Column 0 is any other byte, column 1 any other letter or digit; bytes that occur in a prefix have their own.
	columns := 2
	for b := range 256 {
		if classes[b]&cAlnum != 0 {
			p.sym[b] = 1
		}
	}
	own := map[uint8]bool{} // columns that are letters or digits
	own[1] = true
	for _, r := range rules {
		for i := range len(r.prefix) {
			if b := r.prefix[i]; p.sym[b] < 2 {
				own[uint8(columns)] = classes[b]&cAlnum != 0
				p.sym[b] = uint8(columns)
				columns++
			}
		}
	}
	for 1<<p.shift < columns {
		p.shift++
	}
	width := 1 << p.shift

	// The trie. Child 0 means none: the roots are nobody's child.
	child := [][]uint16{make([]uint16, width), make([]uint16, width)}
	p.depth = []uint8{0, 0}
	p.accept = [][]uint16{nil, nil}
	for n, r := range rules {
		s := uint16(stateFresh)
		for i := range len(r.prefix) {
			c := p.sym[r.prefix[i]]
			if child[s][c] == 0 {
				child[s][c] = uint16(len(child))
				child = append(child, make([]uint16, width))
				p.depth = append(p.depth, uint8(i+1))
				p.accept = append(p.accept, nil)
			}
			s = child[s][c]
		}
		p.accept[s] = append(p.accept[s], uint16(n))
	}

	// Breadth first, so that the row a failure link points at is complete before it is copied.
	p.next = make([]uint16, len(child)*width)
	fail := make([]uint16, len(child))
	var queue []uint16
	for c := range width {
		home := uint16(stateFresh)
		if own[uint8(c)] {
			home = stateInWord
		}
		p.next[stateFresh*width+c], p.next[stateInWord*width+c] = home, home
		if k := child[stateFresh][c]; k != 0 {
			p.next[stateFresh*width+c] = k
			fail[k] = home
			queue = append(queue, k)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		p.accept[s] = append(p.accept[s], p.accept[fail[s]]...)
		for c := range width {
			viaFail := p.next[int(fail[s])*width+c]
			if k := child[s][c]; k != 0 {
				p.next[int(s)*width+c] = k
				fail[k] = viaFail
				queue = append(queue, k)
			} else {
				p.next[int(s)*width+c] = viaFail
			}
		}
	}
	for i, s := range p.next {
		if p.accept[s] != nil {
			p.next[i] |= accepts
		}
	}
	p.skipTables()
	return p
}

// The bits beside a byte's column in the tables of skip.
const (
	skipStop  = 1 << 15
	skipLocal = 1 << 14
	skipStart = 1 << 13
	skipWord  = 1 << 12 // a letter or digit: from stateInWord it leads back there
)

func (p *prefixes) skipTables() {
	for b := range 256 {
		p.text[b], p.args[b] = uint16(p.sym[b]), uint16(p.sym[b])
		f := classes[b]
		if f&cAlnum != 0 {
			p.text[b] |= skipWord
			p.args[b] |= skipWord
		}
		if b == '\\' {
			p.args[b] |= skipStop
		}
		if b == '\\' || b == '@' || f&(cDigit|cLead|cCont) != 0 {
			p.text[b] |= skipStop
		}
		if f&cLocal != 0 {
			p.text[b] |= skipLocal
		}
		if f&cStart != 0 {
			p.text[b] |= skipStart
		}
	}
}
