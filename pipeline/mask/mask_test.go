// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// Made-up keys, put together here so that no scanner takes this file for a leak.
var (
	keyOpenAI    = "sk-" + "proj-" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4-O5p6_Q7r8"
	keyOpenAIOld = "sk-" + "Qm3x8Vt1Lr6Yb0Kd5Wn2" + "T3Blbk" + "FJs7Hc4Zp9Gf1Je6Xa3Uo8"
	keyAnthropic = "sk-" + "ant-" + "api03-" + strings.Repeat("Ab3_", 22) + "xyAA"
	keyAWS       = "AKIA" + "Q7ZB4XK2M5N6P3RS"
	keyGitHub    = "ghp" + "_" + "77KXNrvr4bHIuu3VaOfRdKidhYLXlJ0hNSAV"
	keySlack     = "xoxb" + "-" + "369665251695-7706489169905-eGhpgic9A4UIq5YwULF7dNzt"
	hookSlack    = "https://hooks.slack.com/" + "services/" + "T0A1B2C3D4E/B0F1G2H3I4J/k5L6m7N8o9P0q1R2s3T4u5V6"
	keyStripe    = "sk" + "_live_" + "PmUBoM4bMv6z4i0Fa8JD5jDl"
	keyGoogle    = "AIza" + "kuYMe9170d6lp9Js-YdvUx10QunJyuvzX7y"
	keyGitLab    = "glpat" + "-" + "x1Y2z3A4b5C6d7E8f9G0"
	keySendGrid  = "SG" + "." + "a1B2c3D4e5F6g7H8i9J0kL" + "." + "mN1oP2qR3sT4uV5wX6yZ7aB8cD9eF0gH1iJ2kL3mN4o"
	keyTwilio    = "SK" + "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
)

var testEngine = New(Options{Key: []byte("test key")})

// values returns what the masks cover.
func values(text string, masks []pipeline.Mask) (out []string) {
	for _, m := range masks {
		out = append(out, m.Type+" "+text[m.At:m.At+m.Len])
	}
	return out
}

