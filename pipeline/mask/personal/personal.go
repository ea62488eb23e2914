// SPDX-License-Identifier: Apache-2.0

package personal

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

// What stands for a blank and for a dash where numbers must not be broken, or look nice: U+00A0, U+2009, U+202F; U+2010 to U+2013.
const (
	blanks = `\x{a0}\x{2009}\x{202f}`
	dashes = `\x{2010}-\x{2013}`
)

// Rules returns the rules for personal data that has a form. All of them are closed.
func Rules() []*rule.Rule {
	l := newLexicon()
	rules := []*rule.Rule{mailRule()}
	rules = append(rules, l.accounts()...)
	rules = append(rules, l.ssnRule())
	rules = append(rules, l.births()...)
	rules = append(rules, l.papers()...)
	rules = append(rules, l.hosts()...)
	return append(rules, l.phoneRule())
}
