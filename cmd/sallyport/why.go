// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

func whyCommand() command {
	return command{
		name: "why", args: "ID|PID", short: "why one thing was allowed, refused, held or changed, or a process is not trusted to trust us",
		long: "ID is that of a decision (dec_…, as in the error that the program got) or of an exchange (exc_…). With the number of a\nprocess: whether it is known to trust our root, and what to do if not. Anybody may ask about their own uid.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 {
					return wrong("takes one ID, like dec_0190…")
				}
				c := a.client()
				defer c.Close()
				id := args[0]
				if _, err := strconv.ParseUint(id, 10, 32); err == nil {
					id = "pid_" + id
				}
				d, err := c.Why(ctx, id)
				if err != nil {
					return err
				}
				if a.format == "json" {
					return a.printJSON(d)
				}
				return a.showDecision(&d)
			}
		},
	}
}

func (a *app) showDecision(d *adminapi.Decision) error {
	what := d.Stage
	if d.Tool != "" {
		what += " " + d.Tool
	}
	done := d.Action
	if !d.Enforced {
		done += " (not enforced: the scope only observes)"
	}
	fmt.Fprintf(a.out, "%s: %s\n\n", clean(what), a.paint(actionColour(d.Action), clean(done)))
	rows := [][]string{
		{"reason", d.Reason},
		{"rule", or(d.Rule, "none")},
		{"who", fmt.Sprintf("%s, uid %d", or(d.SPIFFEID, "unknown identity"), d.UID)},
		{"scope", or(d.Scope, "none") + " (" + d.Mode + ")"},
		{"asked for", or(d.Model, "unknown model") + " at " + or(d.Endpoint, "unknown endpoint")},
		{"when", clock(d.Time)},
		{"policy", d.Policy},
		{"exchange", d.Exchange},
		{"session", d.Session},
		{"decision", d.ID},
	}
	if d.ID == "" { // an exchange in which nothing was decided but yes
		rows = rows[:len(rows)-1]
	}
	for i, m := range d.Matched {
		title := ""
		if i == 0 {
			title = "matched"
		}
		rows = append(rows, []string{title, m.Rule + ": " + m.Action.String() + map[bool]string{true: " (only observed)"}[m.Observed]})
	}
	if d.Code == pipeline.CodeBudget {
		rows = append(rows, []string{"limit", "used up"})
	}
	if len(d.Removed) > 0 {
		var names []string
		for _, s := range d.Removed {
			names = append(names, s.Name)
		}
		rows = append(rows, []string{"taken out", strings.Join(names, ", ")})
	}
	if d.Approval != "" {
		rows = append(rows, []string{"approval", strings.TrimSpace(d.Approval + " " + d.ApprovalState)})
	}
	if d.Elevation != "" {
		rows = append(rows, []string{"allowed by", d.Elevation + " (a role for a time: sallyport grants --all)"})
	}
	if d.Elevate != "" {
		rows = append(rows, []string{"ask for a role", d.Elevate})
	}
	for i, o := range d.Others {
		title := ""
		if i == 0 {
			title = "also decided"
		}
		what := strings.TrimSpace(o.Stage + " " + o.Tool)
		rows = append(rows, []string{title, fmt.Sprintf("%s: %s by %s (%s)", what, o.Action, or(o.Rule, "no rule"), o.ID)})
	}
	if d.Next != "" {
		rows = append(rows, []string{"what to do", d.Next})
	}
	if d.HelpURL != "" {
		rows = append(rows, []string{"ask for access", d.HelpURL})
	}
	return a.table(rows)
}

// clock shows a time in the zone of whoever asks.
func clock(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.Local().Format("2006-01-02 15:04:05.000 MST")
}

// seconds is clock without fractions, for listings.
func seconds(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

func actionColour(action string) string {
	switch action {
	case "deny":
		return red
	case "hold", "transform", "alert":
		return yellow
	default:
		return green
	}
}
