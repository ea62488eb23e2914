// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Options configures Open. Zero values are the defaults.
type Options struct {
	Dir          string        // absolute; made with mode 0700 if it is missing
	MaxBytes     int64         // disk quota of the folder; 0 = none
	SegmentBytes int64         // 32 MiB, or less under a small quota
	EventDelay   time.Duration // how long an event may wait for a sync; 20 ms. Other records are synced at once
	Index        *Index        // is filled from the newest segments at Open, then by Append; nil = none
	IndexBytes   int64         // how much of the journal Open reads into the index; 64 MiB

	// Beside lets Open begin a generation while the writers of earlier ones live, as long as they hand over. Without it that
	// is ErrLocked.
	Beside bool
	Notice func(error)   // told of what goes wrong with an earlier generation while this one runs, and of originals that are not kept; nil = nobody is
	Follow time.Duration // how often the generations beside this one are looked at; 100 ms

	// EmergencyBytes is the size of the segment that is kept for records that say what happened to exchanges that were begun;
	// an eighth of a segment, so 4 MiB, or less under a small quota.
	EmergencyBytes int64
	FullCheck      time.Duration // how often a full journal looks whether there is room again; 1 s
	BootID         string        // noted in the chain; "" = what the kernel says
	Now            func() time.Time

	// Seal seals the original of a masked request to auditors, as JSON; nil = originals are not kept. Where it fails the request is
	// recorded without, and the record and Notice say why.
	Seal func(original []byte) ([]byte, error)

	// A checkpoint is signed at the end of each segment and generation, and besides after so many records or so much time.
	SignRecords uint64        // 10,000
	SignEvery   time.Duration // 1 minute
	Anchors     Anchors       // where signed checkpoints are kept besides; nil = nowhere
	AnchorRetry time.Duration // after a failure, doubled up to 5 minutes; 5 s
	AnchorWait  time.Duration // how long Close waits for the last ones; 2 s

	random io.Reader // of keys; nil = crypto/rand, but for the example of the format page
}

const (
	defaultSegment = 32 << 20
	minSegment     = 64 << 10
	// MinQuota is the smallest MaxBytes that Open accepts.
	MinQuota = 16 * minSegment
)

func (o *Options) complete() error {
	if !filepath.IsAbs(o.Dir) {
		return fmt.Errorf("record.dir %q: want an absolute path", o.Dir)
	}
	if o.MaxBytes < 0 || o.MaxBytes > 0 && o.MaxBytes < MinQuota {
		return fmt.Errorf("record.max_bytes %d: want at least %d, or 0 for no limit", o.MaxBytes, MinQuota)
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegment
		if o.MaxBytes > 0 {
			o.SegmentBytes = min(o.SegmentBytes, o.MaxBytes/8)
		}
	}
	o.SegmentBytes = max(o.SegmentBytes, minSegment)
	if o.EmergencyBytes == 0 {
		o.EmergencyBytes = o.SegmentBytes / 8
		if o.MaxBytes > 0 {
			o.EmergencyBytes = min(defaultSegment/8, o.MaxBytes/16)
		}
	}
	o.EmergencyBytes = max(o.EmergencyBytes, minSegment)
	if o.FullCheck == 0 {
		o.FullCheck = time.Second
	}
	if o.Notice == nil {
		o.Notice = func(error) {}
	}
	if o.Follow == 0 {
		o.Follow = 100 * time.Millisecond
	}
	if o.EventDelay == 0 {
		o.EventDelay = 20 * time.Millisecond
	}
	if o.IndexBytes == 0 {
		o.IndexBytes = 64 << 20
	}
	if o.SignRecords == 0 {
		o.SignRecords = 10_000
	}
	if o.SignEvery == 0 {
		o.SignEvery = time.Minute
	}
	if o.AnchorRetry == 0 {
		o.AnchorRetry = 5 * time.Second
	}
	if o.AnchorWait == 0 {
		o.AnchorWait = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// essential records may use the emergency segment: those that end what was begun, refusals, what people decide, and what we cut.
func essential(r *pipeline.Record) bool {
	switch r.Kind {
	case KindOpen, pipeline.KindCheckpoint, pipeline.KindGap, pipeline.KindOutcome, pipeline.KindDecision, pipeline.KindAdmin,
		pipeline.KindApproval, pipeline.KindElevation:
		return true
	case pipeline.KindFlow:
		switch f := r.Body.(type) {
		case pipeline.Flow:
			return f.Disposition == flowRefused || f.Disposition == pipeline.FlowCut
		case *pipeline.Flow:
			return f.Disposition == flowRefused || f.Disposition == pipeline.FlowCut
		}
	}
	return false
}

// flowRefused is the Disposition of a connection that was denied.
const flowRefused = "refused"

// Errors that Append passes on by its channel.
var (
	// ErrFull says that quota or disk are used up. Records that close exchanges are still taken for a while, others again
	// once a twentieth is free.
	ErrFull = errors.New("the journal is full: move its oldest segments away, free disk space, or raise record.max_bytes; it goes on once 5 % is free")
	// ErrClosed says that the journal was closed.
	ErrClosed = errors.New("the journal is closed")
	// ErrLocked says that another process writes to the folder, and was not said to hand over.
	ErrLocked = errors.New("another process writes to this journal")
)

// Opening is the body of the record that opens a generation. Of the generations before it, those run that it names as Open;
// all others have ended.
type Opening struct {
	Generation  uint64        `json:"generation"`
	Boot        string        `json:"boot,omitempty"`
	Predecessor *Predecessor  `json:"predecessor,omitempty"` // the newest one that has records
	Earlier     []Predecessor `json:"earlier,omitempty"`     // others that were open, or whose end is not on record yet
}

// runs says whether an earlier generation was still open.
func (o *Opening) runs(generation uint64) bool {
	for _, p := range o.all() {
		if p.Generation == generation {
			return p.Open
		}
	}
	return false
}

func (o *Opening) all() []Predecessor {
	if o.Predecessor == nil {
		return o.Earlier
	}
	return append(slices.Clone(o.Earlier), *o.Predecessor)
}

// Predecessor is the chain of an earlier generation: its end or, if it is Open, as far as it was known to be on disk.
type Predecessor struct {
	Generation uint64 `json:"generation"`
	Sequence   uint64 `json:"sequence"`
	Head       Hash   `json:"head"`
	Open       bool   `json:"open,omitempty"`
}

// The reasons of a Checkpoint.
const (
	CheckRotate  = "rotate"  // the segment ends with it
	CheckClose   = "close"   // the generation ends with it
	CheckEnded   = "ended"   // an earlier generation, which ran beside this one, ended with that head
	CheckSettled = "settled" // every exchange of an earlier generation has an outcome now
)

// Checkpoint states the head of the chain: that of the record before it, or with CheckEnded that of another chain.
type Checkpoint struct {
	Reason     string `json:"reason"`
	Boot       string `json:"boot,omitempty"`
	Generation uint64 `json:"generation"`
	Sequence   uint64 `json:"sequence"`
	Head       Hash   `json:"head"`
	Holds      []Hold `json:"holds,omitempty"`     // CheckState: those in force
	OpenFrom   uint64 `json:"open_from,omitempty"` // CheckState: exchanges of the generation without an outcome begin in this segment or later

	Signed *Signature `json:"signed,omitempty"`
}
