// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestEveryBoundFitsTheBuffer(t *testing.T) {
	for _, b := range testEngine.Bounds() {
		if b.Bytes > bufSize {
			t.Errorf("%s %s holds up to %d bytes, the buffer has %d", b.Type, b.Prefix, b.Bytes, bufSize)
		}
	}
}

// The proofs in the comments rest on these properties of the table.
func TestRuleTable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range testEngine.rules {
		if len(r.prefix) < 2 || classes[r.prefix[0]]&cLetter == 0 || strings.ContainsAny(r.prefix, `\@`) {
			t.Errorf("prefix %q: want a letter first, and neither backslash nor @", r.prefix)
		}
		if seen[r.prefix] {
			t.Errorf("prefix %q twice", r.prefix)
		}
		seen[r.prefix] = true
		if r.min < 10 || r.min > undecidedMax {
			t.Errorf("prefix %q: minimum %d", r.prefix, r.min)
		}
	}
	for c := range classes {
		if (c == '@' || c == '\\' || c == ' ') && classes[c] != 0 {
			t.Errorf("%q is in a class", byte(c))
		}
	}
}

// Each rule alone, fed its longest undecided candidate, holds no more than it declares and masks at the bound.
func TestHoldIsWithinTheBoundOfItsRule(t *testing.T) {
	longest := func(b Bound) string {
		switch b.Type {
		case TypeEmail:
			return strings.Repeat("a", localMax) + "@" + strings.Repeat("1.", domainMax/2) + "1"
		case TypeCard:
			return strings.Repeat("4 ", cardMax)
		}
		return b.Prefix + strings.Repeat("a", 200)
	}
	for _, b := range testEngine.Bounds() {
		r := testEngine.Stream("text")
		most := 0
		for _, c := range []byte(longest(b)) {
			if _, err := r.Write(nil, []byte{c}); err != nil {
				t.Fatal(err)
			}
			most = max(most, r.Held())
		}
		if most > max(b.Bytes, localMax) { // any word is also a local part
			t.Errorf("%s %q held %d bytes, declared %d", b.Type, b.Prefix, most, b.Bytes)
		}
		if b.Type == TypeEmail || b.Type == TypeCard {
			if most < b.Bytes-2 {
				t.Errorf("%s: held %d of %d: the bound is not tight", b.Type, most, b.Bytes)
			}
		}
	}
}

// A masker that drops one kind of hold must be caught by the comparison with the whole.
func TestDroppedHoldIsCaught(t *testing.T) {
	for _, c := range []struct {
		name, text string
		drop       func(*Rewriter)
	}{
		{"local part", "write to jane.doe@example.com now", func(r *Rewriter) { r.mail.run = none }},
		{"address behind the at sign", "write to jane.doe@example.com now", func(r *Rewriter) { r.mail.at = none }},
		{"tld that goes on", "x@a.co.uk y", func(r *Rewriter) {
			if r.open != nil {
				r.closeOpen()
			}
		}},
		{"dot behind an address", "x@a.co. y", func(r *Rewriter) { r.tail = 0 }},
		{"prefix", "key " + keyGitHub + " end", func(r *Rewriter) { r.state = stateFresh }},
		{"short key", "key " + keyGitHub + " end", func(r *Rewriter) { r.nt = 0 }},
		{"rest of a decided key", "key " + keyGitHub + " end", func(r *Rewriter) {
			if r.open != nil {
				r.closeOpen()
			}
		}},
		{"digits", "card 4111 1111 1111 1111 end", func(r *Rewriter) { r.card = cardState{} }},
		{"card inside an address", "q-4111-1111-1111-1111-q@x.com", func(r *Rewriter) { r.np = 0; r.mail.run = none }},
		{"byte before", "a4111111111111111 b", func(r *Rewriter) { r.prev = 0 }},
		{"word before", "a" + keyGitHub, func(r *Rewriter) { r.state = stateFresh }},
		{"escape", `\n` + keyGitHub, func(r *Rewriter) { r.esc = 0 }},
		{"everything", "x@a.co.uk", func(r *Rewriter) { *r = *testEngine.Stream("text") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, _ := testEngine.Mask("text", c.text)
			for i := range c.text {
				r := testEngine.Stream("text")
				out, err := r.Write(nil, []byte(c.text[:i]))
				if err != nil {
					t.Fatal(err)
				}
				c.drop(r)
				if out, err = r.Write(out, []byte(c.text[i:])); err != nil {
					t.Fatal(err)
				}
				if out, _ = r.Flush(out); string(out) != want {
					return
				}
			}
			t.Error("no split shows the difference")
		})
	}
}

