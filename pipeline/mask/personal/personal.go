// SPDX-License-Identifier: Apache-2.0

package personal

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

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
