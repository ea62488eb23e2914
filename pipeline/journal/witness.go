// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
)

// VerifyOptions says what a journal is compared with. Without anything it is only compared with itself.
type VerifyOptions struct {
	Anchors  []anchor.Anchor // as they were kept off the host
	Anchored bool            // compare with Anchors, also if there are none
	Key      string          // the public key with which the signatures have to begin, in hex; "" = any
	Progress func(records uint64, bytes int64)
}

// Signatures is what a journal says of its signed checkpoints.
type Signatures struct {
	Journal string    `json:"journal"`
	Key     string    `json:"key"` // of the first that is here
	First   uint64    `json:"first_epoch"`
	Last    uint64    `json:"last_epoch"`
	Count   uint64    `json:"count"`
	At      time.Time `json:"at"` // of the last
}

// The values of Report.Evidence.
const (
	EvidenceLocal    = "local"    // nothing but this journal says so: whoever has the host can have changed it, or taken its end away
	EvidenceAnchored = "anchored" // so do checkpoints that were kept elsewhere, up to the last of them
)

// witness compares what was signed, here and elsewhere, with what is here.
type witness struct {
	o     *VerifyOptions
	rep   *Report
	keys  map[string]map[uint64]string // by journal and epoch: the key, as anything signed has it
	local map[string]map[uint64]bool   // by journal: epochs of checkpoints that are here
	want  map[uint64][]*anchor.Anchor  // by generation, by sequence
	early []*anchor.Anchor             // of generations that begin behind them
	other []mismatch
	same  []*anchor.Anchor  // of records that are here as they were anchored
	gone  map[uint64]uint64 // by generation: the last sequence that a record says was removed
	ours  map[string]bool   // journals of the signatures that are here
}

func newWitness(o *VerifyOptions, rep *Report) *witness {
	w := &witness{o: o, rep: rep, keys: map[string]map[uint64]string{}, local: map[string]map[uint64]bool{}, want: map[uint64][]*anchor.Anchor{},
		gone: map[uint64]uint64{}, ours: map[string]bool{}}
	rep.Evidence = EvidenceLocal
	for i := range o.Anchors {
		a := &o.Anchors[i]
		w.want[a.Generation] = append(w.want[a.Generation], a)
	}
	for _, list := range w.want {
		slices.SortStableFunc(list, func(a, b *anchor.Anchor) int { return cmp.Compare(a.Sequence, b.Sequence) })
	}
	return w
}

// key notes that an epoch's key is known; false if it was known to be another.
func (w *witness) key(a *anchor.Anchor) bool {
	m := w.keys[a.Journal]
	if m == nil {
		m = map[uint64]string{}
		w.keys[a.Journal] = m
	}
	for _, k := range []struct {
		epoch uint64
		key   string
	}{{a.Epoch, a.Key}, {a.Epoch + 1, a.Next}} {
		if have, ok := m[k.epoch]; ok && have != k.key {
			return false
		}
		m[k.epoch] = k.key
	}
	return true
}

// signed checks a signed checkpoint of the journal.
func (w *witness) signed(e *Entry, c *Checkpoint) error {
	a := c.anchor()
	if err := a.Check(); err != nil {
		return e.damage(err.Error())
	}
	if !w.key(&a) {
		return e.damage("the checkpoint is signed with another key than the one before it names")
	}
	s := w.rep.Signatures
	if s == nil || s.Journal != a.Journal {
		if s != nil {
			w.rep.Warnings = append(w.rep.Warnings, fmt.Sprintf("the signatures begin anew in segment %d, with key %s: the signing key was moved away, or this is a copy without it", e.Position.Segment, a.Key))
		}
		s = &Signatures{Journal: a.Journal, Key: a.Key, First: a.Epoch, Last: a.Epoch}
		w.rep.Signatures = s
		w.ours[a.Journal] = true
		if w.local[a.Journal] == nil {
			w.local[a.Journal] = map[uint64]bool{}
		}
	}
	if a.Epoch < s.First {
		s.First, s.Key = a.Epoch, a.Key
	}
	s.Last, s.Count, s.At = max(s.Last, a.Epoch), s.Count+1, a.Time
	w.local[a.Journal][a.Epoch] = true
	return nil
}

