// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Log is the journal; see flow.Log.
type Log interface {
	Append(pipeline.Record) (pipeline.Position, <-chan error)
}

// Options configures New. Log may not be nil; zero values elsewhere are the defaults.
type Options struct {
	Log Log
	// Settings are the rules of approvals for a rule ("guardrail/NAME", "role/NAME"; for an elevation "role/NAME" of the role that is
	// asked for). false, or a nil func: Default.
	Settings func(rule string) (pipeline.ApprovalSettings, bool)
	Default  pipeline.ApprovalSettings // zero fields: one approver, 10 minutes to decide, 10 minutes to use, 8 hours at most
	// Key keys the digests, so that a record does not let others guess what was masked. It has to outlive the process for
	// approvals to do so. Nil: a key of this process.
	Key       []byte
	Max       int // approvals that wait or are in force at a time; 1,000
	MaxEach   int // of these, that one principal waits for; 20
	PerMinute int // that one principal may ask for; 30

	Wall   func() time.Time     // time.Now
	Mono   func() time.Duration // a clock that nobody sets; since New
	Notice func(error)          // told of failures of our own
}

// The defaults of settings.
const (
	defaultTimeout = 10 * time.Minute
	defaultValid   = 10 * time.Minute
	defaultMaxFor  = 8 * time.Hour
)

const (
	grace     = 30 * time.Second // that something waits on once its application has gone away, for it to come again
	keepOver  = 500              // approvals that are over, for those who come late, and for listings
	keepShown = 32 << 10         // bytes of what is shown
	tick      = 30 * time.Second // at least so often the clocks are compared
	everyMark = time.Hour        // between snapshots
)

// Desk holds what waits and what is granted. It is safe for concurrent use.
//
// An item changes in one way only: by a record, applied once that is on disk. Who writes records of an item holds its busy, from
// before the first look at its state until the record is applied, so that records are in the order of what they describe.
type Desk struct {
	o     Options
	start time.Time
	wake  chan struct{} // something may be due earlier
	table atomic.Pointer[table]

	mu     sync.Mutex // guards what follows, and what of items is not guarded by busy; held for moments only
	items  map[string]*item
	digest map[string]*item // newest item of each digest
	used   map[useKey]*item // that were used, once
	live   int              // that wait or are in force
	over   []*item          // those that are over, oldest first
	each   map[string]*share
	minute limit // end of the minute for which shares count
	feeds  map[*Feed]struct{}
	closed bool
	shut   chan struct{} // closed by Close
}

// useKey names one release.
type useKey struct{ digest, use string }

// share is how much of the desk one principal takes.
type share struct{ waiting, asked int }

// item is an approval or an elevation.
type item struct {
	Item
	kind    string        // of its records
	busy    chan struct{} // capacity 1: held by who writes its records
	who     string        // key of share
	lasts   limit         // the deadline while it waits, then the end of Until
	begun   time.Duration // on the mono clock
	raised  int           // escalations that are told
	waiters []*waiter     // newest last
	gone    limit         // without waiters until then it is withdrawn; zero: not so
	changed chan struct{} // closed at the next change
	own     bool          // begun by this process
	late    bool          // whoever waited was told that it is held: it is not withdrawn
	free    []string      // ScopeSession: the arguments that may differ
	scope   string        // of what is approved
	written chan struct{} // closed once its first record is on disk, or cannot be: then it is forgotten
}

// waiter is an exchange that waits.
type waiter struct{ use string }

// limit is a time on both clocks: what comes first counts, so that no clock that is set lengthens anything.
type limit struct {
	wall time.Time
	mono time.Duration
}

// New makes a Desk. Give it what the journal has (Fold, Restored) before anything else, and Run it.
func New(o Options) (*Desk, error) {
	if o.Log == nil {
		return nil, errors.New("approval: a journal is needed")
	}
	if o.Max <= 0 {
		o.Max = 1000
	}
	if o.MaxEach <= 0 {
		o.MaxEach = 20
	}
	if o.PerMinute <= 0 {
		o.PerMinute = 30
	}
	if o.Key == nil {
		o.Key = make([]byte, 32)
		rand.Read(o.Key)
	}
	if o.Notice == nil {
		o.Notice = func(error) {}
	}
	d := &Desk{o: o, start: time.Now(), wake: make(chan struct{}, 1), items: map[string]*item{}, digest: map[string]*item{}, used: map[useKey]*item{},
		each: map[string]*share{}, feeds: map[*Feed]struct{}{}, shut: make(chan struct{})}
	if d.o.Wall == nil {
		d.o.Wall = time.Now
	}
	if d.o.Mono == nil {
		d.o.Mono = func() time.Duration { return time.Since(d.start) }
	}
	return d, nil
}

// Close lets nobody wait any longer, and nothing be asked, decided or used: another process takes over. Who waits is told that it
// is held. When it returns, no record of what was decided before is on its way any more: what the journal has is all there is.
func (d *Desk) Close() {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.shut)
	}
	all := slices.Collect(maps.Values(d.items))
	d.mu.Unlock()
	for _, it := range all { // who gets busy from now on looks whether the desk is closed
		it.busy <- struct{}{}
		<-it.busy
	}
}

func (d *Desk) now() time.Time { return d.o.Wall().Round(0) }

