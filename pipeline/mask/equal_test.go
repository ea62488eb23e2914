// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/reference"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// rig is an engine beside the reference, with the same rules.
type rig struct {
	e   *Engine
	ref *reference.Set
}

func newRig(tb testing.TB, rules []*rule.Rule, stage stage) *rig {
	tb.Helper()
	e, err := New(Options{Key: []byte("test key"), only: rules, Explain: false})
	if err != nil {
		tb.Fatal(err)
	}
	e.names = stage
	if err := e.finish(); err != nil {
		tb.Fatal(err)
	}
	var names reference.Names
	if stage != nil {
		names = func(seg []byte) []rule.Span {
			s := stage.NewScanner()
			s.Reset()
			s.Feed(seg)
			s.End()
			return s.Take(nil)
		}
	}
	ref, err := reference.New(rules, names)
	if err != nil {
		tb.Fatal(err)
	}
	return &rig{e, ref}
}

// masked is what reference makes of a text that stands behind a context.
func (r *rig) masked(plan *action.Plan, context, text string) (string, []string) {
	var b strings.Builder
	var masks []string
	whole := context + text
	at := len(context)
	for _, s := range r.ref.Find([]byte(whole)) {
		if s.End <= len(context) || s.Rule.Family == rule.Allowed || plan.Of(s.Rule) == action.Allow {
			continue
		}
		start := max(s.Start, len(context))
		b.WriteString(whole[at:start])
		b.WriteString("[" + s.Rule.Type + "]")
		at = s.End
		masks = append(masks, fmt.Sprintf("%s %s %d+%d", s.Rule.Type, s.Rule.Name, start-len(context), s.End-start))
	}
	b.WriteString(whole[at:])
	return b.String(), masks
}

func listed(masks []pipeline.Mask) (out []string) {
	for _, m := range masks {
		out = append(out, fmt.Sprintf("%s %s %d+%d", m.Type, m.Rule, m.At, m.Len))
	}
	return out
}

// stream masks pieces and checks after each that what is out is what the masks say, that the hold is bounded and that no rune was cut.
func (r *rig) stream(carrier string, o StreamOptions, drop hold, pieces [][]byte) (string, []string, error) {
	w := r.e.Stream(carrier, o)
	defer w.Release()
	w.drop = drop
	most := r.e.MostHeld()
	var out, whole []byte
	runes := utf8.Valid(bytes.Join(pieces, nil))
	for _, p := range pieces {
		n := len(out)
		whole = append(whole, p...)
		piece := bytes.Clone(p)
		var err error
		if out, err = w.Write(out, piece); err != nil {
			return "", nil, err
		}
		clear(piece) // nothing of it may be used later
		if w.Held() > most || w.Held() < 0 {
			return "", nil, fmt.Errorf("%d bytes held, at most %d may be", w.Held(), most)
		}
		if runes && !utf8.Valid(out[n:]) {
			return "", nil, fmt.Errorf("released %q, which cuts a rune", out[n:])
		}
		if len(whole) > 2000 && len(whole)%97 != 0 {
			continue
		}
		if want := apply(whole[:len(whole)-w.Held()], w.Masks()); want != string(out) {
			return "", nil, fmt.Errorf("released %q, the masks say %q", out, want)
		}
	}
	out, err := w.Flush(out)
	if err != nil {
		return "", nil, err
	}
	if w.Held() != 0 {
		return "", nil, fmt.Errorf("%d bytes held after Flush", w.Held())
	}
	return string(out), listed(w.Masks()), nil
}

// apply puts the masks into the text.
func apply(text []byte, masks []pipeline.Mask) string {
	var b strings.Builder
	at := 0
	for _, m := range masks {
		b.Write(text[at:m.At])
		b.WriteString(m.With)
		at = m.At + m.Len
	}
	b.Write(text[at:])
	return b.String()
}