// record compares a record with the anchors that name it.
func (w *witness) record(e *Entry) {
	for list := w.want[e.Generation]; len(list) > 0 && list[0].Sequence <= e.Sequence; list = w.want[e.Generation] {
		a := list[0]
		w.want[e.Generation] = list[1:]
		if a.Sequence < e.Sequence { // before the oldest record that is here
			w.early = append(w.early, a)
			continue
		}
		if a.Head == e.Hash.String() {
			w.same = append(w.same, a)
		} else { // of another journal, perhaps: that is known at the end
			w.other = append(w.other, mismatch{a, e.Position})
		}
	}
}

// mismatch is a record that is another than was anchored.
type mismatch struct {
	*anchor.Anchor
	at pipeline.Position
}

func (w *witness) find(format string, args ...any) {
	w.rep.Findings = append(w.rep.Findings, fmt.Sprintf(format, args...))
}

// end judges what is left when all records were read.
func (w *witness) end(v *verifier) {
	s := w.rep.Signatures
	if s != nil && w.rep.Repairs == 0 && w.rep.First == 1 {
		missing := 0
		for e := s.First; e <= s.Last; e++ {
			if !w.local[s.Journal][e] {
				missing++
			}
		}
		if missing > 0 {
			w.find("%d of the signed checkpoints of epochs %d to %d are missing", missing, s.First, s.Last)
		}
		if s.First != 0 {
			w.find("the signed checkpoints begin with epoch %d: earlier ones are missing", s.First)
		}
	}
	if w.o.Key != "" {
		switch first, ok := "", false; {
		case s == nil:
			w.find("nothing in the journal is signed, and a key was given")
		default:
			if first, ok = w.keys[s.Journal][0]; !ok {
				w.find("the signatures begin with epoch %d, which the given key cannot vouch for: compare with anchors", s.First)
			} else if first != w.o.Key {
				w.find("the signatures begin with key %s, not with the given one", first)
			}
		}
	}
	if w.o.Anchored {
		w.anchors(v, s)
	}
}

func (w *witness) anchors(v *verifier, s *Signatures) {
	used := 0
	for i := range w.o.Anchors {
		a := &w.o.Anchors[i]
		switch {
		case a.Check() != nil:
			w.find("an anchor of generation %d, sequence %d has no valid signature", a.Generation, a.Sequence)
		case s != nil && !w.ours[a.Journal]:
			w.rep.Foreign++
		case !w.key(a):
			w.find("the anchor of epoch %d is signed with another key than the journal has for it", a.Epoch)
			w.same = slices.DeleteFunc(w.same, func(s *anchor.Anchor) bool { return s == a })
		default:
			used++
		}
	}
	if used == 0 {
		w.find("no anchor is of this journal: it was written anew, or these are the anchors of another one")
		return
	}
	for _, m := range w.other {
		if (s == nil || w.ours[m.Journal]) && m.Check() == nil {
			w.find("history was rewritten: the record at segment %d offset %d (generation %d, sequence %d) is another than the one that was anchored at %s",
				m.at.Segment, m.at.Offset, m.Generation, m.Sequence, m.Time.UTC().Format(time.RFC3339))
		}
	}
	var newest uint64
	for g := range v.heads {
		newest = max(newest, g)
	}
	generations := make([]uint64, 0, len(w.want))
	for g := range w.want {
		generations = append(generations, g)
	}
	slices.Sort(generations)
	rest := w.early
	for _, g := range generations {
		rest = append(rest, w.want[g]...)
	}
	for _, a := range rest {
		if (s == nil || w.ours[a.Journal]) && a.Check() == nil {
			w.missing(v, a, newest)
		}
	}
	w.agree(v, s)
}

