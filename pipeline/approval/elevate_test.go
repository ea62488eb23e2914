// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

const spiffe = "spiffe://example.org/unit/x"

func ask() approval.Ask {
	return approval.Ask{Role: "admin-bot", For: time.Hour, Reason: "to fix it", Decision: "dec_9", By: dave, Subject: pipeline.ElevationSubject{SPIFFEID: spiffe}}
}

func caller(session string) *pipeline.Meta {
	return with(call("1", ""), func(h *pipeline.Held) { h.Meta.Session = session }).Meta
}

func (r *rig) elevate(a approval.Ask) approval.Item {
	r.t.Helper()
	it, err := r.desk.Elevate(bg(), a)
	if err != nil {
		r.t.Fatal(err)
	}
	return it
}

// granted tells what a caller has.
func (r *rig) granted(m *pipeline.Meta) string {
	var out []string
	for _, g := range r.desk.Grants(m) {
		out = append(out, g.Role)
	}
	return strings.Join(out, " ")
}

func TestElevation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{})
		defer r.end()
		it := r.elevate(ask())
		if again := r.elevate(ask()); again.ID != it.ID {
			t.Error("asked twice")
		}
		if why := r.refuse(it.ID, dave, yes); !strings.Contains(why, "ask for themselves") {
			t.Errorf("refused: %s", why)
		}
		if r.granted(caller("ses_1")) != "" {
			t.Error("granted before it is approved")
		}
		if it = r.decide(it.ID, alice, yes); it.State != pipeline.ApprovalApproved || !it.Until.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("item %+v", it)
		}
		m := caller("ses_1")
		if g := r.desk.Grants(m); len(g) != 1 || g[0].ID != it.ID || g[0].Role != "admin-bot" || !g[0].Until.Equal(it.Until) {
			t.Errorf("grants %+v", g)
		}
		m.Principal.SPIFFEID = "spiffe://example.org/unit/y"
		if r.granted(m) != "" {
			t.Error("granted to somebody else")
		}
		r.restart()
		if r.granted(caller("ses_2")) != "admin-bot" {
			t.Error("not granted after a restart")
		}
		time.Sleep(time.Hour - time.Nanosecond)
		if r.granted(caller("ses_2")) == "" {
			t.Error("over too early")
		}
		time.Sleep(time.Nanosecond)
		if r.granted(caller("ses_2")) != "" {
			t.Error("not over on time")
		}
		synctest.Wait()
		if it, err := r.desk.Get(it.ID); err != nil || it.State != pipeline.ApprovalEnded || it.Decision != "dec_9" {
			t.Errorf("item %+v, %v", it, err)
		}
		r.restart()
		if r.granted(caller("ses_2")) != "" {
			t.Error("a restart revives it")
		}
	})
}

func TestElevationRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*approval.Ask)
		why    string
	}{
		{"no role", func(a *approval.Ask) { a.Role = "" }, "name the role"},
		{"no reason", func(a *approval.Ask) { a.Reason = " \n" }, "what the role is needed for"},
		{"too long", func(a *approval.Ask) { a.For = 9 * time.Hour }, "at most 8h"},
		{"negative", func(a *approval.Ask) { a.For = -1 }, "at most 8h"},
		{"no session", func(a *approval.Ask) { a.For = 0 }, "name the session"},
		{"nobody", func(a *approval.Ask) { a.By = pipeline.Person{UID: pipeline.NoUID} }, "not known who you are"},
		{"for nobody", func(a *approval.Ask) { a.Subject = pipeline.ElevationSubject{} }, "who is to have the role"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ApprovalSettings{})
				defer r.end()
				a := ask()
				c.change(&a)
				_, err := r.desk.Elevate(bg(), a)
				var no *approval.Refused
				if !errors.As(err, &no) || !strings.Contains(no.Why, c.why) || r.log.len() != 0 {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestElevationSubjects(t *testing.T) {
	uid, other := uint32(500), uint32(501)
	for _, c := range []struct {
		name string
		s    pipeline.ElevationSubject
		ok   bool
	}{
		{"SPIFFE ID", pipeline.ElevationSubject{SPIFFEID: spiffe}, true},
		{"user", pipeline.ElevationSubject{User: "dave"}, true},
		{"uid of a container", pipeline.ElevationSubject{UID: &uid}, false},
		{"session", pipeline.ElevationSubject{Session: "ses_1"}, true},
		{"all", pipeline.ElevationSubject{SPIFFEID: spiffe, User: "dave", UID: &uid, Session: "ses_1"}, true},
		{"workload", pipeline.ElevationSubject{UID: &uid, Workload: "container/a"}, true},
		{"another workload", pipeline.ElevationSubject{UID: &uid, Workload: "container/b"}, false},
		{"another uid", pipeline.ElevationSubject{SPIFFEID: spiffe, UID: &other}, false},
		{"another user", pipeline.ElevationSubject{UID: &uid, User: "erin"}, false},
		{"another session", pipeline.ElevationSubject{SPIFFEID: spiffe, Session: "ses_2"}, false},
		{"another SPIFFE ID", pipeline.ElevationSubject{Session: "ses_1", SPIFFEID: spiffe + "x"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ApprovalSettings{})
				defer r.end()
				a := ask()
				a.By, a.Subject = bob, c.s
				r.decide(r.elevate(a).ID, alice, yes)
				m := caller("ses_1")
				m.Workload.Container = "a"
				if got := r.granted(m) != ""; got != c.ok {
					t.Errorf("granted: %t", got)
				}
				if m.Workload.Container = ""; c.s == (pipeline.ElevationSubject{UID: &uid}) && r.granted(m) == "" {
					t.Error("not granted outside a container")
				}
				if r.granted(&pipeline.Meta{}) != "" {
					t.Error("granted to nobody")
				}
			})
		})
	}
}

func TestElevationUntilSessionEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{MaxFor: 2 * time.Hour})
		defer r.end()
		a := ask()
		a.For, a.Subject.Session = 0, "ses_1"
		it := r.elevate(a)
		if why := r.refuse(it.ID, alice, approval.Decision{Approve: true, For: 3 * time.Hour}); !strings.Contains(why, "too long") {
			t.Errorf("refused: %s", why)
		}
		r.decide(it.ID, alice, yes)
		if r.granted(caller("ses_1")) == "" || r.granted(caller("ses_2")) != "" {
			t.Error("not bound to the session")
		}
		time.Sleep(2 * time.Hour) // a session without end ends here
		if r.granted(caller("ses_1")) != "" {
			t.Error("longer than allowed")
		}
	})
}

func TestElevationShorter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{})
		defer r.end()
		r.decide(r.elevate(ask()).ID, alice, approval.Decision{Approve: true, For: time.Minute})
		time.Sleep(time.Minute)
		if r.granted(caller("ses_1")) != "" {
			t.Error("longer than approved")
		}
	})
}

func TestRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{})
		defer r.end()
		it := r.elevate(ask())
		var no *approval.Refused
		if _, err := r.desk.Revoke(bg(), it.ID, alice, ""); !errors.As(err, &no) {
			t.Errorf("error %v", err)
		}
		r.decide(it.ID, alice, yes)
		r.log.slow = time.Minute
		done := make(chan error)
		go func() {
			_, err := r.desk.Revoke(bg(), it.ID, dave, "done")
			done <- err
		}()
		synctest.Wait()
		if r.granted(caller("ses_1")) != "" {
			t.Error("in force until it is on disk that it is not")
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if it, err := r.desk.Get(it.ID); err != nil || it.State != pipeline.ApprovalRevoked || it.Note != "revoked: done" {
			t.Errorf("item %+v, %v", it, err)
		}
		r.restart()
		if r.granted(caller("ses_1")) != "" {
			t.Error("a restart revives it")
		}

		// What was approved and not used is taken back too.
		r.log.slow = 0
		h := call("1", `{}`)
		h.Patience = time.Second
		a := r.wait(bg(), h)
		time.Sleep(time.Second)
		synctest.Wait()
		a.want(t, pipeline.Hold)
		r.decide(a.v.Approval, alice, yes)
		r.log.setFail(errors.New("disk"))
		if _, err := r.desk.Revoke(bg(), a.v.Approval, bob, ""); !errors.Is(err, pipeline.ErrNotRecorded) {
			t.Errorf("error %v", err)
		}
		r.log.setFail(nil)
		b := r.wait(bg(), call("2", `{}`))
		b.waits(t)
	})
}

// TestClocks sets the wall clock while a grant lasts.
func TestClocks(t *testing.T) {
	for _, c := range []struct {
		name    string
		jump    time.Duration // after 10 minutes
		restart bool
		lasts   time.Duration // after the jump, with a tolerance of a second below
	}{
		{"not set", 0, false, 50 * time.Minute},
		{"not set, restart", 0, true, 50 * time.Minute},
		{"set back", -24 * time.Hour, false, 50 * time.Minute},
		{"set back, restart", -24 * time.Hour, true, 50*time.Minute + 10*time.Minute}, // the newest record is 10 minutes old
		{"set back a little, restart", -5 * time.Minute, true, 55 * time.Minute},
		{"set forward", 30 * time.Minute, false, 20 * time.Minute}, // or the host slept
		{"set forward, restart", 30 * time.Minute, true, 20 * time.Minute},
		{"set forward beyond", 24 * time.Hour, false, 0},
		{"set forward beyond, restart", 24 * time.Hour, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ApprovalSettings{})
				defer r.end()
				r.decide(r.elevate(ask()).ID, alice, yes)
				time.Sleep(10 * time.Minute)
				r.set(c.jump)
				if c.restart {
					r.restart()
				}
				if c.lasts > 0 {
					time.Sleep(c.lasts - time.Second)
					if r.granted(caller("ses_1")) == "" {
						t.Error("over too early")
					}
					time.Sleep(time.Second)
				}
				if r.granted(caller("ses_1")) != "" {
					t.Error("not over on time")
				}
				time.Sleep(time.Minute) // its end is on record
				synctest.Wait()
				r.set(-100 * time.Hour)
				r.restart()
				if r.granted(caller("ses_1")) != "" {
					t.Error("a clock that was set back revives it")
				}
			})
		})
	}
}

func TestGrantsDoNotAllocate(t *testing.T) {
	d, err := approval.New(approval.Options{Log: new(journal)})
	if err != nil {
		t.Fatal(err)
	}
	m := caller("ses_1")
	if n := testing.AllocsPerRun(100, func() { d.Grants(m) }); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
	a := ask()
	a.Subject.SPIFFEID = "spiffe://example.org/other"
	it, err := d.Elevate(bg(), a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Decide(bg(), it.ID, alice, yes); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { d.Grants(m) }); n != 0 {
		t.Errorf("%.0f allocations with grants of others", n)
	}
}
