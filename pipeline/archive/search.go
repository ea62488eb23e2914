// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// ErrDeadline says that a query took too long.
var ErrDeadline = errors.New("the query takes too long: narrow it, for example with since:24h")

// ErrBusy says that a query was not begun, for others ran all the time.
var ErrBusy = errors.New("other queries keep the search store busy: try again in a moment")

// queries is how many are answered at a time. Others wait, within their deadline.
const queries = 4

// ErrNotFound is returned for an ID that the archive does not have.
var ErrNotFound = errors.New("not in the archive")

// Hit is one exchange of a listing.
type Hit struct {
	Exchange  string        `json:"exchange_id"`
	Session   string        `json:"session_id"`
	Parent    string        `json:"parent_id,omitempty"`
	Time      time.Time     `json:"time"`
	Principal string        `json:"principal"`
	User      string        `json:"user"`
	Tenant    string        `json:"tenant"`
	Workload  string        `json:"workload"`
	UID       uint32        `json:"uid"`
	Scope     string        `json:"scope"`
	Mode      string        `json:"mode"`
	Endpoint  string        `json:"endpoint"`
	Operation string        `json:"operation"`
	Model     string        `json:"model"`
	Tools     string        `json:"tools"` // names, sorted, between spaces
	Action    string        `json:"action"`
	Rule      string        `json:"rule"`
	Enforced  bool          `json:"enforced"`
	Status    int           `json:"status"`
	Cut       string        `json:"cut,omitempty"`
	Masked    int           `json:"masked"`
	Input     int64         `json:"input_tokens"`
	Output    int64         `json:"output_tokens"`
	Cached    int64         `json:"cached_tokens"`
	Estimated bool          `json:"estimated"` // the provider did not say all of it
	Duration  time.Duration `json:"-"`
	Records   journal.Refs  `json:"-"` // where the journal has it

	n int64
}

// Page is part of the answer to a query, newest first. Next, if not 0, is what Search is given as before for more.
type Page struct {
	Hits []Hit
	Next int64
}

const columns = `e.n, e.id, e.session, e.parent, e.principal, e.user, e.tenant, e.workload, e.uid, e.scope, e.mode, e.endpoint, e.operation, e.model, e.tools, e.action,
	e.rule, e.enforced, e.status, e.cut, e.masked, e.input, e.output, e.cached, e.estimated, e.duration, e.records`

func scan(rows *sql.Rows) (h Hit, err error) {
	var ms int64
	var refs string
	if err := rows.Scan(&h.n, &h.Exchange, &h.Session, &h.Parent, &h.Principal, &h.User, &h.Tenant, &h.Workload, &h.UID, &h.Scope, &h.Mode, &h.Endpoint, &h.Operation,
		&h.Model, &h.Tools, &h.Action, &h.Rule, &h.Enforced, &h.Status, &h.Cut, &h.Masked, &h.Input, &h.Output, &h.Cached, &h.Estimated, &ms, &refs); err != nil {
		return h, err
	}
	h.Time, h.Duration = time.UnixMicro(h.n).UTC(), time.Duration(ms)*time.Millisecond
	return h, json.Unmarshal([]byte(refs), &h.Records)
}

// limited gives a query its deadline and turns what that causes into ErrDeadline.
func (a *Archive) limited(ctx context.Context, f func(context.Context) error) error {
	return a.within(ctx, a.o.Deadline, f)
}

func (a *Archive) within(ctx context.Context, deadline time.Duration, f func(context.Context) error) error {
	if err := a.shut(); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	select {
	case a.asked <- struct{}{}:
	default:
		select {
		case a.asked <- struct{}{}:
		case <-limit.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("searching the archive: %w", ctx.Err())
			}
			return ErrBusy
		}
	}
	defer func() { <-a.asked }()
	return a.told(ctx, limit, f(limit))
}

// told is what the asker is told of an error; limit is ctx with the deadline.
func (a *Archive) told(ctx, limit context.Context, err error) error {
	var q *QueryError
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil && limit.Err() != nil:
		return ErrDeadline
	case errors.As(err, &q):
		return err
	case a.damaged(err):
		if stop := a.stop.Load(); stop != nil {
			(*stop)(err)
		}
		return fmt.Errorf("the archive is damaged and is built anew: %w", err)
	}
	return fmt.Errorf("searching the archive: %w", err)
}

// Search finds up to limit exchanges that began before a number, newest first; before 0 is the newest.
func (a *Archive) Search(ctx context.Context, q *Query, before int64, limit int) (p Page, err error) {
	err = a.limited(ctx, func(ctx context.Context) error {
		f, err := a.filter(ctx, q, true)
		if err != nil {
			return err
		}
		p, err = a.page(ctx, f, before, limit)
		return err
	})
	return p, err
}

func (a *Archive) page(ctx context.Context, f *filter, before int64, limit int) (p Page, err error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	where, args := f.number()+" < ?", []any{before}
	var rows *sql.Rows
	if len(f.sets) == 0 {
		rows, err = a.read.Load().QueryContext(ctx, "SELECT "+columns+f.from()+f.sql()+" AND "+where+" ORDER BY "+f.number()+" DESC LIMIT ?",
			append(append(slices.Clone(f.args), args...), limit+1)...)
	} else {
		var found []int64
		if found, err = a.sift(ctx, f, where, args, limit+1); err == nil {
			rows, err = a.read.Load().QueryContext(ctx, "SELECT "+columns+" FROM exchanges e WHERE e.n IN ("+list(found)+") ORDER BY e.n DESC")
		}
	}
	if err != nil {
		return p, err
	}
	defer rows.Close()
	for rows.Next() {
		h, err := scan(rows)
		if err != nil {
			return p, err
		}
		if len(p.Hits) == limit {
			p.Next = p.Hits[limit-1].n
			break
		}
		p.Hits = append(p.Hits, h)
	}
	return p, rows.Err()
}

