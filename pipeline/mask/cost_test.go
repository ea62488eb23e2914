// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// hostile is text that makes rules work for nothing.
func hostile() map[string]string {
	const n = 20000
	rep := func(s string) string { return strings.Repeat(s, n/len(s)) }
	return map[string]string{
		"a": rep("a"), "A": rep("A"), "digits": rep("1"), "digits and spaces": rep("1 "), "a@": rep("a@"), "(": rep("("), "a.": rep("a."), "-": rep("-"),
		"hex": rep("0123456789abcdef"), "base64": rep("QUJDREVGR0hJSktM"), "key": rep("key "), "keys": rep("sk-ant-a ghp_b SG.c AKIA "), "password": rep("password"),
		"password=": rep("password="), "password: ": rep("password: \""), "escapes": rep(`\n`), "unicode escapes": rep(`\u0041`), "é": rep("é"), "invalid": rep("\xc3"),
		"dates": rep("1/2/"), "ip": rep("1.1."), "url": rep("http://a:"), "colons": rep("a:b:"), "begin": rep("-----BEGIN "), "jwt": rep("eyJhbGciOeyJ"),
		"nul": rep("\x00"), "capitals": rep("Mr. Fox "),
	}
}

// TestCostIsBounded: no text makes rules look at a byte more often than so, on average, whether it comes at once or byte by byte.
func TestCostIsBounded(t *testing.T) {
	for name, text := range hostile() {
		for _, piece := range []int{1, 1 << 20} {
			r := testEngine.Stream("text", StreamOptions{})
			for at := 0; at < len(text); at += piece {
				if _, err := r.Write(nil, []byte(text[at:min(len(text), at+piece)])); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if _, err := r.Flush(nil); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			steps := r.steps / len(text)
			if testing.Verbose() {
				t.Logf("%s, in pieces of %d: %d", name, piece, steps)
			}
			if steps > mostSteps {
				t.Errorf("%s, in pieces of %d: %d steps per byte, at most %d are allowed", name, piece, steps, mostSteps)
			}
			r.Release()
		}
	}
}

// mostSteps is what TestCostIsBounded allows.
const mostSteps = 256

// TestWriteDoesNotAllocate: nothing on the way of a text without findings.
func TestWriteDoesNotAllocate(t *testing.T) {
	e, err := New(Options{Names: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range []int{1, 4, 4096} {
		r := e.Stream("text", StreamOptions{})
		in, dst := []byte(strings.ToLower(prose+code)), make([]byte, 0, 64<<10)
		if n := testing.AllocsPerRun(20, func() {
			dst = dst[:0]
			for at := 0; at < len(in); at += piece {
				dst, _ = r.Write(dst, in[at:min(len(in), at+piece)])
			}
		}); n != 0 || len(r.Masks()) > 0 {
			t.Errorf("pieces of %d: %v allocations, masks %v", piece, n, r.Masks())
		}
		r.Release()
	}
	dst := make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(50, func() {
		r := e.Stream("text", StreamOptions{})
		dst, _ = r.Write(dst[:0], []byte("a few words"))
		dst, _ = r.Flush(dst)
		r.Release()
	}); n > 1 { // the pool keeps a Rewriter by its address
		t.Errorf("%v allocations per text", n)
	}
}

// TestStateIsSmall: what a text takes that waits for its next piece, whatever came before. What is borrowed meanwhile is given back.
func TestStateIsSmall(t *testing.T) {
	e, err := New(Options{Names: true})
	if err != nil {
		t.Fatal(err)
	}
	many := strings.Repeat(prose+numbers1+code+dense(), 3)
	for name, step := range map[string]int{"tokens": 4, "pieces": 700, "blocks": 4096, "all": len(many)} {
		t.Run(name, func(t *testing.T) {
			streams := make([]*Rewriter, 300)
			before := heap()
			waiting, borrowed := 0, 0
			for i := range streams {
				r := e.Stream("text", StreamOptions{})
				streams[i] = r
				text := []byte(many[:len(many)*(i+1)/len(streams)])
				for len(text) > 0 {
					n := min(step, len(text))
					if _, err := r.Write(nil, text[:n]); err != nil {
						t.Fatal(err)
					}
					text = text[n:]
					r.forget()
				}
				r.masks = slices.Clone(r.masks) // the list of what was masked is the exchange's
				if r.large != nil {
					borrowed++
				}
				if r.asking != nil {
					waiting++
				}
			}
			each := int(heap()-before) / len(streams)
			t.Logf("%d bytes each; %d of %d know of rules, %d have a large buffer", each, waiting, len(streams), borrowed)
			if each > 10<<10 {
				t.Errorf("%d bytes each", each)
			}
			for _, r := range streams {
				if _, err := r.Flush(nil); err != nil {
					t.Fatal(err)
				}
				r.Release()
			}
		})
	}
}

// heap is what is in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools had is gone
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestReleaseWipes: a rewriter that is used again knows nothing of the text before.
func TestReleaseWipes(t *testing.T) {
	for _, before := range []string{"card 4111 1111 1111", "mail joe@exam", "sk-ant-" + "api03-abcdefghij", "key " + keyAWS, `\u00`} {
		r := testEngine.Stream("text", StreamOptions{Context: []byte("password: ")})
		if _, err := r.Write(nil, []byte(before)); err != nil {
			t.Fatal(err)
		}
		masks := r.Masks()
		kept := append([]pipeline.Mask(nil), masks...)
		own := r.small
		r.enlarge()
		borrowed := r.large
		r.Release()
		if !reflect.DeepEqual(*r, Rewriter{}) || slices.Max(own.buf[:]) != 0 || slices.Max(borrowed.buf[:]) != 0 {
			t.Errorf("%q: something is left", before)
		}
		got, _, err := testEngine.Mask("text", "ple.com 1111 z", StreamOptions{})
		if got != "ple.com 1111 z" || err != nil {
			t.Errorf("after %q: %q, %v", before, got, err)
		}
		if !slices.Equal(masks, kept) {
			t.Errorf("after %q the masks changed", before)
		}
	}
}

// TestLargeIsGivenBack: a large buffer that a piece needed goes back, wiped, when the piece is read, and what is held stays.
func TestLargeIsGivenBack(t *testing.T) {
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := e.Stream("text", StreamOptions{})
	defer r.Release()
	out, err := r.Write(nil, []byte(strings.Repeat("plain words ", 400)+"mail joe@exam"))
	if err != nil || r.large != nil || r.Held() == 0 {
		t.Fatalf("%v, a large buffer stays: %v; %d held", err, r.large != nil, r.Held())
	}
	if l, ok := e.larges.Get().(*large); ok && slices.Max(l.buf[:]) != 0 {
		t.Error("something is left in it")
	}
	if out, err = r.Write(out, []byte("ple.com and ")); err == nil {
		out, err = r.Flush(out)
	}
	if !strings.HasSuffix(string(out), "words mail [EMAIL] and ") || err != nil {
		t.Errorf("%.80q, %v", out[max(0, len(out)-80):], err)
	}
}

// TestManyAtOnce: texts that are masked at the same time share automata that are built, and thrown away, meanwhile.
func TestManyAtOnce(t *testing.T) {
	rules := testRules()
	e, err := New(Options{only: rules, states: 40})
	if err != nil {
		t.Fatal(err)
	}
	slow, err := New(Options{only: rules})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			for seed := range uint64(60) {
				text := randomText(rand.New(rand.NewPCG(seed, uint64(g))), fragments, 14)
				want, _, err := slow.Mask("text", text, StreamOptions{})
				if err != nil {
					t.Error(err)
				}
				r := &rig{e: e}
				got, _, err := r.stream("text", StreamOptions{}, 0, randomSplit([]byte(text), seed))
				if err != nil || got != want {
					t.Errorf("%q: got %q, want %q (%v)", text, got, want, err)
				}
			}
		})
	}
	wait.Wait()
	_, _, built := e.all.unions[words].Sizes()
	if built < 100 {
		t.Errorf("%d states were built: nothing was thrown away", built)
	}
}

