// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
)

// version is that of the schema. A file of another one is made anew.
const version = 3

// Options configures Open.
type Options struct {
	Path     string        // of the file; its folder exists
	Retain   time.Duration // exchanges that began longer ago are forgotten; 0 = none are
	Deadline time.Duration // of one query; 3 seconds
	Log      *slog.Logger  // nil = none
	Now      func() time.Time
}

// Archive is a search store. It may be used by any number of goroutines; one of them may feed it.
type Archive struct {
	o       Options
	fields  []Field // see Fields
	read    atomic.Pointer[sql.DB]
	file    atomic.Pointer[os.FileInfo]             // that is open
	closed  atomic.Pointer[error]                   // why the file is not open; nil if it is
	renewed atomic.Int64                            // how often a file was replaced that could not be used
	stop    atomic.Pointer[context.CancelCauseFunc] // ends Follow; nil while nothing follows
	nudge   atomic.Pointer[context.CancelFunc]      // ends its waiting for records; nil while it does not wait
	asked   chan struct{}                           // holds one for each query that runs

	mu    sync.Mutex // of writing
	write *sql.DB
	sql   statements
	known map[string]int64 // values of fields that are in the list of values, and their numbers there
	used  map[int64]int64  // how often values were used in the transaction
	more  totals           // what the transaction adds to those of the file; negative for what it takes away
}

// totals are numbers of rows. They are kept with the rows, in the same transactions, for counting a million takes too long for a status.
type totals struct{ exchanges, sessions int64 }

const schema = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE exchanges (
	n INTEGER PRIMARY KEY, vals BLOB NOT NULL, id TEXT NOT NULL UNIQUE, session TEXT NOT NULL, parent TEXT NOT NULL, steps INTEGER NOT NULL, answer INTEGER NOT NULL,
	principal TEXT NOT NULL, user TEXT NOT NULL, tenant TEXT NOT NULL, workload TEXT NOT NULL, uid INTEGER NOT NULL, scope TEXT NOT NULL, mode TEXT NOT NULL,
	endpoint TEXT NOT NULL, operation TEXT NOT NULL, model TEXT NOT NULL, tools TEXT NOT NULL,
	action TEXT NOT NULL, rule TEXT NOT NULL, enforced INTEGER NOT NULL, status INTEGER NOT NULL, cut TEXT NOT NULL, masked INTEGER NOT NULL,
	input INTEGER NOT NULL, output INTEGER NOT NULL, cached INTEGER NOT NULL, estimated INTEGER NOT NULL, duration INTEGER NOT NULL, credential TEXT NOT NULL,
	records TEXT NOT NULL);
