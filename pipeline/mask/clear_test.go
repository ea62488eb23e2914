// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
)

var clearPlans = map[string]*action.Plan{"args": (*action.Table)(nil).Plan(CarrierArgs, nil), "text": (*action.Table)(nil).Plan("text", nil)}

// FuzzClear: what is clear stays as it is, and nothing of it is masked, with whatever stands before it.
func FuzzClear(f *testing.F) {
	for _, s := range []string{"", "gpt-4.1-mini", keyOpenAI, "x " + keyGitHub, "search_" + keyAWS, "jane.doe@example.org", "é\xff\\u00e9" + keyGitHub, "password: hV7#kQ2!xZ9m", prose, dense()} {
		f.Add(`"password": "`, s)
		f.Add("", s)
	}
	plain, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, before, text string) {
		for carrier, p := range clearPlans {
			if !plain.Clear(p, []byte(before), []byte(text)) {
				continue
			}
			out, masks, err := plain.Mask(carrier, text, StreamOptions{Plan: p, Context: []byte(before)})
			if err != nil || out != text || len(masks) > 0 {
				t.Errorf("%s: %q behind %q is clear, and becomes %q, %+v, %v", carrier, text, before, out, masks, err)
			}
		}
	})
}

// TestClear: what has to be seen is seen, and what steers calls is mostly clear.
func TestClear(t *testing.T) {
	args := clearPlans["args"]
	for _, s := range []string{keyOpenAI, keyGitHub, keyAWS, "gpt-" + keyAWS, "/v1/" + keyGitHub + "/x"} {
		if testEngine.Clear(args, nil, []byte(s)) {
			t.Errorf("%q is clear", s)
		}
	}
	for _, s := range []string{"", "gpt-4.1-mini-2025-04-14", "/v1/chat/completions", "search_web", "claude-sonnet-4-5-20250929", "POST", "stop", "resp_0123456789abcdef0123456789abcdef"} {
		if !testEngine.Clear(args, nil, []byte(s)) {
			t.Errorf("%q is not clear", s)
		}
	}
	e, err := New(Options{Names: true})
	if err != nil {
		t.Fatal(err)
	}
	if e.Clear(clearPlans["text"], nil, []byte("nothing")) {
		t.Error("where names are looked for nothing is clear at once")
	}
}

// TestWordsStay: IDs, names of models and the like are no secrets, whatever their random part.
func TestWordsStay(t *testing.T) {
	const lower, alnum, hex, base58, base64 = "abcdefghijklmnopqrstuvwxyz0123456789", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "0123456789abcdef",
		"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
	r := rand.New(rand.NewPCG(1, 2))
	of := func(set string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = set[r.IntN(len(set))]
		}
		return string(b)
	}
	uuid := func() string {
		return of(hex, 8) + "-" + of(hex, 4) + "-4" + of(hex, 3) + "-a" + of(hex, 3) + "-" + of(hex, 12)
	}
	for range 2000 {
		for _, s := range []string{"chatcmpl-" + of(alnum, 29), "call_" + of(alnum, 24), "toolu_01" + of(base58, 22), "msg_01" + of(base58, 22), "msg_" + of(hex, 50), "resp_" + of(hex, 50),
			"fc_" + of(hex, 48), "rs_" + of(hex, 50), uuid(), "call_" + uuid(), "chatcmpl-" + uuid(), "tooluse_" + of(base64, 22), "gen-17" + of("0123456789", 8) + "-" + of(alnum, 20), "fp_" + of(hex, 10),
			"2026-01-02T03:04:05." + of("0123456789", 9) + "Z", "01" + of("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24), of(base64, 21), of(alnum, 27), of(hex, 32), of(hex, 64), of(lower, 9), "conv_" + of(hex, 48),
			"anthropic.claude-3-5-sonnet-2024" + of("0123456789", 4) + "-v2:0", "ft:gpt-4o-mini-2024-07-18:org::" + of(alnum, 8), "function-call-" + of("0123456789", 19), "req_" + of(hex, 32), "file-" + of(alnum, 22), "asst_" + of(alnum, 24), "thread_" + of(alnum, 24)} {
			if out, masks, err := testEngine.Mask(CarrierArgs, s, StreamOptions{}); err != nil || out != s {
				t.Errorf("%s becomes %s, %v, %v", s, out, masks, err)
			}
		}
	}
}

// BenchmarkWord: what it takes to know that a word of a call holds no secret, and to mask it.
func BenchmarkWord(b *testing.B) {
	args := clearPlans["args"]
	for _, c := range []struct{ name, text string }{{"model", "gpt-4.1-mini-2025-04-14"}, {"id", "chatcmpl-9nAbCdEfGhIjKlMnOpQrStUvWxYz0"}, {"path", "/v1/chat/completions"},
		{"agent", "AsyncOpenAI/Python 1.99.9 (Linux; x86_64)"}, {"long", strings.Repeat("a plain word ", 30)}} {
		text := []byte(c.text)
		b.Run(c.name+"/clear", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				testEngine.Clear(args, nil, text)
			}
		})
		b.Run(c.name+"/mask", func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 1024)
			for b.Loop() {
				s := testEngine.Stream(CarrierArgs, StreamOptions{})
				dst, _ = s.Write(dst[:0], text)
				dst, _ = s.Flush(dst)
				s.Release()
			}
		})
	}
}

// TestPlain: the engine of a configuration with rules of its own, less these.
func TestPlain(t *testing.T) {
	e, err := New(Options{Names: true, Rules: testRules()[:1], Table: nil})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Plain()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Rules()); n != len(builtin()) || n == len(e.Rules()) {
		t.Errorf("%d rules of %d", n, len(e.Rules()))
	}
	for text, want := range map[string]string{"key " + keyGitHub: "key [GITHUB_TOKEN]", "James Miller, Springfield": "James Miller, Springfield", "mail a@example.org": "mail [EMAIL]"} {
		if got, masks, err := p.Mask("text", text, StreamOptions{}); err != nil || got != want || len(masks) > 0 && masks[0].Fingerprint != "" {
			t.Errorf("%q becomes %q, %+v, %v", text, got, masks, err)
		}
	}
}
