// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/mask"
	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
)

// engine is the masker that is shipped.
type engine struct{ e *mask.Engine }

func newEngine(t testing.TB) engine {
	t.Helper()
	e, err := mask.New(mask.Options{Key: []byte("test"), Names: true})
	if err != nil {
		t.Fatal(err)
	}
	return engine{e}
}

func (e engine) Stream(carrier string, _ *pipeline.Meta, before []byte) flow.Rewriter {
	return e.e.Stream(carrier, mask.StreamOptions{Session: "ses_1", Context: before})
}

// escaped is a piece of a text, in UTF-16, as a JSON string in which characters are escapes as r likes.
func escaped(units []uint16, r *rand.Rand) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(units); i++ {
		u := units[i]
		switch {
		case utf16.IsSurrogate(rune(u)) || u < 0x20 || u == '"' || u == '\\' || r.IntN(6) == 0:
			fmt.Fprintf(&b, `\u%04x`, u)
		default:
			b.WriteRune(rune(u))
		}
	}
	return b.String() + `"`
}

// pieces cuts a text at the given places, in units of UTF-16.
func cutAt(text string, r *rand.Rand, places ...int) (out []string) {
	units := utf16.Encode([]rune(text))
	from := 0
	for _, p := range append(places, len(units)) {
		out = append(out, escaped(units[from:p], r))
		from = p
	}
	return out
}

func someCuts(text string, r *rand.Rand) []string {
	n := len(utf16.Encode([]rune(text)))
	var places []int
	for p := r.IntN(7); p < n; p += r.IntN(9) + r.IntN(2)*r.IntN(40) {
		places = append(places, p)
	}
	return cutAt(text, r, places...)
}

// events are those of a stream that says all parts, one piece of each in turn, cut by cuts.
func (f *form) events(s said, cuts func(text string) []string) []string {
	out := append([]string(nil), f.begin...)
	left := map[string][]string{}
	for _, what := range f.what {
		left[what] = cuts(s[what])
	}
	for more := true; more; {
		more = false
		for _, what := range f.what {
			if len(left[what]) == 0 {
				continue
			}
			more = true
			out = append(out, f.event(what, left[what][0]))
			if left[what] = left[what][1:]; len(left[what]) == 0 {
				out = append(out, f.between(what)...)
			}
		}
	}
	return append(out, f.end...)
}

// assemble puts together what a stream says: the insides of JSON strings, so that escapes may be cut.
func (f *form) assemble(t testing.TB, got string) said {
	t.Helper()
	marks := map[string][2]string{} // what stands before and behind a piece in its event
	for _, what := range f.what {
		e := f.event(what, `"PIECE"`)
		before, after, _ := strings.Cut(e, `"PIECE"`)
		marks[what] = [2]string{before, after}
	}
	sep := "\n\n"
	if f.protocol == "ollama" {
		sep = "\n"
	}
	inside := map[string]string{}
	for _, e := range strings.SplitAfter(got, sep) {
		for what, m := range marks {
			if rest, ok := strings.CutPrefix(e, m[0]); ok && strings.HasSuffix(rest, m[1]) {
				piece := strings.TrimSuffix(rest, m[1])
				if len(piece) < 2 || piece[0] != '"' || !json.Valid([]byte(piece)) {
					t.Fatalf("no string: %s", e)
				}
				inside[what] += piece[1 : len(piece)-1]
				break
			}
		}
	}
	out := said{}
	for what, in := range inside {
		var text string
		if err := json.Unmarshal([]byte(`"`+in+`"`), &text); err != nil {
			t.Fatalf("%s: %v in %s", what, err, in)
		}
		out[what] = text
	}
	return out
}

// invented is a text with values in it, and these.
func invented(r *rand.Rand) (text string, secrets, personal []string) {
	alnum := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"[r.IntN(56)])
		}
		return b.String()
	}
	var b strings.Builder
	for range 3 + r.IntN(5) {
		switch r.IntN(9) {
		case 0:
			secrets = append(secrets, "sk-proj-"+alnum(40))
			b.WriteString(secrets[len(secrets)-1])
		case 1:
			secrets = append(secrets, "ghp_"+alnum(36))
			b.WriteString(secrets[len(secrets)-1])
		case 2:
			personal = append(personal, "jane."+strings.ToLower(alnum(6))+"@example.org")
			b.WriteString(personal[len(personal)-1])
		case 3:
			b.WriteString("4111 1111 1111 1111")
			personal = append(personal, "4111 1111 1111 1111")
		case 4:
			b.WriteString("😀 é\u2028\t\"quoted\\\" ")
		case 5:
			b.WriteString("sk-pro is no key, 4111 no card, a@b no mail")
		default:
			b.WriteString("The meeting with Marta Lindqvist is on Monday")
		}
		b.WriteString([]string{" ", ", ", "\n", ". ", " and "}[r.IntN(5)])
	}
	return b.String(), secrets, personal
}

