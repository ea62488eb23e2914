// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/policy"
)

// Elevate implements admin.Desk.
func (c console) Elevate(ctx context.Context, by admin.Person, r adminapi.ElevationRequest) (adminapi.Elevation, error) {
	a := approval.Ask{Role: r.Role, For: time.Duration(r.Seconds) * time.Second, Reason: r.Reason}
	var own *pipeline.Meta // of the calling process, if that speaks for itself alone
	if by.Inside {
		m, err := c.own(ctx, by)
		if err != nil {
			return adminapi.Elevation{}, err
		}
		own = m
	}
	a.By = requesting(by, own)
	switch {
	case r.Decision != "":
		if err := c.forDenial(by, own, r, &a); err != nil {
			return adminapi.Elevation{}, err
		}
	case own != nil:
		a.Workload, a.Principal, a.Subject = own.Workload, own.Principal, subjectOf(own)
	case by.Login: // the kernel carries the login to everything that the person starts
		a.Subject = pipeline.ElevationSubject{User: by.User}
	default:
		a.Subject = pipeline.ElevationSubject{UID: &by.UID}
	}
	if !c.d.policy.Set().Role(a.Role) {
		return adminapi.Elevation{}, &admin.Refused{Err: fmt.Errorf("there is no role %q: see the policy folder", a.Role)}
	}
	if r.DryRun {
		s, _ := c.d.approvalSettings(elevationRule + a.Role)
		return adminapi.Elevation{Role: a.Role, Seconds: r.Seconds, Reason: r.Reason, Decision: a.Decision, Principal: adminapi.Principal{SPIFFEID: a.Subject.SPIFFEID,
			User: a.Subject.User}, UID: a.Subject.UID, Session: a.Subject.Session, Workload: a.Subject.Workload, By: by.API(), Groups: s.Approvers, Needed: max(s.Minimum, 1)}, nil
	}
	it, err := c.d.desk.Elevate(ctx, a)
	return elevation(&it), c.refusal(err, "")
}

// requesting is the person who asks, from inside own if that is not nil. Without a login, or with one that a service may have
// written itself, a workload is nobody in particular, and neither is root: then more than one person has to agree.
func requesting(by admin.Person, own *pipeline.Meta) pipeline.Person {
	p := deciding(by)
	switch {
	case by.Login && (own == nil || !approval.Service(&own.Workload)):
	case by.Inside:
		p.User, p.UID = "", pipeline.NoUID
	case by.UID == 0:
		p.User = ""
	}
	return p
}

// own is who the calling process is to the proxy.
func (c console) own(ctx context.Context, by admin.Person) (*pipeline.Meta, error) {
	w, err := c.d.ident.Look(by.PID)
	if err != nil {
		return nil, &admin.Denied{Err: err}
	}
	w, p, err := c.d.ident.Identify(ctx, agent.Process{TGID: by.PID, Start: by.Start, UID: w.UID, LoginUID: w.LoginUID})
	if err != nil {
		return nil, &admin.Denied{Err: err}
	}
	return &pipeline.Meta{Workload: w, Principal: p}, nil
}

// subjectOf names a caller by all that is known of it.
func subjectOf(m *pipeline.Meta) pipeline.ElevationSubject {
	uid := m.Workload.UID
	s := pipeline.ElevationSubject{SPIFFEID: m.Principal.SPIFFEID, User: m.Principal.User, UID: &uid}
	if s.SPIFFEID == "" { // not all that has this uid, which every container may have
		s.Workload = m.Workload.Place()
	}
	return s
}

// forDenial takes from a denial who is to get which role.
func (c console) forDenial(by admin.Person, own *pipeline.Meta, r adminapi.ElevationRequest, a *approval.Ask) error {
	dec, parts, err := c.denial(r.Decision)
	if err != nil {
		return err
	}
	in := parts.Intent
	w := &in.Workload
	mine := by.Operator || dec.UID == by.UID || by.Login && w.LoginUID == by.ID
	if own != nil { // it speaks for itself, not for all that its user runs
		mine = own.Workload.UID == dec.UID && own.Principal.SPIFFEID == in.Principal.SPIFFEID && own.Principal.User == in.Principal.User &&
			own.Workload.Cgroup == w.Cgroup
	}
	if !mine {
		return admin.ErrNotFound // as if it did not exist
	}
	m := metaOf(parts)
	a.Decision, a.Exchange, a.Workload, a.Principal, a.Subject = dec.ID, parts.Exchange, *w, in.Principal, subjectOf(m)
	if r.UntilSessionEnd {
		if a.Subject.Session = parts.Session; a.Subject.Session == "" {
			return &admin.Refused{Err: errors.New("what was denied there belongs to no session: ask for a time instead")}
		}
	}
	if a.Role != "" {
		return nil
	}
	switch roles := c.d.rolesFor(m, &in.Call, &dec.Decision); len(roles) {
	case 0:
		return &admin.Refused{Err: fmt.Errorf("no role would allow that: %s decided (%s)", dec.Verdict.Rule, dec.Verdict.Reason)}
	case 1:
		a.Role = roles[0]
		return nil
	default:
		return &admin.Refused{Err: fmt.Errorf("several roles would allow that: %s: choose one with --role", strings.Join(roles, ", "))}
	}
}

// denial finds a decision by its ID, or the decisive one of an exchange.
func (c console) denial(id string) (journal.TimedDecision, *journal.Parts, error) {
	dec, parts, err := c.d.index.Decision(id)
	if err == nil {
		return dec, parts, nil
	}
	if parts, xerr := c.d.index.Exchange(id); xerr == nil {
		if d, ok := adminapi.Decisive(adminParts(parts)); ok {
			return c.denial(d.ID)
		}
	}
	return dec, nil, notFound(err)
}

// metaOf is what was known of an exchange, less what changes nothing.
func metaOf(p *journal.Parts) *pipeline.Meta {
	in := p.Intent
	return &pipeline.Meta{Session: p.Session, Exchange: p.Exchange, Flow: in.Flow, Scope: in.Scope, Mode: in.Mode, Workload: in.Workload, Principal: in.Principal,
		Endpoint: in.Endpoint, Start: p.Time}
}

// rolesFor are the roles with which a denial would have been none, or a question to people. Limits are taken to have room: what
// was denied for want of it is not allowed by a role that is there already.
func (d *daemon) rolesFor(m *pipeline.Meta, call *pipeline.Call, dec *pipeline.Decision) (out []string) {
	set := d.policy.Set()
	for _, role := range set.Roles() {
		env := policy.Env{Now: time.Now(), Grants: []pipeline.Grant{{ID: "elv_", Role: role}}}
		v := set.DecideIn(env, m, call, nil)
		helps := v.Elevation != ""
		if v.Action <= pipeline.Hold && dec.Step != nil {
			v = set.DecideIn(env, m, call, dec.Step)
			helps = helps || v.Elevation != ""
		}
		if helps && v.Action <= pipeline.Hold {
			out = append(out, role)
		}
	}
	return out
}
