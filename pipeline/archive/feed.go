// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// A batch is what goes into one transaction.
const (
	batchExchanges = 500
	batchWait      = 500 * time.Millisecond
)

// place says how far the journal has been read; it is stored with what was read.
type place struct {
	Resume journal.Mark `json:"resume"` // exchanges without an outcome begin there
	Done   journal.Mark `json:"done"`   // exchanges whose outcome lies before are in the archive
}

// source gives records in the order of the journal.
type source interface {
	Next(context.Context) (*journal.Entry, error)
	Mark() journal.Mark
}

// feeder brings records into the archive.
type feeder struct {
	a      *Archive
	dir    string
	src    source
	folder *journal.Folder
	loader *journal.Loader
	skip   journal.Mark
}

// Follow feeds the archive from a journal that is being written, until ctx ends or the journal is closed; then it returns nil. An
// archive that does not fit the journal is emptied first.
func (a *Archive) Follow(ctx context.Context, j *journal.Journal) (err error) {
	caller := ctx
	defer func() {
		if caller.Err() != nil {
			err = nil
		}
	}()
	ctx, stop := context.WithCancelCause(ctx)
	a.stop.Store(&stop)
	defer func() {
		a.stop.Store(nil)
		stop(nil)
	}()
	if err := a.reopen(ctx); err != nil {
		return err
	}
	at, err := a.place(ctx)
	if err != nil {
		return err
	}
	var cur *journal.Cursor
	if err = a.fits(ctx, j.Dir()); err == nil {
		cur, err = j.Follow(at.Resume)
	}
	if misfit(err) {
		a.o.Log.Warn("the archive is of another journal and is built anew", "error", err)
		if at = (place{}); a.empty(ctx) != nil {
			return fmt.Errorf("emptying the archive: %w", err)
		}
		cur, err = j.Follow(nil)
	}
	if err != nil {
		return fmt.Errorf("following the journal: %w", err)
	}
	f := &feeder{a: a, dir: j.Dir(), src: cur, folder: journal.NewFolder(), loader: loader(j.Dir()), skip: at.Done}
	err = f.run(ctx)
	err = errors.Join(err, cur.Close(), f.loader.Close())
	switch {
	case ctx.Err() != nil: // a query found the file damaged
		return errors.Join(context.Cause(ctx), a.gone())
	case err != nil && a.gone() != nil:
		return errors.Join(err, errGone)
	case errors.Is(err, journal.ErrClosed):
		return nil
	}
	return err
}

// Rebuild empties the archive and fills it from a journal folder. tell, if not nil, is told now and then how many exchanges are in it.
func (a *Archive) Rebuild(ctx context.Context, dir string, tell func(exchanges int)) error {
	if err := a.empty(ctx); err != nil {
		return fmt.Errorf("emptying the archive: %w", err)
	}
	r, err := journal.OpenReader(dir, pipeline.Position{})
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	f := &feeder{a: a, dir: dir, src: still{r}, folder: journal.NewFolder(), loader: loader(dir)}
	total := 0
	for {
		n, err := f.step(ctx, 0)
		if total += n; tell != nil && n > 0 {
			tell(total)
		}
		if err != nil {
			err = errors.Join(r.Close(), f.loader.Close(), but(err, io.EOF))
			return err
		}
	}
}

