// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/reference"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

func newSet(t testing.TB) *reference.Set {
	set, err := reference.New(Rules(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestFound fills each template with many values: all of each value must be covered, and no letter or digit beside it.
func TestFound(t *testing.T) {
	set := newSet(t)
	const seeds = 8
	bad, all := 0, 0
	for _, template := range found {
		for seed := range uint64(seeds) {
			all++
			text, values := newMaker(seed).fill(template)
			if why := judge(set.Find([]byte(text)), text, values); why != "" {
				bad++
				t.Logf("seed %d: %s\n\t%q", seed, why, text)
			}
		}
	}
	// Random passwords may look like words or like code now and then: that share is held here.
	if 100*bad > all {
		t.Errorf("%d of %d texts are not masked as they should be", bad, all)
	}
}

func judge(spans []rule.Span, text string, values [][2]int) string {
	covered := make([]bool, len(text))
	var names []string
	for _, s := range spans {
		names = append(names, fmt.Sprintf("%s[%s]", s.Rule.Name, text[s.Start:s.End]))
		for i := s.Start; i < s.End; i++ {
			covered[i] = true
		}
	}
	inside := make([]bool, len(text))
	for _, v := range values {
		for i := v[0]; i < v[1]; i++ {
			inside[i] = true
		}
	}
	for i := range text {
		if rule.Any.Has(text[i]) && covered[i] != inside[i] {
			what := "a byte of a value is not masked: "
			if covered[i] {
				what = "an innocent byte is masked: "
			}
			return fmt.Sprintf("%s%q; found %s", what, text[i:min(len(text), i+12)], strings.Join(names, " "))
		}
	}
	return ""
}

// TestInnocent: nothing in these texts is a secret.
func TestInnocent(t *testing.T) {
	set := newSet(t)
	for _, template := range innocentTexts {
		for seed := range uint64(4) {
			text, _ := newMaker(seed).fill(template)
			if why := judge(set.Find([]byte(text)), text, nil); why != "" {
				t.Errorf("%s\n\t%q", why, text)
			}
		}
	}
}