func TestAfterFlush(t *testing.T) {
	r := testEngine.Stream("text")
	if _, err := r.Flush(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write(nil, []byte("a")); err != ErrDone {
		t.Error(err)
	}
	if _, err := r.Flush(nil); err != ErrDone {
		t.Error(err)
	}
}

// More candidates than threads cannot be; should the proof be wrong, the earliest is masked.
func TestNoRoomForAThreadMasks(t *testing.T) {
	r := testEngine.Stream("text")
	out, err := r.Write(nil, []byte("see glpat-a"))
	if err != nil {
		t.Fatal(err)
	}
	for i := r.nt; i < maxThreads; i++ {
		r.threads[i] = thread{rule: r.threads[0].rule, start: r.n}
	}
	r.nt = maxThreads
	if out, err = r.Write(out, []byte("-ghp_b c")); err != nil {
		t.Fatal(err)
	}
	if out, _ = r.Flush(out); string(out) != "see [VENDOR_TOKEN] c" {
		t.Errorf("got %q", out)
	}
}

// fragments are what the rules look at; texts made of them meet every state.
var fragments = []string{"@", ".", "..", "co", "uk", "com", "é", "\xc3", "\xa9", "联", "-", "--", "_", " ", "  ", "\n", `\n`, `\`, `\u00`, "e9",
	"sk-", "sk-proj-", "sk-ant-", "AKIA", "ghp_", "xoxb-", "glpat-", "SG.", "AIza", "hf_", "SK", "key-", "ya29.", "hvs.", "dp.pt.",
	"https://hooks.slack.com/services/", "4111", "1111", "4111111111111111", "5555-5555-5555-4444", "37828224631000", "5", "0", "123",
	"a", "Z", "'", "+", "%", "/", "abcdefghij", "A1B2C3D4E5", "0123456789abcdef0123456789abcdef", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}

func TestRandomTexts(t *testing.T) {
	for seed := range uint64(5000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var b strings.Builder
		for range 1 + rnd.IntN(14) {
			b.WriteString(fragments[rnd.IntN(len(fragments))])
		}
		text := b.String()
		for _, carrier := range []string{"text", CarrierArgs} {
			want, _ := testEngine.Mask(carrier, text)
			if got := unskipped(t, carrier, text); got != want {
				t.Fatalf("without skipping, %q\n got %q\nwant %q", text, got, want)
			}
			if got, _ := stream(t, carrier, singles([]byte(text))); got != want {
				t.Fatalf("single bytes of %q\n got %q\nwant %q", text, got, want)
			}
			if got, _ := stream(t, carrier, randomSplit([]byte(text), seed)); got != want {
				t.Fatalf("a random split of %q\n got %q\nwant %q", text, got, want)
			}
		}
	}
}

// unskipped masks without the short cut for quiet text.
func unskipped(t *testing.T, carrier, text string) string {
	t.Helper()
	r := testEngine.Stream(carrier)
	r.slow = true
	out, err := r.Write(nil, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if out, err = r.Flush(out); err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// FuzzSplit builds a text out of the fragments and of plain bytes and compares three ways of cutting it.
func FuzzSplit(f *testing.F) {
	f.Add([]byte{0, 1, 2}, uint64(1))
	f.Add([]byte("x@a.co.uk"), uint64(2))
	f.Add([]byte("key \x94 4111 1111"), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		var b strings.Builder
		for _, c := range in { // from 0x80 on a byte stands for a fragment
			if c < 0x80 {
				b.WriteByte(c)
			} else {
				b.WriteString(fragments[int(c-0x80)%len(fragments)])
			}
		}
		text := b.String()
		if len(text) > 4096 {
			return
		}
		for _, carrier := range []string{"text", CarrierArgs} {
			want, _ := testEngine.Mask(carrier, text)
			if got := unskipped(t, carrier, text); got != want {
				t.Fatalf("without skipping, %q\n got %q\nwant %q", text, got, want)
			}
			for _, pieces := range [][][]byte{singles([]byte(text)), randomSplit([]byte(text), seed), randomSplit([]byte(text), seed+1)} {
				if got, _ := stream(t, carrier, pieces); got != want {
					t.Fatalf("%q\n got %q\nwant %q", text, got, want)
				}
			}
		}
	})
}
