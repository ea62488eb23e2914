// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/carrier"
	"github.com/sallyport-dev/sallyport/pipeline/policy/fold"
)

// TestNothingIsMissed tries expressions and texts at random: the shortcuts of the engine find what regexp finds in every reading.
func TestNothingIsMissed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	var gen func(d int) string
	gen = func(d int) string {
		switch r.IntN(14) {
		case 0, 1, 2, 3:
			return pick("a", "k", "s", "K", "ſ", "ab", "rm", "kiosk", "é", "É", "ß", "\\x{FFFD}", "delete", "-rf", "\\.", " ", "sk-", "É")
		case 4:
			return pick("[ab]", "[a-z]", "[^a]", "[kK]", "[sſ]", "\\d", "\\s", "\\w", ".", "(?i:k)", "(?i:s)", "(?i:É)", "[[:alpha:]]")
		case 5:
			return pick("^", "$", "\\b", "\\B", "\\A", "\\z", "(?m:^)", "(?m:$)")
		}
		if d == 0 {
			return pick("x", "ks", "")
		}
		switch r.IntN(6) {
		case 0:
			return "(" + gen(d-1) + "|" + gen(d-1) + ")"
		case 1:
			return "(?:" + gen(d-1) + ")" + pick("*", "+", "?", "{2}", "{0,2}", "{1,3}", "+?")
		case 2:
			return "(?i:" + gen(d-1) + ")"
		case 3:
			return "(?s:" + gen(d-1) + ")"
		}
		return gen(d-1) + gen(d-1)
	}
	genText := func() string {
		var b strings.Builder
		for n := r.IntN(12); n >= 0; n-- {
			b.WriteString(pick("a", "b", "k", "s", "K", "ſ", "K", "S", "ab", "rm", "RM", "kiosk", "KIOSK", "é", "É", "ß", "\xff", "delete", "DELETE", "-rf", ".", " ", "\n", "sk-", "x", "xx", "1", "аb", "r\u200bm", "%72m", "ｒｍ"))
		}
		return b.String()
	}
	fails := 0
	for i := 0; i < 200 && fails < 10; i++ {
		var exprs []string
		var docs strings.Builder
		for len(exprs) < 12 {
			e := gen(3)
			if e == "" || strings.ContainsAny(e, "'\n") {
				continue
			}
			if _, err := regexp.Compile(e); err != nil {
				continue
			}
			fmt.Fprintf(&docs, "---\napiVersion: sallyport.dev/v1alpha1\nkind: Guardrail\nmetadata: {name: g%d}\nspec: {on: [prompt, toolResult], match: {regex: '%s'}, action: alert}\n", len(exprs), e)
			exprs = append(exprs, e)
		}
		s, err := LoadFS(fstest.MapFS{"a.yaml": {Data: []byte(docs.String())}})
		if err != nil {
			t.Fatal(err)
		}
		for j := 0; j < 10; j++ {
			step := &pipeline.Step{Kind: pipeline.StepPrompt, Text: genText()}
			v := s.Decide(&pipeline.Meta{}, &pipeline.Call{}, step)
			got := map[string]bool{}
			for _, m := range v.Matched {
				got[m.Rule] = true
			}
			for k, e := range exprs {
				re := regexp.MustCompile(e)
				want := false
				for _, c := range carrier.Read(nil, step) {
					want = want || re.MatchString(c.Text)
					forms, _ := fold.Forms(nil, c.Text, false)
					for _, f := range forms {
						want = want || re.MatchString(f.Text)
					}
				}
				if want != got[fmt.Sprintf("guardrail/g%d", k)] {
					fails++
					t.Errorf("%q on %q: engine %v, regexp %v", e, step.Text, !want, want)
				}
			}
		}
	}
}
