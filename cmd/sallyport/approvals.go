// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

func approvalsListCommand() command {
	return command{
		name: "approvals list", short: "what is held for people to decide, as far as you may decide it",
		long: "Operators see everything, others what is for their groups. sallyport approvals show ID shows what will be released.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			query := queryFlags(fs)
			return func(ctx context.Context, args []string) error {
				q, err := query(args)
				if err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				list, err := c.Approvals(ctx, q)
				if err != nil {
					return err
				}
				if a.format == "json" {
					return a.printJSON(list)
				}
				if len(list) == 0 {
					_, err := fmt.Fprintln(a.out, "nothing waits for you")
					return err
				}
				rows := [][]string{{"APPROVAL", "STATE", "UNTIL", "WHAT", "WHO", "RULE", "APPROVED", "BY"}}
				for i := range list {
					p := &list[i]
					rows = append(rows, []string{p.ID, p.State, at(deadline(p.State, p.Expires, p.Until)), heldThing(p), who(p.Principal, p.Workload), p.Rule,
						fmt.Sprintf("%d of %d", p.Given, p.Needed), deciders(p.Groups)})
				}
				return a.table(rows)
			}
		},
	}
}

// queryFlags declares what listings of approvals and elevations have in common.
func queryFlags(fs *flag.FlagSet) func(args []string) (adminapi.StateQuery, error) {
	every := fs.Bool("all", false, "also what is over, as far as the daemon remembers")
	state := fs.String("state", "", "only those in this `state`")
	since := fs.String("since", "", "only those asked for since `when`: an age like 30m, 12h or 7d, a date, or an RFC 3339 time")
	limit := fs.Int("limit", 50, "at most `n`, up to 1000")
	return func(args []string) (q adminapi.StateQuery, err error) {
		if err := noArgs(args); err != nil {
			return q, err
		}
		if *limit < 1 || *limit > 1000 {
			return q, wrong("--limit %d: want 1 to 1000", *limit)
		}
		if *every && *state != "" {
			return q, wrong("--all and --state exclude each other")
		}
		q = adminapi.StateQuery{State: *state, Limit: *limit}
		if *every {
			q.State = adminapi.StateAll
		}
		q.Since, err = parseSince(*since, time.Now())
		return q, err
	}
}

func approvalsShowCommand() command {
	return command{
		name: "approvals show", args: "ID", short: "exactly what will be released if it is approved, for whom, and why it is held",
		long: "Contents are masked as they will be. Reading is recorded.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 {
					return wrong("takes one ID, like apr_0190… (see sallyport approvals list)")
				}
				c := a.client()
				defer c.Close()
				p, err := c.Approval(ctx, args[0])
				if err != nil {
					return err
				}
				return a.showApproval(&p)
			}
		},
	}
}

