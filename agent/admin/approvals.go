// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// Desk is where held things and elevations wait for people. It decides who may decide (groups, nobody in their own cause),
// records each decision durably before it counts, and returns a Denied, a Conflict or a Refused for what it does not do.
type Desk interface {
	// Approvals lists newest first. q.Limit is set; 0 = without end.
	Approvals(ctx context.Context, q adminapi.StateQuery) ([]adminapi.Approval, error)
	// Approval reads one, or ErrNotFound.
	Approval(ctx context.Context, id string) (adminapi.Approval, error)
	DecideApproval(ctx context.Context, by Person, id string, d adminapi.ApprovalDecision) (adminapi.Approval, error)
	RevokeApproval(ctx context.Context, by Person, id string, reason string) (adminapi.Approval, error)

	Elevations(ctx context.Context, q adminapi.StateQuery) ([]adminapi.Elevation, error)
	Elevation(ctx context.Context, id string) (adminapi.Elevation, error)
	// Elevate asks for by itself or, with r.Decision, for who was denied there: the decision is one about by's own uid
	// unless by is an operator. A person who is Inside asks for its own process's principal alone.
	Elevate(ctx context.Context, by Person, r adminapi.ElevationRequest) (adminapi.Elevation, error)
	DecideElevation(ctx context.Context, by Person, id string, d adminapi.ElevationDecision) (adminapi.Elevation, error)
	RevokeElevation(ctx context.Context, by Person, id string, reason string) (adminapi.Elevation, error)
}

// Denied is what a part returns for something that this caller may not do.
type Denied struct{ Err error }

func (e *Denied) Error() string { return e.Err.Error() }
func (e *Denied) Unwrap() error { return e.Err }

// Conflict is what a part returns for something that cannot be done any more.
type Conflict struct{ Err error }

func (e *Conflict) Error() string { return e.Err.Error() }
func (e *Conflict) Unwrap() error { return e.Err }

const (
	maxReason    = 1000
	maxElevation = 400 * 24 * 3600 // seconds; whoever wants more wants a binding
)

var (
	approvalStates = []string{adminapi.StateLive, adminapi.StateAll, adminapi.StateWaiting, adminapi.StateApproved, adminapi.StateUsed, adminapi.StateDenied,
		adminapi.StateExpired, adminapi.StateWithdrawn, adminapi.StateLapsed, adminapi.StateEnded, adminapi.StateRevoked}
	elevationStates = []string{adminapi.StateLive, adminapi.StateAll, adminapi.StateWaiting, adminapi.StateActive, adminapi.StateDenied,
		adminapi.StateExpired, adminapi.StateEnded, adminapi.StateRevoked}
)

// query reads what listings have in common.
func query(r *http.Request, states []string) (q adminapi.StateQuery, err error) {
	v := r.URL.Query()
	if q.State = v.Get("state"); !slices.Contains(states, q.State) {
		return q, bad("state: want %s", strings.Join(states[1:], ", "))
	}
	if t := v.Get("since"); t != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, t); err != nil {
			return q, bad("since: want a time as in RFC 3339")
		}
	}
	q.Limit = defaultLimit
	if n := v.Get("limit"); n != "" {
		if q.Limit, err = strconv.Atoi(n); err != nil || q.Limit < 1 || q.Limit > maxLimit {
			return q, bad("limit: want 1 to %d", maxLimit)
		}
	}
	return q, nil
}

// member says whether a caller belongs to one of the groups.
func (c *caller) member(groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return g != "" && slices.Contains(c.groups, g) })
}

// sees says whether a caller may see what waits for people of these groups.
func (c *caller) sees(groups []string) bool { return c.operator || c.member(groups) }

func (s *Server) approvals(r *http.Request, c caller) (any, error) {
	q, err := query(r, approvalStates)
	if err != nil {
		return nil, err
	}
	if s.opts.Desk == nil {
		return nil, missing("approval")
	}
	limit := q.Limit
	if !c.operator {
		q.Limit = 0 // what is left out below must not push out what this caller may see
	}
	list, err := s.opts.Desk.Approvals(r.Context(), q)
	if err != nil {
		return nil, err
	}
	out := []adminapi.Approval{}
	for _, a := range list {
		if c.sees(a.Groups) && len(out) < limit {
			a.Args, a.Text, a.Body = nil, "", "" // to see these is to read them
			out = append(out, tidyApproval(a))
		}
	}
	return out, nil
}

