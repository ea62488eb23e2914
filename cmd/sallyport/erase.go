// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// whose declares the flags that say whose records are meant.
func whose(fs *flag.FlagSet) *adminapi.RecordSubject {
	s := new(adminapi.RecordSubject)
	fs.StringVar(&s.Session, "session", "", "the `ID` of one session")
	fs.StringVar(&s.Principal, "principal", "", "all sessions of a `principal`: a SPIFFE ID or a user")
	return s
}

func checkSubject(s *adminapi.RecordSubject) error {
	if (s.Session == "") == (s.Principal == "") {
		return wrong("takes --session ID or --principal SPIFFE-ID-or-user")
	}
	return nil
}

func subjectName(s adminapi.RecordSubject) string {
	if s.Session != "" {
		return "session " + clean(s.Session)
	}
	return "principal " + clean(s.Principal)
}

func eraseCommand() command {
	return command{
		name: "erase", short: "destroy what a session, or everybody of a principal, said: for good",
		long: `Prompts, replies and tool calls are recorded under a key for each session. Their keys are destroyed: nobody can read them
any more, wherever the journal was copied to without its keys. That there was a session, who acted and what was decided stays on
record, and the journal still verifies. Who erased, when, and which sessions is recorded before.

Copies that hold the keys folder (backups, snapshots of the file system) still can be read with it, and so can what was
sent to Elasticsearch: see docs/journal-format.md. What is under legal hold is not erased.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			s := whose(fs)
			reason := fs.String("reason", "", "`text` for the record")
			dry := fs.Bool("dry-run", false, "only say what would be erased")
			yes := fs.Bool("yes", false, "do not ask")
			return func(ctx context.Context, args []string) error {
				if err := errors.Join(noArgs(args), checkSubject(s)); err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				req := adminapi.EraseRequest{RecordSubject: *s, Reason: *reason, DryRun: true}
				e, err := c.Erase(ctx, req)
				if err != nil {
					return err
				}
				if *dry {
					return a.showErasure(&e, "would be erased")
				}
				if !*yes {
					if err := a.showErasure(&e, "will be erased for good"); err != nil {
						return err
					}
					if err := a.confirm("Type erase to go on: ", "erase"); err != nil {
						return err
					}
				}
				req.DryRun, req.Digest = false, e.Digest
				if e, err = c.Erase(ctx, req); err != nil {
					return err
				}
				return a.showErasure(&e, "are erased")
			}
		},
	}
}

// confirm asks for a word.
func (a *app) confirm(question, word string) error {
	fmt.Fprint(a.err, question)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if strings.TrimSpace(line) != word {
		if err != nil {
			return errors.New("not confirmed, nothing was done: use --yes where nobody can be asked")
		}
		return errors.New("not confirmed, nothing was done")
	}
	return nil
}

func (a *app) showErasure(e *adminapi.Erasure, what string) error {
	if a.format == "json" {
		return a.printJSON(e)
	}
	fmt.Fprintf(a.out, "contents of %s, of %s, %s\n", plural(e.Sessions, "session"), subjectName(e.RecordSubject), what)
	for _, id := range e.List {
		fmt.Fprintln(a.out, "  "+clean(id))
	}
	if n := e.Sessions - len(e.List); n > 0 {
		fmt.Fprintf(a.out, "  and %d more\n", n)
	}
	_, err := fmt.Fprintln(a.out, "digest of the list: "+e.Digest)
	return err
}

func holdAddCommand() command {
	return command{
		name: "hold add", short: "keep the records of a session or principal from being erased and from expiring",
		long: "A legal hold: until it is removed, sallyport erase refuses, and record.retention spares it. The hold is recorded.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			s := whose(fs)
			reason := fs.String("reason", "", "`text` for the record; needed")
			return func(ctx context.Context, args []string) error {
				if err := errors.Join(noArgs(args), checkSubject(s)); err != nil {
					return err
				}
				if *reason == "" {
					return wrong("needs --reason TEXT")
				}
				c := a.client()
				defer c.Close()
				if _, err := c.AddHold(ctx, adminapi.HoldRequest{RecordSubject: *s, Reason: *reason}); err != nil {
					return err
				}
				_, err := fmt.Fprintf(a.out, "%s is under hold\n", subjectName(*s))
				return err
			}
		},
	}
}

func holdRemoveCommand() command {
	return command{
		name: "hold remove", short: "end a legal hold",
		long: "What was held can be erased again, and expires when it is due. The release is recorded.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			s := whose(fs)
			reason := fs.String("reason", "", "`text` for the record")
			return func(ctx context.Context, args []string) error {
				if err := errors.Join(noArgs(args), checkSubject(s)); err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				if _, err := c.ReleaseHold(ctx, adminapi.HoldRequest{RecordSubject: *s, Reason: *reason}); err != nil {
					return err
				}
				_, err := fmt.Fprintf(a.out, "%s is under hold no more\n", subjectName(*s))
				return err
			}
		},
	}
}

func holdListCommand() command {
	return command{
		name: "hold list", short: "which records are under legal hold, since when and why",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				list, err := c.Holds(ctx)
				if err != nil {
					return err
				}
				if a.format == "json" {
					return a.printJSON(list)
				}
				if len(list) == 0 {
					_, err := fmt.Fprintln(a.out, "nothing is under hold")
					return err
				}
				rows := [][]string{{"WHAT", "SINCE", "BY", "REASON"}}
				for _, h := range list {
					who := h.User
					if who == "" {
						who = fmt.Sprintf("uid %d", h.UID)
					}
					rows = append(rows, []string{subjectName(h.RecordSubject), clock(h.Since), who, h.Reason})
				}
				return a.table(rows)
			}
		},
	}
}
