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
	Torn        int64     `json:"torn"`                       // bytes of an unfinished write at the end: the next start drops them and says so
	Gaps        uint64    `json:"gaps"`                       // gap records
	Clean       bool      `json:"clean"`                      // the newest generation was closed
	Expired     uint64    `json:"expired_segments,omitempty"` // segments up to this one were removed by record.retention, on record
	Erased      uint64    `json:"erased,omitempty"`           // records whose content was erased
	NoKey       uint64    `json:"no_key,omitempty"`           // records whose content cannot be read for want of keys
	Keys        string    `json:"keys,omitempty"`             // why keys that are there cannot be read

	Evidence   string      `json:"evidence"` // what all this rests on
	Signatures *Signatures `json:"signatures,omitempty"`
	Anchors    int         `json:"anchors,omitempty"`         // that agree
	Anchored   time.Time   `json:"anchored,omitzero"`         // of the newest of them: what is younger rests on this journal alone
	Foreign    int         `json:"foreign_anchors,omitempty"` // of other journals
	// ExpiredAnchors are of records that were removed by retention, on record.
	ExpiredAnchors int      `json:"expired_anchors,omitempty"`
	Repairs        int      `json:"repairs,omitempty"`  // damaged parts were moved aside so often, on record
	Findings       []string `json:"findings,omitempty"` // what is wrong besides Problem
	Warnings       []string `json:"warnings,omitempty"` // what is odd, and perhaps well known to who keeps the host
}

// Unrecorded says whether older segments were taken away and no record says so.
func (r *Report) Unrecorded() bool { return r.First > r.Expired+1 }

// Verify reads a whole journal folder and checks checksums, digests, the hash chain of each generation, what generations say of
// each other, and signatures. It holds one record in memory at a time, takes no lock and changes nothing. A journal that cannot be
// read is an error; one that is not what its writer wrote is a report with OK false. It proves that records are whole and in order,
// not that the newest ones or the oldest segments were not taken away: that needs anchors.
func Verify(dir string) (Report, error) { return VerifyWith(dir, VerifyOptions{}) }

// VerifyWith is Verify, and compares with what is known from elsewhere.
func VerifyWith(dir string, o VerifyOptions) (Report, error) {
	var rep Report
	err := verify(dir, &o, &rep)
	var d *Damage
	if errors.As(err, &d) {
		rep.Problem = d
		return rep, nil
	}
	rep.OK = err == nil && len(rep.Findings) == 0
	return rep, err
}

func verify(dir string, o *VerifyOptions, rep *Report) error {
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
	v := verifier{rep: rep, cat: r.cat, heads: map[uint64]*head{}, begins: map[uint64]point{}, witness: newWitness(o, rep), clocks: map[uint64]time.Time{}, pieces: map[string]int{}}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := v.take(e); err != nil {
			return err
		}
		if o.Progress != nil && rep.Records%10_000 == 0 {
			o.Progress(rep.Records, rep.Bytes)
		}
	}
	rep.Torn = r.Torn()
	rep.Segments = len(r.cat.infos) // some may have been added meanwhile
	v.witness.end(&v)
	return v.witness.public(dir)
}

// verifier checks what records say of their own and of other chains; that each chain is whole is the reader's part.
type verifier struct {
	rep   *Report
	cat   *catalog
	heads map[uint64]*head // by generation

	begins map[uint64]point // of generations that begin in the middle: the record before the first

	witness *witness
	clocks  map[uint64]time.Time // of the writer of each generation, as its own records tell it
	pieces  map[string]int       // of originals, by exchange, until its outcome
}

// head is how far a generation was read.
type head struct {
	sequence uint64
	hash     Hash
	ended    bool // a later generation has recorded this end
}

func (v *verifier) take(e *Entry) error {
	rep := v.rep
	h := v.heads[e.Generation]
	switch {
	case h == nil:
		if err := v.opening(e); err != nil {
			return err
		}
		h = &head{}
		v.heads[e.Generation] = h
		rep.Generations++
	case h.ended:
		return e.damage("the record follows the end of its generation that a later one has on record")
	}
	h.sequence, h.hash = e.Sequence, e.Hash
	v.witness.record(e)
	if rep.Records == 0 {
		rep.From = e.Time
	}
	rep.Records, rep.To = rep.Records+1, later(rep.To, e.Time)
	rep.Bytes += int64(e.End.Offset - e.Position.Offset)
	switch state, err := e.Content(); {
	case err != nil:
		rep.NoKey++
		if rep.Keys == "" {
			rep.Keys = err.Error()
		}
	case state == ContentErased:
		rep.Erased++
	case state == ContentNoKey:
		rep.NoKey++
	}
	newest := true
	for g := range v.heads {
		newest = newest && g <= e.Generation
	}
	if newest {
		rep.Head, rep.Clean = e.Hash, false
	}
	if e.Kind == KindOpen || e.Kind == pipeline.KindCheckpoint { // their time is when they were written; others tell when something happened
		if last := v.clocks[e.Generation]; last.Sub(e.Time) > clockSlack {
			v.back(e, last)
		}
		v.clocks[e.Generation] = e.Time
	}
	switch e.Kind {
	case pipeline.KindGap:
		rep.Gaps++
	case pipeline.KindOriginal, pipeline.KindOutcome:
		return v.original(e)
	case pipeline.KindAdmin:
		var x Expiry
		switch err := e.Metadata(&x); {
		case err != nil: // of another writer of admin records
		case x.Action == ActionExpireSegments:
			return v.expired(e, &x)
		case x.Action == ActionRepair:
			rep.Repairs++
		}
	case pipeline.KindCheckpoint:
		var c Checkpoint
		if err := e.Decode(&c); err != nil {
			return e.damage("the checkpoint cannot be read")
		}
		if c.Reason == CheckEnded && c.Generation < e.Generation {
			return v.claim(e, Predecessor{Generation: c.Generation, Sequence: c.Sequence, Head: c.Head})
		}
		if c.Generation != e.Generation || c.Sequence != e.Sequence-1 || c.Head != e.Prev {
			return e.damage("the checkpoint names another head than the chain has")
		}
		if c.Signed != nil {
			if err := v.witness.signed(e, &c); err != nil {
				return err
			}
		}
		if newest {
			rep.Clean = c.Reason == CheckClose
		}
	}
	return nil
}

