// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
)

// defaultJournal is record.dir unless the configuration says otherwise.
const defaultJournal = "/var/lib/sallyport/journal"

func journalVerifyCommand() command {
	return command{
		name: "journal verify", args: "[DIR]", short: "is the record whole: checksums, digests, hash chain, signatures, anchors",
		long: `Reads every record of DIR (` + defaultJournal + `), also while the daemon writes to it. Needs no daemon, but the
right to read the folder: root. Exit status 1 if something is wrong.

A whole chain says that nothing in it was changed or left out. It cannot say that the newest records or the oldest
segments were not taken away, or that root did not write all of it anew. Signed checkpoints that were kept elsewhere can:
give them with --anchors, a file or a folder. --key is the public key with which the signatures begin, as DIR/journal.pub had it.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			formatFlag(a, fs)
			anchors := fs.String("anchors", "", "compare with the checkpoints in this `file` or folder, which were kept off the host")
			key := fs.String("key", "", "the public `key`, in hex, with which the signatures have to begin")
			return func(_ context.Context, args []string) error {
				dir, err := journalDir(args)
				if err != nil {
					return err
				}
				o := journal.VerifyOptions{Key: strings.ToLower(*key), Anchored: *anchors != "", Progress: a.progress("records verified")}
				if *anchors != "" {
					if o.Anchors, err = anchor.Read(*anchors); err != nil {
						return err
					}
				}
				rep, err := journal.VerifyWith(dir, o)
				a.endProgress()
				if err != nil {
					return noJournal("verifying the journal", err)
				}
				return a.showReport(dir, &rep)
			}
		},
	}
}

// noJournal says what to do if a folder cannot be read as a journal.
func noJournal(what string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w: give the folder that record.dir of the configuration names", what, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w: only root may read it", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func journalDir(args []string) (string, error) {
	switch len(args) {
	case 0:
		return defaultJournal, nil
	case 1:
		return args[0], nil
	}
	return "", wrong("takes one folder, got also %q", args[1])
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
		why := "older ones were removed by record.retention, as the record says"
		if rep.Unrecorded() {
			why = "older ones are not here, and no record says that they were removed"
		}
		rows = append(rows, []string{"begins with", fmt.Sprintf("segment %d: %s", rep.First, why)})
	}
	if rep.Gaps > 0 {
		rows = append(rows, []string{"gaps", fmt.Sprintf("%d: the record says itself where something may be missing", rep.Gaps)})
	}
	if rep.Torn > 0 {
		rows = append(rows, []string{"unfinished", fmt.Sprintf("%d bytes at the end: a write under way, or cut by a crash", rep.Torn)})
	}
	if rep.Erased > 0 {
		rows = append(rows, []string{"erased", fmt.Sprintf("the contents of %s", plural(int(rep.Erased), "record"))})
	}
	if rep.NoKey > 0 {
		what := fmt.Sprintf("the contents of %s cannot be read: their keys are not here", plural(int(rep.NoKey), "record"))
		if rep.Keys != "" {
			what += ": " + rep.Keys
		}
		rows = append(rows, []string{"no key", what})
	}
	if s := rep.Signatures; s != nil {
		rows = append(rows, []string{"signed", fmt.Sprintf("%s, the last at %s", plural(int(s.Count), "checkpoint"), clock(s.At))},
			[]string{"journal", s.Journal}, []string{"key", fmt.Sprintf("%s (epoch %d)", s.Key, s.First)})
	}
	if rep.Evidence == journal.EvidenceAnchored {
		rows = append(rows, []string{"evidence", fmt.Sprintf("anchored: %s agree, the newest of %s: what is younger rests on this host", plural(rep.Anchors, "checkpoint")+" kept elsewhere", clock(rep.Anchored))})
	} else {
		rows = append(rows, []string{"evidence", "local only: whoever has this host can have written it anew, or cut off its end"})
	}
	if rep.ExpiredAnchors > 0 {
		rows = append(rows, []string{"anchors", fmt.Sprintf("%d of records that record.retention removed, as the record says", rep.ExpiredAnchors)})
	}
	if rep.Foreign > 0 {
		rows = append(rows, []string{"anchors", fmt.Sprintf("%d of other journals: is this the one that you mean?", rep.Foreign)})
	}
	if rep.Repairs > 0 {
		rows = append(rows, []string{"repaired", fmt.Sprintf("%d times: what was damaged lies in damaged-… beside it", rep.Repairs)})
	}
	for _, w := range rep.Warnings {
		rows = append(rows, []string{"warning", w})
	}
	if !rep.Clean {
		rows = append(rows, []string{"end", "open: the daemon runs, or ended without closing it"})
	}
	if !rep.OK {
		fmt.Fprintln(a.out, a.paint(red, "damaged"))
		if err := a.table(rows); err != nil {
			return err
		}
		if rep.Problem == nil {
			return fmt.Errorf("the journal is not what the daemon wrote: %s: keep a copy of %s as evidence", strings.Join(rep.Findings, "; "), dir)
		}
		where := rep.Problem.Error()
		return fmt.Errorf("%s (the %d records before it are whole): keep a copy of %s as evidence", where, rep.Records, dir)
	}
	fmt.Fprintln(a.out, a.paint(green, "whole"))
	return a.table(rows)
}
