// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

func trustStatusCommand() command {
	return command{
		name: "trust status", short: "which trust stores were changed, and which processes are known to trust our root",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				t, err := c.Trust(ctx)
				if err != nil {
					return err
				}
				if a.format == "json" {
					return a.printJSON(t)
				}
				rows := [][]string{{"ROOT", "SHA-256", "VALID UNTIL"}}
				for _, r := range t.Roots {
					rows = append(rows, []string{r.Subject, short(r.SHA256), r.NotAfter.Local().Format("2006-01-02")})
				}
				if err := a.table(rows); err != nil {
					return err
				}
				fmt.Fprintln(a.out)
				if t.Host.Mode != "" {
					fmt.Fprintln(a.out, strings.TrimSuffix("programs of the host: "+t.Host.Mode+", "+cmp.Or(t.Host.Tool, t.Host.Problem), ", "))
				}
				if len(t.Entries) == 0 {
					fmt.Fprintln(a.out, "no trust store is changed")
				} else if err := a.showEntries(t.Entries); err != nil {
					return err
				}
				return a.showTrusting(t.Processes)
			}
		},
	}
}

// trustStates are the states of a process in words.
var trustStates = map[string]string{
	"handshake": "proven: it completed a handshake",
	"opened":    "proven: it read a store that holds our root",
	"unread":    "unproven",
	"missing":   "unproven",
	"refused":   "refused our certificate",
}

// showTrusting shows processes, and below each that is not proven why and what to do.
func (a *app) showTrusting(list []adminapi.TrustProcess) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	rows := [][]string{{"PROCESS", "KIND", "ENDPOINT", "TRUST"}}
	for _, p := range list {
		rows = append(rows, []string{strings.TrimSpace(fmt.Sprintf("%d %s", p.PID, p.Comm)), or(p.Kind, "-"), p.Host, or(trustStates[p.State], p.State)})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	for _, p := range list {
		if !p.Proven {
			fmt.Fprintf(a.out, "%d: %s\n", p.PID, clean(oneLine(mended(p))))
		}
	}
	return nil
}

// mended says why a process is not proven and, unless that says it, what to do.
func mended(p adminapi.TrustProcess) string {
	if p.Mend == "" || strings.Contains(p.Why, "sallyport run") {
		return p.Why
	}
	return p.Why + ": " + p.Mend
}

func trustRemoveCommand() command {
	return command{
		name: "trust remove", short: "put every trust store back as it was",
		long: "Programs that still run and go on calling an endpoint will then fail their TLS handshake, and in an enforcing scope be\nrefused. The daemon changes stores again when it meets new programs: stop it first if that is not wanted.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			dry := fs.Bool("dry-run", false, "only say what would be done")
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				r, err := c.TrustRemove(ctx, adminapi.TrustRemoveRequest{DryRun: *dry})
				if err != nil {
					return err
				}
				var failed error
				n := 0
				for _, e := range r.Entries {
					if strings.HasPrefix(e.State, "failed") {
						n++
						failed = errNo
					}
				}
				if a.format == "json" {
					return errors.Join(a.printJSON(r), failed)
				}
				if len(r.Entries) == 0 {
					fmt.Fprintln(a.out, "no trust store is changed")
					return nil
				}
				if err := a.showEntries(r.Entries); err != nil {
					return err
				}
				switch {
				case *dry:
					fmt.Fprintf(a.out, "\n%d would be removed; nothing was changed\n", len(r.Entries))
				case n > 0:
					return fmt.Errorf("%d of %d could not be removed: see their state, and the daemon's log", n, len(r.Entries))
				default:
					fmt.Fprintf(a.out, "\n%d removed\n", len(r.Entries))
				}
				return nil
			}
		},
	}
}

func (a *app) showEntries(entries []adminapi.TrustEntry) error {
	rows := [][]string{{"KIND", "STORE", "PATH", "PROCESS", "STATE"}}
	for _, e := range entries {
		who := "all"
		if e.PID != 0 && e.Kind == "mount" { // files of the host are read by everybody
			who = strings.TrimSpace(fmt.Sprintf("%d %s", e.PID, e.Comm))
		}
		state := e.State
		if state == "applied" && !e.Current {
			state = "applied, not current"
		}
		rows = append(rows, []string{e.Kind, e.Store, e.Path, who, state})
	}
	return a.table(rows)
}
