// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// inspect finds out how the previous generation ended and cuts the newest segment to its records. Older segments are
// checked for being there and for their headers; Verify reads them whole.
func (j *Journal) inspect() error {
	all, err := listSegments(j.o.Dir)
	if err != nil {
		return err
	}
	j.old.segments = all
	if len(all) == 0 {
		return nil
	}
	var before segmentInfo
	for _, n := range all {
		info, size, err := statSegment(j.o.Dir, n)
		if err != nil {
			return err
		}
		if before.number != 0 && info.generation < before.generation {
			return &Damage{Segment: n, What: "its generation is older than that of the segment before"}
		}
		before = info
		j.old.bytes += size
	}
	last := all[len(all)-1]
	r, err := OpenReader(j.o.Dir, pipeline.Position{Segment: last})
	if err != nil {
		return err
	}
	defer r.Close()
	r.deep = true
	for err == nil {
		var e *Entry
		if e, err = r.Next(); err == nil && e.Kind == pipeline.KindGap {
			err = j.old.shortage(e)
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	size, err := r.size()
	if err != nil {
		return err
	}
	if r.info.first == 1 && r.off == segmentHeader {
		// The previous start ended before its opening record was complete: as if it had not been.
		if err := errors.Join(os.Remove(segmentPath(j.o.Dir, last)), syncDir(j.o.Dir)); err != nil {
			return fmt.Errorf("repairing the journal: %w", err)
		}
		j.old = predecessor{dropped: j.old.dropped + r.torn}
		return j.inspect()
	}
	j.old.last, j.old.seq, j.old.head = r.info, r.seq, r.head
	j.old.dropped += r.torn
	j.old.bytes -= size - r.off
	if size == r.off {
		return nil
	}
	f, err := os.OpenFile(segmentPath(j.o.Dir, last), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("repairing a journal segment: %w", err)
	}
	if err := errors.Join(f.Truncate(r.off), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("repairing a journal segment: %w", err)
	}
	return nil
}

// shortage remembers from the gap records whether ordinary records were refused at the end.
func (p *predecessor) shortage(e *Entry) error {
	var s Shortage
	if err := e.Decode(&s); err != nil {
		return err
	}
	switch s.Full {
	case FullBegin, FullEmergency:
		p.cause = byStart
	case FullEnd:
		p.cause = ""
	}
	return nil
}

func statSegment(dir string, number uint64) (segmentInfo, int64, error) {
	f, err := os.Open(segmentPath(dir, number))
	if err != nil {
		return segmentInfo{}, 0, fmt.Errorf("opening a journal segment: %w", err)
	}
	defer f.Close()
	info, err := readSegmentHeader(f, number)
	if err != nil {
		return info, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return info, 0, err
	}
	return info, st.Size(), nil
}
