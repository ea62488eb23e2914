// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
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

// lost forgets the oldest exchanges if the journal does not have them any more.
func (a *Archive) lost(ctx context.Context, dir string) error {
	l := journal.NewLoader(dir)
	defer l.Close()
	for {
		var n int64
		var raw string
		err := a.write.QueryRowContext(ctx, "SELECT n, records FROM exchanges ORDER BY n LIMIT 1").Scan(&n, &raw)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		var refs journal.Refs
		if err = read(err, raw, &refs); err != nil {
			return err
		}
		if _, err := l.Read(refs.Outcome); !errors.Is(err, fs.ErrNotExist) || refs.Outcome == (pipeline.Position{}) {
			return nil
		}
		if _, err := a.forget(ctx, "n IN (SELECT n FROM exchanges WHERE json_extract(records, '$.Outcome.segment') = ? ORDER BY n LIMIT 500)", refs.Outcome.Segment); err != nil {
			return err
		}
	}
}
