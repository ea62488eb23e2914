// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

// The admin API of the desk: words of the one put into words of the other.

// deciding is a person of the admin API.
func deciding(by admin.Person) pipeline.Person {
	return pipeline.Person{User: by.User, UID: by.ID, Groups: by.Groups, Source: "socket"}
}

// refusal says what kind of no an error of the desk is: that of an item that waits is about the person, else it is too late.
func (c console) refusal(err error, id string) error {
	var no *approval.Refused
	switch {
	case err == nil:
		return nil
	case errors.Is(err, approval.ErrNotFound):
		return admin.ErrNotFound
	case !errors.As(err, &no):
		return err
	case id == "":
		return &admin.Refused{Err: no}
	}
	if it, gerr := c.d.desk.Get(id); gerr == nil && it.State != pipeline.ApprovalWaiting {
		return &admin.Conflict{Err: no}
	}
	return &admin.Denied{Err: no}
}

// filter finds the items of a query. kinds tells approvals from elevations.
func (c console) items(q adminapi.StateQuery, elevations bool) (out []approval.Item) {
	f := approval.Filter{All: q.State == adminapi.StateAll}
	switch q.State {
	case adminapi.StateLive, adminapi.StateAll:
	case adminapi.StateActive:
		f.States = []string{pipeline.ApprovalApproved}
	default:
		f.States = []string{q.State}
	}
	for _, it := range c.d.desk.List(f) {
		if (it.Of == pipeline.ApprovalOfElevation) != elevations || it.Time.Before(q.Since) {
			continue
		}
		if out = append(out, it); q.Limit > 0 && len(out) == q.Limit {
			break
		}
	}
	return out
}

// item finds one of a kind.
func (c console) item(id string, elevation bool) (approval.Item, error) {
	it, err := c.d.desk.Get(id)
	if err == nil && (it.Of == pipeline.ApprovalOfElevation) != elevation {
		err = approval.ErrNotFound
	}
	return it, c.refusal(err, "")
}

// Approvals implements admin.Desk.
func (c console) Approvals(_ context.Context, q adminapi.StateQuery) (out []adminapi.Approval, _ error) {
	for _, it := range c.items(q, false) {
		out = append(out, held(&it))
	}
	return out, nil
}

// Approval implements admin.Desk.
func (c console) Approval(_ context.Context, id string) (adminapi.Approval, error) {
	it, err := c.item(id, false)
	return held(&it), err
}

// DecideApproval implements admin.Desk.
func (c console) DecideApproval(ctx context.Context, by admin.Person, id string, d adminapi.ApprovalDecision) (adminapi.Approval, error) {
	it, err := c.d.desk.Decide(ctx, id, deciding(by), approval.Decision{Approve: d.Approve, Scope: d.Scope, Free: d.Free,
		For: time.Duration(d.Seconds) * time.Second, Reason: d.Reason})
	return held(&it), c.refusal(err, id)
}

// RevokeApproval implements admin.Desk.
func (c console) RevokeApproval(ctx context.Context, by admin.Person, id, reason string) (adminapi.Approval, error) {
	it, err := c.d.desk.Revoke(ctx, id, deciding(by), reason)
	return held(&it), c.refusal(err, id)
}

// Elevations implements admin.Desk.
func (c console) Elevations(_ context.Context, q adminapi.StateQuery) (out []adminapi.Elevation, _ error) {
	for _, it := range c.items(q, true) {
		out = append(out, elevation(&it))
	}
	return out, nil
}

// Elevation implements admin.Desk.
func (c console) Elevation(_ context.Context, id string) (adminapi.Elevation, error) {
	it, err := c.item(id, true)
	return elevation(&it), err
}

// DecideElevation implements admin.Desk.
func (c console) DecideElevation(ctx context.Context, by admin.Person, id string, d adminapi.ElevationDecision) (adminapi.Elevation, error) {
	it, err := c.d.desk.Decide(ctx, id, deciding(by), approval.Decision{Approve: d.Approve, For: time.Duration(d.Seconds) * time.Second, Reason: d.Reason})
	return elevation(&it), c.refusal(err, id)
}

// RevokeElevation implements admin.Desk.
func (c console) RevokeElevation(ctx context.Context, by admin.Person, id, reason string) (adminapi.Elevation, error) {
	it, err := c.d.desk.Revoke(ctx, id, deciding(by), reason)
	return elevation(&it), c.refusal(err, id)
}

