// SPDX-License-Identifier: Apache-2.0

package token

// Tag is what a token is part of.
type Tag uint8

const (
	Other Tag = iota
	Person
	Address
	Tags
)

// Window is how many tokens a decision sees: Back before the token, the token, and Ahead behind it.
const (
	Back   = 4
	Ahead  = 2
	Window = Back + 1 + Ahead
)

// View is what a decision sees.
type View struct {
	Tok  [Window]*Token // the token is Tok[Back]
	Tag  [Back]Tag      // of the tokens before it
	Seen Tag            // what the same word was before in this text
	Run  int            // tokens of the span that the token before ends
	Key  uint32         // hash of the word before the last colon or equals sign of this line, or 0
}

// Candidate tells whether a token can be part of anything at all, from what is known without the tokens behind it: l is the token
// before it, and tag what that is part of.
func Candidate(t, l *Token, tag Tag) bool {
	switch t.Shape {
	case Break:
		return false
	case Lower:
		f := t.Flags
		switch {
		case tag != Other:
			return true
		case f&(Street|Particle) != 0 && (f.Usual() < 2 || l.Shape > Lower):
			return true
		case f.Usual() == 0:
			return f.First() >= 1 || f.Last() >= 2
		case f.Usual() == 1:
			return f.First() >= 1 || f.Last() >= 3
		}
		return false
	}
	return true
}

// Hopeless tells whether a token that is a candidate can still be none, seen together with the tokens around it.
func (v *View) Hopeless() bool {
	t := v.Tok[Back]
	if v.Tag[Back-1] != Other {
		return false
	}
	if v.machine() {
		return true
	}
	if !t.Number() {
		return hopeless(v.Tok[Back-1], t, v.Tok[Back+1])
	}
	for i, o := range v.Tok {
		if i != Back && (o.Shape >= Cap && o.Shape <= Uncased && o.Shape != Initial || o.Flags&(Street|City|Particle) != 0) {
			return false
		}
	}
	return true
}

// hopeless is Hopeless of a word t between two tokens.
func hopeless(l, t, r *Token) bool {
	if t.Shape == Cap && r.Shape == Lower && t.Flags.Usual() == 3 && t.Flags.First() == 0 && t.Flags.Last() < 2 &&
		(l.Flags&(Title|Street) == 0 || l.Flags.Usual() == 3) && r.Flags&(Street|Particle) == 0 && t.Flags&(Street|City) == 0 {
		return true // a sentence begins
	}
	return l.Shape == Lower && t.Gap == gapDot || called(t, r.Start, r.Gap) // a.B and B( are code
}

// called tells whether t is the name of a function that is called, if the next word begins at start behind a gap.
func called(t *Token, start int, gap uint16) bool {
	return gap&31 == inOpen && gap>>10&31 != inDash && t.Gap&31 != inLine && t.End+1 == start
}

const gapDot = inDot | inDot<<10

// machine tells whether a token is of what machines write for machines: base64, a dump in hex, the number of a port, a field of a variable that has the
// name of a street.
func (v *View) machine() bool {
	t, l, r := v.Tok[Back], v.Tok[Back-1], v.Tok[Back+1]
	switch {
	case coded(t.Gap) && (coded(r.Gap) && (l.odd() || t.odd() || r.odd()) || r.long()) || coded(r.Gap) && (l.long() || t.Gap == gapEqual && (t.odd() || r.odd())):
		return true
	case t.Shape == Lower && t.Flags&Street != 0 && r.Gap&31 == inDot && r.Gap>>5&31 != inSpace && r.Gap>>5&31 != inLine && r.Shape != Break:
		return true
	case t.Number() && l.Hash == port && t.Gap&31 == inSpace:
		return true
	}
	dumped := 0
	for _, o := range v.Tok[Back-2:] {
		if o.dumped() {
			dumped++
		}
	}
	return dumped > 2 && t.dumped()
}

// odd tells whether letters of both cases, or letters and digits, stand in a token as they do not in words.
func (t *Token) odd() bool { return t.Shape == Camel || t.Shape == Mixed }

// long tells whether a token is a word that is too long for one.
func (t *Token) long() bool { return t.Shape == Break && t.End-t.Start > MaxWord }

// dumped tells whether a token may be two bytes in hex.
func (t *Token) dumped() bool { return t.End-t.Start == 4 && (t.Shape == Mixed || t.Number()) }

// coded tells whether a gap is one character as base64 has besides letters and digits.
func coded(gap uint16) bool { return gap == gapSlash || gap == gapAnd }

const (
	gapSlash = inSlash | inSlash<<10
	gapEqual = inEqual | inEqual<<10
)

var port, _ = Hash("port")

// MaxFeatures is how many features a decision has at most.
const MaxFeatures = 7 + others

// others are those features that do not ask what the word itself is.
const others = 47

// Bits of the hashes of features.
const Bits = 19

// hash is a feature: which one it is, and what is seen of it.
func hash(id, a, b, c uint32) uint32 {
	h := (id*0x9e3779b1 ^ a) * 0x85ebca6b
	h = (h ^ h>>15 ^ b) * 0xc2b2ae35
	h = (h ^ h>>13 ^ c) * 0x27d4eb2f
	return (h^h>>16)>>(32-Bits) ^ h&(1<<Bits-1)
}

