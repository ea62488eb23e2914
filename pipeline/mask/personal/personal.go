// SPDX-License-Identifier: Apache-2.0

package personal

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

// Rules returns the rules for personal data that has a form. All of them are closed.
func Rules() []*rule.Rule {
	return nil
}
