// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

func TestWhoMay(t *testing.T) {
	known := func(*pipeline.Held) {}
	service := func(h *pipeline.Held) { // nobody knows which person it is
		h.Meta.Principal.User, h.Meta.Workload.LoginUID = "", pipeline.NoUID
	}
	rootLogin := func(h *pipeline.Held) {
		h.Meta.Principal.User, h.Meta.Workload.LoginUID, h.Meta.Workload.UID = "root", 0, 0
	}
	nameless := func(login uint32) func(*pipeline.Held) {
		return func(h *pipeline.Held) { h.Meta.Principal.User, h.Meta.Workload.LoginUID = "", login }
	}
	asRoot := func(h *pipeline.Held) { h.Meta.Principal.User, h.Meta.Workload.LoginUID = "", 0 }
	ops := pipeline.ApprovalSettings{Approvers: []string{"ops"}, Owners: []string{"owners"}, Timeout: time.Hour,
		Escalate: []pipeline.ApprovalEscalation{{After: 10 * time.Minute, Groups: []string{"owners"}}}}
	anyone := pipeline.ApprovalSettings{Owners: []string{"owners", "bob"}}
	for _, c := range []struct {
		name   string
		s      pipeline.ApprovalSettings
		change func(*pipeline.Held)
		after  time.Duration
		by     pipeline.Person
		why    string // "" = may
		need   int
	}{
		{name: "a member", s: ops, change: known, by: alice, need: 1},
		{name: "no member", s: ops, change: known, by: carol, why: "only members of ops", need: 1},
		{name: "a member by escalation", s: ops, change: known, after: 10 * time.Minute, by: carol, need: 1},
		{name: "no member after escalation", s: ops, change: known, after: 10 * time.Minute, by: dave, why: "ask for themselves", need: 1},
		{name: "the same name", s: anyone, change: known, by: pipeline.Person{User: "dave", UID: pipeline.NoUID, Groups: []string{"admins"}}, why: "administrators included", need: 1},
		{name: "the same login", s: anyone, change: known, by: pipeline.Person{User: "d", UID: 1004}, why: "ask for themselves", need: 1},
		{name: "the uid of the workload", s: anyone, change: known, by: pipeline.Person{User: "svc", UID: 500}, why: "ask for themselves", need: 1},
		{name: "root", s: anyone, change: known, by: root, need: 1},
		{name: "nobody", s: anyone, change: known, by: pipeline.Person{UID: pipeline.NoUID, Groups: []string{"ops"}}, why: "not known who you are", need: 1},
		{name: "an owner, and it is known who asks", s: anyone, change: known, by: carol, need: 1},
		{name: "an owner by group, and it is not", s: anyone, change: service, by: carol, why: "owners of guardrail/pay", need: 2},
		{name: "an owner by name, and it is not", s: anyone, change: service, by: bob, why: "owners of guardrail/pay", need: 2},
		{name: "no owner, and it is not", s: anyone, change: service, by: alice, need: 2},
		{name: "root is nobody in particular", s: anyone, change: asRoot, by: alice, need: 2},
		{name: "who logged in as root is nobody in particular either", s: anyone, change: rootLogin, by: alice, need: 2},
		{name: "a login without a name", s: anyone, change: nameless(500), by: alice, need: 1},
		{name: "a login without a name that a service may have written", s: anyone, change: nameless(4711), by: alice, need: 2},
		{name: "a service that has written a login", s: anyone, change: func(h *pipeline.Held) { h.Meta.Workload.Unit = "app.service" }, by: alice, need: 2},
		{name: "root's service by sudo", s: anyone, change: func(h *pipeline.Held) { h.Meta.Workload.Unit, h.Meta.Workload.UID = "app.service", 0 }, by: alice, need: 1},
		{name: "a person's own service", s: anyone, change: func(h *pipeline.Held) {
			h.Meta.Workload.Unit, h.Meta.Workload.Cgroup = "user@1004.service", "/user.slice/user-1004.slice/user@1004.service/app.slice"
		}, by: alice, need: 1},
		{name: "root for root", s: anyone, change: asRoot, by: root, why: "ask for themselves", need: 2},
		{name: "owners do not escalate", s: ops, change: service, after: time.Minute * 10, by: carol, why: "owners of", need: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, c.s)
				defer r.end()
				a := r.wait(bg(), with(call("1", `{}`), c.change))
				time.Sleep(c.after)
				synctest.Wait()
				it := r.one(approval.Filter{})
				if it.Need != c.need {
					t.Errorf("%d people are needed", it.Need)
				}
				if c.why == "" {
					r.decide(it.ID, c.by, yes)
					if a.has() != (c.need == 1) {
						t.Errorf("answer %+v", a)
					}
					return
				}
				if why := r.refuse(it.ID, c.by, yes); !strings.Contains(why, c.why) {
					t.Errorf("refused: %s", why)
				}
				if why := r.refuse(it.ID, c.by, no); !strings.Contains(why, c.why) {
					t.Errorf("refused: %s", why)
				}
				a.waits(t)
			})
		})
	}
}

func TestTwoPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{Minimum: 2})
		defer r.end()
		a := r.wait(bg(), call("1", `{}`))
		it := r.decide(r.one(approval.Filter{}).ID, alice, yes)
		if it.State != pipeline.ApprovalWaiting || it.Have != 1 || it.Need != 2 {
			t.Fatalf("item %+v", it)
		}
		for _, again := range []pipeline.Person{alice, {User: "alice", UID: pipeline.NoUID}, {User: "other", UID: alice.UID}} {
			if why := r.refuse(it.ID, again, yes); !strings.Contains(why, "already") {
				t.Errorf("refused: %s", why)
			}
		}
		a.waits(t)
		r.restart() // the first voice is on disk
		b := r.wait(bg(), call("2", `{}`))
		if why := r.refuse(it.ID, alice, yes); !strings.Contains(why, "already") {
			t.Errorf("refused: %s", why)
		}
		if it = r.decide(it.ID, bob, yes); it.Have != 2 {
			t.Errorf("item %+v", it)
		}
		b.want(t, pipeline.Allow)
	})
}

func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{MaxFor: time.Hour})
		defer r.end()
		a := r.wait(bg(), call("1", `{"to":"x","sum":1,"note":"a"}`))
		it := r.one(approval.Filter{})
		for _, c := range []struct {
			what approval.Decision
			why  string
		}{
			{approval.Decision{Approve: true, Scope: "forever"}, "scope"},
			{approval.Decision{Approve: true, Scope: pipeline.ScopeSession, For: 2 * time.Hour}, "too long"},
			{approval.Decision{Approve: true, Scope: pipeline.ScopeSession, For: -1}, "too long"},
			{approval.Decision{Approve: true, Scope: pipeline.ScopeSession, Free: []string{"from"}}, "no such argument"},
			{approval.Decision{Approve: true, Free: []string{"sum"}}, "scope session only"},
		} {
			if why := r.refuse(it.ID, alice, c.what); !strings.Contains(why, c.why) {
				t.Errorf("refused: %s", why)
			}
		}
		r.decide(it.ID, alice, approval.Decision{Approve: true, Scope: pipeline.ScopeSession, Free: []string{"sum", "note"}, For: 30 * time.Minute})
		a.want(t, pipeline.Allow)
		check := func(when string) {
			t.Helper()
			for _, c := range []struct {
				name string
				h    *pipeline.Held
				ok   bool
			}{
				{"the same", call("a"+when, `{"to":"x","sum":1,"note":"a"}`), true},
				{"free arguments differ", call("b"+when, `{"note":"","sum":-2.5,"to":"x"}`), true},
				{"another argument differs", call("c"+when, `{"to":"y","sum":1,"note":"a"}`), false},
				{"another type", call("d"+when, `{"to":"x","sum":"1","note":"a"}`), false},
				{"one more", call("e"+when, `{"to":"x","sum":1,"note":"a","force":true}`), false},
				{"one less", call("f"+when, `{"to":"x","sum":1}`), false},
				{"one twice", call("g"+when, `{"to":"x","to":"x","sum":1,"note":"a"}`), false},
				{"another session", with(call("h"+when, `{"to":"x","sum":1,"note":"a"}`), func(h *pipeline.Held) { h.Meta.Session = "ses_2" }), false},
				{"another rule", with(call("i"+when, `{"to":"x","sum":1,"note":"a"}`), func(h *pipeline.Held) { h.Verdict.Digest = "d2" }), false},
				{"another caller", with(call("j"+when, `{"to":"x","sum":1,"note":"a"}`), func(h *pipeline.Held) { h.Meta.Workload.UID++ }), false},
				{"another tool", with(call("k"+when, `{"to":"x","sum":1,"note":"a"}`), func(h *pipeline.Held) { h.Step.Name = "pay2" }), false},
			} {
				ctx, cancel := context.WithCancel(bg())
				if a := r.wait(ctx, c.h); a.has() != c.ok {
					t.Errorf("%s, %s: %+v", when, c.name, a)
				}
				cancel()
				synctest.Wait()
				time.Sleep(time.Minute)
			}
		}
		check("before")
		r.restart()
		check("after a restart")
		if it, err := r.desk.Get(it.ID); err != nil || len(it.Uses) != 5 {
			t.Errorf("item %+v, %v", it, err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if it, err := r.desk.Get(it.ID); err != nil || it.State != pipeline.ApprovalEnded {
			t.Errorf("item %+v, %v", it, err)
		}
		b := r.wait(bg(), call("z", `{"to":"x","sum":1,"note":"a"}`))
		b.waits(t)
	})
}

