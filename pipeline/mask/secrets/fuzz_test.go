// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"strings"
	"testing"
)

// FuzzRules feeds the checks with texts made of pieces that rules look for: none may fail, and what is found lies in the text.
func FuzzRules(f *testing.F) {
	set := newSet(f)
	for i, t := range found {
		text, _ := newMaker(uint64(i)).fill(t)
		f.Add(text, byte(i))
	}
	for i, t := range innocentTexts {
		text, _ := newMaker(uint64(i)).fill(t)
		f.Add(text, byte(i))
	}
	pieces := strings.Split("password|=|: |\"|'|`|\\\"|&quot;|\\u0022|value|Bearer |, |\n|->|://|@|:|key|api_|secret|token|-p |curl -u | is |$|{{|%3A%2F%2F|%40|**|(|)|[]byte(|sid=|Basic |é|пароль", "|")
	f.Fuzz(func(t *testing.T, text string, n byte) {
		if len(text) > 600 {
			text = text[:600]
		}
		at := 0
		if len(text) > 0 {
			at = int(n) % len(text)
		}
		text = text[:at] + pieces[int(n)%len(pieces)] + text[at:]
		for _, s := range set.Find([]byte(text)) {
			if s.Start < 0 || s.End > len(text) || s.Start >= s.End {
				t.Errorf("%s finds [%d, %d) in %d bytes", s.Rule.Name, s.Start, s.End, len(text))
			}
		}
	})
}
