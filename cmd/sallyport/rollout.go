// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

func rolloutStatusCommand() command {
	return command{
		name: "rollout status", short: "how far each scope enforces, and what enforcing more would refuse",
		long: `For each scope: its mode, the share of its instances that is enforced (canary), how many instances of each kind connected
since the daemon started, and by rule the verdicts that were not enforced and would have been. If those are what should be
refused, or there are none, it is safe to widen: raise canary, or drop enforcement: observe from the rule. sallyport why ID
explains an example. Counted are the verdicts that the daemon's index has, the newest 20,000 exchanges.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			since := fs.String("since", "7d", "verdicts since this `time`, or of this age")
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				t, err := parseSince(*since, time.Now())
				if err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				r, err := c.Rollout(ctx, t)
				if err != nil {
					return err
				}
				return a.showRollout(&r)
			}
		},
	}
}

func (a *app) showRollout(r *adminapi.Rollout) error {
	if a.format == "json" {
		return a.printJSON(r)
	}
	if len(r.Scopes) == 0 {
		_, err := fmt.Fprintln(a.out, "no scope is configured: nothing is protected (see protect in the configuration)")
		return err
	}
	rows := [][]string{{"SCOPE", "MODE", "CANARY", "INSTANCES ENFORCED", "OBSERVED", "WOULD BE REFUSED OR CHANGED", "WAS"}}
	sum := func(list []adminapi.RolloutRule) (n int) {
		for _, x := range list {
			n += x.Count
		}
		return n
	}
	for _, s := range r.Scopes {
		rows = append(rows, []string{s.Name, s.Mode, or(s.Canary, "-"), strconv.Itoa(s.Enforced), strconv.Itoa(s.Observed), strconv.Itoa(sum(s.Would)), strconv.Itoa(sum(s.Did))})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	rows = [][]string{{"SCOPE", "WOULD", "RULE", "COUNT", "CALLERS", "LAST", "EXAMPLE"}}
	for _, s := range r.Scopes {
		for _, x := range s.Would {
			rows = append(rows, []string{s.Name, x.Action, x.Rule, strconv.Itoa(x.Count), strconv.Itoa(x.Callers), clock(x.Last), x.Example})
		}
	}
	if len(rows) == 1 {
		_, err := fmt.Fprintln(a.out, "\nnothing would be refused or changed that is not")
		return err
	}
	fmt.Fprintln(a.out)
	return a.table(rows)
}