// kind puts what the lists say about a word into a few classes.
func kind(t *Token) uint32 {
	f := t.Flags
	return uint32(f.First()) | uint32(f.Last())<<2 | uint32(f.Usual())<<4
}

func marks(t *Token) uint32 {
	f := t.Flags &^ (FirstName | LastName | Common)
	return uint32(f)
}

// Features writes the features of a decision to f and tells how many they are. drop leaves out what the word itself is, as training does now and then
// so that more is learned from what stands around it.
func (v *View) Features(f *[MaxFeatures]uint32, drop bool) int {
	t := v.Tok[Back]
	l1, l2, l3, l4 := v.Tok[Back-1], v.Tok[Back-2], v.Tok[Back-3], v.Tok[Back-4]
	r1, r2 := v.Tok[Back+1], v.Tok[Back+2]
	sh, k, m := uint32(t.Shape), kind(t), marks(t)
	tag1, tag2 := uint32(v.Tag[Back-1]), uint32(v.Tag[Back-2])
	tags := tag1 | tag2<<2 | uint32(v.Tag[Back-3])<<4
	gap, next := uint32(t.Gap), uint32(r1.Gap)
	sh1, sh2 := uint32(l1.Shape), uint32(l2.Shape)
	shr, shr2 := uint32(r1.Shape), uint32(r2.Shape)
	k1, kr := kind(l1), kind(r1)

	f[0] = hash(0, sh, 0, 0)
	at := 1
	if !drop {
		f[1] = hash(1, t.Hash, 0, 0)
		f[2] = hash(2, t.Hash, tag1, sh)
		f[3] = hash(3, t.Suf, sh, 0)
		f[4] = hash(4, t.Pre, sh, 0)
		f[5] = hash(5, t.Suf2, sh, tag1)
		at = 6
		if tag1 != 0 {
			f[6] = hash(6, t.Suf, tag1, sh)
			at = 7
		}
	}
	g := (*[others]uint32)(f[at : at+others])
	g[0] = hash(7, k, sh, 0)
	g[1] = hash(8, m, sh, tag1)
	g[2] = hash(9, k, tag1, sh)
	g[3] = hash(10, k, m, 0)
	g[4] = hash(11, gap, sh, 0)
	g[5] = hash(12, next, sh, k)
	g[6] = hash(13, gap, tag1, sh)
	g[7] = hash(14, gap, next, sh)
	// to the left
	g[8] = hash(15, l1.Hash, gap, 0)
	g[9] = hash(16, l1.Hash, sh, 0)
	g[10] = hash(17, l2.Hash, sh, 0)
	g[11] = hash(18, l2.Hash, l1.Hash, gap)
	g[12] = hash(19, l1.Hash, k, 0)
	g[13] = hash(20, l3.Hash, l2.Hash, l1.Hash)
	g[14] = hash(21, sh1, gap, sh)
	g[15] = hash(22, k1, k, sh)
	g[16] = hash(23, marks(l1), k, sh)
	g[17] = hash(24, marks(l1), gap, tag1)
	g[18] = hash(25, sh2, sh1, sh)
	g[19] = hash(26, l1.Suf2, sh1, sh)
	g[20] = hash(27, marks(l2), marks(l1), tag1)
	g[21] = hash(28, l3.Hash, tag1, sh)
	g[22] = hash(29, l4.Hash, tag1, sh)
	// to the right
	g[23] = hash(30, r1.Hash, next, 0)
	g[24] = hash(31, r1.Hash, k, sh)
	g[25] = hash(32, r2.Hash, sh, tag1)
	g[26] = hash(33, r1.Hash, r2.Hash, sh)
	g[27] = hash(34, shr, next, sh)
	g[28] = hash(35, kr, k, shr)
	g[29] = hash(36, marks(r1), sh, tag1)
	g[30] = hash(37, shr, shr2, sh)
	g[31] = hash(38, marks(r2), marks(r1), sh)
	g[32] = hash(39, kind(r2), kr, k)
	g[33] = hash(40, r1.Suf2, shr, sh)
	// both sides
	g[34] = hash(41, k1, k, kr)
	g[35] = hash(42, sh1<<8|sh, shr, gap)
	g[36] = hash(43, l1.Hash, r1.Hash, sh)
	g[37] = hash(44, tags, sh, gap)
	g[38] = hash(45, tags, k, shr)
	g[39] = hash(46, tags, l1.Hash, sh)
	g[40] = hash(47, tag1, uint32(min(v.Run, 6)), sh)
	g[41] = hash(48, tag1<<8|uint32(min(v.Run, 6)), sh, gap)
	g[42] = hash(49, uint32(v.Seen), sh, k)
	g[43] = hash(50, v.Key, sh, 0)
	g[44] = hash(51, v.Key, tag1, uint32(min(v.Run, 4)))
	g[45] = hash(52, tag1, m, gap)
	g[46] = hash(53, marks(l1)|m<<16, shr, tag1)
	return at + others
}
