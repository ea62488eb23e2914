// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

func quarantineCommand() command {
	return command{
		name: "quarantine", args: "SELECTOR", short: "cut a workload off the network at once, list who is cut off, or lift it",
		long: `SELECTOR is unit:NAME, cgroup:/PATH, container:ID, pod:UID, uid:N or spiffe://DOMAIN/PATH. What it connects from then on is
refused in the kernel, whatever the port; the connections that it has are ended. It stays so, also without the daemon, until
--for is over or it is lifted. What the host cannot do without is refused. If there is no daemon, use sallyportd quarantine.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			d := fs.Duration("for", 0, "end by itself after a `duration` (default: until it is lifted)")
			reason := fs.String("reason", "", "`text` for the record; needed to cut off")
			list := fs.Bool("list", false, "only say who is cut off")
			lift := fs.Bool("lift", false, "end the quarantine of SELECTOR")
			return func(ctx context.Context, args []string) error {
				if *list {
					return a.listQuarantines(ctx, args)
				}
				if len(args) != 1 || *d < 0 || *d%time.Second != 0 || *lift && (*d != 0 || *reason != "") || !*lift && *reason == "" {
					return wrong("takes SELECTOR --reason TEXT [--for DURATION, in whole seconds], SELECTOR --lift, or --list")
				}
				c := a.client()
				defer c.Close()
				if *lift {
					q, err := c.LiftQuarantine(ctx, adminapi.QuarantineLift{Selector: args[0]})
					if err != nil {
						return err
					}
					return a.showQuarantine(&q, "lifted")
				}
				q, err := c.Quarantine(ctx, adminapi.QuarantineRequest{Selector: args[0], Seconds: int64(*d / time.Second), Reason: *reason})
				if err != nil {
					return err
				}
				return a.showQuarantine(&q, "cut off")
			}
		},
	}
}

func (a *app) showQuarantine(q *adminapi.Quarantine, what string) error {
	if a.format == "json" {
		return a.printJSON(q)
	}
	if q.Warning != "" {
		fmt.Fprintln(a.out, a.paint(yellow, "warning: "+clean(oneLine(q.Warning))))
	}
	fmt.Fprintf(a.out, "%s is %s", clean(q.Selector), what)
	if what == "cut off" {
		fmt.Fprintf(a.out, " %s; connections ended: %d", until(q.Until), len(q.Cut))
	}
	_, err := fmt.Fprintln(a.out)
	return err
}

func until(t time.Time) string {
	if t.IsZero() {
		return "until it is lifted"
	}
	return "until " + seconds(t)
}

func (a *app) listQuarantines(ctx context.Context, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	c := a.client()
	defer c.Close()
	list, err := c.Quarantines(ctx)
	if err != nil {
		return err
	}
	if a.format == "json" {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(a.out, "nobody is cut off")
		return err
	}
	rows := [][]string{{"SELECTOR", "ENDS", "REFUSED", "CUT", "BY", "REASON"}}
	for _, q := range list {
		rows = append(rows, []string{q.Selector, until(q.Until), fmt.Sprint(q.Refused), fmt.Sprint(len(q.Cut)), fmt.Sprintf("uid %d", q.UID), q.Reason})
	}
	return a.table(rows)
}
