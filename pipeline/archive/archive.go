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
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
)

// version is that of the schema. A file of another one is made anew.
const version = 2

// Options configures Open.
type Options struct {
	Path     string        // of the file; its folder exists
	Retain   time.Duration // exchanges that began longer ago are forgotten; 0 = none are
	Deadline time.Duration // of one query; 3 seconds
	Log      *slog.Logger  // nil = none
	Now      func() time.Time
}

// Archive is an open search store. It may be used by any number of goroutines; one of them may feed it.
type Archive struct {
	o      Options
	fields []Field // see Fields
	read   atomic.Pointer[sql.DB]
	file   atomic.Pointer[os.FileInfo]             // that is open
	stop   atomic.Pointer[context.CancelCauseFunc] // ends Follow; nil while nothing follows

	mu    sync.Mutex // of writing
	write *sql.DB
	known map[string]int64 // values of fields that are in the list of values, and their numbers there
	used  map[int64]int64  // how often values were used in the transaction
}

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
CREATE TABLE words (id INTEGER PRIMARY KEY, field TEXT NOT NULL, value TEXT NOT NULL, uses INTEGER NOT NULL, UNIQUE (field, value));
` + index

const index = `CREATE VIRTUAL TABLE found USING fts5(fields, text, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2");
`

// Open opens the file, and makes a new one if there is none or if it cannot be used: then it is empty until it is fed.
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
	a, err := open(ctx, o)
	if err == nil {
		return a, nil
	}
	if _, serr := os.Stat(o.Path); errors.Is(serr, fs.ErrNotExist) {
		return nil, err
	}
	o.Log.Warn("the archive cannot be used and is built anew from the journal", "error", err)
	if err := remove(o.Path); err != nil {
		return nil, err
	}
	return open(ctx, o)
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
	if err := a.close(); err != nil {
		a.o.Log.Warn("closing an archive that cannot be used", "error", err)
	}
	if err := remove(a.o.Path); err != nil {
		return err
	}
	fresh, err := open(ctx, a.o)
	if err != nil {
		return err
	}
	a.write, a.known = fresh.write, fresh.known
	a.read.Store(fresh.read.Load())
	a.file.Store(fresh.file.Load())
	return nil
}

func open(ctx context.Context, o Options) (a *Archive, err error) {
	f, err := os.OpenFile(o.Path, os.O_CREATE, 0o600) // SQLite would make it readable by all
	if err != nil {
		return nil, fmt.Errorf("opening the archive: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("opening the archive: %w", err)
	}
	a = &Archive{o: o, fields: Fields(), known: map[string]int64{}, used: map[int64]int64{}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("opening the archive: %w", err), a.Close())
			a = nil
		}
	}()
	// What is lost when the machine dies is read from the journal again.
	dsn := "file:" + (&url.URL{Path: o.Path}).EscapedPath() + "?_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=busy_timeout(5000)&_pragma=temp_store(memory)"
	// What is deleted is overwritten: words of erased sessions must not stay in pages that are free.
	if a.write, err = sql.Open("sqlite", dsn+"&_txlock=immediate&_pragma=cache_size(-16384)&_pragma=secure_delete(on)"); err != nil {
		return a, err
	}
	a.write.SetMaxOpenConns(1)
	var have int
	if err := a.write.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return a, err
	}
	switch have {
	case 0:
		if _, err := a.write.ExecContext(ctx, schema+fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
			return a, err
		}
	case version:
	default:
		return a, fmt.Errorf("its version is %d, this program's is %d", have, version)
	}
	var some sql.NullInt64
	if err := a.write.QueryRowContext(ctx, "SELECT max(n) FROM exchanges").Scan(&some); err != nil {
		return a, err
	}
	read, err := sql.Open("sqlite", dsn+"&_pragma=query_only(1)&_pragma=cache_size(-8192)")
	if err != nil {
		return a, err
	}
	read.SetMaxOpenConns(4)
	a.read.Store(read)
	at, err := os.Stat(o.Path)
	if err != nil {
		return a, err
	}
	a.file.Store(&at)
	return a, nil
}

// Close ends the use of the file.
func (a *Archive) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
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

// errGone says that what is open has no name any more. Connections that are made anew would find another file, or make an empty one.
var errGone = errors.New("its file was removed or replaced while it was in use")

// gone is errGone if it is so.
func (a *Archive) gone() error {
	at, err := os.Stat(a.o.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(at, *a.file.Load()) {
		return errGone
	}
	return nil // an error of another kind is one of reading, too
}

// damaged tells whether an error means that the file cannot be used, or comes of its not being there.
func (a *Archive) damaged(err error) bool { return IsDamaged(err) || a.gone() != nil }

// IsDamaged tells whether an error means that the file cannot be used: Renew it.
func IsDamaged(err error) bool {
	if errors.Is(err, errGone) {
		return true
	}
	const corrupt, notADB = 11, 26 // SQLITE_CORRUPT, SQLITE_NOTADB
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == corrupt || e.Code()&0xff == notADB)
}
