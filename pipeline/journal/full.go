// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// A journal that has no room for ordinary records says so in the chain, refuses them, and goes on with those that tell
// what happened to what was begun (essential): first in what is left of the active segment, then in the emergency segment,
// which was made when the journal was opened. Ordinary records are taken again only when a good deal is free, so that a
// journal at its limit does not open and close for each record.

// resumePart is the part of the quota, or of the file system, that must be free before ordinary records are taken again:
// a twentieth, 5 %. Of a large file system resumeMost is enough.
const (
	resumePart = 20
	resumeMost = 1 << 30
)

// The values of Shortage.Full.
const (
	FullBegin     = "begin"     // ordinary records are refused from here on
	FullEmergency = "emergency" // the same, and this is the emergency segment
	FullEnd       = "end"       // they are taken again
)

// Shortage is the body of the gap records around a time in which ordinary records were refused.
type Shortage struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count,omitempty"` // how many were refused; with FullEnd
	Full   string `json:"full"`
}

// shortage is what the writer knows about its room; j.mu guards it.
type shortage struct {
	emergency *os.File // the prepared segment; nil while it is in use
	reserve   int64    // its size
	full      bool
	cause     string
	refused   int64     // ordinary records, since it is full
	checked   time.Time // when free space was last looked for
}

// The causes of a shortage.
const (
	byQuota = "record.max_bytes is used up"
	byDisk  = "the disk is full"
	byStart = "the journal was full when sallyportd was started"
)

// usable is how much ordinary records may use of the quota: with each there must be room to begin a segment for it.
func (j *Journal) usable() int64 {
	return j.o.MaxBytes - j.reserve - segmentHeader - tailGuard - 3*checkpointRoom
}

// room makes sure that a frame of n bytes fits into the active segment and into the quota.
func (j *Journal) room(n int64, essential bool) error {
	if j.full && !j.recover() && !essential {
		return ErrFull
	}
	if used := j.closed + j.off; !essential && j.o.MaxBytes > 0 && used+n > j.usable() {
		if used > j.usable()-j.o.MaxBytes/resumePart { // else it is not the journal that is too full, but the record too large
			if err := j.runOut(byQuota); err != nil {
				return err
			}
		}
		return ErrFull
	}
	if j.fits(n) {
		return nil
	}
	return j.rotate(n, essential)
}

// fits says whether a frame goes into the active segment, with the checkpoint behind it.
func (j *Journal) fits(n int64) bool { return j.off+n+tailGuard+checkpointRoom <= j.size }

// runOut begins a shortage. That it did is recorded at once if there is room, else with the first record of the emergency segment.
func (j *Journal) runOut(cause string) error {
	if j.full {
		return nil
	}
	j.full, j.cause, j.refused, j.checked = true, cause, 0, time.Now()
	if !j.fits(checkpointRoom) {
		return nil
	}
	j.wake()
	return j.noteShortage(FullBegin)
}

// noteShortage records a point in a shortage.
func (j *Journal) noteShortage(at string) error {
	s := Shortage{Reason: "ordinary records are refused: " + j.cause, Full: at}
	if at == FullEnd {
		s.Reason, s.Count = "ordinary records were refused: "+j.cause, j.refused
	}
	return j.own(pipeline.KindGap, &s)
}

// recover ends a shortage if enough is free again. It looks once in a while only.
func (j *Journal) recover() bool {
	now := time.Now()
	if j.err != nil || j.shut || now.Sub(j.checked) < j.o.FullCheck {
		return false
	}
	j.checked = now
	if !j.enough() {
		return false
	}
	was := j.shortage
	j.full = false
	if !j.fits(checkpointRoom) {
		if err := j.rotate(checkpointRoom, false); err != nil {
			j.full, j.cause, j.refused = true, was.cause, was.refused
			return false
		}
	}
	j.wake()
	return j.noteShortage(FullEnd) == nil
}

// enough says whether ordinary records can be taken again, and prepares the segments that they need.
func (j *Journal) enough() bool {
	used, err := j.usage()
	if err != nil {
		return false
	}
	j.closed = used
	if j.o.MaxBytes > 0 && j.closed+j.off > j.usable()-j.o.MaxBytes/resumePart {
		return false
	}
	var st unix.Statfs_t
	if err := unix.Statfs(j.o.Dir, &st); err != nil {
		return false
	}
	whole, free := int64(st.Blocks)*st.Bsize, int64(st.Bavail)*st.Bsize
	if free < max(j.o.SegmentBytes+j.reserve, min(whole/resumePart, resumeMost)) {
		return false
	}
	if j.emergency == nil {
		if j.emergency, err = j.newFile("emergency", j.reserve, true); err != nil {
			return false
		}
	}
	if j.spare == nil && !j.making { // only an allocation that works proves that there is room: quotas of the system do not show
		if j.spare, err = j.newFile("plain", j.o.SegmentBytes, false); err != nil {
			return false
		}
	}
	return true
}

