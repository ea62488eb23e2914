// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// defaultElevation is for how long a role is asked for after a denial, unless somebody says.
const defaultElevation = 30 * time.Minute

func elevateCommand() command {
	return command{
		name: "elevate", short: "ask for a role for a time, for yourself or for what was denied",
		long: `Another person has to approve (sallyport grants approve); then the role is in force at once and ends by itself.

  sallyport elevate --role writer --for 30m --reason "release 1.2"   the programs that you start get the role
  sallyport elevate --for dec_0190… --reason "release 1.2"           whoever was denied there gets a role that allows it, for 30m
  sallyport elevate --for dec_0190… --until-session-end --reason T   likewise, for as long as that conversation goes on

If several roles would allow what was denied, they are listed: choose with --role. From inside a protected workload it is for
that workload.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			var r adminapi.ElevationRequest
			var length time.Duration
			take := func(s string) error {
				if strings.HasPrefix(s, "dec_") || strings.HasPrefix(s, "exc_") {
					r.Decision = s
					return nil
				}
				d, err := time.ParseDuration(s)
				if err != nil || d < time.Second || d%time.Second != 0 {
					return fmt.Errorf("want a duration in whole seconds like 30m, or the ID of a denial like dec_0190…")
				}
				length = d
				return nil
			}
			fs.StringVar(&r.Role, "role", "", "the `name` of the role")
			fs.Func("for", "a duration like 30m, or the `ID` of what was denied; may be given twice, for both", take)
			fs.BoolVar(&r.UntilSessionEnd, "until-session-end", false, "for as long as the session goes on in which it was denied")
			fs.StringVar(&r.Reason, "reason", "", "`text` for whoever decides, and for the record; needed")
			fs.BoolVar(&r.DryRun, "dry-run", false, "only say what would be asked for")
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				switch {
				case strings.TrimSpace(r.Reason) == "":
					return wrong("needs --reason TEXT")
				case r.Role == "" && r.Decision == "":
					return wrong("say which --role, or --for which denial (dec_…)")
				case r.UntilSessionEnd && r.Decision == "":
					return wrong("--until-session-end needs --for dec_…, which says of which session")
				case r.UntilSessionEnd && length != 0:
					return wrong("--until-session-end and a duration exclude each other")
				case !r.UntilSessionEnd && length == 0 && r.Decision == "":
					return wrong("say for how long: --for 30m")
				case !r.UntilSessionEnd && length == 0:
					length = defaultElevation
				}
				r.Seconds = int64(length / time.Second)
				c := a.client()
				defer c.Close()
				e, err := c.Elevate(ctx, r)
				if err != nil {
					return err
				}
				if a.format == "json" {
					return a.printJSON(e)
				}
				if r.DryRun {
					fmt.Fprintf(a.out, "would ask for role %s for %s, %s\n", clean(e.Role), clean(subject(&e)), lasting(&e))
					fmt.Fprintf(a.out, "to be approved by %s (%d needed)\n", clean(deciders(e.Groups)), e.Needed)
					return nil
				}
				return a.tellElevation(&e)
			}
		},
	}
}

func grantsCommand() command {
	return command{
		name: "grants", args: "[list]", short: "which roles are granted for a time, or wait for somebody to grant them",
		long: "Operators see everything, others what is for their groups and what they asked for themselves.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			query := queryFlags(fs)
			return func(ctx context.Context, args []string) error {
				if len(args) > 0 && args[0] == "list" { // as other listings have it
					args = args[1:]
				}
				q, err := query(args)
				if err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				list, err := c.Elevations(ctx, q)
				if err != nil {
					return err
				}
				if a.format == "json" {
					return a.printJSON(list)
				}
				if len(list) == 0 {
					_, err := fmt.Fprintln(a.out, "no role is granted for a time, and none is asked for")
					return err
				}
				rows := [][]string{{"ELEVATION", "STATE", "ROLE", "WHO", "LENGTH", "UNTIL", "ASKED BY", "APPROVED", "BY", "USED", "REASON"}}
				for i := range list {
					e := &list[i]
					rows = append(rows, []string{e.ID, e.State, e.Role, subject(e), lasting(e), at(deadline(e.State, e.Expires, e.Until)), person(e.By),
						fmt.Sprintf("%d of %d", e.Given, e.Needed), deciders(e.Groups), fmt.Sprint(len(e.Uses)), e.Reason})
				}
				return a.table(rows)
			}
		},
	}
}

func grantsApproveCommand() command {
	return command{
		name: "grants approve", args: "ID", short: "grant a role that somebody asked for",
		long: "You approve as the person who logged in, also behind sudo; nobody grants what they asked for, or what they get.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			reason := fs.String("reason", "", "`text` for the record")
			length := fs.Duration("for", 0, "for this `duration` only (default: as asked for)")
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 {
					return wrong("takes one ID, like elv_0190… (see sallyport grants)")
				}
				if *length < 0 || *length%time.Second != 0 {
					return wrong("--for %s: want whole seconds", *length)
				}
				return a.decideElevation(ctx, args[0], adminapi.ElevationDecision{Approve: true, Seconds: int64(*length / time.Second), Reason: *reason})
			}
		},
	}
}

func grantsDenyCommand() command {
	return command{
		name: "grants deny", args: "ID", short: "do not grant a role that somebody asked for",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			reason := fs.String("reason", "", "`text` for the record and for whoever asked; needed")
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 || strings.TrimSpace(*reason) == "" {
					return wrong("takes one ID, like elv_0190…, and --reason TEXT")
				}
				return a.decideElevation(ctx, args[0], adminapi.ElevationDecision{Reason: *reason})
			}
		},
	}
}

func grantsRevokeCommand() command {
	return command{
		name: "grants revoke", args: "ID", short: "end a granted role at once, also for what runs",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			reason := fs.String("reason", "", "`text` for the record; needed")
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 || strings.TrimSpace(*reason) == "" {
					return wrong("takes one ID, like elv_0190…, and --reason TEXT")
				}
				c := a.client()
				defer c.Close()
				e, err := c.RevokeElevation(ctx, args[0], adminapi.Revocation{Reason: *reason})
				if err != nil {
					return err
				}
				return a.tellElevation(&e)
			}
		},
	}
}

func (a *app) decideElevation(ctx context.Context, id string, d adminapi.ElevationDecision) error {
	c := a.client()
	defer c.Close()
	e, err := c.DecideElevation(ctx, id, d)
	if err != nil {
		return err
	}
	return a.tellElevation(&e)
}

// tellElevation says how an elevation stands.
func (a *app) tellElevation(e *adminapi.Elevation) error {
	if a.format == "json" {
		return a.printJSON(e)
	}
	state := e.State
	switch e.State {
	case adminapi.StateWaiting:
		state = fmt.Sprintf("waits until %s for %s to approve it (%d of %d have)", at(e.Expires), deciders(e.Groups), e.Given, e.Needed)
	case adminapi.StateActive:
		state = "active until its session ends"
		if !e.Until.IsZero() {
			state = "active until " + at(e.Until)
		}
	}
	fmt.Fprintf(a.out, "%s (role %s for %s): %s\n", clean(e.ID), clean(e.Role), clean(subject(e)), a.paint(stateColour(e.State), clean(state)))
	if e.Note != "" {
		fmt.Fprintln(a.out, clean(oneLine(e.Note)))
	}
	if e.State == adminapi.StateWaiting {
		fmt.Fprintf(a.out, "sallyport grants approve %s\n", clean(e.ID))
	}
	return nil
}

// subject says who gets a role.
func subject(e *adminapi.Elevation) string {
	var out []string
	if e.Principal.SPIFFEID != "" {
		out = append(out, e.Principal.SPIFFEID)
	}
	if e.Principal.User != "" {
		out = append(out, "user "+e.Principal.User)
	}
	if e.UID != nil {
		out = append(out, fmt.Sprintf("uid %d", *e.UID))
	}
	if e.Workload != "" {
		out = append(out, "of "+e.Workload)
	}
	if e.Session != "" {
		out = append(out, "in "+e.Session)
	}
	return or(strings.Join(out, " "), "nobody")
}

func lasting(e *adminapi.Elevation) string {
	if e.Seconds == 0 {
		return "until the session ends"
	}
	return (time.Duration(e.Seconds) * time.Second).String()
}
