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
)

func sessionsListCommand() command {
	return command{
		name: "sessions list", args: "[QUERY]", short: "the conversations that were recorded, newest first",
		long: queryHelp + "\nWith -o json each session holds its exchanges; that counts as reading them and is recorded.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			since := fs.String("since", "", "only those active since `when`: an age like 30m, 12h or 7d, a date, or an RFC 3339 time")
			limit := fs.Int("limit", 50, "at most `n`, up to 1000")
			return func(ctx context.Context, args []string) error {
				if *limit < 1 || *limit > 1000 {
					return wrong("--limit %d: want 1 to 1000", *limit)
				}
				t, err := parseSince(*since, time.Now())
				if err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				list, err := c.Sessions(ctx, adminapi.Query{Find: joinQuery(args), Since: t, Limit: *limit, Exchanges: a.format == "json"})
				if err != nil {
					return err
				}
				if a.format == "json" {
					return a.printJSON(list)
				}
				if len(list) == 0 {
					_, err := fmt.Fprintln(a.out, "no session is recorded"+map[bool]string{true: " since then"}[!t.IsZero()])
					return err
				}
				rows := [][]string{{"SESSION", "LAST", "WHO", "WHAT", "MODELS", "EXCHANGES", "DENIED", "MASKED"}}
				for _, s := range list {
					rows = append(rows, []string{s.ID, seconds(s.Last), who(s.Principal, s.Workload), what(s.Workload),
						strings.Join(s.Models, ","), strconv.Itoa(s.Count), strconv.Itoa(s.Denied), strconv.Itoa(s.Masked)})
				}
				if err := a.table(rows); err != nil || len(list) < *limit {
					return err
				}
				_, err = fmt.Fprintf(a.out, "these are the newest %d: there may be more, see --limit and --since\n", len(list))
				return err
			}
		},
	}
}

// parseSince reads an age, a date or a time; "" is the zero time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, time.Local); err == nil {
		return t, nil
	}
	return time.Time{}, wrong("--since %q: want an age like 30m, 12h or 7d, a date like 2026-01-31, or an RFC 3339 time", s)
}

func who(p adminapi.Principal, w adminapi.Workload) string {
	switch {
	case p.SPIFFEID != "":
		return p.SPIFFEID
	case p.User != "":
		return p.User
	default:
		return fmt.Sprintf("uid %d", w.UID)
	}
}

func what(w adminapi.Workload) string {
	for _, s := range []string{w.Unit, w.Pod, w.Container, w.Cgroup} {
		if s != "" {
			return s
		}
	}
	return or(w.Comm, fmt.Sprintf("pid %d", w.PID))
}

func sessionsShowCommand() command {
	return command{
		name: "sessions show", args: "ID", short: "one conversation: who asked what, what came back, what was refused and masked",
		long: "Contents are masked as they were recorded. Reading is recorded too.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			tree := fs.Bool("tree", false, "only how it went on: a line for each exchange and tool call")
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 {
					return wrong("takes one ID, like ses_0190… (see sallyport sessions list)")
				}
				c := a.client()
				defer c.Close()
				s, err := c.Session(ctx, args[0])
				if err != nil {
					return err
				}
				if a.format == "json" {
					return a.printJSON(s)
				}
				if *tree {
					return a.showTree(&s)
				}
				return a.showSession(&s)
			}
		},
	}
}
