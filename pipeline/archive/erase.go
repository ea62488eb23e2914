// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

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
	if err := a.erase(ctx, &erased{dir: dir, sessions: []string{session}}); err != nil {
		return fmt.Errorf("forgetting a session in the archive: %w", err)
	}
	if wake := a.nudge.Load(); wake != nil { // the words are to leave the file too
		(*wake)()
	}
	return nil
}

// erase brings the exchanges of sessions in anew, as the journal has them now, one session in one transaction.
func (a *Archive) erase(ctx context.Context, x *erased) error {
	sessions := x.sessions
	if x.principal != "" {
		rows, err := a.write.QueryContext(ctx, "SELECT DISTINCT session FROM exchanges WHERE principal = ?1 OR user = ?1", x.principal)
		if err != nil {
			return damage(err)
		}
		if err := texts(rows, &sessions); err != nil {
			return damage(err)
		}
	}
	slices.Sort(sessions)
	l := loader(x.dir)
	defer l.Close()
	for _, id := range slices.Compact(sessions) {
		if err := a.in(ctx, func(tx *sql.Tx) error { return a.eraseOne(ctx, tx, l, id) }); err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) eraseOne(ctx context.Context, tx *sql.Tx, l *journal.Loader, session string) error {
	rows, err := tx.QueryContext(ctx, "SELECT records FROM exchanges WHERE session = ?", session)
	if err != nil {
		return err
	}
	var all []string
	if err := texts(rows, &all); err != nil || len(all) == 0 {
		return err
	}
	s := a.sql.in(ctx, tx)
	for _, q := range []string{"DELETE FROM found WHERE rowid IN (SELECT n FROM exchanges WHERE session = ?)", "DELETE FROM exchanges WHERE session = ?", "DELETE FROM sessions WHERE id = ?"} {
		if _, err := tx.ExecContext(ctx, q, session); err != nil {
			return err
		}
	}
	a.more.exchanges -= int64(len(all))
	a.more.sessions--
	for _, raw := range all {
		var refs journal.Refs
		if err := read(nil, raw, &refs); err != nil {
			return err
		}
		p, err := l.Load(&refs)
		if err != nil || p.Intent == nil || p.Outcome == nil {
			a.o.Log.Warn("an exchange of an erased session is not found any more", "exchange_id", refs.Exchange, "error", err)
			continue
		}
		if err := a.addOne(s, p); err != nil {
			return err
		}
	}
	if err := a.count(s); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO meta VALUES ('scrub', 'begin')")
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

// lostBatch is how many exchanges lost looks at until it knows that there are no more: as many as are forgotten at a time.
const lostBatch = forgetStep

// lost forgets the oldest exchanges if the journal does not have the segments any more in which they began: they cannot be shown. One that took
// long may have begun before others of which nothing is left, and have its outcome behind them.
func (a *Archive) lost(ctx context.Context, dir string) error {
	l := journal.NewLoader(dir)
	defer l.Close()
	gone := map[int64]bool{} // segments
	for after := int64(math.MinInt64); ; {
		found, next, err := a.begunIn(ctx, after)
		if err != nil {
			return fmt.Errorf("reading the archive: %w", damage(err))
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