// differs compares all ways of cutting a text with what reference says of the whole. thorough: each split in two as well.
func (r *rig) differs(context, text string, drop hold, thorough bool, seed uint64) error {
	for _, carrier := range []string{"text", CarrierArgs} {
		o := StreamOptions{Context: []byte(context)}
		want, wantMasks := r.masked(r.e.o.Table.Plan(carrier, nil), context, text)
		check := func(how string, pieces ...[]byte) error {
			got, masks, err := r.stream(carrier, o, drop, pieces)
			if err != nil {
				return fmt.Errorf("%s, %s of %q: %w", carrier, how, text, err)
			}
			if got != want {
				return fmt.Errorf("%s, %s of %q behind %q\n got %q\nwant %q", carrier, how, text, context, got, want)
			}
			if d := cmp.Diff(wantMasks, masks); d != "" {
				return fmt.Errorf("%s, %s of %q: masks differ: %s", carrier, how, text, d)
			}
			return nil
		}
		b := []byte(text)
		if err := check("all", b); err != nil {
			return err
		}
		if err := check("single bytes", singles(b)...); err != nil {
			return err
		}
		splits := uint64(3)
		if thorough {
			splits = 20
			for i := range b {
				if err := check(fmt.Sprintf("a split at %d", i), b[:i], b[i:]); err != nil {
					return err
				}
			}
		}
		for k := range splits {
			if err := check("a random split", randomSplit(b, seed+k)...); err != nil {
				return err
			}
		}
	}
	return nil
}

func singles(b []byte) (out [][]byte) {
	for i := range b {
		out = append(out, b[i:i+1])
	}
	return out
}

func randomSplit(b []byte, seed uint64) (out [][]byte) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	for len(b) > 0 {
		n := min(rnd.IntN(12), len(b))
		out = append(out, b[:n])
		b = b[n:]
	}
	return out
}

func digits(_, m []byte) (int, int, bool) { return 0, len(m), bytes.ContainsAny(m, "0123456789") }

// testRules meet every corner of the words of package rule.
func testRules() []*rule.Rule {
	local := rule.Of("A-Za-z0-9._%+-").And(rule.Of("\x80-\xff"))
	return []*rule.Rule{
		{Name: "key", Type: "KEY", Family: rule.Secret, Pattern: "k_[a-z0-9]{4,10}", Left: rule.Alnum, Tail: &rule.Tail{Class: rule.Alnum, Joint: rule.Of("-."), Escaped: rule.Of("_~a")}, Check: digits},
		{Name: "key-right", Type: "KEYR", Family: rule.Secret, Pattern: "k_[a-z]{2}=[0-9]{2,4}", Right: rule.Digit, Tail: &rule.Tail{Class: rule.Alnum}},
		{Name: "key-long", Type: "KEYL", Family: rule.Secret, Pattern: `x[a-z_]{0,60}k_[a-z0-9]{3}!`, Tail: &rule.Tail{Class: rule.Of("!")}},
		{Name: "block", Type: "BLOCK", Family: rule.Secret, Pattern: "<<[A-Z ]{0,9}<", Tail: &rule.Tail{Class: rule.Of("a-zA-Z0-9 <>\n"), Until: ">>>>"}},
		{Name: "utf", Type: "UTF", Family: rule.Secret, Pattern: "§[^ §]{2,5}€", Tail: &rule.Tail{Class: rule.Any}},
		{Name: "allow", Type: "ALLOWED", Family: rule.Allowed, Pattern: "(?i)example@|ok[0-9]{4}"},
		{Name: "assign", Type: "GENERIC_SECRET", Family: rule.Secret, Pattern: `(?i)(?:[a-z0-9_.-]{0,40}(?:secret|passw(?:or)?d|token))["']?\s{0,3}[:=]\s{0,3}["']?[^\s"']{4,64}`,
			Left: rule.Alnum, Check: func(left, m []byte) (int, int, bool) {
				i := bytes.LastIndexAny(m, ":= \"'") + 1
				return i, len(m), i < len(m) && !bytes.Contains(left, []byte("not "))
			}},
		{Name: "mail", Type: "EMAIL", Family: rule.Structured, Pattern: `[A-Za-z0-9._%+\p{L}-]{1,64}@(?:[A-Za-z0-9\p{L}-]{1,20}\.){1,4}[A-Za-z\p{L}]{2,24}`, Left: local},
		{Name: "birth", Type: "BORN", Family: rule.Structured, Pattern: `[0-9]{4}`, Left: rule.Digit, Right: rule.Digit,
			Check: func(left, m []byte) (int, int, bool) { return 0, len(m), bytes.Contains(left, []byte("born")) }},
		{Name: "card", Type: "CARD", Family: rule.Structured, Pattern: `[0-9](?:[ -]?[0-9]){11,18}`, Left: rule.Word, Right: rule.Word,
			Check: func(_, m []byte) (int, int, bool) { return 0, len(m), m[0] == '4' || m[0] == '5' }},
		{Name: "part", Type: "PART", Family: rule.Structured, Pattern: `id [a-z]{1,8} [a-z]{1,8}`,
			Check: func(_, m []byte) (int, int, bool) {
				i := bytes.LastIndexByte(m, ' ')
				return 3, i, i > 3 && m[3] != 'q'
			}},
		{Name: "invalid", Type: "ODD", Family: rule.Structured, Pattern: `~[^a-z ]{1,3}~`},
		{Name: "ref", Type: "REF", Family: rule.Structured, Pattern: `ref[0-9]{1,90}[^ ]{1,90}`, Left: rule.Alnum},
		{Name: "pin", Type: "PIN", Family: rule.Structured, Pattern: `p:[0-9]{1,3}`, Left: rule.Alnum},
		{Name: "half", Type: "HALF", Family: rule.Structured, Pattern: `[^a-z ]{2,3}\|\|`, Left: rule.Of("=")},
		{Name: "two", Type: "NAME", Family: rule.Name, Pattern: `ann [a-z0-9@_.]{1,30}`},
		{Name: "street", Type: "ADDRESS", Family: rule.Address, Pattern: `[0-9]{1,5} [A-Z][a-z]{1,12} St`, Right: rule.Letter},
	}
}