// TestEqual: what a stream says, put together, is what the whole reply says, masked, however the texts are cut into pieces, with
// escapes and pairs of surrogates cut too, and however the bytes are; and nothing of a value is in it.
func TestEqual(t *testing.T) {
	masker := newEngine(t)
	for _, f := range forms {
		t.Run(f.protocol+" "+f.operation, func(t *testing.T) {
			for seed := range uint64(5) {
				r := rand.New(rand.NewPCG(seed, 11))
				s, values := said{}, map[string][]string{}
				for _, what := range f.what {
					text, secrets, personal := invented(r)
					if what == "args" {
						text, personal = `{"q":`+jsonOf(text)+`,"list":[1,`+jsonOf(secret)+`],"password":"hunter2-Badger!7"}`, nil
						secrets = append(secrets, "hunter2-Badger!7")
					}
					s[what], values[what] = text, append(secrets, personal...)
				}
				c := carrying{protocol: f.protocol, operation: f.operation}
				run := func(stream bool, kind string, pieces ...string) string {
					t.Helper()
					rig := c.rig(t, stream).reply(200, kind, pieces...)
					rig.opts.Masker = masker
					return rig.must()
				}
				want := said{}
				whole := run(false, "application/json", f.whole(s))
				var v any
				if err := json.Unmarshal([]byte(whole), &v); err != nil {
					t.Fatalf("%v: %s", err, whole)
				}
				want = f.find(v)
				if f.protocol == "anthropic" { // as it stands
					_, rest, _ := strings.Cut(whole, `"input":`)
					want["args"] = rest[:strings.Index(rest, `}],"stop_reason"`)]
				}
				for what, text := range s {
					if masked, _, err := masker.e.Mask("text", text, mask.StreamOptions{}); err != nil || what != "args" && want[what] != masked {
						t.Fatalf("%s: %q became %q, not %q", what, text, want[what], masked)
					}
				}
				check := func(pieces []string) {
					t.Helper()
					got := f.assemble(t, run(true, c.kind(), pieces...))
					for what := range s {
						if got[what] != want[what] {
							t.Fatalf("seed %d, %s:\n  of %q\n got %q\nwant %q", seed, what, s[what], got[what], want[what])
						}
						for _, value := range values[what] {
							if strings.Contains(got[what], value) || strings.Contains(got[what], value[len(value)/2:]) {
								t.Fatalf("seed %d, %s: released %q in %q", seed, what, value, got[what])
							}
						}
					}
				}
				for range 5 {
					check(f.events(s, func(text string) []string { return someCuts(text, r) }))
				}
				check(f.events(s, func(text string) []string { return cutAt(text, r) }))
				if seed > 0 {
					continue
				}
				for i := range 250 { // every single place
					cut := false
					events := f.events(s, func(text string) []string {
						if i >= len(utf16.Encode([]rune(text))) {
							return cutAt(text, r)
						}
						cut = true
						return cutAt(text, r, i)
					})
					if !cut {
						break
					}
					check(events)
				}
				bytes := strings.Join(f.events(s, func(text string) []string { return someCuts(text, r) }), "")
				for i := 1; i < len(bytes); i += 1 + len(bytes)/200 {
					check([]string{bytes[:i], bytes[i:]})
				}
				check(strings.Split(bytes, ""))
			}
		})
	}
}

// TestThoughts: a signed text stays as it is where rows say so, and its signature fits; by default it is masked, and the
// signature, which no longer fits, is there for the provider to refuse.
func TestThoughts(t *testing.T) {
	const mail = "jane.doe@example.org"
	c := carrying{protocol: "anthropic", operation: "messages"}
	reply := func(thought, text string) string {
		return c.fill(anthropicReply(`{"type":"thinking","thinking":`+jsonOf(thought)+`,"signature":"{O}"},{"type":"text","text":`+jsonOf(text)+`}`, ""))
	}
	in := reply("ask "+mail, "I ask "+mail)
	for name, tc := range map[string]struct {
		rows []action.Row
		want string
	}{
		"by default": {nil, reply("ask [EMAIL]", "I ask [EMAIL]")},
		"allowed":    {[]action.Row{{Carriers: []string{pipeline.CarrierReasoning}, Action: action.Allow}}, reply("ask "+mail, "I ask [EMAIL]")},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := action.New(action.Settings{Rows: tc.rows})
			if err != nil {
				t.Fatal(err)
			}
			e, err := mask.New(mask.Options{Table: table})
			if err != nil {
				t.Fatal(err)
			}
			r := c.rig(t, false).reply(200, "application/json", in)
			r.opts.Masker = engine{e}
			if got := r.must(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
