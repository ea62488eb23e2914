// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

// TestStates brings an approval to each state, and tries there all that people and applications can do, before and after a restart.
func TestStates(t *testing.T) {
	s := pipeline.ApprovalSettings{Timeout: 10 * time.Minute, Valid: 5 * time.Minute, MaxFor: time.Hour}
	leave := func(r *rig) string { // an approval for which nobody waits any more
		h := call("1", `{}`)
		h.Patience = time.Second
		a := r.wait(bg(), h)
		time.Sleep(time.Second)
		synctest.Wait()
		return a.id(t)
	}
	session := approval.Decision{Approve: true, Scope: pipeline.ScopeSession}
	states := []struct {
		state string
		reach func(*rig) string
		// What then comes of it: "" = refused, or asked anew.
		yes, no, revoke string
		retry           string // of the identical request: the action, or "waits" for the same approval, or "anew"
	}{
		{pipeline.ApprovalWaiting, leave, pipeline.ApprovalApproved, pipeline.ApprovalDenied, "", "waits"},
		{pipeline.ApprovalApproved, func(r *rig) string { id := leave(r); r.decide(id, alice, yes); return id }, "", "", pipeline.ApprovalRevoked, "allow"},
		{pipeline.ApprovalApproved, func(r *rig) string { id := leave(r); r.decide(id, alice, session); return id }, "", "", pipeline.ApprovalRevoked, "allow"},
		{pipeline.ApprovalUsed, func(r *rig) string {
			id := leave(r)
			r.decide(id, alice, yes)
			r.wait(bg(), call("x", `{}`)).want(t, pipeline.Allow)
			return id
		}, "", "", "", "anew"},
		{pipeline.ApprovalDenied, func(r *rig) string { id := leave(r); r.decide(id, alice, no); return id }, "", "", "", "deny"},
		{pipeline.ApprovalExpired, func(r *rig) string { id := leave(r); time.Sleep(10 * time.Minute); return id }, "", "", "", "anew"},
		{pipeline.ApprovalWithdrawn, func(r *rig) string {
			ctx, cancel := context.WithCancel(bg())
			r.wait(ctx, call("1", `{}`))
			id := r.one(approval.Filter{}).ID
			cancel()
			time.Sleep(31 * time.Second)
			return id
		}, "", "", "", "anew"},
		{pipeline.ApprovalLapsed, func(r *rig) string {
			id := leave(r)
			r.decide(id, alice, yes)
			time.Sleep(5 * time.Minute)
			return id
		}, "", "", "", "anew"},
		{pipeline.ApprovalEnded, func(r *rig) string {
			id := leave(r)
			r.decide(id, alice, session)
			time.Sleep(time.Hour)
			return id
		}, "", "", "", "anew"},
		{pipeline.ApprovalRevoked, func(r *rig) string {
			id := leave(r)
			r.decide(id, alice, yes)
			if _, err := r.desk.Revoke(bg(), id, bob, "oops"); err != nil {
				t.Error(err)
			}
			return id
		}, "", "", "", "anew"},
	}
	ops := map[string]func(r *rig, id string) string{
		"yes":    func(r *rig, id string) string { return r.try(r.desk.Decide(bg(), id, bob, yes)) },
		"no":     func(r *rig, id string) string { return r.try(r.desk.Decide(bg(), id, bob, no)) },
		"revoke": func(r *rig, id string) string { return r.try(r.desk.Revoke(bg(), id, bob, "")) },
		"retry": func(r *rig, id string) string {
			a := r.wait(bg(), call("9", `{}`))
			if a.has() {
				return a.v.Action.String()
			}
			if waiting := r.one(approval.Filter{States: []string{pipeline.ApprovalWaiting}}); waiting.ID != id {
				return "anew"
			}
			return "waits"
		},
	}
	for _, c := range states {
		for op, do := range ops {
			want := map[string]string{"yes": c.yes, "no": c.no, "revoke": c.revoke, "retry": c.retry}[op]
			for _, restart := range []bool{false, true} {
				name := c.state + ", " + op
				if restart {
					name += " after a restart"
				}
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t, s)
						defer r.end()
						id := c.reach(r)
						synctest.Wait()
						if restart {
							r.restart()
						}
						if it, err := r.desk.Get(id); err != nil || it.State != c.state {
							t.Fatalf("%+v, %v", it, err)
						}
						if got := do(r, id); got != want {
							t.Errorf("got %q, want %q", got, want)
						}
					})
				})
			}
		}
	}
}

// try is the state that something leads to, "" if it is refused.
func (r *rig) try(it approval.Item, err error) string {
	r.t.Helper()
	var no *approval.Refused
	if errors.As(err, &no) {
		return ""
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return it.State
}

// TestNotRecorded lets the journal fail at each record in turn: nobody goes on because of what is not on disk.
func TestNotRecorded(t *testing.T) {
	disk := errors.New("disk")
	for _, c := range []struct {
		fails string // the record
		told  bool   // the application gets an error, else it waits on
	}{{`"asked"`, true}, {`"voted"`, false}, {`"used"`, true}} {
		t.Run(c.fails, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ApprovalSettings{})
				defer r.end()
				r.log.failAt = func(body string) error {
					if strings.Contains(body, c.fails) {
						return disk
					}
					return nil
				}
				a := r.wait(bg(), call("1", `{}`))
				for _, it := range r.desk.List(approval.Filter{}) {
					_, err := r.desk.Decide(bg(), it.ID, alice, yes)
					if c.fails == `"voted"` && !errors.Is(err, pipeline.ErrNotRecorded) {
						t.Errorf("decided: %v", err)
					}
				}
				synctest.Wait()
				if a.has() != c.told || c.told && !errors.Is(a.err, pipeline.ErrNotRecorded) {
					t.Errorf("answer %+v", a)
				}
			})
		})
	}
}