CREATE INDEX exchanges_session ON exchanges (session, n);
CREATE INDEX exchanges_credential ON exchanges (credential, workload) WHERE credential <> '';
CREATE TABLE sessions (
	id TEXT PRIMARY KEY, started INTEGER NOT NULL, last INTEGER NOT NULL, exchanges INTEGER NOT NULL, denied INTEGER NOT NULL, masked INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX sessions_last ON sessions (last);
CREATE TABLE totals (one INTEGER PRIMARY KEY CHECK (one = 1), exchanges INTEGER NOT NULL, sessions INTEGER NOT NULL);
INSERT INTO totals VALUES (1, 0, 0);
CREATE TABLE words (id INTEGER PRIMARY KEY, field TEXT NOT NULL, value TEXT NOT NULL, uses INTEGER NOT NULL, UNIQUE (field, value));
` + index

// Of the time that it takes to add exchanges a quarter goes into merging the index. The more parts of it are merged at once, the less often each word
// is written anew; and the more parts a query looks into. Parts of which a tenth was deleted would be written anew by themselves, again and again while
// exchanges expire in their order: scrubbing does so once a day.
const index = `CREATE VIRTUAL TABLE found USING fts5(fields, text, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2");
INSERT INTO found (found, rank) VALUES ('automerge', 8), ('deletemerge', 0), ('hashsize', 8388608);
`

// Open opens the file, and makes a new one if there is none, or if it is damaged or of another version: then it is empty until it is fed. If it
// cannot be opened for another reason, which may pass, it is left as it is: the archive is returned with the error, says so to whoever asks, and
// Follow tries again.
func Open(ctx context.Context, o Options) (*Archive, error) {
	if o.Deadline <= 0 {
		o.Deadline = 3 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &Archive{o: o, fields: Fields(), asked: make(chan struct{}, queries)}
	a.closed.Store(&errUnopened)
	return a, a.reopen(ctx)
}

// reopen opens the file if it is not open.
func (a *Archive) reopen(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if why := a.closed.Load(); why == nil || *why == errClosed {
		return a.shut()
	}
	err := a.open(ctx)
	if err != nil && ctx.Err() == nil && IsDamaged(err) {
		a.o.Log.Warn("the archive cannot be used and is built anew from the journal", "error", err)
		a.renewed.Add(1)
		if err = remove(a.o.Path); err == nil {
			err = a.open(ctx)
		}
	}
	a.opened(err)
	return err
}

func remove(path string) error {
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing an archive that cannot be used: %w", err)
		}
	}
	return nil
}

// Renew replaces the file by an empty one, which the next Follow fills. It is for a file that was damaged while it was in use (IsDamaged);
// queries that run then fail. After an error nothing is open, and Renew may be tried again.
func (a *Archive) Renew(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renewed.Add(1)
	if err := a.close(); err != nil {
		a.o.Log.Warn("closing an archive that cannot be used", "error", err)
	}
	err := remove(a.o.Path)
	if err == nil {
		err = a.open(ctx)
	}
	a.opened(err)
	return err
}

// open is called with the lock held and no file open.
func (a *Archive) open(ctx context.Context) (err error) {
	f, err := os.OpenFile(a.o.Path, os.O_CREATE, 0o600) // SQLite would make it readable by all
	if err != nil {
		return fmt.Errorf("opening the archive: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("opening the archive: %w", err)
	}
	a.known, a.used, a.more = map[string]int64{}, map[int64]int64{}, totals{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("opening the archive: %w", damage(err)), a.close())
		}
	}()
	// What is lost when the machine dies is read from the journal again.
	dsn, common := "file:"+(&url.URL{Path: a.o.Path}).EscapedPath()+"?", "_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=busy_timeout(5000)&_pragma=temp_store(memory)"
	// What is deleted is overwritten: words of erased sessions must not stay in pages that are free. How a file is vacuumed is set before anything is in it.
	if a.write, err = sql.Open("sqlite", dsn+"_pragma=auto_vacuum(incremental)&"+common+"&_txlock=immediate&_pragma=cache_size(-16384)&_pragma=secure_delete(on)&_pragma=journal_size_limit(33554432)"); err != nil {
		return err
	}
	a.write.SetMaxOpenConns(1)
	if err := a.made(ctx); err != nil {
		return err
	}
	if a.sql, err = prepare(ctx, a.write); err != nil {
		return err
	}
	var some sql.NullInt64
	if err := a.write.QueryRowContext(ctx, "SELECT max(n) FROM exchanges").Scan(&some); err != nil {
		return err
	}
	read, err := sql.Open("sqlite", dsn+common+"&_pragma=query_only(1)&_pragma=cache_size(-8192)")
	if err != nil {
		return err
	}
	read.SetMaxOpenConns(queries + 1) // one is for Stats
	a.read.Store(read)
	at, err := os.Stat(a.o.Path)
	if err != nil {
		return err
	}
	a.file.Store(&at)
	return nil
}

// made makes the tables if the file has none. Another process may be doing so too.
func (a *Archive) made(ctx context.Context) (err error) {
	tx, err := a.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	var have int
	if err = tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err == nil && have == 0 {
		_, err = tx.ExecContext(ctx, schema+fmt.Sprintf("PRAGMA user_version = %d", version))
	} else if err == nil && have != version {
		err = &unusable{fmt.Errorf("its version is %d, this program's is %d", have, version)}
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// These are what can be wrong with an archive that is not open, besides what came of opening it.
var (
	errClosed   = errors.New("it is closed")
	errUnopened = errors.New("it is not open yet")
)

// opened notes what came of opening the file.
func (a *Archive) opened(err error) {
	if err == nil {
		a.closed.Store(nil)
		return
	}
	a.closed.Store(&err)
}

// shut tells why the file is not open; nil if it is.
func (a *Archive) shut() error {
	if why := a.closed.Load(); why != nil {
		return fmt.Errorf("the archive is not open: %w", *why)
	}
	return nil
}

// Close ends the use of the file. The archive cannot be used any more.
func (a *Archive) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed.Store(&errClosed)
	return a.close()
}

func (a *Archive) close() error {
	var errs []error
	for _, db := range []*sql.DB{a.read.Load(), a.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// unusable is a file that is no archive of ours, or not any more.
type unusable struct{ err error }

func (u *unusable) Error() string { return u.err.Error() }
func (u *unusable) Unwrap() error { return u.err }

// IsDamaged tells whether an error means that the file cannot be used: Renew it.
func IsDamaged(err error) bool {
	var u *unusable
	return errors.As(err, &u) || errors.Is(err, errGone) || is(err, corrupt, notADB)
}

// damage marks an error of a statement that is ours, not made from a query, for what only a damaged file makes it fail with: tables that are not
// there, or with other rows than we put there.
func damage(err error) error {
	if is(err, failed, constraint, mismatch) {
		return &unusable{err}
	}
	return err
}

// Codes of SQLite.
const (
	failed, ioErr, corrupt, full, constraint, mismatch, notADB = 1, 10, 11, 13, 19, 20, 26
)

func is(err error, codes ...int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code()&0xff)
}

// errGone says that what is open has no name any more. Connections that are made anew would find another file, or make an empty one.
var errGone = errors.New("its file was removed or replaced while it was in use")

// gone is errGone if it is so.
func (a *Archive) gone() error {
	was := a.file.Load()
	at, err := os.Stat(a.o.Path)
	if was != nil && (errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(at, *was)) {
		return errGone
	}
	return nil // an error of another kind is one of reading, too
}

// damaged tells whether an error means that the file cannot be used, or comes of its not being there.
func (a *Archive) damaged(err error) bool { return IsDamaged(err) || a.gone() != nil }
