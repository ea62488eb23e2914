// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	// expireEvery is how often it is looked what is due to be forgotten.
	expireEvery = 10 * time.Minute
	// carePause is how long one step of care waits for the next while nothing is to be added.
	carePause = 10 * time.Millisecond
	// sweepEvery is how long words of what was forgotten may stay in the file.
	sweepEvery = 24 * time.Hour
	// forgetStep is how many exchanges are forgotten in one transaction.
	forgetStep = 1000
	// shrinkPages is how many free pages are given back in one step; it is done while a quarter of the file, and more than that many, are free.
	shrinkPages = 2000
)

// care is what keeps the file in order while it is fed, a step at a time, so that what is new does not wait for it.
type care struct {
	a        *Archive
	dir      string
	looked   time.Time // when it was last looked what is due
	expiring bool      // there is more of it
}

// step does a part of what is due, and tells whether there is more.
func (c *care) step(ctx context.Context) (more bool, err error) {
	// First, and before anything else is forgotten: what is forgotten while erased words leave the file lets it begin anew.
	if more, err = c.a.scrub(ctx); more || err != nil {
		return more, err
	}
	if now := c.a.o.Now(); now.Sub(c.looked) >= expireEvery {
		if err := c.a.lost(ctx, c.dir); err != nil {
			return false, err
		}
		c.looked, c.expiring = now, true
	}
	if c.expiring {
		n, err := c.a.Expire(ctx)
		if c.expiring = n > 0; c.expiring || err != nil {
			return true, err
		}
		if more, err := c.a.sweep(ctx); more || err != nil {
			return more, err
		}
	}
	return c.a.shrink(ctx)
}

// Expire forgets up to forgetStep of the exchanges that are older than the archive is to retain, and says how many.
func (a *Archive) Expire(ctx context.Context) (int64, error) {
	if a.o.Retain <= 0 {
		return 0, nil
	}
	return a.forget(ctx, "n < ?", a.o.Now().Add(-a.o.Retain).UnixMicro())
}

// forget takes out up to forgetStep of some exchanges, the oldest first, with the sessions of which it leaves none.
func (a *Archive) forget(ctx context.Context, which string, arg any) (n int64, err error) {
	err = a.in(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT n, session FROM exchanges WHERE %s ORDER BY n LIMIT %d", which, forgetStep), arg)
		if err != nil {
			return err
		}
		defer rows.Close()
		var gone []int64
		sessions := map[string]bool{}
		for rows.Next() {
			var i int64
			var s string
			if err := rows.Scan(&i, &s); err != nil {
				return err
			}
			gone, sessions[s] = append(gone, i), true
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		if n = int64(len(gone)); n == 0 {
			return nil
		}
		for _, q := range []string{"DELETE FROM found WHERE rowid IN (", "DELETE FROM exchanges WHERE n IN ("} {
			if _, err := tx.ExecContext(ctx, q+list(gone)+")"); err != nil {
				return err
			}
		}
		a.more.exchanges -= n
		for s := range sessions {
			r, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM exchanges WHERE session = ?1)", s)
			if err != nil {
				return err
			}
			k, err := r.RowsAffected()
			if err != nil {
				return err
			}
			a.more.sessions -= k
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("forgetting exchanges in the archive: %w", err)
	}
	return n, nil
}

// shrink gives free pages at the end of the file back.
func (a *Archive) shrink(ctx context.Context) (more bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var free, all int64
	if err := a.write.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&free); err != nil {
		return false, fmt.Errorf("reading the archive: %w", err)
	}
	if err := a.write.QueryRowContext(ctx, "PRAGMA page_count").Scan(&all); err != nil {
		return false, fmt.Errorf("reading the archive: %w", err)
	}
	if free <= shrinkPages || free*4 <= all {
		return false, nil
	}
	if _, err := a.write.ExecContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", shrinkPages)); err != nil {
		return false, fmt.Errorf("giving free space of the archive back: %w", err)
	}
	return true, nil
}
