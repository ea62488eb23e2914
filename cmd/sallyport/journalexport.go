// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

func journalExportCommand() command {
	return command{
		name: "journal export", args: "[DIR]", short: "write records as JSON, a line each",
		long: `Reads DIR (` + defaultJournal + `), also while the daemon writes to it, and writes what it holds to standard output, contents
included as far as their keys are there. "content" says why one is missing: erased, no_key (the journal was copied without
its keys), omitted. Needs no daemon, but the right to read the folder: root.

--since and --until take an age (12h, 7d), a date, or an RFC 3339 time. With --session or --principal only what belongs to
those is written; a principal is a SPIFFE ID or a user. With --kind only such records are: what administrators did is
admin,policy,config, what people were asked approval,elevation, what was refused or changed decision, connections without
a recorded exchange flow, and where something may be missing gap.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			format := fs.String("o", "jsonl", "output `format`: jsonl or json, one list")
			since := fs.String("since", "", "records since this `time`, or of this age")
			until := fs.String("until", "", "records before this `time`, or of at least this age")
			session := fs.String("session", "", "records of the session with this `ID`")
			principal := fs.String("principal", "", "records of the sessions of this `principal`")
			all := strings.Join(journal.Kinds(), ", ")
			kinds := fs.String("kind", "", "records of these `kinds`, with commas between: "+all)
			return func(ctx context.Context, args []string) error {
				dir, err := journalDir(args)
				if err != nil {
					return err
				}
				if *format != "json" && *format != "jsonl" {
					return wrong("-o %q: want jsonl or json", *format)
				}
				x := export{list: *format == "json", session: *session, principal: *principal, sessions: map[string]bool{}}
				for k := range strings.SplitSeq(*kinds, ",") {
					if k = strings.TrimSpace(k); *kinds != "" && !slices.Contains(journal.Kinds(), k) {
						return wrong("--kind %q: want %s", k, all)
					}
					x.kinds = append(x.kinds, k)
				}
				if *kinds == "" {
					x.kinds = nil
				}
				now := time.Now()
				if x.since, err = parseSince(*since, now); err == nil {
					x.until, err = parseSince(*until, now)
				}
				if err != nil {
					return err
				}
				return a.exportJournal(ctx, dir, &x)
			}
		},
	}
}

// export says which records are written.
type export struct {
	kinds              []string // nil = all
	list               bool     // one list, not a line each
	since, until       time.Time
	session, principal string
	sessions           map[string]bool // of the principal, as far as was read
}

func (x *export) wants(e *journal.Entry) (bool, error) {
	if x.principal != "" && e.Kind == pipeline.KindIntent {
		var in struct {
			Principal pipeline.Principal `json:"principal"`
		}
		if err := e.Metadata(&in); err != nil {
			return false, err
		}
		if in.Principal.SPIFFEID == x.principal || in.Principal.User == x.principal {
			x.sessions[e.Session] = true
		}
	}
	return (x.kinds == nil || slices.Contains(x.kinds, e.Kind)) && !e.Time.Before(x.since) && (x.until.IsZero() || e.Time.Before(x.until)) &&
		(x.session == "" || e.Session == x.session) && (x.principal == "" || x.sessions[e.Session]), nil
}

func (a *app) exportJournal(ctx context.Context, dir string, x *export) error {
	if _, err := os.Stat(dir); err != nil {
		return noJournal("reading the journal", err)
	}
	r, err := journal.OpenReader(dir, pipeline.Position{})
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	defer r.Close()
	out := bufio.NewWriterSize(a.out, 256<<10)
	between, end := "", ""
	if x.list {
		fmt.Fprint(out, "[")
		between, end = ",", "]\n"
	}
	step := a.progress("records read")
	written, bytes := 0, int64(0)
	for n := uint64(1); ; n++ {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && n%1024 == 0 {
			err = ctx.Err()
		}
		wanted := false
		if err == nil {
			wanted, err = x.wants(e)
		}
		var line []byte
		if wanted && err == nil {
			line, err = json.Marshal(e)
			line = []byte(escaped(string(line)))
		}
		if err != nil {
			_ = out.Flush() // what was read before is sound; the error says what is missing
			return fmt.Errorf("reading the journal (sallyport journal verify says more): %w", err)
		}
		if bytes += int64(e.End.Offset - e.Position.Offset); n%10_000 == 0 {
			step(n, bytes)
		}
		if !wanted {
			continue
		}
		if written > 0 {
			fmt.Fprint(out, between)
		}
		written++
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	a.endProgress()
	fmt.Fprint(out, end)
	return out.Flush()
}

// progress tells on a terminal, once a second, how far a long work is.
func (a *app) progress(what string) func(records uint64, bytes int64) {
	f, ok := a.err.(*os.File)
	if ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		ok = err == nil
	}
	last := time.Now()
	return func(records uint64, bytes int64) {
		if ok && time.Since(last) >= time.Second {
			last = time.Now()
			fmt.Fprintf(a.err, "\r%d %s, %s ", records, what, size(bytes))
			a.told = true
		}
	}
}

// endProgress clears the line of progress.
func (a *app) endProgress() {
	if a.told {
		fmt.Fprint(a.err, "\r\x1b[K")
	}
}

func journalRepairCommand() command {
	return command{
		name: "journal repair", args: "[DIR]", short: "go on after damage: what is damaged is moved aside, nothing is destroyed",
		long: `Verifies DIR (` + defaultJournal + `). If it is damaged, the segment with the damage and all after it are moved into a folder
damaged-TIME in DIR, the records of that segment which lie before the damage are copied back, and the journal begins a new
generation with a record of that. sallyportd must not run. A whole journal is left as it is.

Damage is evidence: find out what did it before you go on. Anchors still show what is missing.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			formatFlag(a, fs)
			yes := fs.Bool("yes", false, "do not ask")
			return func(_ context.Context, args []string) error {
				dir, err := journalDir(args)
				if err != nil {
					return err
				}
				rep, err := journal.Verify(dir)
				if err != nil {
					return noJournal("verifying the journal", err)
				}
				if rep.Problem != nil && !*yes {
					fmt.Fprintf(a.out, "%s; %d records lie before it\n", rep.Problem.Error(), rep.Records)
					if err := a.confirm("Type repair to move it aside and begin anew: ", "repair"); err != nil {
						return err
					}
				}
				r, err := journal.RepairAndNote(dir)
				if errors.Is(err, journal.ErrWhole) {
					_, err := fmt.Fprintln(a.out, "the journal is whole: nothing was done")
					return err
				}
				if err != nil {
					return fmt.Errorf("repairing the journal: %w", err)
				}
				if a.format == "json" {
					return a.printJSON(&r)
				}
				_, err = fmt.Fprintf(a.out, "%d records are kept; %s moved to %s/%s\n", r.Kept, plural(len(r.Moved), "segment"), dir, r.Evidence)
				return err
			}
		},
	}
}
