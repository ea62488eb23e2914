// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// Made-up keys, put together here so that no scanner takes this file for a leak.
var (
	keyOpenAI    = "sk-" + "proj-" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4-O5p6_Q7r8"
	keyAnthropic = "sk-" + "ant-" + "api03-" + "q7Zb4XK2m5N6p3RsT8uV1wY0aC9dE_fGhJkL-xyAA"
	keyAWS       = "AKIA" + "Q7ZB4XK2M5N6P3RS"
	keyGitHub    = "ghp" + "_" + "77KXNrvr4bHIuu3VaOfRdKidhYLXlJ0hNSAV"
)

var testEngine = func() *Engine {
	e, err := New(Options{Key: []byte("test key")})
	if err != nil {
		panic(err)
	}
	return e
}()

// values returns what the masks cover.
func values(text string, masks []pipeline.Mask) (out []string) {
	for _, m := range masks {
		out = append(out, m.Type+" "+text[m.At:m.At+m.Len])
	}
	return out
}

// TestMask reads as what users see; what rules find is tested where they are.
func TestMask(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "plain prose, nothing in it.", "plain prose, nothing in it."},
		{"empty", "", ""},
		{"a key", "key " + keyOpenAI + ".", "key [OPENAI_KEY]."},
		{"the longer prefix wins", "(" + keyAnthropic + ")", "([ANTHROPIC_KEY])"},
		{"a key in a url", "https://x:" + keyGitHub + "@github.com/a/b", "https://x:[GITHUB_TOKEN]@github.com/a/b"},
		{"two in a row", keyAWS + " " + keyGitHub, "[AWS_ACCESS_KEY] [GITHUB_TOKEN]"},
		{"a cut key", "sk-" + "proj-" + "A1b2C3d4E5f6G7h8I9j0", "[OPENAI_KEY]"},
		{"too short", "sk-" + "proj-A1b2", "sk-proj-A1b2"},
		{"after a typographic quote", "“" + keyOpenAI + "”", "“[OPENAI_KEY]”"},
		{"after an escaped newline", `{"k":"a\n` + keyOpenAI + `\n"}`, `{"k":"a\n[OPENAI_KEY]\n"}`},
		{"mail", "to a.b+c@mail.example.co.uk.", "to [EMAIL]."},
		{"mail, longer tld arrives late", "x@a.co.uk, y@a.com", "[EMAIL], [EMAIL]"},
		{"no mail", "@home a@b user@localhost x@10.0 pkg@1.2.3 @", "@home a@b user@localhost x@10.0 pkg@1.2.3 @"},
		{"mail behind an escape", `"\nme@example.com"`, `"\n[EMAIL]"`},
		{"card", "4111111111111111", "[CREDIT_CARD]"},
		{"card in groups", "card 4111 1111 1111 1111.", "card [CREDIT_CARD]."},
		{"card and mail", "4111111111111111 x@a.com", "[CREDIT_CARD] [EMAIL]"},
		{"wrong check digit", "4111111111111112", "4111111111111112"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, masks, err := testEngine.Mask("text", c.in, StreamOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("masked\n got %q\nwant %q\nmasks %v", got, c.want, values(c.in, masks))
			}
		})
	}
}

func TestArgsHaveOnlySecretsMasked(t *testing.T) {
	in := `{"to":"x@a.com","card":"4111111111111111","key":"` + keyAWS + `"}`
	got, masks, err := testEngine.Mask(CarrierArgs, in, StreamOptions{})
	if want := `{"to":"x@a.com","card":"4111111111111111","key":"[AWS_ACCESS_KEY]"}`; got != want || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	if len(masks) != 1 || masks[0].Carrier != CarrierArgs {
		t.Errorf("masks %+v", masks)
	}
}

func TestMasksDescribeTheOriginal(t *testing.T) {
	in := "Mail A@Example.com, card 4111-1111-1111-1111, key " + keyAWS + ", mail a@example.COM, card 4111111111111111"
	mask := func(o Options) []pipeline.Mask {
		e, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		_, masks, err := e.Mask("text", in, StreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return masks
	}
	masks := mask(Options{Key: []byte("test key")})
	want := []string{"EMAIL A@Example.com", "CREDIT_CARD 4111-1111-1111-1111", "AWS_ACCESS_KEY " + keyAWS,
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
	if masks[2].With != "[AWS_ACCESS_KEY]" || masks[2].Rule == "" || masks[2].Why == "" {
		t.Errorf("mask %+v", masks[2])
	}
	if mask(Options{Key: []byte("other")})[0].Fingerprint == masks[0].Fingerprint {
		t.Error("the fingerprint does not depend on the key")
	}
	if mask(Options{})[0].Fingerprint != "" {
		t.Error("fingerprint without a key")
	}
}
