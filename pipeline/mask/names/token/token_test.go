// SPDX-License-Identifier: Apache-2.0

package token

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// cut is what a Tokenizer makes of a text that arrives in pieces of n bytes.
func cut(text string, n int) []Token {
	var t Tokenizer
	t.Reset()
	var out []Token
	for p := []byte(text); len(p) > 0; {
		piece := p[:min(n, len(p))]
		p = p[len(piece):]
		for len(piece) > 0 {
			k, done := t.Read(piece)
			if done {
				out = append(out, *t.Token())
			}
			piece = piece[k:]
		}
	}
	if t.End() {
		out = append(out, *t.Token())
	}
	return out
}

func TestTokens(t *testing.T) {
	long := strings.Repeat("x", MaxWord+20)
	for _, c := range []struct {
		name, text string
		want       []string // word and shape
	}{
		{"words", "Hello big WORLD, I am", []string{"Hello 2", "big 1", "WORLD 3", "I 4", "am 1"}},
		{"numbers", "12 Oak St 12b 10115 x2", []string{"12 10", "Oak 2", "St 2", "12b 8", "10115 13", "x2 6"}},
		{"mixed case", "iPhone McDonald getName", []string{"iPhone 5", "McDonald 5", "getName 5"}},
		{"apostrophes", "O'Brien’s", []string{"O 4", "Brien 2", "s 1"}},
		{"accents", "Łukasz ÉMILE élan", []string{"Łukasz 2", "ÉMILE 3", "élan 1"}},
		{"accents of their own", "Jose\u0301 x", []string{"Jose\u0301 2", "x 1"}},
		{"scripts", "Иван 山田 محمد", []string{"Иван 2", "山田 7", "محمد 7"}},
		{"escapes", `one\nTwo\tthree\"Four\"`, []string{"one 1", "Two 2", "three 1", "Four 2"}},
		{"invisible", "Ma\u200bria \u200b \u00ad x", []string{"Ma\u200bria 2", "x 1"}},
		{"broken characters", "A\xffB \xc3 C\xe2\x80", []string{"A 4", "B 4", "C 4"}},
		{"long word", "a " + long + " b", []string{"a 1", long[:MaxWord+1] + " 0", "b 1"}},
		{"long gap", "a" + strings.Repeat(" ", 50) + "b", []string{"a 1", " 0", "b 1"}},
		{"nothing", "", nil},
		{"gap alone", " .,", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n := 1; n <= len(c.text)+1; n++ {
				var got []string
				for _, k := range cut(c.text, n) {
					got = append(got, fmt.Sprint(c.text[k.Start:k.End], " ", k.Shape))
				}
				if !slices.Equal(got, c.want) {
					t.Fatalf("in pieces of %d: got %q, want %q", n, got, c.want)
				}
			}
		})
	}
}

func TestHashFoldsCaseAndAccents(t *testing.T) {
	for _, c := range [][2]string{{"José", "jose"}, {"MÜLLER", "muller"}, {"Łukasz", "LUKASZ"}, {"Jose\u0301", "José"}, {"Иван", "ИВАН"}} {
		a, ok := Hash(c[0])
		b, ok2 := Hash(c[1])
		if !ok || !ok2 || a != b {
			t.Errorf("%s and %s have hashes %x (%v) and %x (%v), want one", c[0], c[1], a, ok, b, ok2)
		}
	}
	for _, not := range []string{"", "two words", "O'Brien"} {
		if _, ok := Hash(not); ok {
			t.Errorf("%q is taken for one word", not)
		}
	}
}

func TestListsAreReadAsWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	words := map[uint32]Flags{}
	for range 5000 {
		words[r.Uint32()] = Flags(1 + r.IntN(1<<16-1))
	}
	words[0], words[1<<32-1] = 1, 2
	l := NewLists(words)
	b := append(l.Append(nil), "rest"...)
	got, rest, err := ReadLists(b)
	if err != nil || string(rest) != "rest" || got.Len() != len(words) {
		t.Fatalf("read %d words of %d, rest %q, %v", got.Len(), len(words), rest, err)
	}
	for h, f := range words {
		if got.Of(h) != f || l.Of(h) != f {
			t.Fatalf("flags of %x are %x, written %x, want %x", h, got.Of(h), l.Of(h), f)
		}
	}
	for _, n := range []int{0, 3, 4, 1 << 16, len(b) - 5} {
		if _, _, err := ReadLists(b[:n]); err == nil {
			t.Errorf("%d bytes were taken for the whole", n)
		}
	}
	b[4]++ // more words than there are
	if _, _, err := ReadLists(b); err == nil {
		t.Error("a wrong index was taken")
	}
}

func TestHotWordsAreAllThatMayBeCandidates(t *testing.T) {
	words := map[uint32]Flags{}
	for f := range 1 << 16 {
		words[uint32(f)*0x9e3779b1] = Flags(f)
	}
	l := NewLists(words)
	for h, f := range words {
		if Candidate(&Token{Shape: Lower, Flags: f}, &Token{Shape: Cap}, Other) && !l.hot(h) {
			t.Fatalf("flags %x: a candidate is not hot", f)
		}
	}
}

func TestWeightsAreReadAsWritten(t *testing.T) {
	w := &Weights{W: make([][2]int16, 1<<Bits), Bias: [2]int32{-3, 70000}}
	w.W[0], w.W[77], w.W[1<<Bits-1] = [2]int16{1, -1}, [2]int16{-32768, 32767}, [2]int16{5, 6}
	b := append(w.Append(nil), 'x')
	got, rest, err := ReadWeights(b)
	if err != nil || string(rest) != "x" || got.Bias != w.Bias || !slices.Equal(got.W, w.W) {
		t.Fatalf("read other weights than written, rest %q, %v", rest, err)
	}
	if _, _, err := ReadWeights(b[:len(b)-2]); err == nil {
		t.Error("weights that are cut short were taken")
	}
}

func TestDecide(t *testing.T) {
	w := &Weights{W: [][2]int16{{100, 0}, {0, 100}, {-100, -100}}}
	for _, c := range []struct {
		name string
		f    []uint32
		want Tag
	}{{"nothing", nil, Other}, {"person", []uint32{0}, Person}, {"address", []uint32{1}, Address}, {"person first", []uint32{0, 1}, Person}, {"neither", []uint32{0, 2}, Other}} {
		if got := w.Decide(c.f); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestFeaturesFit(t *testing.T) {
	var v View
	for i := range v.Tok {
		v.Tok[i] = &Token{Hash: uint32(i), Shape: Cap}
	}
	v.Tag[Back-1] = Person
	f := v.Features(nil, false)
	if len(f) > MaxFeatures {
		t.Errorf("%d features, at most %d are promised", len(f), MaxFeatures)
	}
	for _, x := range f {
		if x >= 1<<Bits {
			t.Errorf("feature %d is beyond the weights", x)
		}
	}
	if d := v.Features(nil, true); len(d) >= len(f) {
		t.Errorf("dropping the word leaves %d of %d features", len(d), len(f))
	}
}