// TestNarrowest has two people who do not agree how far an approval reaches.
func TestNarrowest(t *testing.T) {
	wide := approval.Decision{Approve: true, Scope: pipeline.ScopeSession, Free: []string{"a", "b"}, For: time.Hour}
	for _, c := range []struct {
		name   string
		second approval.Decision
		next   string
		ok     bool
	}{
		{"once", yes, `{"a":1,"b":1}`, false},
		{"both", wide, `{"a":2,"b":2}`, true},
		{"fewer arguments", approval.Decision{Approve: true, Scope: pipeline.ScopeSession, Free: []string{"b"}}, `{"a":2,"b":2}`, false},
		{"fewer arguments, and these", approval.Decision{Approve: true, Scope: pipeline.ScopeSession, Free: []string{"b"}}, `{"a":1,"b":2}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ApprovalSettings{Minimum: 2})
				defer r.end()
				a := r.wait(bg(), call("1", `{"a":1,"b":1}`))
				id := r.one(approval.Filter{}).ID
				r.decide(id, alice, wide)
				r.decide(id, bob, c.second)
				a.want(t, pipeline.Allow)
				if b := r.wait(bg(), call("2", c.next)); b.has() != c.ok {
					t.Errorf("answer %+v", b)
				}
			})
		})
	}
}

func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{Approvers: []string{"ops"}, Escalate: []pipeline.ApprovalEscalation{{After: time.Minute, Groups: []string{"leads"}}}})
		defer r.end()
		f := r.desk.Changes()
		defer f.Close()
		a := r.wait(bg(), call("1", `{}`))
		next := func() approval.Change {
			t.Helper()
			ctx, cancel := context.WithTimeout(bg(), 2*time.Minute)
			defer cancel()
			c, err := f.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		if c := next(); c.What != "asked" || strings.Join(c.Item.Groups, " ") != "ops" {
			t.Errorf("change %+v", c)
		}
		if c := next(); c.What != "escalated" || strings.Join(c.Item.Groups, " ") != "ops leads" || time.Since(c.Item.Time) != time.Minute {
			t.Errorf("change %+v", c)
		}
		r.decide(r.one(approval.Filter{}).ID, bob, yes)
		a.want(t, pipeline.Allow)
		if c := next(); c.What != pipeline.ApprovalApproved || c.Item.Votes[0].By.User != "bob" {
			t.Errorf("change %+v", c)
		}
		if c := next(); c.What != pipeline.ApprovalUsed {
			t.Errorf("change %+v", c)
		}
		for i := range 300 {
			h := call("x", `{}`)
			h.Step.Name = "t" + string(rune('A'+i%26)) + string(rune('A'+i/26))
			h.Meta.Workload.UID = uint32(i)
			h.Patience = time.Millisecond
			r.wait(bg(), h)
		}
		if c := next(); c.Missed != 300-256 || c.What != "asked" {
			t.Errorf("change %+v", c)
		}
	})
}