func (d *Desk) in(after time.Duration) limit {
	return limit{d.now().Add(after), d.o.Mono() + after}
}

// passed tells whether a limit is over. The zero limit never is.
func (d *Desk) passed(l limit) bool {
	return l != (limit{}) && (d.o.Mono() >= l.mono || !d.now().Before(l.wall))
}

// left is how long a limit lasts at most.
func (d *Desk) left(l limit) time.Duration {
	return min(l.mono-d.o.Mono(), l.wall.Sub(d.now()))
}

func (d *Desk) settings(rule string) pipeline.ApprovalSettings {
	s, ok := d.o.Default, false
	if d.o.Settings != nil {
		if s, ok = d.o.Settings(rule); !ok {
			s = d.o.Default
		}
	}
	s.Minimum = max(s.Minimum, 1)
	if s.Timeout <= 0 {
		s.Timeout = defaultTimeout
	}
	if s.Valid <= 0 {
		s.Valid = defaultValid
	}
	if s.MaxFor <= 0 {
		s.MaxFor = defaultMaxFor
	}
	return s
}

// begin makes an item, not in the tables yet.
func (d *Desk) begin(kind, prefix, who string, asked pipeline.ApprovalAsked) (*item, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("an ID for an approval: %w", err)
	}
	asked.Time = d.now()
	asked.Deadline = asked.Time.Add(asked.Settings.Timeout)
	it := newItem(kind, prefix+id.String(), who)
	it.ApprovalAsked, it.State = asked, pipeline.ApprovalWaiting
	it.lasts, it.begun, it.own = d.in(asked.Settings.Timeout), d.o.Mono(), true
	it.Need = need(&it.ApprovalAsked)
	return it, nil
}

func newItem(kind, id, who string) *item {
	return &item{Item: Item{ID: id}, kind: kind, busy: make(chan struct{}, 1), who: who, changed: make(chan struct{}),
		written: make(chan struct{})}
}

// admit tells why a principal may not ask now, "" if it may. mu is held.
func (d *Desk) admit(who string) string {
	if d.passed(d.minute) || d.minute == (limit{}) {
		d.minute = d.in(time.Minute)
		for k, s := range d.each {
			if s.asked = 0; s.waiting == 0 {
				delete(d.each, k)
			}
		}
	}
	s := d.each[who]
	switch {
	case d.live >= d.o.Max:
		return fmt.Sprintf("%d approvals wait or are in force on this host, which is as many as there may be", d.live)
	case s == nil:
	case s.waiting >= d.o.MaxEach:
		return fmt.Sprintf("%d requests of this caller wait for approval already", s.waiting)
	case s.asked >= d.o.PerMinute:
		return fmt.Sprintf("this caller has asked for %d approvals within a minute", s.asked)
	}
	return ""
}

// insert puts a new item into the tables and writes its first record. mu is held: the record comes before all others of the item.
func (d *Desk) insert(it *item) <-chan error {
	asked := it.ApprovalAsked
	durable := d.append(it, &pipeline.Approval{ID: it.ID, State: it.State, Asked: &asked})
	d.file(it)
	d.each[it.who].asked++
	d.nudge()
	return durable
}

// file puts an item that waits or is in force into the tables. mu is held.
func (d *Desk) file(it *item) {
	d.items[it.ID] = it
	if it.Digest != "" {
		d.digest[it.Digest] = it
	}
	if lives(it.State) {
		d.live++
	}
	if it.State == pipeline.ApprovalWaiting {
		d.shareOf(it.who).waiting++
	}
}

func (d *Desk) shareOf(who string) *share {
	s := d.each[who]
	if s == nil {
		s = new(share)
		d.each[who] = s
	}
	return s
}

// lives tells whether something more may come of a state by itself.
func lives(state string) bool {
	return state == pipeline.ApprovalWaiting || state == pipeline.ApprovalApproved
}

// forget takes an item out of all tables. mu is held.
func (d *Desk) forget(it *item) {
	if d.items[it.ID] != it {
		return
	}
	d.leave(it, it.State)
	it.State = pipeline.ApprovalWithdrawn
	d.drop(it)
	it.stir()
}

// leave takes back what an item in a state counts for. mu is held.
func (d *Desk) leave(it *item, state string) {
	if lives(state) {
		d.live--
	}
	if state == pipeline.ApprovalWaiting {
		d.shareOf(it.who).waiting--
	}
}

func (it *item) stir() {
	close(it.changed)
	it.changed = make(chan struct{})
}

func (d *Desk) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// append writes a record of an item.
func (d *Desk) append(it *item, body *pipeline.Approval) <-chan error {
	_, durable := d.o.Log.Append(pipeline.Record{Kind: it.kind, Time: d.now(), Session: it.Session, Exchange: it.Exchange, Body: body})
	return durable
}

// commit writes a record and, once it is on disk, applies it. busy is held; what is decided is so for good or not at all.
func (d *Desk) commit(it *item, body *pipeline.Approval, what string) error {
	if err := <-d.append(it, body); err != nil {
		return fmt.Errorf("%w: %w", pipeline.ErrNotRecorded, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.apply(it, body)
	d.tell(what, it)
	d.nudge()
	return nil
}