func TestMask(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "plain prose, nothing in it.", "plain prose, nothing in it."},
		{"empty", "", ""},
		{"openai", "key " + keyOpenAI + ".", "key [OPENAI_KEY]."},
		{"openai, old form", "k=" + keyOpenAIOld + ";", "k=[OPENAI_KEY];"},
		{"anthropic wins over the shorter prefix", "(" + keyAnthropic + ")", "([ANTHROPIC_KEY])"},
		{"aws", "id " + keyAWS + "\n", "id [AWS_ACCESS_KEY]\n"},
		{"github", `"` + keyGitHub + `"`, `"[GITHUB_TOKEN]"`},
		{"github in a url", "https://x:" + keyGitHub + "@github.com/a/b", "https://x:[GITHUB_TOKEN]@github.com/a/b"},
		{"slack", keySlack, "[SLACK_TOKEN]"},
		{"slack hook", "see " + hookSlack + " now", "see [SLACK_TOKEN] now"},
		{"stripe", keyStripe + ",", "[STRIPE_KEY],"},
		{"google", keyGoogle + " ", "[GCP_API_KEY] "},
		{"gitlab", keyGitLab + ".", "[VENDOR_TOKEN]."},
		{"gitlab, dotted", keyGitLab + ".01.1a2b3c4", "[VENDOR_TOKEN]"},
		{"sendgrid at the end of a sentence", "It is " + keySendGrid + ". Keep it.", "It is [VENDOR_TOKEN]. Keep it."},
		{"twilio", keyTwilio, "[VENDOR_TOKEN]"},
		{"two in a row", keyAWS + " " + keyGitHub, "[AWS_ACCESS_KEY] [GITHUB_TOKEN]"},
		{"key behind a key", keyAWS + keyGitHub, "[AWS_ACCESS_KEY][GITHUB_TOKEN]"},
		{"cut key", "sk-" + "proj-" + "A1b2C3d4E5f6G7h8I9j0", "[OPENAI_KEY]"},
		{"too short", "sk-" + "proj-A1b2", "sk-proj-A1b2"},
		{"in a word", "x" + keyGitHub, "x" + keyGitHub},
		{"after an underscore", "_" + keyGitHub, "_[GITHUB_TOKEN]"},
		{"after a typographic quote", "“" + keyOpenAI + "”", "“[OPENAI_KEY]”"},
		{"after an escaped newline", `{"k":"a\n` + keyOpenAI + `\n"}`, `{"k":"a\n[OPENAI_KEY]\n"}`},
		{"after an escaped quote", `{"k":"\u201c` + keyOpenAI + `\u201d"}`, `{"k":"\u201c[OPENAI_KEY]\u201d"}`},
		{"after an escaped backslash", `\\n` + keyOpenAI, `\\n` + keyOpenAI},
		{"hyphenated word", "use sk-learn-like-names-in-a-very-long-hyphenated-word", "use sk-learn-like-names-in-a-very-long-hyphenated-word"},
		{"no digit for too long", "sk-" + "proj-" + strings.Repeat("a", 200) + ".", "[OPENAI_KEY]."},
		{"endless key", keyOpenAI + strings.Repeat("x", 5000) + " end", "[OPENAI_KEY] end"},
		{"inner key decides first", "xai-" + keyAWS + "abcdefg1 end", "[AWS_ACCESS_KEY] end"},

		{"mail", "to a.b+c@mail.example.co.uk.", "to [EMAIL]."},
		{"mail, longer tld arrives late", "x@a.co.uk, y@a.com", "[EMAIL], [EMAIL]"},
		{"mail in quotes", "'o'brien@example.com'", "'[EMAIL]'"},
		{"mail, letters beyond ascii", "josé@exämple.de 联系foo@x.com请", "[EMAIL] 联系[EMAIL]请"},
		{"mail, punycode", "x@a.xn--p1ai!", "[EMAIL]!"},
		{"mail before dashes", "x@a.com---y", "[EMAIL]---y"},
		{"mail before dots", "x@a.com...", "[EMAIL]..."},
		{"mail, two at signs", "a@b@c.de", "a@[EMAIL]"},
		{"mail, long local part", strings.Repeat("a", 100) + "@b.com", strings.Repeat("a", 36) + "[EMAIL]"},
		{"mail, long local part of two-byte letters", strings.Repeat("aé", 40) + "@b.com", strings.Repeat("aé", 18) + "aé" + "[EMAIL]"},
		{"mail, label too long", "a@" + strings.Repeat("b", 80) + " x", "[EMAIL] x"},
		{"mail, domain too long", "a@" + strings.Repeat("1.", 200) + " x", "[EMAIL]. x"},
		{"no mail", "@home a@b user@localhost x@10.0.0.1 pkg@1.2.3 @", "@home a@b user@localhost x@10.0.0.1 pkg@1.2.3 @"},
		{"key in the domain", "x@a.co." + keyGitHub, "[EMAIL][GITHUB_TOKEN]"},

		{"card", "4111111111111111", "[CREDIT_CARD]"},
		{"card in groups", "card 4111 1111 1111 1111.", "card [CREDIT_CARD]."},
		{"card with dashes", "4531-1957-4804-2700!", "[CREDIT_CARD]!"},
		{"card, amex", "3782 822463 10005", "[CREDIT_CARD]"},
		{"card and security code", "4111 1111 1111 1111 123 12/28", "[CREDIT_CARD] 123 12/28"},
		{"card behind a date", "2024-11-23 4111 1111 1111 1111", "2024-11-23 [CREDIT_CARD]"},
		{"two cards", "4111 1111 1111 1111 5555 5555 5555 4444", "[CREDIT_CARD] [CREDIT_CARD]"},
		{"card, odd groups", "41 11 11 11 11 11 11 11", "[CREDIT_CARD]"},
		{"card, twelve digits", "card 501864667909?", "card [CREDIT_CARD]?"},
		{"card, wrong check digit", "4111111111111112", "4111111111111112"},
		{"card, more digits", "41111111111111110000", "41111111111111110000"},
		{"card in a word", "a4111111111111111 4111111111111111b 4111111111111111_", "a4111111111111111 4111111111111111b 4111111111111111_"},
		{"fraction", "0.4111111111111111", "0.4111111111111111"},
		{"numbers", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23"},
		{"mail with a card in it", "x-4111-1111-1111-1111-y@a.com", "[EMAIL]"},
		{"card before an at sign", "4111 1111 1111 1111@a.com", "[CREDIT_CARD]@a.com"},
		{"card and mail", "4111111111111111 x@a.com", "[CREDIT_CARD] [EMAIL]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, masks := testEngine.Mask("text", c.in)
			if got != c.want {
				t.Errorf("masked\n got %q\nwant %q\nmasks %v", got, c.want, values(c.in, masks))
			}
			checkSplits(t, c.in)
		})
	}
}

func TestArgsHaveOnlyKeysMasked(t *testing.T) {
	in := `{"to":"x@a.com","card":"4111111111111111","key":"` + keyAWS + `"}`
	got, masks := testEngine.Mask(CarrierArgs, in)
	if want := `{"to":"x@a.com","card":"4111111111111111","key":"[AWS_ACCESS_KEY]"}`; got != want {
		t.Errorf("got %s", got)
	}
	if len(masks) != 1 || masks[0].Carrier != CarrierArgs {
		t.Errorf("masks %+v", masks)
	}
}

