// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// What was erased is found no more at once, but its words are still in the file: the index only marks them as deleted, until it is merged. Scrubbing
// takes them out of the file. How far it has come is in the file, so that it goes on after a restart, from one of these states to the next.
const (
	scrubBegin = "begin" // all of the index is to be merged
	scrubMerge = "merge" // it is being merged
	scrubFlush = "flush" // the log that SQLite writes first is to be emptied
)

// scrubPages is how much of the index one step writes anew.
const scrubPages = 1000

// tombstones are the rows of the index from this number on. There are some as long as it holds a word that was deleted.
const tombstones = 1 << 53

// scrub takes one step, and tells whether there are more.
func (a *Archive) scrub(ctx context.Context) (more bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.shut(); err != nil {
		return false, err
	}
	var state string
	err = a.write.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'scrub'").Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	next := state
	if err == nil {
		next, err = a.scrubbed(ctx, state)
	}
	switch {
	case err != nil:
	case next == "":
		_, err = a.write.ExecContext(ctx, "DELETE FROM meta WHERE name = 'scrub'; INSERT OR REPLACE INTO meta VALUES ('swept', ?)", a.o.Now().Unix())
	case next != state:
		_, err = a.write.ExecContext(ctx, "UPDATE meta SET value = ? WHERE name = 'scrub'", next)
	}
	if err != nil {
		return false, fmt.Errorf("taking erased words out of the archive: %w", damage(err))
	}
	return next != "", nil
}

// scrubbed does what one state asks for, and gives the next, "" if that was all.
func (a *Archive) scrubbed(ctx context.Context, state string) (next string, err error) {
	if state == scrubFlush {
		var busy, pages, moved int
		err := a.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved)
		if busy != 0 { // a query reads from it
			return state, err
		}
		return "", err
	}
	pages := scrubPages
	if state == scrubBegin { // a negative number: all of it, however little there is to merge
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
	if changes()-before >= 2 || err != nil { // else there was nothing to do
		return scrubMerge, err
	}
	switch some, err := a.deleted(ctx); {
	case err != nil:
		return "", err
	case !some:
		return scrubFlush, nil
	case state == scrubBegin:
		return "", &unusable{errors.New("the index keeps what was deleted")}
	}
	return scrubBegin, nil // more was erased while it was merged
}

// deleted tells whether the index holds words that were deleted.
func (a *Archive) deleted(ctx context.Context) (some bool, err error) {
	err = a.write.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM found_data WHERE id >= ?)", tombstones).Scan(&some)
	return some, err
}

// sweep begins scrubbing for the sake of what was forgotten because it was old: that happens all the time, so it is done once in sweepEvery. It tells
// whether it did.
func (a *Archive) sweep(ctx context.Context) (began bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var last int64
	err = a.write.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'swept'").Scan(&last)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err == nil && a.o.Now().Sub(time.Unix(last, 0)) >= sweepEvery {
		if began, err = a.deleted(ctx); began && err == nil {
			_, err = a.write.ExecContext(ctx, "INSERT OR IGNORE INTO meta VALUES ('scrub', ?)", scrubBegin)
		}
	}
	if err != nil {
		err = fmt.Errorf("looking for words that were deleted from the archive: %w", damage(err))
	}
	return began, err
}
