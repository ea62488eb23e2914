// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Nothing that a detector begins with, and no whole prefix, may be passed over.
func TestDull(t *testing.T) {
	p := compilePrefixes(vendorRules())
	starts := []string{"é", "€", "😀"}
	for b := range 256 {
		if p.text[b]&skipStop != 0 {
			starts = append(starts, string([]byte{byte(b)}))
		}
	}
	check := func(what string, before int) {
		for pad := range 24 {
			text := strings.Repeat("words, and \n", 2)[:pad] + what + " words, and more words"
			if n := dull([]byte(text)); n >= pad+before {
				t.Errorf("%q: %d bytes are dull", text, n)
			}
		}
	}
	for _, s := range starts {
		check(s, 1)
	}
	for _, r := range vendorRules() {
		check(r.prefix, len(r.prefix))
	}
	if s := "it is all the same to me, whatever you think of it (or not)! "; dull([]byte(s)) != len(s)&^7 {
		t.Errorf("%d bytes of %d are dull", dull([]byte(s)), len(s))
	}
}

// With and without skipping, and however the text is split, the same comes out and the same is held.
func TestSkipIsTheLoop(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{" ", " ", ", ", "\n", "the", "dad", "data", "dap", "word", "Word", "x", "a-b", "é", "1", "4111 1111 1111 1111", "\\n", "\\u00e9",
		"me@example.com", "@", ".", "_", "-", "dapi0123456789abcdef0123456789abcdef", "dapi", "sk-proj-abcdefghij0123456789"}
	for _, r := range vendorRules() {
		parts = append(parts, r.prefix, r.prefix[:len(r.prefix)/2])
	}
	for n := range 4000 {
		var b strings.Builder
		for range 1 + rng.IntN(20) {
			b.WriteString(parts[rng.IntN(len(parts))])
		}
		text := b.String()
		for _, carrier := range []string{"text", CarrierArgs} {
			fast, slow := testEngine.Stream(carrier), testEngine.Stream(carrier)
			slow.slow = true
			var got, want []byte
			for rest := text; ; {
				k := min(len(rest), 1+rng.IntN(40))
				got, _ = fast.Write(got, []byte(rest[:k]))
				want, _ = slow.Write(want, []byte(rest[:k]))
				if rest = rest[k:]; rest == "" {
					got, _ = fast.Flush(got)
					want, _ = slow.Flush(want)
				}
				if string(got) != string(want) || fast.Held() != slow.Held() || fast.state != slow.state {
					t.Fatalf("text %d, %s, %q: %q with %d held, want %q with %d", n, carrier, text, got, fast.Held(), want, slow.Held())
				}
				if rest == "" {
					break
				}
			}
			if fmt.Sprint(fast.Masks()) != fmt.Sprint(slow.Masks()) {
				t.Fatalf("text %d, %q: masks %v, want %v", n, text, fast.Masks(), slow.Masks())
			}
		}
	}
}