// Session is one session of a listing.
type Session struct {
	ID        string
	Started   time.Time
	Last      time.Time // when its newest exchange began
	Exchanges int
	Denied    int
	Masked    int
	Newest    Hit // of the exchanges that were looked for
}

// Sessions finds up to limit sessions with an exchange that began before a number, newest first.
func (a *Archive) Sessions(ctx context.Context, q *Query, before int64, limit int) (out []Session, next int64, err error) {
	err = a.limited(ctx, func(ctx context.Context) error {
		f, err := a.filter(ctx, q, true)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		first := before
		for len(out) < limit {
			p, err := a.page(ctx, f, before, max(200, 4*limit))
			if err != nil {
				return err
			}
			for _, h := range p.Hits {
				if seen[h.Session] {
					continue
				}
				if len(out) == limit {
					next = before
					return nil
				}
				seen[h.Session] = true
				if listed, err := a.since(ctx, f, h.Session, first); listed || err != nil {
					if err != nil {
						return err
					}
					continue // on an earlier page
				}
				s, err := a.session(ctx, h)
				if err != nil {
					return err
				}
				out = append(out, s)
				before = h.n
			}
			if p.Next == 0 {
				next = 0
				return nil
			}
			before = p.Next
		}
		next = before
		return nil
	})
	return out, next, err
}

// since tells whether one of the exchanges that are looked for is of a session and has this number or a greater one.
func (a *Archive) since(ctx context.Context, f *filter, session string, n int64) (bool, error) {
	if n <= 0 {
		return false, nil
	}
	where, args := "e.session = ? AND "+f.number()+" >= ?", []any{session, n}
	if len(f.sets) > 0 {
		found, err := a.sift(ctx, f, where, args, 1)
		return len(found) > 0, err
	}
	var one int
	err := a.read.Load().QueryRowContext(ctx, "SELECT 1"+f.from()+f.sql()+" AND "+where+" LIMIT 1", append(slices.Clone(f.args), args...)...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func (a *Archive) session(ctx context.Context, h Hit) (Session, error) {
	s := Session{ID: h.Session, Newest: h}
	var started, last int64
	err := a.read.Load().QueryRowContext(ctx, "SELECT started, last, exchanges, denied, masked FROM sessions WHERE id = ?", h.Session).
		Scan(&started, &last, &s.Exchanges, &s.Denied, &s.Masked)
	s.Started, s.Last = time.UnixMicro(started).UTC(), time.UnixMicro(last).UTC()
	return s, err
}

// Known gives what the archive has of some sessions, by ID, without an exchange of each.
func (a *Archive) Known(ctx context.Context, ids []string) (out map[string]Session, err error) {
	asked, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	out = map[string]Session{}
	err = a.limited(ctx, func(ctx context.Context) error {
		rows, err := a.read.Load().QueryContext(ctx, "SELECT id, started, last, exchanges, denied, masked FROM sessions WHERE id IN (SELECT value FROM json_each(?))", string(asked))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var s Session
			var started, last int64
			if err := rows.Scan(&s.ID, &started, &last, &s.Exchanges, &s.Denied, &s.Masked); err != nil {
				return err
			}
			s.Started, s.Last = time.UnixMicro(started).UTC(), time.UnixMicro(last).UTC()
			out[s.ID] = s
		}
		return rows.Err()
	})
	return out, err
}

// Of lists the exchanges of a session, oldest first, or one exchange by its ID.
func (a *Archive) Of(ctx context.Context, id string) (out []Hit, err error) {
	err = a.limited(ctx, func(ctx context.Context) error {
		rows, err := a.read.Load().QueryContext(ctx, "SELECT "+columns+" FROM exchanges e WHERE e.session = ?1 OR e.id = ?1 ORDER BY e.n", id)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			h, err := scan(rows)
			if err != nil {
				return err
			}
			out = append(out, h)
		}
		return rows.Err()
	})
	if err == nil && len(out) == 0 {
		err = ErrNotFound
	}
	return out, err
}

// Stats is what the archive holds.
type Stats struct {
	Exchanges, Sessions int64
	Oldest              time.Time // zero if it is empty
	Bytes               int64     // of the file
	Renewed             int64     // how often, since Open, a file was replaced that could not be used
}

// Stats reads what is kept: it counts nothing, and does not wait for queries.
func (a *Archive) Stats(ctx context.Context) (s Stats, err error) {
	s.Renewed = a.renewed.Load()
	if err := a.shut(); err != nil {
		return s, err
	}
	limit, cancel := context.WithTimeout(ctx, a.o.Deadline)
	defer cancel()
	return s, a.told(ctx, limit, a.stats(limit, &s))
}

func (a *Archive) stats(ctx context.Context, s *Stats) error {
	var oldest sql.NullInt64
	if err := a.read.Load().QueryRowContext(ctx, `SELECT exchanges, sessions, (SELECT min(n) FROM exchanges),
		(SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) FROM totals`).Scan(&s.Exchanges, &s.Sessions, &oldest, &s.Bytes); err != nil {
		return err
	}
	if oldest.Valid {
		s.Oldest = time.UnixMicro(oldest.Int64).UTC()
	}
	return nil
}

// Number reads what Page.Next was written as; "" is 0.
func Number(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, wrong("%q is not what a page of the listing gave as its next", s)
	}
	return n, nil
}
