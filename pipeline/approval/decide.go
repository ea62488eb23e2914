// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Decision is what a person decides.
type Decision struct {
	Approve bool
	Scope   string        // ScopeOnce if empty; of an elevation it is ignored
	Free    []string      // ScopeSession: names of arguments that may differ
	For     time.Duration // ScopeSession, elevation: how long; 0 as long as asked for or allowed
	Reason  string
}

// Refused is why a person may not do something; the message is for them.
type Refused struct{ Why string }

func (e *Refused) Error() string { return e.Why }

// ErrNotFound is returned for an ID that is not known, or not any more.
var ErrNotFound = errors.New("no approval or elevation with this ID is known here any more")

// maxReason bounds what people write.
const maxReason = 1000

// Decide takes a person's decision about an approval or elevation. It returns once the decision is on disk, with what became of
// it. An error means that nothing was decided; one that is a *Refused says why not, for people. A single no denies.
func (d *Desk) Decide(ctx context.Context, id string, by pipeline.Person, what Decision) (Item, error) {
	it, free, err := d.hold(ctx, id)
	if err != nil {
		return Item{}, err
	}
	defer free()
	d.mu.Lock()
	r, err := d.vote(it, by, what)
	d.mu.Unlock()
	if err != nil {
		return Item{}, err
	}
	said := r.State
	if said == pipeline.ApprovalWaiting {
		said = "voted"
	}
	if err := d.commit(it, r, said); err != nil {
		return Item{}, err
	}
	return d.Get(id)
}