func approvalsApproveCommand() command {
	return command{
		name: "approvals approve", args: "ID", short: "release what is held",
		long: `You approve as the person who logged in, also behind sudo; nobody approves what they caused. The approval is for exactly what
sallyport approvals show shows, one time; with --scope session, for the same tool with the same arguments as often as that
session calls it, but for the arguments that --free names, until --for is over at the latest.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			d := adminapi.ApprovalDecision{Approve: true}
			fs.StringVar(&d.Scope, "scope", "", "how `far` it reaches: once or session (default once)")
			free := fs.String("free", "", "with --scope session: `arguments` that may differ, with commas between")
			length := fs.Duration("for", 0, "with --scope session: for this `duration` at most (default: what the rule allows)")
			fs.StringVar(&d.Reason, "reason", "", "`text` for the record")
			dry := dryFlag(fs)
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 {
					return wrong("takes one ID, like apr_0190… (see sallyport approvals list)")
				}
				if d.Scope != "" && d.Scope != adminapi.ScopeOnce && d.Scope != adminapi.ScopeSession {
					return wrong("--scope %q: want once or session", d.Scope)
				}
				if (*free != "" || *length != 0) && d.Scope != adminapi.ScopeSession {
					return wrong("--free and --for need --scope session")
				}
				if *length < 0 || *length%time.Second != 0 {
					return wrong("--for %s: want whole seconds", *length)
				}
				d.Seconds = int64(*length / time.Second)
				if *free != "" {
					d.Free = strings.Split(*free, ",")
				}
				return a.decideApproval(ctx, args[0], d, *dry)
			}
		},
	}
}

func approvalsDenyCommand() command {
	return command{
		name: "approvals deny", args: "ID", short: "refuse what is held",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			var d adminapi.ApprovalDecision
			fs.StringVar(&d.Reason, "reason", "", "`text` for the record and for whoever asks why; needed")
			dry := dryFlag(fs)
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 || strings.TrimSpace(d.Reason) == "" {
					return wrong("takes one ID, like apr_0190…, and --reason TEXT")
				}
				return a.decideApproval(ctx, args[0], d, *dry)
			}
		},
	}
}

func approvalsRevokeCommand() command {
	return command{
		name: "approvals revoke", args: "ID", short: "take back what was approved, if it is still good for something",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			reason := fs.String("reason", "", "`text` for the record; needed")
			dry := dryFlag(fs)
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 || strings.TrimSpace(*reason) == "" {
					return wrong("takes one ID, like apr_0190…, and --reason TEXT")
				}
				c := a.client()
				defer c.Close()
				if *dry {
					return a.dryApproval(ctx, c, args[0])
				}
				p, err := c.RevokeApproval(ctx, args[0], adminapi.Revocation{Reason: *reason})
				if err != nil {
					return err
				}
				return a.tellApproval(&p)
			}
		},
	}
}

func dryFlag(fs *flag.FlagSet) *bool {
	return fs.Bool("dry-run", false, "only show what it is about")
}

func (a *app) decideApproval(ctx context.Context, id string, d adminapi.ApprovalDecision, dry bool) error {
	c := a.client()
	defer c.Close()
	if dry {
		return a.dryApproval(ctx, c, id)
	}
	p, err := c.DecideApproval(ctx, id, d)
	if err != nil {
		return err
	}
	return a.tellApproval(&p)
}

func (a *app) dryApproval(ctx context.Context, c *adminapi.Client, id string) error {
	p, err := c.Approval(ctx, id)
	if err != nil {
		return err
	}
	return a.showApproval(&p)
}

// tellApproval says what became of an approval after somebody decided.
func (a *app) tellApproval(p *adminapi.Approval) error {
	if a.format == "json" {
		return a.printJSON(p)
	}
	state := p.State
	switch {
	case p.State == adminapi.StateWaiting:
		state = fmt.Sprintf("%d of %d have approved: it waits for somebody else to approve it too", p.Given, p.Needed)
	case p.State == adminapi.StateApproved && !p.Until.IsZero():
		state += ", good until " + at(p.Until)
	}
	fmt.Fprintf(a.out, "%s (%s): %s\n", clean(p.ID), clean(oneLine(heldThing(p))), a.paint(stateColour(p.State), clean(state)))
	if p.Note != "" {
		fmt.Fprintln(a.out, clean(oneLine(p.Note)))
	}
	return nil
}

func (a *app) showApproval(p *adminapi.Approval) error {
	if a.format == "json" {
		return a.printJSON(p)
	}
	fmt.Fprintf(a.out, "%s: %s\n\n", clean(oneLine(heldThing(p))), a.paint(stateColour(p.State), clean(p.State)))
	rows := [][]string{
		{"held by", p.Rule},
		{"reason", or(p.Reason, "none given")},
		{"who", whoExactly(p.Principal, p.Workload.UID)},
		{"runs in", fmt.Sprintf("%s, process %d (%s)", what(p.Workload), p.Workload.PID, or(p.Workload.Comm, "unknown"))},
		{"scope", or(p.Scope, "none")},
		{"asks for", strings.TrimSpace(p.Operation + " " + or(p.Model, "unknown model") + " at " + or(p.Endpoint, "unknown endpoint"))},
		{"asked", at(p.Asked)},
		{"until", at(deadline(p.State, p.Expires, p.Until))},
		{"who decides", deciders(p.Groups)},
		{"approved", fmt.Sprintf("%d of %d", p.Given, p.Needed)},
		{"waiting", fmt.Sprintf("%d connection(s)", p.Waiting)},
		{"session", p.Session},
		{"exchange", p.Exchange},
		{"decision", p.Decision},
		{"approval", p.ID},
	}
	if p.Once {
		rows = append(rows, []string{"reach", "once only"})
	}
	if p.Note != "" {
		rows = append(rows, []string{"note", p.Note})
	}
	rows = append(rows, votes(p.Votes)...)
	if err := a.table(rows); err != nil {
		return err
	}
	text, title := p.Text, "text"
	switch {
	case len(p.Args) > 0:
		text, title = arguments(p.Args), "arguments"
	case p.Body != "":
		text, title = arguments([]byte(p.Body)), "request"
	}
	title += " that will be released, masked"
	if p.Cut {
		title += "; this is the beginning, sallyport sessions show has the whole"
	}
	_, err := fmt.Fprintf(a.out, "\n%s:\n%s\n", title, indent(clean(text)))
	return err
}

// arguments sets JSON so that people can read it; what is none stays as it is.
func arguments(raw []byte) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s // a model's arguments that are no JSON
	}
	var out bytes.Buffer
	if json.Indent(&out, raw, "", "  ") != nil {
		return string(raw)
	}
	return out.String()
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}

func votes(list []adminapi.Vote) (rows [][]string) {
	for _, v := range list {
		did := "denied by"
		if v.Approve {
			did = "approved by"
		}
		said := person(v.By) + " at " + at(v.Time)
		if v.Scope == adminapi.ScopeSession {
			said += ", for the session"
			if len(v.Free) > 0 {
				said += " whatever " + strings.Join(v.Free, ", ")
			}
		}
		if v.Late {
			said += ", when nobody waited any more"
		}
		if v.Reason != "" {
			said += ": " + v.Reason
		}
		rows = append(rows, []string{did, said})
	}
	return rows
}

func heldThing(p *adminapi.Approval) string {
	if p.Tool != "" {
		return p.Kind + " " + p.Tool
	}
	return strings.TrimSpace(p.Kind + " " + p.Operation + " " + p.Model)
}

func person(p adminapi.Person) string { return or(p.User, fmt.Sprintf("uid %d", p.UID)) }

func whoExactly(p adminapi.Principal, uid uint32) string {
	out := or(p.SPIFFEID, "unknown identity")
	if p.User != "" {
		out += ", user " + p.User
	}
	return fmt.Sprintf("%s, uid %d", out, uid)
}

func deciders(groups []string) string { return or(strings.Join(groups, ", "), "operators") }

// deadline is the time that matters in a state.
func deadline(state string, expires, until time.Time) time.Time {
	if state == adminapi.StateWaiting {
		return expires
	}
	return until
}

func at(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return seconds(t)
}

func stateColour(state string) string {
	switch state {
	case adminapi.StateWaiting:
		return yellow
	case adminapi.StateApproved, adminapi.StateActive, adminapi.StateUsed:
		return green
	default:
		return red
	}
}
