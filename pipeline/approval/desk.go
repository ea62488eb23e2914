// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"errors"
	"time"

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
	Key []byte
	// Live tells whether a session goes on, for elevations until its end. Nil: as far as is known.
	Max       int // approvals that wait or are in force at a time; 10,000
	MaxEach   int // of these, of one principal; 20
	PerMinute int // that one principal may ask for; 30

	Wall   func() time.Time     // time.Now
	Mono   func() time.Duration // a clock that nobody sets; since New
	Notice func(error)          // told of failures of our own
}

// Desk holds what waits and what is granted. It is safe for concurrent use.
type Desk struct{}

// New makes a Desk. Give it what the journal has (Fold, Restored) before anything else, and Run it.
func New(Options) (*Desk, error) { return nil, errNotYet }

// Fold takes the next record of the journal at start. Records of other kinds are ignored. Snapshots let a reader begin late.
func (d *Desk) Fold(r pipeline.Record) error { return errNotYet }

// Restored ends the fold. newest is the time of the newest record of the journal, of any kind: a clock that has been set back
// behind it does not lengthen what was granted.
func (d *Desk) Restored(newest time.Time) error { return errNotYet }

// Run does what time asks for until ctx ends: deadlines, escalations, snapshots.
func (d *Desk) Run(ctx context.Context) error { return errNotYet }

// Close lets nobody wait any longer, and nothing be asked or used: another process takes over. Who waits is told that it is held.
func (d *Desk) Close() {}

// Wait implements flow.Holder. The verdict allows, denies, or holds still (patience is over, or the Desk is closed); its Approval
// names what people decide about.
func (d *Desk) Wait(ctx context.Context, h *pipeline.Held) (pipeline.Verdict, error) {
	return pipeline.Verdict{}, errNotYet
}

// Item is an approval or elevation as people see it.
type Item struct {
	ID    string
	State string
	pipeline.ApprovalAsked
	Votes   []pipeline.ApprovalVote
	Uses    []pipeline.ApprovalUse
	Need    int       // people who have to approve
	Have    int       // people who have approved
	Waiters int       // that hold a connection open for it now
	Groups  []string  // that may decide now, escalations included; none: whoever may decide at all
	Until   time.Time // approved: how long it is good for
	Note    string
}

// Filter chooses items. Zero takes all that live.
type Filter struct {
	Of     string // ApprovalOf…; "" all
	States []string
	All    bool // those that are over too, as far as they are remembered
	UID    *uint32
	Limit  int
}

// List lists, newest first.
func (d *Desk) List(Filter) []Item { return nil }

// Get finds one by its ID.
func (d *Desk) Get(id string) (Item, error) { return Item{}, errNotYet }

// Decision is what a person decides.
type Decision struct {
	Approve bool
	Scope   string        // ScopeOnce if empty; of an elevation it is ignored
	Free    []string      // ScopeSession: names of arguments that may differ
	For     time.Duration // ScopeSession, elevation: how long; 0 as long as asked for or allowed
	Reason  string
}

// Decide takes a person's decision about an approval or elevation. It returns once the decision is on disk, with what became of
// it; an error means that nothing was decided, and for errors that are a *Refused says why not, for people.
func (d *Desk) Decide(ctx context.Context, id string, by pipeline.Person, what Decision) (Item, error) {
	return Item{}, errNotYet
}

// Ask is a request for a role for a time.
type Ask struct {
	Role     string
	For      time.Duration // 0: until the session ends, which Subject then names
	Reason   string
	Decision string // ID of the denial that it is about
	Exchange string // of that denial
	Subject  pipeline.ElevationSubject
	By       pipeline.Person
	// Workload and Principal of the subject, as far as known: whoever they are may not approve.
	Workload  pipeline.Workload
	Principal pipeline.Principal
}

// Elevate asks for a role. It returns once that is on disk; another person then decides.
func (d *Desk) Elevate(ctx context.Context, a Ask) (Item, error) { return Item{}, errNotYet }

// Revoke takes back what was approved: an elevation, an approval for a session, one that was not used yet. It is over at once; an
// error says that it could not be recorded.
func (d *Desk) Revoke(ctx context.Context, id string, by pipeline.Person, reason string) (Item, error) {
	return Item{}, errNotYet
}

// Grants are the roles that the caller of an exchange has for a time. It is fast, and does not allocate where there are none.
func (d *Desk) Grants(m *pipeline.Meta) []pipeline.Grant { return nil }

// Change is something that happened to an item.
type Change struct {
	What   string // "asked", "escalated", "voted", "used" or the state that it has come to
	Item   Item
	Missed int // changes before it that were dropped, because they were not fetched in time: List again
}

// Feed is a subscription to changes.
type Feed struct{}

// Changes begins a subscription, from now on. It keeps the newest few hundred that were not fetched. Close it.
func (d *Desk) Changes() *Feed { return nil }

// Next waits for a change.
func (f *Feed) Next(ctx context.Context) (Change, error) { return Change{}, errNotYet }

// Close ends the subscription.
func (f *Feed) Close() {}

// Refused is why a person may not do something; the message is for them.
type Refused struct{ Why string }

func (e *Refused) Error() string { return e.Why }

// ErrNotFound is returned for an ID that is not known, or not any more.
var ErrNotFound = errors.New("no approval or elevation with this ID is known here any more: `sallyport why ID` looks in the journal")

var errNotYet = errors.New("not implemented")