// seenApproval reads an approval that the caller may see; any other does not exist.
func (s *Server) seenApproval(r *http.Request, c caller) (a adminapi.Approval, err error) {
	id, err := pathID(r, "apr_")
	if err != nil {
		return a, err
	}
	if s.opts.Desk == nil {
		return a, missing("approval")
	}
	if a, err = s.opts.Desk.Approval(r.Context(), id); err == nil && !c.sees(a.Groups) {
		err = forbid("only %s may see or decide %s", deciders(a.Groups), id)
	}
	return a, err
}

func deciders(groups []string) string {
	if len(groups) == 0 {
		return "operators"
	}
	return "operators and members of group " + strings.Join(groups, " or ")
}

func (s *Server) approval(r *http.Request, c caller) (any, error) {
	a, err := s.seenApproval(r, c)
	if err == nil {
		err = s.record(r.Context(), c, "approval.read", a.ID)
	}
	if err != nil {
		return nil, err
	}
	return tidyApproval(a), nil
}

func (s *Server) decideApproval(r *http.Request, c caller) (any, error) {
	var d adminapi.ApprovalDecision
	if err := decode(r, &d); err != nil {
		return nil, err
	}
	switch {
	case len(d.Reason) > maxReason:
		return nil, bad("reason: at most %d bytes", maxReason)
	case !d.Approve && strings.TrimSpace(d.Reason) == "":
		return nil, bad("reason: say why it is denied; the program's owner is told")
	case d.Scope != adminapi.ScopeSession && (len(d.Free) > 0 || d.Seconds != 0):
		return nil, bad("free and seconds: only with scope %s", adminapi.ScopeSession)
	case len(d.Free) > 32 || d.Seconds < 0 || d.Seconds > maxElevation:
		return nil, bad("want at most 32 free arguments, and 0 to %d seconds", maxElevation)
	case d.Scope != "" && (!d.Approve || d.Scope != adminapi.ScopeOnce && d.Scope != adminapi.ScopeSession):
		return nil, bad("scope: want %s or %s, with approve", adminapi.ScopeOnce, adminapi.ScopeSession)
	}
	d.Reason = s.opts.Words(d.Reason)
	a, err := s.seenApproval(r, c)
	if err != nil {
		return nil, err
	}
	if err := s.record(r.Context(), c, "approval."+verb(d.Approve), a.ID); err != nil {
		return nil, err
	}
	out, err := s.opts.Desk.DecideApproval(r.Context(), c.person(), a.ID, d)
	return tidyApproval(out), err
}

func (s *Server) elevations(r *http.Request, c caller) (any, error) {
	q, err := query(r, elevationStates)
	if err != nil {
		return nil, err
	}
	if s.opts.Desk == nil {
		return nil, missing("elevation")
	}
	limit := q.Limit
	if !c.operator {
		q.Limit = 0
	}
	list, err := s.opts.Desk.Elevations(r.Context(), q)
	if err != nil {
		return nil, err
	}
	out := []adminapi.Elevation{}
	for _, e := range list {
		if c.seesElevation(&e) && len(out) < limit {
			out = append(out, tidyElevation(e))
		}
	}
	return out, nil
}

// seesElevation: those who may decide it, and whoever asked.
func (c *caller) seesElevation(e *adminapi.Elevation) bool { return c.sees(e.Groups) || c.asked(e) }

// asked says whether a caller is the person who asked for an elevation.
func (c *caller) asked(e *adminapi.Elevation) bool {
	return c.id == e.By.UID
}

func (s *Server) elevate(r *http.Request, c caller) (any, error) {
	var req adminapi.ElevationRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	switch {
	case strings.TrimSpace(req.Reason) == "" || len(req.Reason) > maxReason:
		return nil, bad("reason: say what it is needed for, in at most %d bytes", maxReason)
	case len(req.Role) > 253:
		return nil, bad("role: at most 253 bytes")
	case req.Decision != "" && !isID(req.Decision, "dec_", "exc_"):
		return nil, bad("decision_id: want dec_… or exc_…")
	case req.Role == "" && req.Decision == "":
		return nil, bad("say which role, or which decision it is about")
	case req.UntilSessionEnd == (req.Seconds != 0):
		return nil, bad("say for how long: either seconds or until_session_end")
	case req.Seconds < 0 || req.Seconds > maxElevation:
		return nil, bad("seconds: want 1 to %d", maxElevation)
	case req.UntilSessionEnd && req.Decision == "":
		return nil, bad("until_session_end needs the decision that says of which session")
	}
	if s.opts.Desk == nil {
		return nil, missing("elevation")
	}
	req.Reason = s.opts.Words(req.Reason)
	if !req.DryRun {
		if err := s.record(r.Context(), c, "elevation.request", req.Role); err != nil {
			return nil, err
		}
	}
	out, err := s.opts.Desk.Elevate(r.Context(), c.person(), req)
	return tidyElevation(out), err
}

