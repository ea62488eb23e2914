// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// The states of an Approval and of an Elevation.
const (
	StateWaiting   = "waiting"   // for people to decide
	StateApproved  = "approved"  // and not used yet; a decision for a session: in force
	StateActive    = "active"    // an elevation that is in force
	StateUsed      = "used"      // what was held is released
	StateDenied    = "denied"    // by a person
	StateExpired   = "expired"   // nobody decided in time
	StateWithdrawn = "withdrawn" // whoever asked went away
	StateLapsed    = "lapsed"    // approved, and not used in time
	StateEnded     = "ended"     // what lasted for a time is over
	StateRevoked   = "revoked"   // taken back by a person
)

// What a query asks for, besides one of the states.
const (
	StateLive = ""    // what waits, or is in force
	StateAll  = "all" // and what is over, as far as the daemon remembers
)

// The reach of an approval: this very thing one time, or the same tool with the same arguments as often as the session
// calls it.
const (
	ScopeOnce    = "once"
	ScopeSession = "session"
)

// Person is who did something, as the kernel and the host's user data base say.
type Person struct {
	User   string `json:"user"`
	UID    uint32 `json:"uid"`              // of the login; outside a login session, of the process
	Source string `json:"source,omitempty"` // how it is known who that is: "socket"
}

