// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

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
		if err == nil {
			err = json.Unmarshal([]byte(raw), &refs)
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		if _, err := l.Read(refs.Outcome); !errors.Is(err, fs.ErrNotExist) || refs.Outcome == (pipeline.Position{}) {
			return nil
		}
		if _, err := a.forget(ctx, "n IN (SELECT n FROM exchanges WHERE json_extract(records, '$.Outcome.segment') = ? ORDER BY n LIMIT 1000)", refs.Outcome.Segment); err != nil {
			return err
		}
	}
}