// hold finds an item and takes its busy.
func (d *Desk) hold(ctx context.Context, id string) (*item, func(), error) {
	handsOver := &Refused{"this process hands over to another one: ask again"}
	d.mu.Lock()
	it, closed := d.items[id], d.closed
	d.mu.Unlock()
	if closed {
		return nil, nil, handsOver
	}
	if it == nil {
		return nil, nil, ErrNotFound
	}
	select {
	case it.busy <- struct{}{}:
		d.mu.Lock()
		closed = d.closed
		d.mu.Unlock()
		if closed { // meanwhile
			<-it.busy
			return nil, nil, handsOver
		}
		return it, func() { <-it.busy }, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// vote checks a decision and makes its record. mu and busy are held.
func (d *Desk) vote(it *item, by pipeline.Person, what Decision) (*pipeline.Approval, error) {
	if it.State != pipeline.ApprovalWaiting {
		return nil, &Refused{fmt.Sprintf("%s is %s already%s", it.ID, it.State, it.told())}
	}
	if d.passed(it.lasts) {
		return nil, &Refused{it.ID + " has waited for too long and is denied"}
	}
	if why := d.may(it, by); why != "" {
		return nil, &Refused{why}
	}
	v := pipeline.ApprovalVote{Time: d.now(), By: by, Approve: what.Approve, Reason: clip(what.Reason)}
	v.Late = it.Of != pipeline.ApprovalOfElevation && len(it.waiters) == 0
	r := &pipeline.Approval{ID: it.ID, State: it.State, Voted: &v}
	if !what.Approve {
		r.State = pipeline.ApprovalDenied
		return r, nil
	}
	if err := it.reach(&v, what); err != nil {
		return nil, err
	}
	if !it.met(append(slices.Clone(it.Votes), v), d.o.Mono()-it.begun) {
		return r, nil
	}
	r.State, r.Until = pipeline.ApprovalApproved, v.Time.Add(it.good(append(slices.Clone(it.Votes), v)))
	if v.Late {
		r.Note = "nobody waited any more: the same request, sent again, is let through until " + r.Until.UTC().Format(time.RFC3339)
	}
	return r, nil
}

// reach checks how far an approval is to reach.
func (it *item) reach(v *pipeline.ApprovalVote, what Decision) error {
	most := it.Settings.MaxFor
	switch {
	case it.Of == pipeline.ApprovalOfElevation:
		if it.For > 0 {
			most = min(most, it.For)
		}
	case what.Scope == "" || what.Scope == pipeline.ScopeOnce:
		v.Scope = pipeline.ScopeOnce
		if len(what.Free) > 0 || what.For != 0 {
			return &Refused{"arguments that may differ, and a time, make sense for scope session only"}
		}
		return nil
	case what.Scope != pipeline.ScopeSession:
		return &Refused{fmt.Sprintf("scope %q: want %s or %s", what.Scope, pipeline.ScopeOnce, pipeline.ScopeSession)}
	case it.Of != pipeline.ApprovalOfCall || it.Session == "":
		return &Refused{"only a tool call can be approved for the session"}
	case it.Cut:
		return &Refused{"what is shown of it is only the beginning, so it can be approved for one time only"}
	case it.Settings.Once:
		return &Refused{it.Rule + " allows approvals for one time only"}
	default:
		v.Scope, v.Free = pipeline.ScopeSession, slices.Clone(what.Free)
		for _, f := range what.Free {
			if it.Fields[f] == "" {
				return &Refused{fmt.Sprintf("argument %q cannot be left open: the call has no such argument by itself", clip(f))}
			}
		}
	}
	if v.For = what.For; v.For < 0 || v.For > most {
		return &Refused{fmt.Sprintf("%s is too long: at most %s", v.For, most)}
	}
	return nil
}

// good is how long what people agreed on is good for.
func (it *item) good(votes []pipeline.ApprovalVote) time.Duration {
	scope, _, last := agreed(votes)
	if it.Of != pipeline.ApprovalOfElevation && scope != pipeline.ScopeSession {
		return it.Settings.Valid
	}
	if last == 0 {
		last = it.Settings.MaxFor
	}
	if it.For > 0 {
		last = min(last, it.For)
	}
	return min(last, it.Settings.MaxFor)
}

// may says why a person may not decide, "" if they may.
func (d *Desk) may(it *item, by pipeline.Person) string {
	switch {
	case by.User == "" && by.UID == pipeline.NoUID:
		return "it is not known who you are, so you cannot decide"
	case asks(&it.ApprovalAsked, by):
		return "nobody approves or denies what they ask for themselves, administrators included: another person has to decide"
	}
	for _, v := range it.Votes {
		if same(v.By, by) {
			return "you have decided about it already: another person has to decide too"
		}
	}
	if groups, open := it.deciders(d.o.Mono() - it.begun); !open && !overlap(groups, by.Groups) {
		return "only members of " + strings.Join(groups, ", ") + " may decide about it"
	}
	if !known(&it.ApprovalAsked) && (overlap(it.Settings.Owners, by.Groups) || by.User != "" && slices.Contains(it.Settings.Owners, by.User)) {
		return "it is not known which person asks, so the owners of " + it.Rule + " may not decide about it"
	}
	return ""
}

// deciders are the groups that may decide after some time. open: so may others, whoever may decide at all.
func (it *item) deciders(waited time.Duration) (groups []string, open bool) {
	for _, d := range it.demands(waited) {
		open = open || len(d.groups) == 0
		for _, g := range d.groups {
			if !slices.Contains(groups, g) {
				groups = append(groups, g)
			}
		}
	}
	return groups, open
}

// escalations counts those that are due after some time.
func (it *item) escalations(waited time.Duration) (n int) {
	for _, e := range it.Settings.Escalate {
		if waited >= e.After {
			n++
		}
	}
	return n
}

// need is how many people have to approve: two at least, if it is not known which person asks.
func need(a *pipeline.ApprovalAsked) int {
	n := max(a.Settings.Minimum, 1)
	for _, o := range a.Settings.Also {
		n = max(n, o.Minimum)
	}
	if !known(a) {
		n = max(n, 2)
	}
	return n
}

// known tells whether it is known which person asks. Root is nobody in particular, also by name: who logs in as root may be
// anybody who can. A login without a name that is not that of the uid may have been written by the workload itself, and so may any
// login in a service, which begins without one.
func known(a *pipeline.ApprovalAsked) bool {
	if r := a.Requester; r != nil {
		return r.UID != 0 && (r.User != "" || r.UID != pipeline.NoUID)
	}
	w := &a.Workload
	if Service(w) {
		return a.Principal.User != "" && w.LoginUID == pipeline.NoUID // known in another way
	}
	return w.LoginUID != 0 && (a.Principal.User != "" || w.LoginUID != pipeline.NoUID && w.LoginUID == w.UID)
}

// Service tells whether a workload is one that begins without a login, so that one that it has may be of its own making. Root of
// the host is believed: who starts a service by sudo and not by the service manager is its login.
func Service(w *pipeline.Workload) bool {
	return (strings.HasSuffix(w.Unit, ".service") && w.UID != 0 || w.Container != "" || w.Pod != "") && !strings.HasPrefix(w.Cgroup, "/user.slice/")
}

// asks tells whether a person is, or may be, the one who asks, or for whom it is asked.
func asks(a *pipeline.ApprovalAsked, by pipeline.Person) bool {
	if a.Principal.User != "" && by.User == a.Principal.User {
		return true
	}
	if r := a.Requester; r != nil && same(*r, by) {
		return true
	}
	if s := a.Subject; s != nil && (s.User != "" && s.User == by.User || s.UID != nil && *s.UID == by.UID) {
		return true
	}
	if by.UID == pipeline.NoUID || a.Of == pipeline.ApprovalOfElevation && a.Workload.PID == 0 { // of no workload
		return false
	}
	return by.UID == a.Workload.UID || by.UID == a.Workload.LoginUID
}

// same tells whether two people are, or may be, one.
func same(a, b pipeline.Person) bool {
	return a.User != "" && a.User == b.User || a.UID != pipeline.NoUID && a.UID == b.UID
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// told says more about an item that is over.
func (it *item) told() string {
	if it.Note != "" {
		return " (" + it.Note + ")"
	}
	return ""
}

// clip bounds what people write, and keeps it on one line.
func clip(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "")
	}
	return s
}
