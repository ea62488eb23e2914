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

const queryHelp = `A query is words, "phrases", wor*, field:value and field:glob*; all must hold, - before one says that it must not:
principal:ann tool:shell -verdict:deny "wire transfer" since:24h. A word that must not be there stands behind --, as it looks like a flag:
tool:shell -- -word. docs/search.md has the fields.`

func sessionsFindCommand() command {
	return command{
		name: "sessions find", args: "QUERY", short: "exchanges that were recorded, by fields and words, newest first",
		long: queryHelp,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			limit := fs.Int("limit", 50, "at most `n`, up to 1000")
			before := fs.String("before", "", "go on where the listing that ended with `next` did")
			return func(ctx context.Context, args []string) error {
				if *limit < 1 || *limit > 1000 {
					return wrong("--limit %d: want 1 to 1000", *limit)
				}
				c := a.client()
				defer c.Close()
				f, err := c.Search(ctx, adminapi.Search{Query: joinQuery(args), Limit: *limit, Before: *before})
				if err != nil {
					return err
				}
				if a.format == "json" {
					return a.printJSON(f)
				}
				if len(f.Exchanges) == 0 {
					_, err := fmt.Fprintln(a.out, "nothing is found")
					return err
				}
				rows := [][]string{{"EXCHANGE", "TIME", "WHO", "WHAT", "MODEL", "TOOLS", "VERDICT", "MASKED", "TOKENS", "SESSION"}}
				for i := range f.Exchanges {
					r := foundRow(&f.Exchanges[i])
					r[1] = seconds(f.Exchanges[i].Time)
					rows = append(rows, r)
				}
				if err := a.table(rows); err != nil {
					return err
				}
				if f.Next != "" {
					_, err = fmt.Fprintf(a.out, "more: --before %s\n", clean(f.Next))
				}
				return err
			}
		},
	}
}

// conditions moves conditions that must not hold behind the flags: they begin like one.
func conditions(args []string) []string {
	var flags, not []string
	for i, s := range args {
		if s == "--" {
			return append(append(append(flags, s), not...), args[i+1:]...)
		}
		if len(s) > 1 && s[0] == '-' && s[1] != '-' && strings.ContainsAny(s, `:"`) && !strings.Contains(s, "=") {
			not = append(not, s)
		} else {
			flags = append(flags, s)
		}
	}
	return append(append(flags, "--"), not...)
}

// joinQuery makes one query of arguments. An argument with spaces was quoted in the shell: it is a phrase, unless it is itself a query.
func joinQuery(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	out := make([]string, len(args))
	for i, s := range args {
		if strings.ContainsAny(s, " \t") && !strings.Contains(s, `"`) {
			sign, rest := "", s
			if r, ok := strings.CutPrefix(s, "-"); ok {
				sign, rest = "-", r
			}
			if name, value, ok := strings.Cut(rest, ":"); ok && !strings.ContainsAny(name, " \t") {
				s = sign + name + `:"` + value + `"`
			} else {
				s = sign + `"` + rest + `"`
			}
		}
		out[i] = s
	}
	return strings.Join(out, " ")
}

func foundRow(h *adminapi.Hit) []string {
	verdict := h.Action
	if h.Rule != "" && h.Action != "allow" {
		verdict += " by " + h.Rule
	}
	tokens := fmt.Sprintf("%d+%d", h.Input, h.Output)
	if h.Estimated {
		tokens = "~" + tokens
	}
	return []string{h.ExchangeID, h.Time.Local().Format("2006-01-02 15:04:05"), who(h.Principal, adminapi.Workload{UID: h.UID}), h.Workload, h.Model,
		strings.Join(h.Tools, ","), verdict, strconv.Itoa(h.Masked), tokens, h.SessionID}
}

func sessionsTailCommand() command {
	return command{
		name: "sessions tail", args: "[QUERY]", short: "exchanges as they end, until it is interrupted",
		long: queryHelp + "\nWith -o json one object a line.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			return func(ctx context.Context, args []string) error {
				c := a.client()
				defer c.Close()
				return a.tail(ctx, c, joinQuery(args))
			}
		},
	}
}

// tailEvery is how often sessions tail asks.
const tailEvery = time.Second

// tailDeep is how many times it asks until it looks at all of the last hour again.
const tailDeep = 30

// tail shows what ends from now on. An exchange is found by when it began: so one that took long is not among the newest. The newest are looked
// at every time, as far as there is something new on a page; all of the last hour now and then.
func (a *app) tail(ctx context.Context, c *adminapi.Client, query string) error {
	seen := map[string]time.Time{}
	for round := 0; ; round++ {
		first := round == 0
		var fresh []adminapi.Hit
		since := "since:" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
		for before := ""; ; {
			f, err := c.Search(ctx, adminapi.Search{Query: strings.TrimSpace(since + " " + query), Limit: 1000, Before: before})
			if ctx.Err() != nil {
				return nil // it was interrupted, as is usual
			}
			if err != nil {
				return err
			}
			known := len(fresh)
			for i := range f.Exchanges {
				if h := &f.Exchanges[i]; seen[h.ExchangeID].IsZero() {
					seen[h.ExchangeID] = time.Now()
					fresh = append(fresh, *h)
				}
			}
			if before = f.Next; before == "" || len(fresh) == known && round%tailDeep != 0 {
				break
			}
		}
		for i := len(fresh) - 1; i >= 0 && !first; i-- {
			if err := a.tailed(&fresh[i]); err != nil {
				return err
			}
		}
		for id, at := range seen {
			if time.Since(at) > 2*time.Hour {
				delete(seen, id)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tailEvery):
		}
	}
}

func (a *app) tailed(h *adminapi.Hit) error {
	if a.format == "json" {
		return a.printLine(h)
	}
	r := foundRow(h)
	for i := range r {
		r[i] = clean(oneLine(r[i]))
	}
	_, err := fmt.Fprintf(a.out, "%s  %s  %s  %s  %s  %s  %s tokens  %s\n", r[1][11:], r[2], r[3], r[4], a.paint(actionColour(h.Action), r[6]), or(r[5], "no tools"), r[8], r[0])
	return err
}