// Vote is one person's decision.
type Vote struct {
	By      Person    `json:"by"`
	Time    time.Time `json:"time"`
	Approve bool      `json:"approve"`
	Scope   string    `json:"scope,omitempty"`
	Free    []string  `json:"free,omitempty"`
	Seconds int64     `json:"seconds,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Late    bool      `json:"late,omitempty"` // nobody waited any more
}

// Use is one thing that was released, or allowed by a grant.
type Use struct {
	Time     time.Time `json:"time"`
	Exchange string    `json:"exchange_id"`
}

// Approval is one held thing: exactly what will be released, for whom, and who is to decide.
type Approval struct {
	ID        string          `json:"id"`
	State     string          `json:"state"`
	Kind      string          `json:"kind"`           // "toolCall" or "request"
	Tool      string          `json:"tool,omitempty"` // the step that is held, masked
	Args      json.RawMessage `json:"args,omitempty"` // JSON if they are, else a string
	Text      string          `json:"text,omitempty"`
	Body      string          `json:"body,omitempty"` // the request that is held, masked
	Cut       bool            `json:"cut,omitempty"`  // there is more than is shown: see the exchange
	Operation string          `json:"operation,omitempty"`
	Model     string          `json:"model,omitempty"`
	Endpoint  string          `json:"endpoint,omitempty"`
	Rule      string          `json:"rule"`
	Reason    string          `json:"reason,omitempty"`
	Principal Principal       `json:"principal"`
	Workload  Workload        `json:"workload"`
	Scope     string          `json:"scope,omitempty"` // that selects the workload
	Session   string          `json:"session_id,omitempty"`
	Exchange  string          `json:"exchange_id,omitempty"`
	Decision  string          `json:"decision_id,omitempty"`
	Asked     time.Time       `json:"asked"`
	Expires   time.Time       `json:"expires"`
	Until     time.Time       `json:"until,omitzero"` // approved: how long that is good for
	Groups    []string        `json:"groups"`         // whose members may decide; none: operators
	Needed    int             `json:"needed"`         // people who have to approve
	Given     int             `json:"given"`
	Votes     []Vote          `json:"votes"`
	Uses      []Use           `json:"uses"`
	Waiting   int             `json:"waiting"`          // connections that are held open for it now
	Once      bool            `json:"once,omitempty"`   // it cannot be approved for a session
	Digest    string          `json:"digest,omitempty"` // what a decision is bound to
	Note      string          `json:"note,omitempty"`
}

// Approvals counts what waits for people, what they granted, and how the telling goes.
type Approvals struct {
	Waiting   int     `json:"waiting"`            // held things that nobody has decided
	Requested int     `json:"elevations_waiting"` // elevations that nobody has decided
	Active    int     `json:"elevations_active"`
	Webhook   Webhook `json:"webhook,omitzero"`
}

// Webhook is how the telling goes, since the daemon started.
type Webhook struct {
	State   string    `json:"state"` // "off", "ok", "retrying"
	Queued  int       `json:"queued"`
	Sent    uint64    `json:"sent"`
	Failed  uint64    `json:"failed"`  // given up, or refused by the receiver
	Dropped uint64    `json:"dropped"` // for want of room
	Last    time.Time `json:"last,omitzero"`
	Error   string    `json:"error,omitempty"` // the latest, until one is sent
}

// StateQuery selects approvals or elevations.
type StateQuery struct {
	State string    // StateLive, StateAll, or one of the states
	Since time.Time // asked for at or after it; zero = all
	Limit int       // newest first; 0 = the server's default
}

// ApprovalDecision decides an approval.
type ApprovalDecision struct {
	Approve bool     `json:"approve"`
	Scope   string   `json:"scope,omitempty"`   // ScopeOnce (default) or ScopeSession; of an approval
	Free    []string `json:"free,omitempty"`    // of ScopeSession: arguments that may differ
	Seconds int64    `json:"seconds,omitempty"` // of ScopeSession: for how long at most; 0 = as the rule says
	Reason  string   `json:"reason,omitempty"`
}

// Elevation is a role for a time: asked for, decided, in force, over.
type Elevation struct {
	ID        string    `json:"id"`
	State     string    `json:"state"`
	Role      string    `json:"role"`
	Principal Principal `json:"principal"`            // who gets it; what is empty does not matter
	UID       *uint32   `json:"uid,omitempty"`        // whose processes get it
	Session   string    `json:"session_id,omitempty"` // only in this session
	Workload  string    `json:"workload,omitempty"`   // only this unit, container, pod, service account or cgroup
	Seconds   int64     `json:"seconds,omitempty"`    // 0: until the session ends
	Reason    string    `json:"reason"`
	Decision  string    `json:"decision_id,omitempty"` // the denial that it was asked for
	By        Person    `json:"by"`
	Asked     time.Time `json:"asked"`
	Expires   time.Time `json:"expires,omitzero"` // until then it can be decided
	Until     time.Time `json:"until,omitzero"`
	Groups    []string  `json:"groups"`
	Needed    int       `json:"needed"`
	Given     int       `json:"given"`
	Votes     []Vote    `json:"votes"`
	Uses      []Use     `json:"uses"` // what it allowed
	Note      string    `json:"note,omitempty"`
}

// ElevationRequest asks for a role. Who gets it is the caller or, with Decision, who was denied.
type ElevationRequest struct {
	Role            string `json:"role,omitempty"` // may be left out with Decision if one role alone would do
	Seconds         int64  `json:"seconds,omitempty"`
	UntilSessionEnd bool   `json:"until_session_end,omitempty"` // needs Decision, which says of which session
	Reason          string `json:"reason"`
	Decision        string `json:"decision_id,omitempty"`
	DryRun          bool   `json:"dry_run,omitempty"` // only say what would be asked for
}

// ElevationDecision decides what was asked for.
type ElevationDecision struct {
	Approve bool   `json:"approve"`
	Seconds int64  `json:"seconds,omitempty"` // for less time than was asked for; 0 = as asked
	Reason  string `json:"reason,omitempty"`
}

// Revocation takes back what was approved.
type Revocation struct {
	Reason string `json:"reason"`
}

// Approvals lists what the caller may see, newest first, without contents.
func (c *Client) Approvals(ctx context.Context, q StateQuery) ([]Approval, error) {
	return call[[]Approval](ctx, c, http.MethodGet, listing("/v1/approvals", q.State, q.Since, q.Limit), nil)
}

// Approval reads one with its contents, which is recorded.
func (c *Client) Approval(ctx context.Context, id string) (Approval, error) {
	return call[Approval](ctx, c, http.MethodGet, "/v1/approvals/"+url.PathEscape(id), nil)
}

// DecideApproval decides one as the calling person.
func (c *Client) DecideApproval(ctx context.Context, id string, d ApprovalDecision) (Approval, error) {
	return call[Approval](ctx, c, http.MethodPost, "/v1/approvals/"+url.PathEscape(id)+"/decide", d)
}

// RevokeApproval takes back an approval that is in force or was not used yet.
func (c *Client) RevokeApproval(ctx context.Context, id string, r Revocation) (Approval, error) {
	return call[Approval](ctx, c, http.MethodPost, "/v1/approvals/"+url.PathEscape(id)+"/revoke", r)
}

// Elevations lists what the caller may see, newest first.
func (c *Client) Elevations(ctx context.Context, q StateQuery) ([]Elevation, error) {
	return call[[]Elevation](ctx, c, http.MethodGet, listing("/v1/elevations", q.State, q.Since, q.Limit), nil)
}

// Elevate asks for a role for a time.
func (c *Client) Elevate(ctx context.Context, r ElevationRequest) (Elevation, error) {
	return call[Elevation](ctx, c, http.MethodPost, "/v1/elevations", r)
}

// DecideElevation decides what somebody asked for, as the calling person.
func (c *Client) DecideElevation(ctx context.Context, id string, d ElevationDecision) (Elevation, error) {
	return call[Elevation](ctx, c, http.MethodPost, "/v1/elevations/"+url.PathEscape(id)+"/decide", d)
}

// RevokeElevation ends an elevation at once.
func (c *Client) RevokeElevation(ctx context.Context, id string, r Revocation) (Elevation, error) {
	return call[Elevation](ctx, c, http.MethodPost, "/v1/elevations/"+url.PathEscape(id)+"/revoke", r)
}

func listing(path, state string, since time.Time, limit int) string {
	v := url.Values{}
	if state != "" {
		v.Set("state", state)
	}
	if !since.IsZero() {
		v.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	if limit > 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}
