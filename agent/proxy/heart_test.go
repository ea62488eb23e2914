// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strings"
	"testing"
)

// The heart beats while accept loops run and none of them hangs. w: a loop waits, t: it has a connection, e: it ended, a
// digit before: which one; ! and 0: the heart looks, and beats or not.
func TestPulse(t *testing.T) {
	for _, c := range []struct{ name, loops, script string }{
		{"waiting", "0", "0w ! ! !"},
		{"not begun", "0", "0"},
		{"begun between two looks", "0", "0 0w !"},
		{"takes connections", "0", "0w ! 0t 0w ! 0t !"},
		{"took one and has it in hand", "0", "0w ! 0t ! 0w !"},
		{"hangs", "0", "0w ! 0t ! 0 0"},
		{"hangs, and goes on", "0", "0w ! 0t ! 0 0w !"},
		{"hangs, goes on, hangs", "0", "0w 0t ! 0 0w 0t ! 0"},
		{"ended", "0", "0w ! 0e 0 0"},
		{"one of two hangs", "01", "0w 1w ! 1t ! 0 0w 0 1w !"},
		{"one of two ended", "01", "0w 1w ! 1e ! !"},
		{"one of two ended with a connection in hand", "01", "0w 1w ! 1t 1e ! !"},
		{"both ended", "01", "0w 1w ! 1e 0e 0"},
		{"no loop at all", "", "0 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pulses := make([]*pulse, len(c.loops))
			for i := range pulses {
				pulses[i] = &pulse{}
			}
			for i, step := range strings.Fields(c.script) {
				if step == "!" || step == "0" {
					if got := alive(pulses); got != (step == "!") {
						t.Fatalf("look %d of %q: beats %v", i, c.script, got)
					}
					continue
				}
				p := pulses[step[0]-'0']
				switch step[1] {
				case 'w':
					p.wait()
				case 't':
					p.turn()
				case 'e':
					p.end()
				}
			}
		})
	}
}
