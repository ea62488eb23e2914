// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// ActionRepair is the action of the admin record with which a repaired journal goes on.
const ActionRepair = "record.repair"

// Repaired says what Repair did. It is the body of an admin record, and a file beside what was moved.
type Repaired struct {
	Action   string    `json:"action"`
	Time     time.Time `json:"time"`
	Problem  Damage    `json:"problem"`
	Evidence string    `json:"evidence"` // the folder with what was moved aside, in the journal folder
	Moved    []string  `json:"moved"`
	Kept     uint64    `json:"kept"` // records before the damage, which stay
}

// ErrWhole says that there is nothing to repair.
var ErrWhole = errors.New("the journal is whole: there is nothing to repair")

// Repair makes a damaged journal one that can be gone on with, and destroys nothing: the segment with the damage and all after it are
// moved into a folder of their own; the records of that segment which lie before the damage are copied back. What was moved may
// hold sound records: it is evidence, and read by hand. No other process may write to the folder.
func Repair(dir string, now func() time.Time) (r Repaired, err error) {
	rep, err := Verify(dir)
	switch {
	case err != nil:
		return r, err
	case rep.Problem == nil:
		return r, ErrWhole
	}
	folder, err := lockFolder(dir, lockWait)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	locked, err := lockedGenerations(dir)
	if err != nil {
		return r, err
	}
	for _, g := range locked {
		f, err := lockGeneration(dir, g)
		if err != nil {
			return r, err
		}
		if f == nil {
			return r, fmt.Errorf("%w: stop sallyportd first", ErrLocked)
		}
		defer f.Close()
	}
	at := now().UTC()
	r = Repaired{Action: ActionRepair, Time: at, Problem: *rep.Problem, Evidence: "damaged-" + at.Format("20060102T150405.000Z"), Kept: rep.Records}
	if err := r.moveAside(dir); err != nil {
		return r, err
	}
	return r, folder.Sync()
}

func (r *Repaired) moveAside(dir string) error {
	aside := filepath.Join(dir, r.Evidence)
	if err := os.Mkdir(aside, 0o700); err != nil {
		return fmt.Errorf("making a folder for the damaged parts: %w", err)
	}
	all, err := listSegments(dir)
	var hole *Damage
	if err != nil && !errors.As(err, &hole) {
		return err
	}
	from := r.Problem.Segment
	for i := len(all) - 1; i >= 0 && all[i] >= from; i-- { // newest first: a crash in between leaves no hole
		name := filepath.Base(segmentPath(dir, all[i]))
		if err := os.Rename(segmentPath(dir, all[i]), filepath.Join(aside, name)); err != nil {
			return fmt.Errorf("moving a damaged segment aside: %w", err)
		}
		r.Moved = append(r.Moved, name)
	}
	if r.Problem.Offset > segmentHeader {
		if err := copyHead(segmentPath(aside, from), segmentPath(dir, from), int64(r.Problem.Offset)); err != nil {
			return fmt.Errorf("keeping the records before the damage: %w", err)
		}
	}
	note, err := appendJSON(nil, r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(aside, "repair.json"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("noting the repair: %w", err)
	}
	_, err = f.Write(append(note, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

func copyHead(from, to string, n int64) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to+tmpSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, in, n)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(to+tmpSuffix, to)
}

// RepairAndNote repairs a journal and begins it anew with a record of that.
func RepairAndNote(dir string) (Repaired, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Repaired{}, err
	}
	r, err := Repair(dir, time.Now)
	if err != nil {
		return r, err
	}
	j, err := Open(Options{Dir: dir})
	if err != nil {
		return r, fmt.Errorf("opening the repaired journal: %w", err)
	}
	_, done := j.Append(pipeline.Record{Kind: pipeline.KindAdmin, Body: &r})
	return r, errors.Join(<-done, j.Close())
}
