// SPDX-License-Identifier: Apache-2.0

package automaton

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// patterns meet every operation of the syntax, and every width of UTF-8.
var patterns = []string{
	"abc", "a{3}", "a{2,9}b", "(?:ab|a)c?", "[a-c]{1,3}x", "a?b?c", "(?i)straße", "(?i)kiss", "é{1,3}", "[à-ÿ]{2}", "[^a]{2}b", ".{1,3}z", `(?s).b`, "[\u4e00-\u9fff]a", "😀|☃",
	"(?:a(?: ?\\(| ?\\)[ -]?)?b){2,6}", "(?:abcdef|x)y{1,2}", "(?:x?y?){2,5}z", "[0-9]{3}-?[0-9]{2}", "[\\p{L}]{2,5}1", "(?i:key|auth)[a-z]{0,8}=[a-z]{2,4}", "a{0,5}b", "[\x00-\u0801]b",
}

var letters = []string{"a", "b", "c", "x", "y", "z", "é", "à", "ÿ", "ß", "ẞ", "S", "s", "ſ", "K", "k", "K", "i", "1", "23", "-", " ", "(", ")", "中", "😀", "☃", "\xff", "\xe4", "\xb8", "\n", "=", "key", "AUTH", "tra", "e", "\u0801"}

func text(rnd *rand.Rand) string {
	var b strings.Builder
	for range 1 + rnd.IntN(12) {
		b.WriteString(letters[rnd.IntN(len(letters))])
	}
	return b.String()
}

func parse(tb testing.TB, p string) *syntax.Regexp {
	tb.Helper()
	re, err := syntax.Parse(p, syntax.Perl)
	if err != nil {
		tb.Fatal(err)
	}
	return re
}

// TestExact: the longest match is that of package regexp.
func TestExact(t *testing.T) {
	for _, p := range patterns {
		x, err := NewExact(parse(t, p))
		if err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(`\A(?:` + p + `)`)
		want.Longest()
		for seed := range uint64(2000) {
			s := text(rand.New(rand.NewPCG(seed, 1)))
			if got := x.Longest([]byte(s)); got != len(want.FindString(s)) {
				t.Fatalf("%s on %q: %d, want %d", p, s, got, len(want.FindString(s)))
			}
		}
	}
}

// run reads a text with a union and tells after each byte what accepts and how much may be held.
func run(u *Union, s string, each func(n int, st *State)) {
	table, row := u.Table()
	for i := range len(s) {
		e := atomic.LoadUint32(&table.Next[row|uint32(u.Class[s[i]])])
		if e == 0 {
			table, e = table.Step(row, s[i])
		}
		row = e & Row
		st := table.State(row)
		if quiet, idle := e&Quiet != 0, e&Idle != 0; quiet != (len(st.Accepts) == 0) || idle != st.IsIdle() {
			panic(fmt.Sprintf("entry %x of %+v", e, st))
		}
		each(i+1, st)
	}
}

// TestUnionMissesNothing: where a match ends the union accepts, and Hold reaches back to the start of each that goes on.
func TestUnionMissesNothing(t *testing.T) {
	var list []Pattern
	for i, p := range patterns {
		re := parse(t, p)
		_, hi, err := rule.Length(re)
		if err != nil {
			t.Fatal(err)
		}
		pat := Pattern{Re: re, Bound: hi, Open: i%2 == 0}
		if i%3 == 0 {
			pat.Left = rule.Of("a-c")
		}
		list = append(list, pat)
	}
	for _, states := range []int{5000, 10} {
		u, err := NewUnion(list, states)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(1500) {
			s := text(rand.New(rand.NewPCG(seed, 1)))
			accepts := make([]map[int]bool, len(s)+1)
			holds, opens := make([]int, len(s)+1), make([]int, len(s)+1)
			run(u, s, func(n int, st *State) {
				accepts[n] = map[int]bool{}
				for _, k := range st.Accepts {
					accepts[n][int(k)] = true
				}
				holds[n], opens[n] = st.Hold, st.OpenHold
			})
			for k, p := range list {
				x, err := NewExact(p.Re)
				if err != nil {
					t.Fatal(err)
				}
				for at := range len(s) {
					if at > 0 && p.Left.Has(s[at-1]) || s[at]&0xC0 == 0x80 {
						continue
					}
					st := x.Start()
					for n := at; n < len(s); {
						next, w := x.Next(st, []byte(s[n:]))
						if n += w; next.Dead {
							break
						}
						st = next
						if st.Accept && !accepts[n][k] {
							t.Fatalf("%s on %q: the match [%d,%d) is missed", patterns[k], s, at, n)
						}
						if holds[n] < n-at || p.Open && opens[n] < n-at {
							t.Fatalf("%s on %q: at %d, %d and %d bytes are held, not those from %d on", patterns[k], s, n, holds[n], opens[n], at)
						}
					}
				}
			}
		}
		if n, _, built := u.Sizes(); n > states || states == 10 && built < 100 {
			t.Errorf("%d states, at most %d wanted; %d built", n, states, built)
		}
	}
}