// fragments are what the rules look at; texts made of them meet every state.
var fragments = []string{"@", ".", "..", "co", "uk", "com", "é", "\xc3", "\xa9", "联", "\xe8\x81", "-", "--", "_", " ", "  ", "\n", `\n`, `\`, `\\`, `\u00`, "e9", `\u00e9`,
	"k_", "k_ab=", "k_abcd", "abc1", "k_ab=12", "=", "x", "xk_", "!", "k_abc!", "<<", "<<<", "<", ">>>>", ">", ">>", "§", "€", "§ab€", "§é联€", "example@", "ok1234", "ok",
	"secret", "my_secret=", "password: ", "passwd", "token", "TOKEN=\"", "\"", ":", "'", "not ", "born ", "1999", "4111", "4111 1111 1111 1111", "5", "0", "123", " 4", "-4",
	"a@b.co", "joe.doe@", "mail", "id ", "id ab cd", "q", "~", "~é~", "~\xff", "ann ", "ann bob@c.de", "=é", "|", "||", "ref", "p:", "ref12", "bob", "12 High St", "High", " St", "a", "Z", "%", "/", "abcdefghij",
	"0123456789", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Mr. Fox", "Fox ", "Mr. "}

func randomText(rnd *rand.Rand, fragments []string, most int) string {
	var b strings.Builder
	for range 1 + rnd.IntN(most) {
		b.WriteString(fragments[rnd.IntN(len(fragments))])
	}
	return b.String()
}

// fakeNames finds "Mr. " and a word with a capital; it holds back from "Mr. " on, and knows that a word is over one byte later.
type fakeNames struct{ r *rule.Rule }

func newFakeNames() fakeNames {
	return fakeNames{&rule.Rule{Name: "person", Type: "PERSON", Family: rule.Name, Why: "a title"}}
}
func (f fakeNames) NewScanner() scanner { return &fakeScanner{r: f.r} }
func (f fakeNames) Rules() []*rule.Rule { return []*rule.Rule{f.r} }
func (f fakeNames) Bound() int          { return 80 }

type fakeScanner struct {
	r    *rule.Rule
	text []byte
	done int
	out  []rule.Span
	end  bool
}

func (s *fakeScanner) Reset()        { *s = fakeScanner{r: s.r} }
func (s *fakeScanner) Feed(p []byte) { s.text = append(s.text, p...); s.look() }
func (s *fakeScanner) End()          { s.end = true; s.look() }
func (s *fakeScanner) Settled() int  { return s.done }
func (s *fakeScanner) Take(dst []rule.Span) []rule.Span {
	dst = append(dst, s.out...)
	s.out = s.out[:0]
	return dst
}

func (s *fakeScanner) look() {
	const title = "Mr. "
	for s.done < len(s.text) {
		rest := s.text[s.done:]
		if !bytes.HasPrefix(rest, []byte(title)) {
			if len(rest) < len(title) && strings.HasPrefix(title, string(rest)) && !s.end {
				return
			}
			s.done++
			continue
		}
		n := len(title)
		for n < len(rest) && n < 70 && rest[n] > ' ' {
			n++
		}
		if n == len(rest) && n < 70 && !s.end {
			return
		}
		if n == len(title) || rest[len(title)] < 'A' || rest[len(title)] > 'Z' {
			s.done++
			continue
		}
		s.out = append(s.out, rule.Span{Start: s.done, End: s.done + n, Rule: s.r})
		s.done += n
	}
}

// TestEqual: on texts made of what rules look at, in whatever pieces they come, the engine finds what reference finds.
func TestEqual(t *testing.T) {
	r := newRig(t, testRules(), newFakeNames())
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		text, context := randomText(rnd, fragments, 14), ""
		if seed%3 == 0 {
			context = randomText(rnd, fragments, 5)
		}
		if err := r.differs(context, text, 0, seed%10 == 0, seed); err != nil {
			t.Fatal(err)
		}
	}
}

// longTexts are about what only long texts meet.
func longTexts() []string {
	return []string{
		strings.Repeat("born 1999 ", 2000),
		"token=" + strings.Repeat("a", 70) + `\nsecret=` + strings.Repeat("b", 300) + " end",
		"ref1" + strings.Repeat("a", 90) + strings.Repeat(`\np:123`, 40) + " end",
		strings.Repeat("a", 9000) + "@b.com",
		strings.Repeat("a.", 3000) + "a@b.com " + strings.Repeat("4", 3000),
		"x" + strings.Repeat("a", 200) + "xk_abc! k_abcdefghij",
		"<<<" + strings.Repeat("a b\n", 3000) + ">>>> born 1999",
		strings.Repeat("Mr. Fox and 12 High St, id ab cd; ", 300),
		strings.Repeat("联é", 4000) + " k_abc1",
	}
}

// TestEqualLong: nor does the size of the buffer, or of a piece, matter.
func TestEqualLong(t *testing.T) {
	r := newRig(t, testRules(), newFakeNames())
	for _, text := range longTexts() {
		if err := r.differs("", text, 0, false, 1); err != nil {
			t.Error(err)
		}
	}
}

// TestDroppedHoldIsCaught: an engine that leaves out one hold differs.
func TestDroppedHoldIsCaught(t *testing.T) {
	caught := func(r *rig, text string, drop hold, seed uint64) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		return r.differs("", text, drop, false, seed)
	}
	for name, drop := range map[string]hold{"island": holdIsland, "match": holdMatch, "head": holdHead, "right": holdRight, "span": holdSpan, "names": holdNames,
		"joint": holdJoint, "rune": holdRune, "context": holdContext, "escape": holdEscape} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, testRules(), newFakeNames())
			for _, text := range append(longTexts()[:3], strings.Repeat("é联", 60)) {
				if caught(r, text, drop, 1) != nil {
					return
				}
			}
			for seed := range uint64(3000) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				if caught(r, randomText(rnd, fragments, 14), drop, seed) != nil {
					return
				}
			}
			t.Error("no text shows the difference")
		})
	}
}