func TestMasksDescribeTheOriginal(t *testing.T) {
	in := "Mail A@Example.com, card 4111-1111 1111-1111, key " + keyAWS + ", mail a@example.COM, card 4111111111111111"
	_, masks := testEngine.Mask("text", in)
	want := []string{"EMAIL A@Example.com", "CREDIT_CARD 4111-1111 1111-1111", "AWS_ACCESS_KEY " + keyAWS,
		"EMAIL a@example.COM", "CREDIT_CARD 4111111111111111"}
	if diff := cmp.Diff(want, values(in, masks)); diff != "" {
		t.Fatal(diff)
	}
	if masks[0].Fingerprint != masks[3].Fingerprint || masks[1].Fingerprint != masks[4].Fingerprint {
		t.Error("the same value has two fingerprints")
	}
	if len(masks[0].Fingerprint) != 16 || masks[0].Fingerprint == masks[1].Fingerprint {
		t.Errorf("fingerprints %q %q", masks[0].Fingerprint, masks[1].Fingerprint)
	}
	if masks[2].With != "[AWS_ACCESS_KEY]" {
		t.Errorf("with %q", masks[2].With)
	}
	_, other := New(Options{Key: []byte("other")}).Mask("text", in)
	if other[0].Fingerprint == masks[0].Fingerprint {
		t.Error("the fingerprint does not depend on the key")
	}
	_, bare := New(Options{}).Mask("text", in)
	if bare[0].Fingerprint != "" {
		t.Error("fingerprint without a key")
	}
}

func TestMaskedTextIsClean(t *testing.T) {
	for _, text := range corpus(t) {
		once, _ := testEngine.Mask("text", text)
		if twice, masks := testEngine.Mask("text", once); twice != once && !strings.Contains(text, "@") {
			t.Errorf("%q still holds %v", once, values(once, masks))
		}
	}
}

// corpus is our own texts and a sample of public ones.
func corpus(tb testing.TB) []string {
	out := []string{
		"x@a.co" + ".uk y", "key:" + keyOpenAI + "\nmail: jane.doe@example.org\ncard: 4111 1111 1111 1111 123",
		keyAnthropic + "," + keyGitHub + "@x.com," + keySlack + "/" + keySendGrid + ".",
		"sk-sk-ant-sk-proj-ghp_xoxb-AKIA glpat-SG.sk-lf-1", strings.Repeat("sk-ant-", 30) + "1",
		`{"a":"\n` + keyGoogle + `","b":"\u00e9` + keyStripe + `\\","c":"é@ü.de"}`,
		"1-2-3-4 4111-1111-1111-1111-foo@x.com 5555 5555 5555 4444 4444 3333 2222 1111",
		"a@b@c@d.e@f.gh..ij@k--l.mn", "x@a.co-4111 1111 1111 1111", "tel +49 30 1234567890123", "\xff\xc3\xa9@\xc3\xa9.d\xc3\xa9f\xc3",
	}
	f, err := os.Open("testdata/corpus.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var l struct{ Text string }
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			tb.Fatal(err)
		}
		out = append(out, l.Text)
	}
	return out
}

// stream masks the pieces and checks after each that nothing masked has been released, that the hold is bounded and
// that no rune was cut.
func stream(tb testing.TB, carrier string, pieces [][]byte) (string, []pipeline.Mask) {
	tb.Helper()
	bound := 0
	for _, b := range testEngine.Bounds() {
		bound = max(bound, b.Bytes)
	}
	r := testEngine.Stream(carrier)
	var out []byte
	var whole []byte
	runes := true
	for _, p := range pieces {
		n := len(out)
		whole = append(whole, p...)
		piece := bytes.Clone(p)
		var err error
		if out, err = r.Write(out, piece); err != nil {
			tb.Fatal(err)
		}
		clear(piece) // nothing of it may be used later
		if r.Held() > bound || r.Held() < 0 {
			tb.Fatalf("%d bytes held, bound %d, of %q", r.Held(), bound, whole)
		}
		runes = runes && utf8.Valid(p)
		if runes && !utf8.Valid(out[n:]) {
			tb.Fatalf("released %q, which cuts a rune, of %q", out[n:], whole)
		}
		// What is out is the original up to the hold, with the masks so far in place of their values.
		if want := apply(whole[:len(whole)-r.Held()], r.Masks()); want != string(out) {
			tb.Fatalf("released %q, the masks say %q", out, want)
		}
	}
	out, err := r.Flush(out)
	if err != nil {
		tb.Fatal(err)
	}
	if r.Held() != 0 {
		tb.Fatalf("%d bytes held after Flush", r.Held())
	}
	return string(out), r.Masks()
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

// checkSplits compares every single split, one-byte pieces and 20 random splits with the whole.
func checkSplits(tb testing.TB, text string) {
	tb.Helper()
	for _, carrier := range []string{"text", CarrierArgs} {
		want, wantMasks := testEngine.Mask(carrier, text)
		check := func(how string, pieces ...[]byte) {
			tb.Helper()
			got, masks := stream(tb, carrier, pieces)
			if got != want {
				tb.Fatalf("%s of %q\n got %q\nwant %q", how, text, got, want)
			}
			if diff := cmp.Diff(wantMasks, masks); diff != "" {
				tb.Fatalf("%s of %q: masks differ: %s", how, text, diff)
			}
		}
		b := []byte(text)
		for i := range b {
			check("a split in two", b[:i], b[i:])
		}
		check("single bytes", singles(b)...)
		for seed := range uint64(20) {
			check("a random split", randomSplit(b, seed)...)
		}
	}
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

func TestSplitsEqualTheWhole(t *testing.T) {
	for _, text := range corpus(t) {
		if len(text) > 1500 { // every single split of it is quadratic
			text = text[:1500]
		}
		checkSplits(t, text)
	}
}
