// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow further before it is collected: what lives is a few megabytes, garbage is made by each
// exchange, and collecting each 4 MB cost a twelfth of the time under load.
const gcPercent = 300

// tuneGC leaves an operator's own GOGC alone.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