func votes(list []pipeline.ApprovalVote) []adminapi.Vote {
	out := []adminapi.Vote{}
	for _, v := range list {
		out = append(out, adminapi.Vote{By: person(&v.By), Time: v.Time, Approve: v.Approve, Scope: v.Scope, Free: v.Free, Seconds: int64(v.For / time.Second),
			Reason: v.Reason, Late: v.Late})
	}
	return out
}

func uses(list []pipeline.ApprovalUse) []adminapi.Use {
	out := []adminapi.Use{}
	for _, u := range list {
		out = append(out, adminapi.Use{Time: u.Time, Exchange: u.Exchange})
	}
	return out
}

func person(p *pipeline.Person) adminapi.Person {
	return adminapi.Person{User: p.User, UID: p.UID, Source: p.Source}
}

// held is a held thing as people see it.
func held(it *approval.Item) adminapi.Approval {
	out := adminapi.Approval{ID: it.ID, State: it.State, Kind: it.Of, Body: it.Body, Cut: it.Cut, Operation: it.Operation, Model: it.Model, Endpoint: it.Endpoint,
		Rule: it.Rule, Reason: it.Reason, Principal: adminapi.NewPrincipal(it.Principal), Workload: adminapi.NewWorkload(it.Workload), Scope: it.Scope,
		Session: it.Session, Exchange: it.Exchange, Decision: it.Decision, Asked: it.Time, Expires: it.Deadline, Until: it.Until, Groups: it.Groups,
		Needed: it.Need, Given: it.Have, Votes: votes(it.Votes), Uses: uses(it.Uses), Waiting: it.Waiters, Once: it.Settings.Once, Digest: it.Digest, Note: it.Note}
	if s := it.Step; s != nil {
		out.Tool, out.Args, out.Text = s.Name, s.Args, s.Text
	}
	return out
}

// elevation is a role for a time as people see it.
func elevation(it *approval.Item) adminapi.Elevation {
	out := adminapi.Elevation{ID: it.ID, State: it.State, Role: it.Role, Seconds: int64(it.For / time.Second), Reason: it.Reason, Decision: it.Decision,
		Asked: it.Time, Expires: it.Deadline, Until: it.Until, Groups: it.Groups, Needed: it.Need, Given: it.Have, Votes: votes(it.Votes), Uses: uses(it.Uses), Note: it.Note}
	if it.State == pipeline.ApprovalApproved {
		out.State = adminapi.StateActive
	}
	if s := it.Subject; s != nil {
		out.Principal, out.UID, out.Session, out.Workload = adminapi.Principal{SPIFFEID: s.SPIFFEID, User: s.User}, s.UID, s.Session, s.Workload
	}
	if r := it.Requester; r != nil {
		out.By = person(r)
	}
	return out
}

// approvals counts for the status.
func (c console) approvals() adminapi.Approvals {
	out := adminapi.Approvals{Webhook: c.d.webhookStatus()}
	for _, it := range c.d.desk.List(approval.Filter{}) {
		switch waits := it.State == pipeline.ApprovalWaiting; {
		case it.Of != pipeline.ApprovalOfElevation && waits:
			out.Waiting++
		case it.Of == pipeline.ApprovalOfElevation && waits:
			out.Requested++
		case it.Of == pipeline.ApprovalOfElevation:
			out.Active++
		}
	}
	return out
}

// asked adds to a decision what was asked of people about it, and how to ask for a role that would allow it.
func (c console) asked(out *adminapi.Decision) {
	if c.d.desk == nil {
		return
	}
	if out.Approval == "" {
		for _, it := range c.d.desk.List(approval.Filter{All: true}) {
			if it.Decision == out.ID && it.Of != pipeline.ApprovalOfElevation {
				out.Approval = it.ID
				break
			}
		}
	}
	if out.Approval != "" {
		out.ApprovalState = "over, and not remembered any more"
		if it, err := c.d.desk.Get(out.Approval); err == nil {
			out.ApprovalState = it.State
			if it.Note != "" {
				out.ApprovalState += ": " + it.Note
			}
		}
	}
	if out.Action != pipeline.Deny.String() && out.Action != pipeline.Hold.String() {
		return
	}
	dec, parts, err := c.denial(out.ID)
	if err == nil && len(c.d.rolesFor(metaOf(parts), &parts.Intent.Call, &dec.Decision)) > 0 {
		out.Elevate = fmt.Sprintf("sallyport elevate --for %s --reason TEXT", out.ID)
	}
}
