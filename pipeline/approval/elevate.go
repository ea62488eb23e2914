// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

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

// Elevate asks for a role. It returns once that is on disk; another person then decides. Who asks for the same again gets what
// waits already.
func (d *Desk) Elevate(_ context.Context, a Ask) (Item, error) {
	rule := "role/" + a.Role
	s := d.settings(rule)
	switch sub := a.Subject; {
	case a.Role == "":
		return Item{}, &Refused{"name the role that is asked for"}
	case clip(a.Reason) == "":
		return Item{}, &Refused{"say what the role is needed for: another person has to decide"}
	case a.By.User == "" && a.By.UID == pipeline.NoUID && a.Workload.PID == 0: // a workload may ask for itself
		return Item{}, &Refused{"it is not known who you are, so you cannot ask"}
	case sub.SPIFFEID == "" && sub.User == "" && sub.UID == nil && sub.Session == "":
		return Item{}, &Refused{"say who is to have the role"}
	case a.For == 0 && sub.Session == "":
		return Item{}, &Refused{"an elevation until the session ends has to name the session"}
	case a.For < 0 || a.For > s.MaxFor:
		return Item{}, &Refused{fmt.Sprintf("%s is too long: %s may be had for at most %s", a.For, rule, s.MaxFor)}
	}
	sum, err := json.Marshal([]any{pipeline.ApprovalOfElevation, a.Role, a.For, a.Subject, a.By.User, a.By.UID})
	if err != nil {
		return Item{}, err
	}
	a.Workload.Labels = nil
	asked := pipeline.ApprovalAsked{Of: pipeline.ApprovalOfElevation, Digest: d.sum(sum), Rule: rule, Reason: clip(a.Reason),
		Session: a.Subject.Session, Exchange: a.Exchange, Decision: a.Decision, Workload: a.Workload, Principal: a.Principal, Settings: s,
		Requester: &a.By, Role: a.Role, For: a.For, Subject: &a.Subject}
	who := whoOf(&asked)

	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return Item{}, &Refused{"this process hands over to another one: ask again"}
	}
	if it := d.digest[asked.Digest]; it != nil && lives(it.State) && !d.passed(it.lasts) {
		d.mu.Unlock()
		<-it.written
		v, err := d.Get(it.ID)
		if err != nil {
			err = pipeline.ErrNotRecorded // the only way for it to be gone so soon
		}
		return v, err
	}
	if why := d.admit(who); why != "" {
		d.mu.Unlock()
		return Item{}, &Refused{why}
	}
	it, err := d.begin(pipeline.KindElevation, "elv_", who, asked)
	if err != nil {
		d.mu.Unlock()
		return Item{}, err
	}
	d.shareOf(who)
	durable := d.insert(it)
	d.mu.Unlock()
	if err := d.first(it, durable); err != nil {
		return Item{}, err
	}
	return d.Get(it.ID)
}

// Revoke takes back what was approved: an elevation, an approval for a session, one that was not used yet. It is over at once; an
// error that is no *Refused says that it could not be recorded, so that it may be back after a restart.
func (d *Desk) Revoke(ctx context.Context, id string, by pipeline.Person, reason string) (Item, error) {
	it, free, err := d.hold(ctx, id)
	if err != nil {
		return Item{}, err
	}
	defer free()
	d.mu.Lock()
	if by.User == "" && by.UID == pipeline.NoUID {
		err = &Refused{"it is not known who you are, so you cannot revoke"}
	} else if it.State != pipeline.ApprovalApproved {
		err = &Refused{fmt.Sprintf("%s is %s: there is nothing to take back", it.ID, it.State)}
	} else {
		it.lasts = limit{wall: d.now(), mono: d.o.Mono()} // over, whatever becomes of the record
		d.tabulate()
	}
	v := pipeline.ApprovalVote{Time: d.now(), By: by, Reason: clip(reason)}
	d.mu.Unlock()
	if err != nil {
		return Item{}, err
	}
	r := &pipeline.Approval{ID: it.ID, State: pipeline.ApprovalRevoked, Voted: &v, Note: "revoked"}
	if v.Reason != "" {
		r.Note += ": " + v.Reason
	}
	if err := d.commit(it, r, r.State); err != nil {
		return Item{}, err
	}
	return d.Get(id)
}

// grant is an elevation in force.
type grant struct {
	pipeline.Grant
	subject pipeline.ElevationSubject
	lasts   limit
}

// table has the elevations in force by the part of their subject that says most. It does not change.
type table struct {
	spiffe, user, session map[string][]*grant
	uid                   map[uint32][]*grant
}

// tabulate makes the table anew. mu is held.
func (d *Desk) tabulate() {
	var t *table
	for _, it := range d.items {
		if it.Of != pipeline.ApprovalOfElevation || it.State != pipeline.ApprovalApproved || it.Subject == nil || d.passed(it.lasts) {
			continue
		}
		g := &grant{Grant: pipeline.Grant{ID: it.ID, Role: it.Role, Until: it.Until}, subject: *it.Subject, lasts: it.lasts}
		if t == nil {
			t = &table{map[string][]*grant{}, map[string][]*grant{}, map[string][]*grant{}, map[uint32][]*grant{}}
		}
		switch s := &g.subject; {
		case s.Session != "":
			t.session[s.Session] = append(t.session[s.Session], g)
		case s.SPIFFEID != "":
			t.spiffe[s.SPIFFEID] = append(t.spiffe[s.SPIFFEID], g)
		case s.User != "":
			t.user[s.User] = append(t.user[s.User], g)
		case s.UID != nil:
			t.uid[*s.UID] = append(t.uid[*s.UID], g)
		}
	}
	d.table.Store(t)
}

// Grants are the roles that the caller of an exchange has for a time. It takes no lock, and does not allocate where there are none.
func (d *Desk) Grants(m *pipeline.Meta) []pipeline.Grant {
	t := d.table.Load()
	if t == nil {
		return nil
	}
	var out []pipeline.Grant
	for _, list := range [...][]*grant{t.session[m.Session], t.spiffe[m.Principal.SPIFFEID], t.user[m.Principal.User], t.uid[m.Workload.UID]} {
		for _, g := range list {
			if matches(&g.subject, m) && !d.passed(g.lasts) {
				out = append(out, g.Grant)
			}
		}
	}
	return out
}

// matches tells whether all that a subject names is so of a caller. A uid by itself is that of somebody on the host, not what the
// image of a container says.
func matches(s *pipeline.ElevationSubject, m *pipeline.Meta) bool {
	if s.SPIFFEID == "" && s.User == "" && s.Session == "" && s.Workload == "" && (m.Workload.Container != "" || m.Workload.Pod != "") {
		return false
	}
	return (s.SPIFFEID == "" || s.SPIFFEID == m.Principal.SPIFFEID) && (s.User == "" || s.User == m.Principal.User) &&
		(s.UID == nil || *s.UID == m.Workload.UID) && (s.Session == "" || s.Session == m.Session) &&
		(s.Workload == "" || s.Workload == m.Workload.Place())
}
