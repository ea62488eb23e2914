// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

func usageCommand() command {
	return command{
		name: "usage", args: "[QUERY]", short: "tokens, and what they cost, by principal, tenant, endpoint and model",
		long: queryHelp + `
Where a provider did not say what it counted, tokens are an estimate (a token for four bytes), and marked with ~. --prices names a file with prices:
  currency: EUR
  prices:                                  # of a million tokens; the first that fits, with the newest date that is not later than the day
    - {model: "gpt-4o*", endpoint: openai, from: 2026-01-01, input: 2.5, cached: 1.25, output: 10}`,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			format := fs.String("o", "table", "`format`: table, csv or json")
			days := fs.Bool("days", false, "tell days apart")
			file := fs.String("prices", "", "add what it cost, by the prices in this `file`")
			return func(ctx context.Context, args []string) error {
				if !slices.Contains([]string{"table", "csv", "json"}, *format) {
					return wrong("-o %s: want table, csv or json", *format)
				}
				var p *prices
				if *file != "" {
					var err error
					if p, err = readPrices(*file); err != nil {
						return err
					}
				}
				c := a.client()
				defer c.Close()
				u, err := c.Usage(ctx, joinQuery(args), *days || p != nil)
				if err != nil {
					return err
				}
				rows := price(u.Rows, p, *days)
				switch *format {
				case "json":
					return a.printJSON(usageJSON(rows, p, u.SharedKeys))
				case "csv":
					return a.usageCSV(rows, p)
				}
				return a.showUsage(rows, p, u.SharedKeys)
			}
		},
	}
}

// usageRow is a row with its cost.
type usageRow struct {
	adminapi.UsageRow
	Cost     *float64 `json:"cost,omitempty"`
	Unpriced int64    `json:"unpriced,omitempty"` // exchanges of a model that has no price
}

type usageOut struct {
	Currency   string               `json:"currency,omitempty"`
	Rows       []usageRow           `json:"rows"`
	SharedKeys []adminapi.SharedKey `json:"shared_keys"`
}

func usageJSON(rows []usageRow, p *prices, keys []adminapi.SharedKey) usageOut {
	out := usageOut{Rows: append([]usageRow{}, rows...), SharedKeys: append([]adminapi.SharedKey{}, keys...)}
	if p != nil {
		out.Currency = p.Currency
	}
	return out
}

// price adds costs, and puts days together again if they are not to be told apart.
func price(rows []adminapi.UsageRow, p *prices, days bool) []usageRow {
	var out []usageRow
	for _, r := range rows {
		u := usageRow{UsageRow: r}
		if p != nil {
			if cost, ok := p.cost(&r); ok {
				u.Cost = &cost
			} else {
				u.Unpriced = r.Exchanges
			}
		}
		if !days {
			u.Day = ""
			i := slices.IndexFunc(out, func(o usageRow) bool {
				return o.Principal.SPIFFEID == u.Principal.SPIFFEID && o.Principal.User == u.Principal.User && o.Tenant == u.Tenant && o.Endpoint == u.Endpoint && o.Model == u.Model
			})
			if i >= 0 {
				out[i].add(&u)
				continue
			}
		}
		out = append(out, u)
	}
	if !days {
		slices.SortStableFunc(out, func(a, b usageRow) int { return int(max(-1, min(1, b.Input+b.Output-a.Input-a.Output))) })
	}
	return out
}

func (r *usageRow) add(o *usageRow) {
	r.Exchanges, r.Input, r.Output, r.Cached = r.Exchanges+o.Exchanges, r.Input+o.Input, r.Output+o.Output, r.Cached+o.Cached
	r.Estimated, r.Unpriced = r.Estimated+o.Estimated, r.Unpriced+o.Unpriced
	if o.Cost != nil {
		sum := *o.Cost
		if r.Cost != nil {
			sum += *r.Cost
		}
		r.Cost = &sum
	}
}

func (a *app) showUsage(rows []usageRow, p *prices, keys []adminapi.SharedKey) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.out, "nothing was used")
		return err
	}
	head := []string{"DAY", "WHO", "TENANT", "ENDPOINT", "MODEL", "EXCHANGES", "INPUT", "CACHED", "OUTPUT"}
	if p != nil {
		head = append(head, p.Currency)
	}
	daily := rows[0].Day != ""
	if !daily {
		head = head[1:]
	}
	out := [][]string{head}
	total, unpriced := 0.0, int64(0)
	for i := range rows {
		r := &rows[i]
		mark := ""
		if r.Estimated > 0 {
			mark = "~"
		}
		line := []string{r.Day, or(r.Principal.SPIFFEID, or(r.Principal.User, "unknown")), r.Tenant, r.Endpoint, r.Model, strconv.FormatInt(r.Exchanges, 10),
			mark + strconv.FormatInt(r.Input, 10), strconv.FormatInt(r.Cached, 10), mark + strconv.FormatInt(r.Output, 10)}
		if p != nil {
			cost := "no price"
			if r.Cost != nil {
				total += *r.Cost
				cost = strconv.FormatFloat(*r.Cost, 'f', 4, 64)
				if r.Unpriced > 0 {
					cost = ">" + cost
				}
			}
			unpriced += r.Unpriced
			line = append(line, cost)
		}
		if !daily {
			line = line[1:]
		}
		out = append(out, line)
	}
	if err := a.table(out); err != nil {
		return err
	}
	var b strings.Builder
	if p != nil {
		fmt.Fprintf(&b, "total %s %.4f\n", clean(p.Currency), total)
		if unpriced > 0 {
			fmt.Fprintf(&b, "without a price: %s\n", plural(int(unpriced), "exchange"))
		}
	}
	for _, k := range keys {
		fmt.Fprintf(&b, "%s\n", a.paint(yellow, clean(fmt.Sprintf("one provider key (%s) is used by %s: %s", k.Credential, plural(len(k.Workloads), "workload"), strings.Join(k.Workloads, ", ")))))
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func (a *app) usageCSV(rows []usageRow, p *prices) error {
	w := csv.NewWriter(a.out)
	_ = w.Write([]string{"day", "spiffe_id", "user", "tenant", "endpoint", "model", "exchanges", "input_tokens", "cached_tokens", "output_tokens", "estimated", "cost", "currency", "unpriced"})
	for i := range rows {
		r := &rows[i]
		cost, currency := "", ""
		if r.Cost != nil {
			cost, currency = strconv.FormatFloat(*r.Cost, 'f', -1, 64), p.Currency
		}
		n := func(v int64) string { return strconv.FormatInt(v, 10) }
		_ = w.Write([]string{r.Day, cell(r.Principal.SPIFFEID), cell(r.Principal.User), cell(r.Tenant), cell(r.Endpoint), cell(r.Model), n(r.Exchanges), n(r.Input), n(r.Cached), n(r.Output),
			n(r.Estimated), cost, currency, n(r.Unpriced)})
	}
	w.Flush() // Error has what Write did not tell
	if err := w.Error(); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// cell makes text fit for a spreadsheet, which takes what begins like a formula for one. Where its language separates cells by semicolons
// one begins behind each of these, too: they become commas, and what was changed begins with a quotation mark.
func cell(s string) string {
	s = clean(oneLine(s))
	first, _ := utf8.DecodeRuneInString(s)
	if strings.ContainsRune("=+-@\uFF1D\uFF0B\uFF0D\uFF20", first) && s != "" || strings.Contains(s, ";") {
		return "'" + strings.ReplaceAll(s, ";", ",")
	}
	return s
}
