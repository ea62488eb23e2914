// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

var olderActions = []string{"cut", "list", "leave"}

// olderOf checks what a scope says about older connections and fills in what it does not say.
func olderOf(p *problems, in older, mode string, line func(at ...any) int) Older {
	out := DefaultOlder(mode)
	out.Action = cmp.Or(in.Action, out.Action)
	if !slices.Contains(olderActions, out.Action) {
		p.add(line("older", "action"), "older.action %q is not known: use %s", out.Action, strings.Join(olderActions, ", "))
	} else if out.Action == "cut" && mode != "enforce" {
		p.add(line("older", "action"), "older.action cut needs mode enforce, no other mode touches a connection: use list")
	} else if out.Action == "list" && mode == "off" {
		p.add(line("older", "action"), "older.action list in a scope that is off: remove it, or use mode discover")
	}
	for _, d := range []struct {
		key, text string
		to        *time.Duration
	}{{"idle", in.Idle, &out.Idle}, {"deadline", in.Deadline, &out.Deadline}} {
		if d.text == "" {
			continue
		}
		var ok bool
		if *d.to, ok = duration(d.text); !ok {
			p.add(line("older", d.key), "older.%s %q is no duration: give a number with a unit, such as 5s", d.key, d.text)
		}
	}
	return out
}
