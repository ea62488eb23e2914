// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"regexp/syntax"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/names"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// beginnings are texts that matches of rules begin with, and what may follow: a walk along the automaton of each rule.
func beginnings(tb testing.TB, rules []*rule.Rule) (out []string) {
	for i, r := range rules {
		c, err := compile(r, i)
		if err != nil {
			tb.Fatal(err)
		}
		long := longMatch(c, rand.New(rand.NewPCG(uint64(i), 9)))
		out = append(out, long[:min(len(long), 4)], long[:min(len(long), 24)], long[:min(len(long), 70)])
	}
	return append(out, tails...)
}

// tails are what may go on with a value, and what stands around values.
var tails = []string{"@", ".", "co", ".uk", "-", " ", "  ", "\n", `\n`, `\u00e9`, `\`, "\"", "'", ":", "=", ": ", "é", "\xc3", "password", "token: ", "born ", "passport no ", "SSN ", "Mr. ",
	"Jane Fox", "12 High Street", "4111", "4111 1111 1111 1111", "0", "1", "99", "a", "Z", "key", "sk-", "AKIA", "eyJ", "-----", "+1 ", "(", ")", "a1B2c3D4e5F6", "https://", "joe", "/"}

// builtinRig is the engine with all that is built in, beside the reference.
func builtinRig(tb testing.TB) *rig {
	tb.Helper()
	m, err := names.New()
	if err != nil {
		tb.Fatal(err)
	}
	return newRig(tb, builtin(), model{m})
}

// TestEqualBuiltin: the built-in rules, on texts made of their beginnings.
func TestEqualBuiltin(t *testing.T) {
	r, parts := builtinRig(t), beginnings(t, builtin())
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		text := randomText(rnd, parts, 8)
		if seed%2 == 0 { // mostly what stands around
			text += randomText(rnd, tails, 10)
		}
		if err := r.differs("", text, 0, seed%40 == 0, seed); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range append(corpus(t), answer, "call me at (00574) 212585 x", "tel (0041) 212 585 12 x") {
		if err := r.differs("", text, 0, len(text) < 300, 1); err != nil {
			t.Error(err)
		}
	}
}

// corpus is a sample of public texts.
func corpus(tb testing.TB) (out []string) {
	b, err := os.ReadFile("testdata/corpus.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var l struct{ Text string }
		if err := json.Unmarshal(line, &l); err != nil {
			tb.Fatal(err)
		}
		out = append(out, l.Text)
	}
	return out
}

// TestTriggersOfBuiltin: what a rule is looked for by begins every match.
func TestTriggersOfBuiltin(t *testing.T) {
	for i, r := range builtin() {
		c, err := compile(r, i)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := syntax.Compile(c.trigger.Simplify()); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		if c.part == known && c.least < 3 || c.reach > c.bound {
			t.Errorf("%s is looked for by %d to %d bytes", r.Name, c.least, c.reach)
		}
	}
}

// FuzzEqual builds a text out of beginnings of rules and of plain bytes, and compares the engine with the reference, cut in many ways.
func FuzzEqual(f *testing.F) {
	r, parts := builtinRig(f), beginnings(f, builtin())
	f.Add([]byte("x@a.co.uk"), uint16(3), uint64(2))
	f.Add([]byte("\x94\x80 4111 \xff\x01"), uint16(500), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, from uint16, seed uint64) {
		var b strings.Builder
		for _, c := range in { // from 0x80 on a byte stands for a beginning
			if c < 0x80 {
				b.WriteByte(c)
			} else {
				b.WriteString(parts[(int(c-0x80)+int(from))%len(parts)])
			}
		}
		if b.Len() > 1500 {
			return
		}
		if err := r.differs("", b.String(), 0, false, seed); err != nil {
			t.Fatal(err)
		}
	})
}
