// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline/mask/personal"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
	"github.com/sallyport-dev/sallyport/pipeline/mask/secrets"
)

// builtin lists the rules that are part of the program.
func builtin() []*rule.Rule { return slices.Concat(secrets.Rules(), personal.Rules()) }