// original checks that the pieces of an original are there, in order. Those of an exchange that began before the oldest segment may not be.
func (v *verifier) original(e *Entry) error {
	var b struct {
		Seq      int            `json:"seq"`
		Original *pipeline.Kept `json:"original"`
	}
	if err := e.Metadata(&b); err != nil {
		return err
	}
	n, begun := v.pieces[e.Exchange]
	switch {
	case e.Kind == pipeline.KindOutcome:
		delete(v.pieces, e.Exchange)
		if b.Original != nil && b.Original.Pieces != n && (begun || v.rep.First == 1) {
			return e.damage("the outcome names other pieces of an original than there are")
		}
	case b.Seq != n && (begun || v.rep.First == 1):
		return e.damage("a piece of an original is missing before it")
	default:
		v.pieces[e.Exchange] = b.Seq + 1
	}
	return nil
}

// expired compares what a record says of removed segments with what follows them.
func (v *verifier) expired(e *Entry, x *Expiry) error {
	v.rep.Expired = max(v.rep.Expired, x.Last)
	for _, r := range x.Removed {
		v.witness.gone[r.Generation] = max(v.witness.gone[r.Generation], r.Sequence)
		if b, ok := v.begins[r.Generation]; ok && b.sequence == r.Sequence && b.head != r.Head {
			return e.damage("the removed segments ended with another record than the one before the oldest that is here")
		}
	}
	return nil
}

// opening checks how a generation begins. Where the oldest segments are not here it may begin in the middle.
func (v *verifier) opening(e *Entry) error {
	if e.Sequence != 1 && (len(v.heads) == 0 || v.rep.First > 1) {
		v.begins[e.Generation] = point{sequence: e.Sequence - 1, head: e.Prev}
		return nil
	}
	if e.Sequence != 1 || e.Kind != KindOpen || e.Prev != (Hash{}) {
		return e.damage("the generation does not begin with its opening record")
	}
	var o Opening
	if err := e.Decode(&o); err != nil || o.Generation != e.Generation {
		return e.damage("the opening record cannot be read")
	}
	for g := range v.heads {
		if g < e.Generation && (o.Predecessor == nil || g > o.Predecessor.Generation) {
			return e.damage("the opening record names another predecessor than the one before it")
		}
	}
	for _, p := range o.all() {
		if err := v.claim(e, p); err != nil {
			return err
		}
		if last := v.clocks[p.Generation]; !p.Open && last.Sub(e.Time) > clockSlack {
			v.back(e, last)
		}
	}
	return nil
}

// clockSlack is by how much a clock may be set back without being told: less happens whenever it is adjusted.
const clockSlack = time.Second

// back notes that the clock of the host went back.
func (v *verifier) back(e *Entry, last time.Time) {
	v.rep.Warnings = append(v.rep.Warnings, fmt.Sprintf("the clock went back by %s before the record at segment %d offset %d: times before and after it do not compare",
		last.Sub(e.Time).Round(time.Second), e.Position.Segment, e.Position.Offset))
}

// claim compares what a record says about an earlier generation with what that has.
func (v *verifier) claim(e *Entry, p Predecessor) error {
	h := v.heads[p.Generation]
	if h == nil {
		if v.rep.First > 1 || len(v.heads) == 0 || p.Sequence == 0 {
			return nil // it is not here any more
		}
		return e.damage("the record names a generation that is not here")
	}
	switch {
	case h.sequence < p.Sequence:
		return e.damage(fmt.Sprintf("the newest records of generation %d are missing", p.Generation))
	case !p.Open && (h.sequence != p.Sequence || h.hash != p.Head):
		return e.damage("the record names another head of an earlier generation than that has")
	case p.Open && p.Sequence > 0:
		hash, here, err := v.hash(p.Generation, p.Sequence)
		if err != nil || !here {
			return err
		}
		if hash != p.Head {
			return e.damage("the record names another head of an earlier generation than that had")
		}
	}
	h.ended = !p.Open
	return nil
}

// hash is that of one record; false if its segment is not here any more.
func (v *verifier) hash(generation, sequence uint64) (Hash, bool, error) {
	var in *segmentInfo
	for i := range v.cat.infos {
		if s := &v.cat.infos[i]; s.generation == generation && s.first <= sequence {
			in = s
		}
	}
	if in == nil {
		return Hash{}, false, nil
	}
	c, err := openChain(v.cat, pipeline.Position{Segment: in.number})
	if err != nil {
		return Hash{}, false, err
	}
	defer c.close()
	for {
		ok, err := c.next()
		if !ok || err != nil {
			return Hash{}, false, err
		}
		if c.entry.Sequence == sequence {
			return c.entry.Hash, true, nil
		}
	}
}