// TestBounds: each rule alone holds no more than it declares, of the longest match that it may have and of a part of it.
func TestBounds(t *testing.T) {
	for _, rl := range slices.Concat(builtin(), testRules()) {
		e, err := New(Options{only: []*rule.Rule{rl}})
		if err != nil {
			t.Fatal(err)
		}
		bound, most := e.Bounds()[0].Bytes, 0
		for seed := range uint64(4) {
			r := e.Stream("text", StreamOptions{})
			for _, c := range []byte("; " + longMatch(e.rules[0], rand.New(rand.NewPCG(seed, 3)))) {
				if _, err := r.Write(nil, []byte{c}); err != nil {
					t.Fatal(err)
				}
				most = max(most, r.Held())
			}
			r.Release()
		}
		if most > bound+4 { // a rune, and the byte behind
			t.Errorf("%s held %d bytes, declared %d", rl.Name, most, bound)
		}
	}
}

// longMatch walks a pattern's automaton for as long as it lives.
func longMatch(c *compiled, rnd *rand.Rand) string {
	var b []byte
	s := c.exact.Start()
	for len(b) < 1500 {
		var next []byte
		at := rnd.IntN(128)
		for i := range 128 {
			ch := []byte{byte((at + i) % 128)}
			if t, _ := c.exact.Next(s, ch); !t.Dead {
				next, s = ch, t
				break
			}
		}
		if next == nil {
			break
		}
		b = append(b, next...)
	}
	return string(b)
}
