// SPDX-License-Identifier: Apache-2.0

package pipeline

import "time"

// Held is something that people are asked about.
type Held struct {
	Meta *Meta
	Call *Call // whose request or reply it is part of; its steps are not looked at
	// Step is the step as people see it: masked, and exactly what would be released. Nil is the request as a whole.
	Step *Step
	// Body is the request as people see it, if it is what is held.
	Body []byte
	// Raw is what would be released, as it stands: a tool call's arguments, or the body of the request. It binds the decision,
	// and is not kept.
	Raw []byte
	// Target is the request line that it belongs to, query included. It binds the decision about a request, and is not kept.
	Target string
	// Use names the one thing that is released: who comes again with the same thing, not an equal one, is let through again.
	Use      string
	Verdict  Verdict       // that holds it
	Decision string        // ID of its record
	Patience time.Duration // how long to wait; 0: until it is decided
}

// NoUID is the UID of a person who has none on this host.
const NoUID = ^uint32(0)

// Person is somebody who decides or asks, as far as whoever authenticated them knows.
type Person struct {
	User   string   `json:"user,omitempty"`
	UID    uint32   `json:"uid"` // login UID; NoUID if there is none
	Groups []string `json:"groups,omitempty"`
	Source string   `json:"source,omitempty"` // "socket", "oidc"
}

// The states of an Approval and of an Elevation.
const (
	ApprovalWaiting   = "waiting"
	ApprovalApproved  = "approved"  // and not used yet; of what lasts for a time: in force
	ApprovalUsed      = "used"      // what was held is released
	ApprovalDenied    = "denied"    // by a person
	ApprovalExpired   = "expired"   // nobody decided in time
	ApprovalWithdrawn = "withdrawn" // whoever asked went away
	ApprovalLapsed    = "lapsed"    // approved, and not used in time
	ApprovalEnded     = "ended"     // what lasted for a time is over
	ApprovalRevoked   = "revoked"   // taken back by a person
)

// What an approval is about.
const (
	ApprovalOfCall      = "toolCall"
	ApprovalOfRequest   = "request"
	ApprovalOfResponse  = "response"
	ApprovalOfElevation = "elevation"
)

// How far a decision reaches.
const (
	ScopeOnce    = "once"    // this very thing, one time
	ScopeSession = "session" // this tool with these arguments, as often as the session calls it
)

// Approval is the body of a KindApproval or KindElevation record: one thing that happened to one approval. The first record of an
// approval says what was asked, those after it what became of it.
type Approval struct {
	ID    string         `json:"id"`
	State string         `json:"state"`           // after it
	Asked *ApprovalAsked `json:"asked,omitempty"` // what is asked; in the first record and in snapshots
	Voted *ApprovalVote  `json:"voted,omitempty"` // a person decided
	Used  *ApprovalUse   `json:"used,omitempty"`  // something was released
	Note  string         `json:"note,omitempty"`  // why, for people
	Until time.Time      `json:"until,omitzero"`  // approved: how long it is good for

	// Of snapshots: everything so far, in place of the records before it. A record without an ID begins one, and a second
	// ends it: whoever starts to read at the beginning of a snapshot that has an end has missed nothing that lives.
	Votes []ApprovalVote    `json:"votes,omitempty"`
	Uses  []ApprovalUse     `json:"uses,omitempty"`
	Mark  *ApprovalSnapshot `json:"mark,omitempty"`
}

// ApprovalSnapshot begins or ends a snapshot.
type ApprovalSnapshot struct {
	ID  string `json:"id"`
	End bool   `json:"end,omitempty"`
}