// agree counts the anchors of records that are here as they were anchored. The checkpoint itself follows what it covers, and was on disk before
// it was kept elsewhere: where it is not here, the end was taken away, or somebody made the anchor up.
func (w *witness) agree(v *verifier, s *Signatures) {
	for _, a := range w.same {
		at := a.Time.UTC().Format(time.RFC3339)
		switch h := v.heads[a.Generation]; {
		case s != nil && !w.ours[a.Journal] || a.Check() != nil: // that was dealt with
		case h.sequence == a.Sequence:
			w.find("the newest records are missing: the checkpoint behind record %d of generation %d was anchored at %s", a.Sequence, a.Generation, at)
		case !w.local[a.Journal][a.Epoch]:
			w.find("the journal has no checkpoint of epoch %d, which an anchor of %s says is behind record %d of generation %d: the anchor is forged, or the journal was written anew from there",
				a.Epoch, at, a.Sequence, a.Generation)
		default:
			w.rep.Anchors++
			w.rep.Anchored = later(w.rep.Anchored, a.Time)
		}
	}
	if w.rep.Anchors > 0 {
		w.rep.Evidence = EvidenceAnchored
	} else if w.rep.ExpiredAnchors > 0 {
		w.rep.Warnings = append(w.rep.Warnings, "all anchors are of records that retention removed: none says anything of those that are here")
	}
}

// public compares what the folder says of the first key with the signatures: whoever takes the key for the auditor from there is told another.
func (w *witness) public(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, publicName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a copy without it
	}
	if err != nil {
		return fmt.Errorf("reading the public key: %w", err)
	}
	noted := map[string]string{} // a line for each series of signatures
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 3 {
			noted[f[1]] = f[2]
		}
	}
	for name := range w.ours {
		if first, known := w.keys[name][0]; known && noted[name] != first {
			w.rep.Warnings = append(w.rep.Warnings, fmt.Sprintf("%s does not have the key with which the signatures of journal %s begin: somebody changed it", publicName, name))
		}
	}
	return nil
}

// excused says whether an anchored record that is not here was removed by retention, on record. Retention takes the oldest segments, so what
// a record says of the end of a generation that is here, or of one that is younger than a generation which is here from its beginning, is
// no excuse: whoever holds the host can write such a record.
func (w *witness) excused(v *verifier, a *anchor.Anchor) bool {
	if a.Sequence > w.gone[a.Generation] {
		return false
	}
	if v.heads[a.Generation] != nil {
		b, cut := v.begins[a.Generation]
		return cut && a.Sequence <= b.sequence
	}
	return !v.wholeBefore(a.Generation)
}

// wholeBefore says whether a generation before this one is here from its beginning: then this one cannot have expired.
func (v *verifier) wholeBefore(generation uint64) bool {
	for g := range v.heads {
		if _, cut := v.begins[g]; !cut && g < generation {
			return true
		}
	}
	return false
}

// missing says why an anchored record is not here.
func (w *witness) missing(v *verifier, a *anchor.Anchor, newest uint64) {
	at := a.Time.UTC().Format(time.RFC3339)
	h := v.heads[a.Generation]
	b, cut := v.begins[a.Generation]
	switch {
	case w.excused(v, a):
		w.rep.ExpiredAnchors++
	case h != nil && cut && a.Sequence == b.sequence && a.Head == b.head.String():
		w.find("the oldest segments are missing, and no record says that they were removed: generation %d begins behind record %d, anchored at %s", a.Generation, a.Sequence, at)
	case h != nil && a.Sequence > h.sequence:
		w.find("the newest records are missing: generation %d ends with record %d, and record %d was anchored at %s", a.Generation, h.sequence, a.Sequence, at)
	case h == nil && (a.Generation > newest || v.wholeBefore(a.Generation)):
		w.find("generation %d, anchored at %s, is missing: this is an older copy, or its end was taken away", a.Generation, at)
	default:
		w.find("the oldest segments are missing, and no record says that they were removed: record %d of generation %d was anchored at %s", a.Sequence, a.Generation, at)
	}
}
