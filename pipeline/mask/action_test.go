// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

func tableEngine(t *testing.T, s action.Settings) *Engine {
	t.Helper()
	table, err := action.New(s)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{Key: []byte("test key"), Table: table, only: testRules()})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// pieces is all ways to cut a text in two, and single bytes.
func pieces(text string) (out [][][]byte) {
	b := []byte(text)
	for i := range b {
		out = append(out, [][]byte{b[:i], b[i:]})
	}
	return append(out, singles(b))
}

// TestActions: what stands in the place of a value does not depend on how it comes.
func TestActions(t *testing.T) {
	for _, c := range []struct {
		name string
		set  action.Settings
		in   string
		want string
	}{
		{"last four of an open value", action.Settings{Rows: []action.Row{{Types: []string{"KEY"}, Action: action.LastFour}}}, "a k_abc1234567890-xyz9876. b", "a [KEY:9876]. b"},
		{"last four of a closed value", action.Settings{Rows: []action.Row{{Types: []string{"CARD"}, Action: action.LastFour}}}, "a 4111 1111 1111 1234, b", "a [CARD:1234], b"},
		{"an open value that stays", action.Settings{Rows: []action.Row{{Types: []string{"KEY"}, Action: action.Allow}}}, "born k_abc1-1234 1999 a@b.co", "born k_abc1-1234 1999 [EMAIL]"},
		{"a closed value that stays", action.Settings{Rows: []action.Row{{Types: []string{"EMAIL"}, Action: action.Allow}}}, "k_abc1 ann a@b.co", "[KEY] [NAME]a@b.co"},
		{"an open value of the list", action.Settings{Allow: []string{"k_abc1-zz"}}, "k_abc1-zz k_abc1-zzy k_abc1-z- k_abc1-zz", "k_abc1-zz [KEY] [KEY]- k_abc1-zz"},
		{"a closed value of the list", action.Settings{Allow: []string{"a@b.co"}}, "a@b.co a@b.com", "a@b.co [EMAIL]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := tableEngine(t, c.set)
			_, masks, err := r.Mask("text", c.in, StreamOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pieces(c.in) {
				w := r.Stream("text", StreamOptions{})
				var got []byte
				for _, b := range p {
					if got, err = w.Write(got, b); err != nil {
						t.Fatal(err)
					}
				}
				if got, err = w.Flush(got); err != nil || string(got) != c.want {
					t.Fatalf("%q: got %q, want %q (%v)", p, got, c.want, err)
				}
				if fmt.Sprint(w.Masks()) != fmt.Sprint(masks) {
					t.Fatalf("%q: masks %v, want %v", p, w.Masks(), masks)
				}
				w.Release()
			}
		})
	}
}

