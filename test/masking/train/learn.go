// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"math/rand/v2"

	"github.com/sallyport-dev/sallyport/pipeline/mask/names/token"
)

// learner learns the weights of a linear model by stochastic gradient descent with a step of its own for each weight. It reads texts
// as a scanner does.
type learner struct {
	lists *token.Lists
	w     [][2]float32
	g     [][2]float32 // sums of squared gradients
	r     *rand.Rand

	doc      *doc
	cut      token.Tokenizer
	seq      token.Sequence
	at       int    // span of doc that may come next
	salt     uint32 // which words of the lists are hidden in this text
	own      bool   // go on with what the model says, not with what is true
	features []uint32
	examples int
}

func newLearner(lists *token.Lists, seed uint64) *learner {
	l := &learner{lists: lists, w: make([][2]float32, 1<<token.Bits), g: make([][2]float32, 1<<token.Bits), r: rand.New(rand.NewPCG(seed, 1))}
	l.seq.By, l.seq.Lists = l, lists
	return l
}

// Percent of what is hidden from learning.
const (
	hideNames   = 35 // of the names in the lists, in each text
	hideWord    = 60 // of the words that are part of something
	hideOther   = 50 // of those that are not
	hideFeature = 25 // of all that speaks for or against
	ownTags     = 35 // of texts: decisions are built on those of the model
	rate        = 0.12
)

func (l *learner) learn(d *doc) {
	l.doc, l.at, l.salt, l.own = d, 0, l.r.Uint32(), l.r.IntN(100) < ownTags
	l.cut.Reset()
	l.seq.Reset()
	push := func() {
		t := l.cut.Token()
		t.Flags, t.Known = l.lists.Of(t.Hash), true
		if (t.Hash^l.salt)*0x9e3779b1>>16%100 < hideNames {
			t.Flags &^= token.FirstName | token.LastName
		}
		l.seq.Push(t)
	}
	for i := 0; i < len(d.text); i++ {
		if l.cut.Byte(d.text[i]) {
			push()
		}
	}
	word := l.cut.End()
	if word {
		push()
	}
	l.seq.Finish(word, false)
	l.seq.Spans = l.seq.Spans[:0]
}

// truth is what a token is.
func (l *learner) truth(t *token.Token) token.Tag {
	for l.at < len(l.doc.spans) && l.doc.spans[l.at].end <= t.Start {
		l.at++
	}
	if l.at < len(l.doc.spans) && l.doc.spans[l.at].start < t.End {
		return l.doc.spans[l.at].tag
	}
	return token.Other
}

// Decide learns what is true of a token.
func (l *learner) Decide(v *token.View) token.Tag {
	is := l.truth(v.Tok[token.Back])
	hide := hideOther
	if is != token.Other {
		hide = hideWord
	}
	var all [token.MaxFeatures]uint32
	l.features = append(l.features[:0], all[:v.Features(&all, l.r.IntN(100) < hide)]...)
	kept := l.features[:0] // some are left out, so that none is relied on alone
	for _, f := range l.features {
		if l.r.IntN(100) >= hideFeature {
			kept = append(kept, f)
		}
	}
	l.features = kept
	var s [2]float32
	for _, f := range l.features {
		s[0] += l.w[f][0]
		s[1] += l.w[f][1]
	}
	m := max(0, s[0], s[1])
	eo, ep, ea := exp(float64(-m)), exp(float64(s[0]-m)), exp(float64(s[1]-m))
	sum := eo + ep + ea
	p := [2]float32{float32(ep / sum), float32(ea / sum)}
	said := token.Other
	if s[0] > 0 || s[1] > 0 {
		said = token.Person
		if s[1] > s[0] {
			said = token.Address
		}
	}
	if is != token.Other {
		p[is-1]--
	}
	l.examples++
	for c := range 2 {
		if p[c] < 1e-4 && p[c] > -1e-4 {
			continue
		}
		for _, f := range l.features {
			g := &l.g[f][c]
			*g += float32(p[c] * p[c])
			l.w[f][c] -= float32(rate * p[c] / float32(math.Sqrt(float64(*g)+1e-3)))
		}
	}
	if l.own {
		return said
	}
	return is
}

// weights are what has been learned. lean is added to what speaks for Person and Address.
func (l *learner) weights(lean [2]float64) *token.Weights {
	w := &token.Weights{W: make([][2]int16, len(l.w))}
	for i, x := range l.w {
		for c := range 2 {
			n := math.Round(float64(x[c]) * token.Scale)
			if n > -6 && n < 6 {
				n = 0
			}
			w.W[i][c] = int16(max(-32768, min(32767, n)))
		}
	}
	for c := range 2 {
		w.Bias[c] = int32(lean[c] * token.Scale)
	}
	return w
}

// exp is e to the power of x, which is not above 0, to the same last bit on every machine: the conversions keep products and sums apart.
func exp(x float64) float64 {
	if x < -700 {
		return 0
	}
	k := math.Floor(float64(x * math.Log2E))
	r := x - float64(k*math.Ln2)
	sum, term := 1.0, 1.0
	for i := 1.0; i < 18; i++ {
		term = float64(term * r / i)
		sum += term
	}
	return math.Ldexp(sum, int(k))
}