// seenElevation reads an elevation that the caller may see.
func (s *Server) seenElevation(r *http.Request, c caller) (e adminapi.Elevation, err error) {
	id, err := pathID(r, "elv_")
	if err != nil {
		return e, err
	}
	if s.opts.Desk == nil {
		return e, missing("elevation")
	}
	if e, err = s.opts.Desk.Elevation(r.Context(), id); err == nil && !c.seesElevation(&e) {
		err = forbid("only %s and whoever asked for it may see %s", deciders(e.Groups), id)
	}
	return e, err
}

func (s *Server) decideElevation(r *http.Request, c caller) (any, error) {
	var d adminapi.ElevationDecision
	if err := decode(r, &d); err != nil {
		return nil, err
	}
	switch {
	case len(d.Reason) > maxReason:
		return nil, bad("reason: at most %d bytes", maxReason)
	case !d.Approve && strings.TrimSpace(d.Reason) == "":
		return nil, bad("reason: say why it is denied; whoever asked is told")
	case d.Seconds < 0 || d.Seconds > maxElevation || d.Seconds > 0 && !d.Approve:
		return nil, bad("seconds: want 0 to %d, with approve", maxElevation)
	}
	d.Reason = s.opts.Words(d.Reason)
	e, err := s.seenElevation(r, c)
	if err != nil {
		return nil, err
	}
	if err := s.record(r.Context(), c, "elevation."+verb(d.Approve), e.ID); err != nil {
		return nil, err
	}
	out, err := s.opts.Desk.DecideElevation(r.Context(), c.person(), e.ID, d)
	return tidyElevation(out), err
}

func verb(approve bool) string {
	if approve {
		return "approve"
	}
	return "deny"
}

func (s *Server) revocation(r *http.Request) (adminapi.Revocation, error) {
	var req adminapi.Revocation
	if err := decode(r, &req); err != nil {
		return req, err
	}
	if strings.TrimSpace(req.Reason) == "" || len(req.Reason) > maxReason {
		return req, bad("reason: say why, in at most %d bytes", maxReason)
	}
	req.Reason = s.opts.Words(req.Reason)
	return req, nil
}

// revokeApproval and revokeElevation: to take back is for everybody who may see it, also for whoever has the role. A record
// that cannot be written does not stop it.
func (s *Server) revokeApproval(r *http.Request, c caller) (any, error) {
	req, err := s.revocation(r)
	if err != nil {
		return nil, err
	}
	a, err := s.seenApproval(r, c)
	if err != nil {
		return nil, err
	}
	_ = s.record(r.Context(), c, "approval.revoke", a.ID) // logged
	out, err := s.opts.Desk.RevokeApproval(r.Context(), c.person(), a.ID, req.Reason)
	return tidyApproval(out), err
}

func (s *Server) revokeElevation(r *http.Request, c caller) (any, error) {
	req, err := s.revocation(r)
	if err != nil {
		return nil, err
	}
	e, err := s.seenElevation(r, c)
	if err != nil {
		return nil, err
	}
	_ = s.record(r.Context(), c, "elevation.revoke", e.ID) // logged
	out, err := s.opts.Desk.RevokeElevation(r.Context(), c.person(), e.ID, req.Reason)
	return tidyElevation(out), err
}

// tidyApproval makes lists of lists that are empty, and valid JSON of what a model wrote as arguments.
func tidyApproval(a adminapi.Approval) adminapi.Approval {
	a.Groups, a.Votes, a.Args = notNil(a.Groups), notNil(a.Votes), adminapi.Valid(a.Args)
	a.Uses = notNil(a.Uses)
	return a
}

func tidyElevation(e adminapi.Elevation) adminapi.Elevation {
	e.Groups, e.Votes = notNil(e.Groups), notNil(e.Votes)
	e.Uses = notNil(e.Uses)
	return e
}
