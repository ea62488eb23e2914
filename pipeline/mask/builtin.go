// SPDX-License-Identifier: Apache-2.0

package mask

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

func builtin() []*rule.Rule { return nil }
