// SPDX-License-Identifier: Apache-2.0

package token

// Limits of what a scanner must hold back: a word longer than MaxWord and a gap longer than MaxGap are breaks, over which nothing
// is decided together.
const (
	MaxWord = 36 // bytes
	MaxGap  = 16 // bytes
	runeMax = 4
)

// Shape is how a token is written.
type Shape uint8

const (
	Break   Shape = iota // no word: a break, or the end
	Lower                // word
	Cap                  // Word
	Upper                // WORD
	Initial              // W
	Camel                // wordWord, WordWord
	Mixed                // letters and digits: 12b, B2B
	Uncased              // letters of a script without case
	Num                  // a number; Num+n is one of n digits, up to 6
)

// Token is a word or a number.
type Token struct {
	Start, End int    // bytes of the text
	Hash       uint32 // of the word in lower case and without accents
	Pre, Suf   uint32 // hashes of its first and last three letters
	Suf2       uint32 // and of its last two
	Gap        uint16 // what stands before it
	Flags      Flags  // what the lists say about it
	Shape      Shape
	Key        uint8 // what is known of keys of JSON in the gap before it
	Quote      bool  // that gap has a quote
	Accented   bool  // it has letters that are not ASCII
	Known      bool  // Flags are known; of words in lower case that cannot be part of anything they are looked up when needed
}

// Number tells whether t begins with a digit.
func (t *Token) Number() bool { return t.Shape >= Num }

// NewLine tells whether a line ends before t.
func (t *Token) NewLine() bool { return t.Gap&gapLine != 0 }

// fold has the letters U+00C0 to U+017F in lower case and without accents.
const fold = "aaaaaaaceeeeiiiidnoooooxouuuuytsaaaaaaaceeeeiiiidnoooooxouuuuytyaaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkkllllllllllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs"

// Hash is the hash of a word as tokens have it. ok is false if the word is not one token.
func Hash(word string) (h uint32, ok bool) {
	var n int
	var t Tokenizer
	t.Reset()
	emit := func(k *Token) { h, n = k.Hash, n+1 }
	for i := 0; i < len(word); i++ {
		if t.Byte(word[i]) {
			emit(t.Token())
		}
	}
	if t.End() {
		emit(t.Token())
	}
	return h, n == 1 && h != 0
}
