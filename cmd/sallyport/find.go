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
principal:ann tool:shell verdict:deny "wire transfer" since:24h. docs/search.md has the fields.`

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
					rows = append(rows, foundRow(&f.Exchanges[i]))
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
