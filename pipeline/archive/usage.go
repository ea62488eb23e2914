// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Usage is what was used by one principal of one tenant with one model, in one day if days are told apart.
type Usage struct {
	Day       string // "2026-01-31" in UTC; "" if days are not told apart
	Principal string
	User      string
	Tenant    string
	Endpoint  string
	Model     string
	Exchanges int64
	Input     int64 // tokens, those that the provider had cached included
	Output    int64
	Cached    int64
	Estimated int64 // exchanges whose tokens are, in part, an estimate
}

// reports is how many times the deadline of a query is that of one which adds up all exchanges.
const reports = 10

// Usage adds up the exchanges of a query.
func (a *Archive) Usage(ctx context.Context, q *Query, days bool) (out []Usage, err error) {
	day := "''"
	if days {
		day = "date(e.n / 1000000, 'unixepoch')"
	}
	err = a.within(ctx, reports*a.o.Deadline, func(ctx context.Context) error {
		f, err := a.filter(ctx, q, false)
		if err != nil {
			return err
		}
		rows, err := a.read.Load().QueryContext(ctx, "SELECT "+day+`, e.principal, e.user, e.tenant, e.endpoint, e.model, count(*), sum(e.input), sum(e.output), sum(e.cached), sum(e.estimated)`+
			f.from()+f.sql()+" GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, sum(e.input) + sum(e.output) DESC, 2, 3, 4, 5, 6", f.args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var u Usage
			if err := rows.Scan(&u.Day, &u.Principal, &u.User, &u.Tenant, &u.Endpoint, &u.Model, &u.Exchanges, &u.Input, &u.Output, &u.Cached, &u.Estimated); err != nil {
				return err
			}
			out = append(out, u)
		}
		return rows.Err()
	})
	return out, err
}

// Shared is a provider key that several workloads use.
type Shared struct {
	Credential string // keyed fingerprint
	Workloads  []string
	Exchanges  int64
	Last       time.Time
}

// SharedKeys finds provider keys that exchanges of several workloads had, since a time.
func (a *Archive) SharedKeys(ctx context.Context, since time.Time) (out []Shared, err error) {
	err = a.within(ctx, reports*a.o.Deadline, func(ctx context.Context) error {
		n := int64(0)
		if !since.IsZero() {
			n = since.UnixMicro()
		}
		rows, err := a.read.Load().QueryContext(ctx, `SELECT credential, json_group_array(DISTINCT workload), count(*), max(n) FROM exchanges
			WHERE credential <> '' AND n >= ? GROUP BY credential HAVING count(DISTINCT workload) > 1 ORDER BY 4 DESC`, n)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var s Shared
			var list string
			var last int64
			if err := rows.Scan(&s.Credential, &list, &s.Exchanges, &last); err != nil {
				return err
			}
			if err := json.NewDecoder(strings.NewReader(list)).Decode(&s.Workloads); err != nil {
				return err
			}
			slices.Sort(s.Workloads)
			s.Last = time.UnixMicro(last).UTC()
			out = append(out, s)
		}
		return rows.Err()
	})
	return out, err
}
