// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// erased is what the journal has destroyed the contents of.
type erased struct {
	dir       string
	principal string
	sessions  []string
}

// erasure reads an admin record; nil if it is about something else. What lies before it in the journal may have been read while its contents
// were still there: so it is here that they are forgotten, whoever was told of the erasure besides.
func erasure(e *journal.Entry, dir string) (*erased, error) {
	var x journal.Erasure
	if err := e.Metadata(&x); err != nil {
		return nil, err
	}
	if x.Action != journal.ActionErased {
		return nil, nil
	}
	out := &erased{dir: dir, principal: x.Principal, sessions: x.List}
	if x.Session != "" {
		out.sessions = []string{x.Session}
	}
	return out, nil
}

// Forget takes the words of a session out that the journal in dir has no contents of any more. What it still has stays to be found.
func (a *Archive) Forget(ctx context.Context, dir, session string) error {
	err := a.in(ctx, func(tx *sql.Tx) error {
		s, err := prepare(ctx, tx)
		if err != nil {
			return err
		}
		if err := a.erase(s, tx, &erased{dir: dir, sessions: []string{session}}); err != nil {
			return err
		}
		return a.count(s)
	})
	if err != nil {
		return fmt.Errorf("forgetting a session in the archive: %w", err)
	}
	return nil
}

// erase brings exchanges in anew, as the journal has them now.
func (a *Archive) erase(s *statements, tx *sql.Tx, x *erased) error {
	sessions := x.sessions
	if x.principal != "" {
		rows, err := tx.QueryContext(s.ctx, "SELECT DISTINCT session FROM exchanges WHERE principal = ?1 OR user = ?1", x.principal)
		if err != nil {
			return err
		}
		if err := texts(rows, &sessions); err != nil {
			return err
		}
	}
	l := loader(x.dir)
	defer l.Close()
	for _, id := range sessions {
		rows, err := tx.QueryContext(s.ctx, "SELECT records FROM exchanges WHERE session = ?", id)
		if err != nil {
			return err
		}
		var all []string
		if err := texts(rows, &all); err != nil {
			return err
		}
		for _, q := range []string{"DELETE FROM found WHERE rowid IN (SELECT n FROM exchanges WHERE session = ?)", "DELETE FROM exchanges WHERE session = ?", "DELETE FROM sessions WHERE id = ?"} {
			if _, err := tx.ExecContext(s.ctx, q, id); err != nil {
				return err
			}
		}
		for _, raw := range all {
			var refs journal.Refs
			if err := json.Unmarshal([]byte(raw), &refs); err != nil {
				return err
			}
			p, err := l.Load(&refs)
			if err != nil {
				a.o.Log.Warn("an exchange of an erased session is not found any more", "exchange_id", refs.Exchange, "error", err)
				continue
			}
			if err := a.addOne(s, p); err != nil {
				return err
			}
		}
	}
	if len(sessions) == 0 {
		return nil
	}
	_, err := tx.ExecContext(s.ctx, "INSERT OR REPLACE INTO meta VALUES ('scrub', 'begin')")
	return err
}

func texts(rows *sql.Rows, to *[]string) error {
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return err
		}
		*to = append(*to, s)
	}
	return rows.Err()
}

// scrubPages is how much of the index one step of scrub writes anew.
const scrubPages = 2000

// scrub makes a file that does not hold words any more of what was erased: until it is merged, the index only marks them as deleted.
func (a *Archive) scrub(ctx context.Context) error {
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = a.scrubbed(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("taking erased words out of the archive: %w", err)
		}
	}
	return nil
}

// scrubbed takes one step, and tells whether there are more.
func (a *Archive) scrubbed(ctx context.Context) (more bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var state string
	err = a.write.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'scrub'").Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	pages := scrubPages
	if state == "begin" { // a negative number: all of it, however little there is to merge
		pages = -scrubPages
	}
	changes := func() (n int) {
		if err == nil {
			err = a.write.QueryRowContext(ctx, "SELECT total_changes()").Scan(&n)
		}
		return n
	}
	before := changes()
	if err == nil {
		_, err = a.write.ExecContext(ctx, "INSERT INTO found (found, rank) VALUES ('merge', ?)", pages)
	}
	if more = changes()-before >= 2; err != nil { // else there was nothing to do
		return false, err
	}
	next := "DELETE FROM meta WHERE name = 'scrub'; PRAGMA wal_checkpoint(TRUNCATE)"
	if more {
		next = "UPDATE meta SET value = 'go on' WHERE name = 'scrub'"
	}
	_, err = a.write.ExecContext(ctx, next)
	return more, err
}

// lostBatch is how many exchanges lost looks at until it knows that there are no more.
const lostBatch = 1000

// lost forgets the oldest exchanges if the journal does not have the segments any more in which they began: they cannot be shown. One that took
// long may have begun before others of which nothing is left, and have its outcome behind them.
func (a *Archive) lost(ctx context.Context, dir string) error {
	l := journal.NewLoader(dir)
	defer l.Close()
	gone := map[int64]bool{} // segments
	for after := int64(math.MinInt64); ; {
		found, next, err := a.begunIn(ctx, after)
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		var which []int64
		for n, segment := range found {
			if _, known := gone[segment]; !known {
				_, err := l.Read(pipeline.Position{Segment: uint64(segment)})
				gone[segment] = segment > 0 && errors.Is(err, fs.ErrNotExist)
			}
			if gone[segment] {
				which = append(which, n)
			}
		}
		if len(which) == 0 {
			return nil
		}
		if _, err := a.forget(ctx, "n IN (SELECT value FROM json_each(?))", "["+list(which)+"]"); err != nil {
			return err
		}
		after = next
	}
}

// begunIn gives the oldest exchanges behind a number, by their numbers, with the segments in which they began, and the last of these numbers.
func (a *Archive) begunIn(ctx context.Context, after int64) (out map[int64]int64, last int64, err error) {
	rows, err := a.write.QueryContext(ctx, `SELECT n, iif(json_extract(records, '$.Intent.segment') > 0, json_extract(records, '$.Intent.segment'), json_extract(records, '$.Outcome.segment'))
		FROM exchanges WHERE n > ? ORDER BY n LIMIT ?`, after, lostBatch)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	out = map[int64]int64{}
	for rows.Next() {
		var segment int64
		if err := rows.Scan(&last, &segment); err != nil {
			return nil, 0, err
		}
		out[last] = segment
	}
	return out, last, rows.Err()
}
