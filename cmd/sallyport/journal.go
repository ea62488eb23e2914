// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// defaultJournal is record.dir unless the configuration says otherwise.
const defaultJournal = "/var/lib/sallyport/journal"

func journalVerifyCommand() command {
	return command{
		name: "journal verify", args: "[DIR]", short: "is the record whole: checksums, digests, hash chain",
		long: `Reads every record of DIR (` + defaultJournal + `), also while the daemon writes to it. Needs no daemon, but the
right to read the folder: root. Exit status 1 if something is wrong.

A whole chain says that nothing in it was changed or left out. It cannot say that the newest records or the oldest
segments were not taken away, or that root did not write all of it anew: compare the head with one noted elsewhere.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			formatFlag(a, fs)
			return func(_ context.Context, args []string) error {
				dir := defaultJournal
				switch len(args) {
				case 0:
				case 1:
					dir = args[0]
				default:
					return wrong("takes one folder, got also %q", args[1])
				}
				rep, err := journal.Verify(dir)
				if err != nil {
					return fmt.Errorf("verifying the journal: %w", err)
				}
				return a.showReport(dir, &rep)
			}
		},
	}
}

func (a *app) showReport(dir string, rep *journal.Report) error {
	if a.format == "json" {
		err := a.printJSON(rep)
		if !rep.OK {
			err = errors.Join(err, errNo)
		}
		return err
	}
	head := fmt.Sprintf("%x", rep.Head[:])
	rows := [][]string{
		{"records", fmt.Sprintf("%d, %s in %s", rep.Records, size(rep.Bytes), plural(rep.Segments, "segment"))},
		{"starts of the daemon", fmt.Sprint(rep.Generations)},
		{"from", clock(rep.From)},
		{"to", clock(rep.To)},
		{"head", head},
	}
	if rep.First > 1 {
		rows = append(rows, []string{"begins with", fmt.Sprintf("segment %d: older ones are not here", rep.First)})
	}
	if rep.Gaps > 0 {
		rows = append(rows, []string{"gaps", fmt.Sprintf("%d: the record says itself where something may be missing", rep.Gaps)})
	}
	if rep.Torn > 0 {
		rows = append(rows, []string{"unfinished", fmt.Sprintf("%d bytes at the end: a write under way, or cut by a crash", rep.Torn)})
	}
	if !rep.Clean {
		rows = append(rows, []string{"end", "open: the daemon runs, or ended without closing it"})
	}
	if !rep.OK {
		fmt.Fprintln(a.out, a.paint(red, "damaged"))
		if err := a.table(rows); err != nil {
			return err
		}
		where := "the journal is not what the daemon wrote"
		if rep.Problem != nil {
			where = rep.Problem.Error()
		}
		return fmt.Errorf("%s (the %d records before it are whole): keep a copy of %s as evidence", where, rep.Records, dir)
	}
	fmt.Fprintln(a.out, a.paint(green, "whole"))
	return a.table(rows)
}
