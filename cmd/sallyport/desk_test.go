// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// fakeDesk holds one tool call and one elevation, and takes one decision on each. Of kind "own" the caller is who caused
// them; of kind "late" it is too late; of kind "two" two people have to approve.
type fakeDesk struct {
	*fakeDaemon
	decided bool
}

func (f *fakeDesk) held() adminapi.Approval {
	a := adminapi.Approval{ID: "apr_1", State: adminapi.StateWaiting, Kind: "toolCall", Tool: "bash", Args: json.RawMessage(`{"cmd":"rm -rf /srv/\u001b[31mx","force":true}`),
		Operation: "chat", Model: "gpt-4o-mini", Endpoint: "openai", Rule: "guardrail/shell", Reason: "a shell is looked at first",
		Principal: adminapi.Principal{SPIFFEID: "spiffe://example.org/unit/support", User: "ada"},
		Workload:  adminapi.Workload{PID: 7, Comm: "python3", Unit: "support.service", UID: 1000}, Scope: "agents",
		Session: "ses_1", Exchange: "exc_1", Decision: "dec_1", Asked: second(0), Expires: second(59), Groups: []string{"owners", "security"}, Needed: 1, Waiting: 1}
	if f.kind == "two" {
		a.Needed = 2
	}
	return a
}

func (f *fakeDesk) asked() adminapi.Elevation {
	return adminapi.Elevation{ID: "elv_1", State: adminapi.StateWaiting, Role: "writer", Principal: adminapi.Principal{SPIFFEID: "spiffe://example.org/unit/support"},
		Seconds: 1800, Reason: "release\x1b[31m 1.2", Decision: "dec_1", By: adminapi.Person{User: "ada", UID: 1000}, Asked: second(0), Expires: second(59),
		Groups: []string{"owners"}, Needed: 1}
}

func (f *fakeDesk) Approvals(_ context.Context, q adminapi.StateQuery) ([]adminapi.Approval, error) {
	if f.kind == "empty" || q.State != adminapi.StateLive && q.State != adminapi.StateAll {
		return nil, nil
	}
	out := []adminapi.Approval{f.held()}
	if q.State == adminapi.StateAll {
		old := f.held()
		old.ID, old.State, old.Kind, old.Tool, old.Given, old.Groups = "apr_0", adminapi.StateApproved, "request", "", 1, []string{"owners"}
		old.Until = second(30)
		out = append(out, old)
	}
	return out, nil
}

func (f *fakeDesk) Approval(_ context.Context, id string) (adminapi.Approval, error) {
	a := f.held()
	switch id {
	case "apr_1":
	case "apr_2": // decided by two, for a session; a request
		a.ID, a.State, a.Given, a.Needed, a.Until = id, adminapi.StateApproved, 2, 2, second(30)
		a.Kind, a.Tool, a.Args, a.Body, a.Cut, a.Once = "request", "", nil, `{"messages":["...`, true, true
		a.Votes = []adminapi.Vote{{By: adminapi.Person{User: "bob"}, Time: second(1), Approve: true, Scope: adminapi.ScopeSession, Free: []string{"path"}, Reason: "fine"},
			{By: adminapi.Person{UID: 7}, Time: second(2), Approve: true, Late: true}}
	default:
		return a, admin.ErrNotFound
	}
	return a, nil
}

func (f *fakeDesk) DecideApproval(_ context.Context, by admin.Person, id string, d adminapi.ApprovalDecision) (adminapi.Approval, error) {
	a := f.held()
	switch {
	case f.kind == "own":
		return a, &admin.Denied{Err: errors.New("it is your own program that waits: another person has to decide")}
	case f.kind == "late":
		return a, &admin.Conflict{Err: errors.New("it expired at 12:00:59: nobody waits any more")}
	case f.decided:
		return a, &admin.Conflict{Err: errors.New("it is decided already")}
	}
	f.decided = true
	a.State = adminapi.StateDenied
	if d.Approve {
		if a.Given = 1; a.Given == a.Needed {
			a.State, a.Until = adminapi.StateApproved, second(30)
		} else {
			a.State = adminapi.StateWaiting
		}
	}
	return a, f.note(fmt.Sprint(by.User, " ", id, " ", d))
}

func (f *fakeDesk) RevokeApproval(_ context.Context, by admin.Person, id, reason string) (adminapi.Approval, error) {
	a := f.held()
	a.State = adminapi.StateRevoked
	return a, f.note(fmt.Sprint(by.User, " revokes ", id, " ", reason))
}

func (f *fakeDesk) Elevations(_ context.Context, q adminapi.StateQuery) ([]adminapi.Elevation, error) {
	if f.kind == "empty" {
		return nil, nil
	}
	uid := uint32(1000)
	on := f.asked()
	on.ID, on.State, on.Given, on.Seconds, on.Session, on.UID, on.Principal = "elv_2", adminapi.StateActive, 1, 0, "ses_1", &uid, adminapi.Principal{User: "ada"}
	on.Uses = make([]adminapi.Use, 3)
	return []adminapi.Elevation{f.asked(), on}, nil
}

func (f *fakeDesk) Elevation(_ context.Context, id string) (adminapi.Elevation, error) {
	if id != "elv_1" {
		return adminapi.Elevation{}, admin.ErrNotFound
	}
	return f.asked(), nil
}

func (f *fakeDesk) Elevate(_ context.Context, by admin.Person, r adminapi.ElevationRequest) (adminapi.Elevation, error) {
	e := f.asked()
	switch {
	case r.Role == "" && f.kind == "two":
		return e, &admin.Refused{Err: errors.New("several roles would allow that: admin, writer: choose one with --role")}
	case r.Role != "":
		e.Role = r.Role
	}
	e.Seconds = r.Seconds
	if r.UntilSessionEnd {
		e.Session = "ses_1"
	}
	if r.DryRun {
		return e, nil
	}
	return e, f.note(fmt.Sprint(by.User, " ", r))
}

func (f *fakeDesk) DecideElevation(_ context.Context, by admin.Person, id string, d adminapi.ElevationDecision) (adminapi.Elevation, error) {
	e := f.asked()
	if f.kind == "own" {
		return e, &admin.Denied{Err: errors.New("you asked for it: another person has to decide")}
	}
	e.State = adminapi.StateDenied
	if d.Approve {
		e.State, e.Until = adminapi.StateActive, second(59)
	}
	return e, f.note(fmt.Sprint(by.User, " ", id, " ", d))
}

func (f *fakeDesk) RevokeElevation(_ context.Context, by admin.Person, id, reason string) (adminapi.Elevation, error) {
	e := f.asked()
	e.State = adminapi.StateRevoked
	return e, f.note(fmt.Sprint(by.User, " revokes ", id, " ", reason))
}
