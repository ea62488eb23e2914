// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"

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
