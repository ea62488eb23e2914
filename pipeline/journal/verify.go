// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Report is the result of Verify.
type Report struct {
	OK          bool      `json:"ok"`
	Problem     *Damage   `json:"problem,omitempty"` // the first place that is wrong
	Segments    int       `json:"segments"`
	First       uint64    `json:"first_segment"` // older ones are not here
	Generations int       `json:"generations"`
	Records     uint64    `json:"records"`
	Bytes       int64     `json:"bytes"`
	Head        Hash      `json:"head"` // of the newest record
	From        time.Time `json:"from,omitzero"`
	To          time.Time `json:"to,omitzero"`
	Torn        int64     `json:"torn"`  // bytes of an unfinished write at the end: the next start drops them and says so
	Gaps        uint64    `json:"gaps"`  // gap records
	Clean       bool      `json:"clean"` // the newest generation was closed
}

// Verify reads a whole journal folder and checks checksums, digests and the hash chain, across generations. It holds one
// record in memory at a time, takes no lock and changes nothing. A journal that cannot be read is an error; one that is
// not what its writer wrote is a report with OK false. It proves that records are whole and in order, not that the newest
// ones or the oldest segments were not taken away: that needs an anchor elsewhere.
func Verify(dir string) (Report, error) {
	var rep Report
	err := verify(dir, &rep)
	var d *Damage
	if errors.As(err, &d) {
		rep.Problem = d
		return rep, nil
	}
	rep.OK = err == nil
	return rep, err
}

func verify(dir string, rep *Report) error {
	all, err := listSegments(dir)
	if len(all) > 0 {
		rep.Segments, rep.First = len(all), all[0]
	}
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("there is no journal in %s", dir)
	}
	r, err := OpenReader(dir, pipeline.Position{})
	if err != nil {
		return err
	}
	defer r.Close()
	r.deep = true
	var last struct {
		gen, seq uint64
		head     Hash
	}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if e.Generation != last.gen {
			if err := checkOpening(e, last.gen, last.seq, last.head); err != nil {
				return err
			}
			rep.Generations++
		}
		last.gen, last.seq, last.head = e.Generation, e.Sequence, e.Hash
		if rep.Records == 0 {
			rep.From = e.Time
		}
		rep.Records, rep.Head, rep.To = rep.Records+1, e.Hash, e.Time
		rep.Bytes += int64(e.End.Offset - e.Position.Offset)
		rep.Clean = false
		switch e.Kind {
		case pipeline.KindGap:
			rep.Gaps++
		case pipeline.KindCheckpoint:
			var c Checkpoint
			if err := e.Decode(&c); err != nil {
				return e.damage("the checkpoint cannot be read")
			}
			if c.Generation != e.Generation || c.Sequence != e.Sequence-1 || c.Head != e.Prev {
				return e.damage("the checkpoint names another head than the chain has")
			}
			rep.Clean = c.Reason == CheckClose
		}
	}
	rep.Torn = r.Torn()
	rep.Segments = int(r.info.number - all[0] + 1) // some may have been added meanwhile
	return nil
}

// checkOpening checks how a generation begins. The oldest segment that is here may begin in the middle of one.
func checkOpening(e *Entry, gen, seq uint64, head Hash) error {
	if gen == 0 && e.Sequence != 1 {
		return nil
	}
	if e.Sequence != 1 || e.Kind != KindOpen || e.Prev != (Hash{}) {
		return e.damage("the generation does not begin with its opening record")
	}
	var o Opening
	if err := e.Decode(&o); err != nil || o.Generation != e.Generation {
		return e.damage("the opening record cannot be read")
	}
	if gen == 0 {
		return nil // what came before is not here
	}
	if o.Predecessor == nil || *o.Predecessor != (Predecessor{gen, seq, head}) {
		return e.damage("the opening record names another predecessor than the one before it")
	}
	return nil
}