// usage adds up what the folder holds besides the active segment and the files that this writer has prepared.
func (j *Journal) usage() (int64, error) {
	names, err := os.ReadDir(j.o.Dir)
	if err != nil {
		return 0, fmt.Errorf("reading the journal folder: %w", err)
	}
	own := map[string]bool{}
	for _, f := range []*os.File{j.emergency, j.spare} {
		if f != nil {
			own[filepath.Base(f.Name())] = true
		}
	}
	own[filepath.Base(segmentPath(j.o.Dir, j.info.number))] = true
	var sum int64
	for _, e := range names {
		if own[e.Name()] || !strings.HasSuffix(e.Name(), segmentSuffix) && !strings.HasSuffix(e.Name(), tmpSuffix) {
			continue
		}
		if info, err := e.Info(); err == nil { // else it has just gone
			sum += info.Size()
		}
	}
	return sum, nil
}

// nextFile is the file of the next segment, with room for n bytes: a prepared one, a new one or, if there is no room for
// either, for an essential record the emergency segment. With ErrFull, or for want of descriptors, nothing has changed.
func (j *Journal) nextFile(n int64, essential bool) (f *os.File, size int64, err error) {
	need := segmentHeader + n + tailGuard + 2*checkpointRoom + j.stateRoom()
	if !j.full && j.o.MaxBytes > 0 && j.closed+j.off+checkpointRoom+need > j.o.MaxBytes-j.reserve {
		if err := j.runOut(byQuota); err != nil {
			return nil, 0, err
		}
	}
	if !j.full {
		size = max(j.segmentSize(j.closed+j.off+checkpointRoom), need) // the active segment ends in a checkpoint
		if f, err = j.ordinaryFile(size); err == nil {
			return f, size, nil
		}
		if noDescriptors(err) { // it is over when something closes: nothing has changed, the next record tries again
			return nil, 0, fmt.Errorf("making a journal segment: %w: raise the limit of open files (LimitNOFILE=)", err)
		}
		if !noSpace(err) {
			return nil, 0, j.fail(fmt.Errorf("making a journal segment: %w", err))
		}
		if err := j.runOut(byDisk); err != nil {
			return nil, 0, err
		}
	}
	if !essential || j.emergency == nil || need+checkpointRoom > j.reserve {
		return nil, 0, ErrFull
	}
	f, j.emergency = j.emergency, nil
	return f, j.reserve, nil
}

func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

func noDescriptors(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

// segmentSize is how large an ordinary segment may be that follows that many bytes: all of it may come to be used.
func (j *Journal) segmentSize(used int64) int64 {
	if j.o.MaxBytes == 0 {
		return j.o.SegmentBytes
	}
	return min(j.o.SegmentBytes, j.o.MaxBytes-j.reserve-used)
}

// ordinaryFile takes the prepared segment or makes one.
func (j *Journal) ordinaryFile(size int64) (*os.File, error) {
	f := j.spare
	j.spare = nil
	if f != nil && size == j.o.SegmentBytes {
		return f, nil
	}
	if f != nil { // too small for this record, or too large for what the quota leaves
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			return nil, fmt.Errorf("dropping a prepared journal segment: %w", err)
		}
	}
	return j.newFile("plain", size, false)
}

// newFile prepares a segment under a name of this generation's own.
func (j *Journal) newFile(kind string, size int64, fill bool) (*os.File, error) {
	return newSegmentFile(j.o.Dir, fmt.Sprintf("%016d.%s%s", j.gen, kind, tmpSuffix), size, fill)
}

// openEmergency makes the emergency segment. A quota that is used up is stretched for a small one: without it a journal
// that is full could not even be opened to say so.
func (j *Journal) openEmergency() (err error) {
	j.reserve = j.o.EmergencyBytes
	if j.o.MaxBytes > 0 {
		j.reserve = max(min(j.reserve, j.o.MaxBytes-j.closed-minSegment), minSegment)
	}
	if j.emergency, err = j.newFile("emergency", j.reserve, true); err != nil {
		return fmt.Errorf("making the emergency segment of the journal: %w", err)
	}
	return nil
}

// dropPrepared removes what was prepared and is not needed any more.
func (j *Journal) dropPrepared() error {
	var errs []error
	for _, f := range []*os.File{j.spare, j.emergency} {
		if f != nil {
			errs = append(errs, f.Close(), os.Remove(f.Name()))
		}
	}
	j.spare, j.emergency = nil, nil
	return errors.Join(errs...)
}
