// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// showTree writes which exchange of a session goes on from which, and where the results of tool calls came back.
func (a *app) showTree(s *adminapi.Session) error {
	here := map[string]bool{}
	children := map[string][]*adminapi.Exchange{}
	for i := range s.Exchanges {
		x := &s.Exchanges[i]
		parent := ""
		if here[x.Parent] { // exchanges are in the order of time: so nothing goes on from itself
			parent = x.Parent
		}
		children[parent] = append(children[parent], x)
		here[x.ExchangeID] = true
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s from %s on\n", a.paint(bold, clean(s.ID)), plural(s.Count, "exchange"), seconds(s.Started))
	// Turn after turn a conversation is one child deep: it is written in one column, and only branches are indented.
	var draw func(x *adminapi.Exchange, first, below string)
	draw = func(x *adminapi.Exchange, first, below string) {
		for {
			a.treeLine(&b, x, first, below)
			next := children[x.ExchangeID]
			if len(next) != 1 {
				for i, n := range next {
					if i < len(next)-1 {
						draw(n, below+"├─ ", below+"│  ")
					} else {
						draw(n, below+"└─ ", below+"   ")
					}
				}
				return
			}
			x, first = next[0], below
		}
	}
	for _, x := range children[""] {
		draw(x, "", "")
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func (a *app) treeLine(b *strings.Builder, x *adminapi.Exchange, first, below string) {
	verdict := x.Verdict.Action
	if x.Verdict.Rule != "" && verdict != "allow" {
		verdict += " by " + x.Verdict.Rule
	}
	fmt.Fprintf(b, "%s%s  %s  %s  %s\n", first, x.Time.Local().Format("15:04:05"), clean(x.ExchangeID), clean(oneLine(or(strings.TrimSpace(x.Operation+" "+x.Model), x.Request.Target))),
		a.paint(actionColour(x.Verdict.Action), clean(oneLine(verdict))))
	for _, t := range x.Tools {
		line := "· " + t.Name
		if t.Action != "allow" {
			line += "  " + t.Action
		}
		if t.ResultIn != "" {
			line += "  → " + t.ResultIn
		}
		fmt.Fprintf(b, "%s  %s\n", below, clean(oneLine(line)))
	}
}