// TestTrigger: a beginning of every match is a match of the trigger, and of the prefixes.
func TestTrigger(t *testing.T) {
	for _, p := range patterns {
		re := parse(t, p)
		whole, err := NewExact(re)
		if err != nil {
			t.Fatal(err)
		}
		var triggers []*syntax.Regexp
		for k := 1; k < 12; k++ {
			triggers = append(triggers, Trigger(re, k))
		}
		if pre, ok := Prefixes(re); ok {
			triggers = append(triggers, pre)
		}
		for _, tr := range triggers {
			x, err := NewExact(tr)
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(400) {
				s := text(rand.New(rand.NewPCG(seed, 1)))
				for at := range len(s) {
					if whole.Longest([]byte(s[at:])) > 0 && x.Longest([]byte(s[at:])) == 0 {
						t.Fatalf("%s: trigger %s misses %q", p, tr, s[at:])
					}
				}
			}
		}
	}
}

// TestPrefixes: what is known of how matches begin.
func TestPrefixes(t *testing.T) {
	for _, c := range []struct{ pattern, want string }{
		{"sk-ant-[a-z]{4}", "sk-ant-"}, {"(?:abc|abcd)x", "abcx abcdx"}, {"(?:abc|abcd)", "abc"}, {"ab[0-9]", ""}, {"[ab]cde{1,3}", "acde bcde"}, {"a?bcd", "bcd abcd"}, {"密码", "密码"}, {"x{3}", ""},
	} {
		re, ok := Prefixes(parse(t, c.pattern))
		if ok != (c.want != "") {
			t.Errorf("%s: %v", c.pattern, re)
			continue
		}
		for w := range strings.FieldsSeq(c.want) {
			if x, err := NewExact(re); err != nil || x.Longest([]byte(w)) != len(w) {
				t.Errorf("%s: %v does not match %s", c.pattern, re, w)
			}
		}
	}
}

// TestPlace: what begins at one place is followed for as long as it goes on.
func TestPlace(t *testing.T) {
	re := parse(t, "a[bc]{1,9}")
	u, err := NewUnion([]Pattern{{Re: re, Left: rule.Of("x"), Bound: 10}}, 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		before byte
		any    bool
		in     string
		want   int // bytes until it is idle
	}{{'y', false, "abca", 4}, {'x', false, "abc", 1}, {'x', true, "abz", 3}, {'y', false, "zab", 1}} {
		table, _ := u.Table()
		table, row := table.Place(c.before, c.any)
		n := 0
		for n < len(c.in) {
			var e uint32
			table, e = table.Step(row, c.in[n])
			row = e & Row
			if n++; e&Idle != 0 {
				break
			}
		}
		if n != c.want {
			t.Errorf("%q behind %q: %d, want %d", c.in, c.before, n, c.want)
		}
	}
}

func TestEscape(t *testing.T) {
	for _, c := range []struct{ in, marked, inner string }{
		{`a\nb`, ".xx.", "..x."}, {`\\n`, "xxx", ".x."}, {`\\\n`, "xxxx", ".x.x"}, {`\\u00e9`, "xxxxxxx", ".xxxxxx"}, {`%3A%a`, "..x..", "....."}, {`%253A`, "..x.x", "....."},
		{"\x1b[1;3mz", ".....x.", "......."}, {`\x1b[0m`, "x..x..x", "......."}, {"[0m", "...", "..."}, {`\u00e9f`, "xxxxxx.", ".xxxxx."}, {`\u0\n`, "xxxxx", ".xx.x"}, {`\q`, "x.", ".."}, {`\uz`, "xx.", ".x."},
	} {
		var marked, inner strings.Builder
		at := uint8(0)
		sign := map[bool]byte{true: 'x', false: '.'}
		for i := range len(c.in) {
			var m, n bool
			at, m, n = Escape(at, c.in[i])
			marked.WriteByte(sign[m])
			inner.WriteByte(sign[n])
		}
		if marked.String() != c.marked || inner.String() != c.inner {
			t.Errorf("%s: %s %s, want %s %s", c.in, &marked, &inner, c.marked, c.inner)
		}
	}
}