// but is err unless it is what is expected.
func but(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func loader(dir string) *journal.Loader {
	l := journal.NewLoader(dir)
	l.SkipBody = true
	return l
}

// still is a folder that is read to its end.
type still struct{ *journal.Reader }

func (s still) Next(ctx context.Context) (*journal.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.Reader.Next()
}

// fits returns a *journal.Damage if the newest exchange of the archive is not in a journal.
func (a *Archive) fits(ctx context.Context, dir string) error {
	var raw string
	err := a.write.QueryRowContext(ctx, "SELECT records FROM exchanges ORDER BY n DESC LIMIT 1").Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	var refs journal.Refs
	if err = read(err, raw, &refs); err != nil {
		return err
	}
	l := journal.NewLoader(dir)
	defer l.Close()
	e, err := l.Read(refs.Outcome)
	if err == nil && e.Hash == refs.Hash {
		return nil
	}
	return &journal.Damage{Segment: refs.Outcome.Segment, Offset: refs.Outcome.Offset, What: "the archive has another record"}
}

func misfit(err error) bool {
	var d *journal.Damage
	return errors.As(err, &d)
}

func (f *feeder) run(ctx context.Context) error {
	c := &care{a: f.a, dir: f.dir}
	for {
		more, err := c.step(ctx)
		if err = errors.Join(f.a.gone(), err); err != nil {
			return err
		}
		wait := time.Duration(0)
		if more {
			wait = carePause
		}
		if _, err := f.step(ctx, wait); err != nil {
			return err
		}
	}
}

// step brings one batch in; it waits for its first record no longer than most, if that is not 0. After an error of the source, what was read before
// it is in the archive.
func (f *feeder) step(ctx context.Context, most time.Duration) (n int, err error) {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	f.a.nudge.Store(&cancel)
	defer f.a.nudge.Store(nil)
	if most > 0 {
		defer time.AfterFunc(most, cancel).Stop()
	}
	var parts []*journal.Parts
	var gone []erased
	var end error
	read := 0
	for ; len(parts) < batchExchanges && read < 100*batchExchanges; read++ {
		e, err := f.src.Next(wait)
		if err != nil {
			if wait.Err() == nil || ctx.Err() != nil {
				end = err
			}
			break
		}
		if read == 0 {
			defer time.AfterFunc(batchWait, cancel).Stop()
		}
		if e.Kind == pipeline.KindAdmin {
			x, err := erasure(e, f.dir)
			if err != nil {
				return 0, err
			}
			if x != nil {
				gone = append(gone, *x)
			}
			continue
		}
		done := f.folder.Add(e)
		if done == nil || f.skip.Covers(e.Generation, e.Position) {
			continue
		}
		p, err := f.loader.Load(done)
		if err != nil { // what is wrong with one exchange must not keep all later ones back
			f.a.o.Log.Warn("an exchange cannot be brought into the archive", "exchange_id", done.Exchange, "error", err)
			continue
		}
		parts = append(parts, p)
	}
	if read == 0 {
		return 0, end
	}
	at := f.src.Mark()
	if err := f.a.add(context.WithoutCancel(ctx), parts, place{f.folder.Resume(at), f.skip.Later(at)}, gone...); err != nil {
		return 0, fmt.Errorf("writing the archive: %w", err)
	}
	return len(parts), end
}

// place reads how far the journal has been read.
func (a *Archive) place(ctx context.Context) (p place, err error) {
	var raw string
	err = a.write.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'place'").Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return p, nil
	}
	return p, read(err, raw, &p)
}

// read reads what we stored as JSON, unless there is an error already. What cannot be read is not what we stored.
func read(err error, raw string, to any) error {
	if err = damage(err); err == nil {
		if err = json.Unmarshal([]byte(raw), to); err != nil {
			err = &unusable{err}
		}
	}
	if err != nil {
		err = fmt.Errorf("reading the archive: %w", err)
	}
	return err
}

// empty makes the archive one that has read nothing.
func (a *Archive) empty(ctx context.Context) error {
	return a.in(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM meta; DELETE FROM exchanges; DELETE FROM sessions; DELETE FROM words; UPDATE totals SET exchanges = 0, sessions = 0; DROP TABLE found; "+index)
		clear(a.known)
		return err
	})
}

// in runs f in a transaction, and adds to the totals what f says.
func (a *Archive) in(ctx context.Context, f func(*sql.Tx) error) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.shut(); err != nil {
		return err
	}
	tx, err := a.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	a.more = totals{}
	if err = f(tx); err == nil && a.more != (totals{}) {
		_, err = tx.ExecContext(ctx, "UPDATE totals SET exchanges = exchanges + ?, sessions = sessions + ?", a.more.exchanges, a.more.sessions)
	}
	if err == nil {
		err = tx.Commit()
	} else if back := tx.Rollback(); back != nil && !is(err, ioErr, full) { // of these SQLite itself has rolled back
		err = errors.Join(err, back)
	}
	if err != nil { // what was noted in it is not in the file
		clear(a.known)
		clear(a.used)
	}
	return damage(err)
}