// ApprovalAsked is what is asked, and of whom. Content in it is masked.
type ApprovalAsked struct {
	Of        string            `json:"of"`
	Time      time.Time         `json:"time"`
	Deadline  time.Time         `json:"deadline"` // without a decision it is denied then
	Digest    string            `json:"digest"`   // what the decision is bound to
	Fields    map[string]string `json:"fields,omitempty"`
	Rule      string            `json:"rule,omitempty"`
	RuleSum   string            `json:"rule_digest,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Session   string            `json:"session,omitempty"`
	Exchange  string            `json:"exchange,omitempty"`
	Decision  string            `json:"decision,omitempty"` // that held it, or because of which it is asked
	Scope     string            `json:"scope,omitempty"`
	Endpoint  string            `json:"endpoint,omitempty"`
	Operation string            `json:"operation,omitempty"`
	Model     string            `json:"model,omitempty"`
	Step      *Step             `json:"step,omitempty"`
	Body      string            `json:"body,omitempty"` // the request
	Cut       bool              `json:"cut,omitempty"`  // what is shown is longer: the exchange has the whole
	Workload  Workload          `json:"workload,omitzero"`
	Principal Principal         `json:"principal,omitzero"`
	Settings  ApprovalSettings  `json:"settings"`

	// Of an elevation.
	Requester *Person           `json:"requester,omitempty"`
	Role      string            `json:"role,omitempty"`
	For       time.Duration     `json:"for,omitempty"` // how long it is to last; 0: until the session ends
	Subject   *ElevationSubject `json:"subject,omitempty"`
}

// ApprovalSettings are the rules of one approval, as they were when it was asked.
type ApprovalSettings struct {
	Approvers []string             `json:"approvers,omitempty"` // groups that may decide; none: whoever may decide at all
	Minimum   int                  `json:"minimum"`             // people who have to approve
	Owners    []string             `json:"owners,omitempty"`    // users and groups that may not, when it is not known who asks
	Timeout   time.Duration        `json:"timeout"`             // without a decision it is denied after this time
	Valid     time.Duration        `json:"valid"`               // how long an approval waits for its use
	Escalate  []ApprovalEscalation `json:"escalate,omitempty"`
	MaxFor    time.Duration        `json:"max_for"`        // the longest elevation, or approval for a session
	Once      bool                 `json:"once,omitempty"` // no decision may reach further than ScopeOnce
	Also      []ApprovalAlso       `json:"also,omitempty"` // other rules that hold the same: what each of them wants has to be so
}

// ApprovalAlso is what another rule wants that holds the same thing.
type ApprovalAlso struct {
	Rule      string               `json:"rule"`
	Approvers []string             `json:"approvers,omitempty"`
	Minimum   int                  `json:"minimum"`
	Escalate  []ApprovalEscalation `json:"escalate,omitempty"`
}

// ApprovalEscalation lets more groups decide when nobody has after some time.
type ApprovalEscalation struct {
	After  time.Duration `json:"after"`
	Groups []string      `json:"groups"`
}

// ApprovalVote is what one person decided.
type ApprovalVote struct {
	Time    time.Time     `json:"time"`
	By      Person        `json:"by"`
	Approve bool          `json:"approve"`
	Scope   string        `json:"scope,omitempty"`
	Free    []string      `json:"free,omitempty"` // ScopeSession: arguments that may differ
	For     time.Duration `json:"for,omitempty"`  // ScopeSession, elevation: how long
	Reason  string        `json:"reason,omitempty"`
	Late    bool          `json:"late,omitempty"` // nobody waited any more
}

// ApprovalUse is a release.
type ApprovalUse struct {
	Time     time.Time `json:"time"`
	Exchange string    `json:"exchange"`
	Use      string    `json:"use"`
}

// ElevationSubject is who gets a role for a time. All that is set has to match; something has to be set.
type ElevationSubject struct {
	SPIFFEID string  `json:"spiffe_id,omitempty"`
	User     string  `json:"user,omitempty"`
	UID      *uint32 `json:"uid,omitempty"`
	Session  string  `json:"session,omitempty"`
	Workload string  `json:"workload,omitempty"` // Workload.Place, of who has no SPIFFE ID
}