// TestPseudonym: the same value has the same one, in one session.
func TestPseudonym(t *testing.T) {
	e := tableEngine(t, action.Settings{Rows: []action.Row{{Types: []string{"EMAIL", "KEY"}, Action: action.Pseudonym}}})
	mask := func(session, text string) string {
		out, _, err := e.Mask("text", text, StreamOptions{Session: session})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	a, b := mask("one", "a@b.co"), mask("one", "x A@B.co")
	if !strings.HasPrefix(a, "[EMAIL_") || "x "+a != b || mask("two", "a@b.co") == a || mask("one", "c@b.co") == a {
		t.Errorf("%q %q %q %q", a, b, mask("two", "a@b.co"), mask("one", "c@b.co"))
	}
	if k := mask("one", "k_abc1xyz"); !strings.HasPrefix(k, "[KEY_") {
		t.Errorf("%q", k)
	}
}

// TestDenied: the error comes with nothing of the value, and nothing comes after it.
func TestDenied(t *testing.T) {
	for _, c := range []struct{ typ, before, value, after string }{
		{"KEY", "born 1999: ", "k_abc1-xyz", " and a@b.co"},
		{"EMAIL", "é to ", "joe@example.com", ", born 1999"},
		{"BLOCK", "a ", "<<<abc>>>>", " b"},
	} {
		e := tableEngine(t, action.Settings{Rows: []action.Row{{Types: []string{c.typ}, Action: action.Deny}}})
		text := c.before + c.value + c.after
		want, _, err := e.Mask("text", c.before, StreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pieces(text) {
			r := e.Stream("text", StreamOptions{})
			var out []byte
			var failed error
			for _, b := range p {
				var err error
				n := len(out)
				out, err = r.Write(out, b)
				if failed != nil && (err != failed || len(out) != n) {
					t.Fatalf("%q after the error: %q, %v", p, out[n:], err)
				}
				failed = err
			}
			out, err := r.Flush(out)
			var denied *DeniedError
			if !errors.As(err, &denied) || denied.Type != c.typ || failed != nil && err != failed {
				t.Fatalf("%q: %v", p, err)
			}
			var refused pipeline.MaskRefused
			if !errors.As(err, &refused) || strings.Contains(err.Error(), c.value) {
				t.Fatalf("%q: %v", p, err)
			}
			if string(out) != want {
				t.Fatalf("%q: released %q, want %q", p, out, want)
			}
			if out, again := r.Write(nil, []byte("x")); again != err || len(out) > 0 {
				t.Fatalf("%q: after the error %q, %v", p, out, again)
			}
		}
		if out, _, err := e.Append([]byte("dst"), "text", []byte(text), StreamOptions{}); err == nil || string(out) != "dst" {
			t.Errorf("Append: %q, %v", out, err)
		}
		if out, _, err := e.Mask("text", text, StreamOptions{}); err == nil || out != "" {
			t.Errorf("Mask: %q, %v", out, err)
		}
	}
}

// TestErrorsStick: every error ends the text, with nothing released after it.
func TestErrorsStick(t *testing.T) {
	e := tableEngine(t, action.Settings{})
	for name, c := range map[string]struct {
		break_ func(*Rewriter)
		text   string
		want   error
	}{
		"too much held":   {func(r *Rewriter) { r.enlarge(); r.buf = r.buf[:bufSize]; r.seg = 0 }, "abc", errHold},
		"too many values": {func(r *Rewriter) { r.found = make([]found, manyFound) }, "a@b.co x", errFound},
		"too many heads":  {func(r *Rewriter) { r.threads = make([]thread, manyThreads); freeze(r) }, " k_ab", errThreads},
	} {
		t.Run(name, func(t *testing.T) {
			r := e.Stream("text", StreamOptions{})
			c.break_(r)
			out, err := r.Write(nil, []byte(c.text))
			if !errors.Is(err, c.want) || len(out) > 0 {
				t.Fatalf("%q, %v", out, err)
			}
			if out, err := r.Write(nil, []byte("more")); !errors.Is(err, c.want) || len(out) > 0 {
				t.Errorf("Write: %q, %v", out, err)
			}
			if out, err := r.Flush(nil); !errors.Is(err, c.want) || len(out) > 0 {
				t.Errorf("Flush: %q, %v", out, err)
			}
		})
	}
	r := e.Stream("text", StreamOptions{})
	if _, err := r.Flush(nil); err != nil {
		t.Fatal(err)
	}
	if out, err := r.Write(nil, []byte("a")); err != ErrDone || len(out) > 0 {
		t.Error(out, err)
	}
	if _, err := r.Flush(nil); err != ErrDone {
		t.Error(err)
	}
}

// freeze makes heads that have read all that the test writes.
func freeze(r *Rewriter) {
	for i := range r.threads {
		r.threads[i] = thread{rule: r.e.rules[0], state: r.e.rules[0].exact.Start(), start: 5, at: 5}
	}
}

// TestBadRules are refused with the reason.
func TestBadRules(t *testing.T) {
	ok := &rule.Rule{Name: "a", Type: "A", Family: rule.Secret, Pattern: "a{3}"}
	for _, c := range []struct {
		name  string
		rules []*rule.Rule
		want  string
	}{
		{"twice", []*rule.Rule{ok, ok}, "two of this name"},
		{"unbounded", []*rule.Rule{{Name: "b", Type: "B", Pattern: "b+"}}, "no maximum"},
		{"too long an end", []*rule.Rule{{Name: "b", Type: "B", Pattern: "b", Tail: &rule.Tail{Until: strings.Repeat("x", 300)}}}, "at most 255"},
	} {
		if _, err := New(Options{only: []*rule.Rule{}, Rules: c.rules}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: New: %v", c.name, err)
		}
		e, err := New(Options{only: []*rule.Rule{}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.With(c.rules); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: With: %v", c.name, err)
		}
	}
	e, err := New(Options{only: testRules()})
	if err != nil {
		t.Fatal(err)
	}
	more, err := e.With([]*rule.Rule{ok})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := more.Mask("text", "aaa k_abc1", StreamOptions{}); got != "[A] [KEY]" {
		t.Error(got)
	}
	if got, _, _ := e.Mask("text", "aaa k_abc1", StreamOptions{}); got != "aaa [KEY]" {
		t.Error(got)
	}
}

// TestExplain: why, and why not, without the value.
func TestExplain(t *testing.T) {
	e, err := New(Options{Explain: true, only: testRules()})
	if err != nil {
		t.Fatal(err)
	}
	r := e.Stream("text", StreamOptions{})
	out, err := r.Write(nil, []byte("k_abc1 k_abcdefghij wk_abc1 1999 born 1999 a@b.co"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = r.Flush(out); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range r.Explained() {
		got = append(got, fmt.Sprintf("%s %d+%d %s", x.Rule, x.At, x.Len, x.Refused))
	}
	want := []string{"key 0+6 ", "key 7+12 the check of the rule", "key 21+6 the character before it", "birth 28+4 the check of the rule", "birth 38+4 ", "mail 43+6 "}
	for _, w := range want {
		found := false
		for _, g := range got {
			found = found || g == w
		}
		if !found {
			t.Errorf("%q is missing in %q", w, got)
		}
	}
}

// TestDroppedHoldOfTheList: a value that is not held for as long as it may be one of the list is masked where it must not be.
func TestDroppedHoldOfTheList(t *testing.T) {
	e := tableEngine(t, action.Settings{Allow: []string{"k_abc1-zz"}})
	for drop, want := range map[hold]string{0: "k_abc1-zz", holdAllow: "[KEY]"} {
		r := e.Stream("text", StreamOptions{})
		r.drop = drop
		out, err := r.Write(nil, []byte("k_abc1-zz"))
		if err == nil {
			out, err = r.Flush(out)
		}
		if string(out) != want || err != nil {
			t.Errorf("%d: %q, %v", drop, out, err)
		}
	}
}
