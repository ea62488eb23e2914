// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{})
		defer r.end()
		r.log.slow = time.Second
		a := r.wait(bg(), call("1", `{"to":"x","sum":1}`))
		if len(r.desk.List(approval.Filter{})) != 1 {
			t.Fatal("it is not listed at once")
		}
		time.Sleep(time.Second)
		it := r.one(approval.Filter{})
		if it.State != pipeline.ApprovalWaiting || it.Need != 1 || it.Waiters != 1 || string(it.Step.Args) != `{"to":"x","sum":1}` || it.Rule != "guardrail/pay" {
			t.Fatalf("item %+v", it)
		}
		got := make(chan approval.Item)
		go func() {
			it, err := r.desk.Decide(bg(), it.ID, alice, yes)
			if err != nil {
				t.Error(err)
			}
			got <- it
		}()
		time.Sleep(time.Second - time.Millisecond)
		synctest.Wait()
		a.waits(t) // the decision is not on disk
		if s := r.one(approval.Filter{}).State; s != pipeline.ApprovalWaiting {
			t.Fatalf("%s before the decision is on disk", s)
		}
		if it := <-got; it.State != pipeline.ApprovalApproved || it.Have != 1 {
			t.Fatalf("item %+v", it)
		}
		synctest.Wait()
		a.waits(t) // its use is not on disk
		time.Sleep(time.Second)
		synctest.Wait()
		a.want(t, pipeline.Allow)
		if a.v.Approval != it.ID {
			t.Errorf("verdict %+v", a.v)
		}
		// The same thing of the same reply is the same thing; an equal one of another is not.
		r.wait(bg(), call("1", `{"sum":1.0,"to":"\u0078"}`)).want(t, pipeline.Allow)
		b := r.wait(bg(), call("2", `{"to":"x","sum":1}`))
		time.Sleep(time.Second)
		synctest.Wait()
		b.waits(t)
		if other := r.one(approval.Filter{}); other.ID == it.ID {
			t.Error("an approval was used twice")
		}
	})
}

func TestDeny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{Valid: time.Minute, Minimum: 2})
		defer r.end()
		a := r.wait(bg(), call("1", `{}`))
		it := r.decide(r.one(approval.Filter{}).ID, alice, no)
		a.want(t, pipeline.Deny)
		if it.State != pipeline.ApprovalDenied || !strings.Contains(a.v.Reason, "not today") {
			t.Errorf("item %+v, verdict %+v", it, a.v)
		}
		if why := r.refuse(it.ID, bob, yes); !strings.Contains(why, "denied already") {
			t.Errorf("refused: %s", why)
		}
		r.wait(bg(), call("2", `{}`)).want(t, pipeline.Deny) // tries of the same do not ask again at once
		time.Sleep(time.Minute)
		b := r.wait(bg(), call("3", `{}`))
		b.waits(t)
		r.desk.Close()
		synctest.Wait()
		b.want(t, pipeline.Hold)
	})
}

func TestTimes(t *testing.T) {
	s := pipeline.ApprovalSettings{Timeout: 5 * time.Minute, Valid: 2 * time.Minute}
	t.Run("nobody decides", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, s)
			defer r.end()
			a := r.wait(bg(), call("1", `{}`))
			id := r.one(approval.Filter{}).ID
			time.Sleep(5*time.Minute - time.Millisecond)
			synctest.Wait()
			a.waits(t)
			time.Sleep(time.Millisecond)
			synctest.Wait()
			a.want(t, pipeline.Deny)
			r.refuse(id, alice, yes)
			if it, err := r.desk.Get(id); err != nil || it.State != pipeline.ApprovalExpired {
				t.Errorf("%+v, %v", it, err)
			}
			r.restart()
			if it, err := r.desk.Get(id); err != nil || it.State != pipeline.ApprovalExpired {
				t.Errorf("after a restart: %+v, %v", it, err)
			}
		})
	})
	t.Run("nobody decides and the journal is gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, s)
			defer r.end()
			a := r.wait(bg(), call("1", `{}`))
			id := r.one(approval.Filter{}).ID
			r.log.setFail(errors.New("disk"))
			if _, err := r.desk.Decide(bg(), id, alice, yes); !errors.Is(err, pipeline.ErrNotRecorded) {
				t.Errorf("error %v", err)
			}
			synctest.Wait()
			a.waits(t)
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			a.want(t, pipeline.Deny)
			b := r.wait(bg(), call("2", `{"x":1}`))
			if !b.has() || !errors.Is(b.err, pipeline.ErrNotRecorded) || len(r.desk.List(approval.Filter{})) != 0 {
				t.Errorf("asked without a record: %+v", b)
			}
		})
	})
	t.Run("the approval is not used", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, s)
			defer r.end()
			h := call("1", `{}`)
			h.Patience = 110 * time.Second
			a := r.wait(bg(), h)
			time.Sleep(110 * time.Second)
			synctest.Wait()
			a.want(t, pipeline.Hold)
			time.Sleep(time.Minute)
			it := r.decide(a.v.Approval, alice, yes)
			if time.Until(it.Until) != 2*time.Minute {
				t.Errorf("until %s", it.Until)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			b := r.wait(bg(), call("2", `{}`))
			b.waits(t)
			if it, err := r.desk.Get(it.ID); err != nil || it.State != pipeline.ApprovalLapsed {
				t.Errorf("%+v, %v", it, err)
			}
		})
	})
	t.Run("the application goes away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, s)
			defer r.end()
			ctx, cancel := context.WithCancel(bg())
			a := r.wait(ctx, call("1", `{}`))
			id := r.one(approval.Filter{}).ID
			cancel()
			synctest.Wait()
			if !a.has() || !errors.Is(a.err, context.Canceled) {
				t.Fatalf("answer %+v", a)
			}
			time.Sleep(20 * time.Second)
			ctx, cancel = context.WithCancel(bg())
			b := r.wait(ctx, call("2", `{}`)) // it tries again: the same approval
			if it := r.one(approval.Filter{}); it.ID != id || it.Waiters != 1 {
				t.Fatalf("item %+v", it)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			b.waits(t)
			cancel()
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if why := r.refuse(id, alice, yes); !strings.Contains(why, "the application went away") {
				t.Errorf("refused: %s", why)
			}
		})
	})
}

// TestTries has several that wait for one approval.
func TestTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{})
		defer r.end()
		a, b, c := r.wait(bg(), call("1", `{}`)), r.wait(bg(), call("2", `{}`)), r.wait(bg(), call("3", `{}`))
		it := r.one(approval.Filter{})
		if it.Waiters != 3 {
			t.Fatalf("item %+v", it)
		}
		r.decide(it.ID, alice, yes)
		c.want(t, pipeline.Allow) // the newest
		a.waits(t)
		b.waits(t)
		next := r.one(approval.Filter{})
		if next.ID == it.ID || next.Waiters != 2 {
			t.Fatalf("item %+v", next)
		}
		r.decide(next.ID, alice, yes)
		if a.has() == b.has() {
			t.Fatalf("one approval for both: %+v %+v", a, b)
		}
		last := r.one(approval.Filter{})
		r.decide(last.ID, alice, no)
		if !a.has() || !b.has() || a.v.Action+b.v.Action != pipeline.Allow+pipeline.Deny {
			t.Errorf("%+v %+v", a, b)
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{Timeout: time.Hour}, func(o *approval.Options) { o.MaxEach, o.PerMinute, o.Max = 5, 8, 7 })
		defer r.end()
		for i := range 5 {
			r.wait(bg(), call("1", fmt.Sprint(i))).waits(t)
		}
		a := r.wait(bg(), call("1", `"x"`))
		a.want(t, pipeline.Deny)
		if a.v.Rule != "builtin/hold-limit" || !strings.Contains(a.v.Reason, "5 requests of this caller") {
			t.Errorf("verdict %+v", a.v)
		}
		r.wait(bg(), call("1", `0`)).waits(t) // that is asked already
		other := func(n int) *pipeline.Held {
			return with(call("1", fmt.Sprint(n)), func(h *pipeline.Held) { h.Meta.Principal.User = "erin" })
		}
		r.wait(bg(), other(0)).waits(t)
		r.wait(bg(), other(1)).waits(t)
		a = r.wait(bg(), other(2))
		a.want(t, pipeline.Deny)
		if !strings.Contains(a.v.Reason, "on this host") {
			t.Errorf("verdict %+v", a.v)
		}
		for _, it := range r.desk.List(approval.Filter{}) {
			r.decide(it.ID, alice, no)
		}
		for i := range 3 {
			r.wait(bg(), call("1", fmt.Sprint(100+i))).waits(t)
		}
		a = r.wait(bg(), call("1", `200`))
		a.want(t, pipeline.Deny)
		if !strings.Contains(a.v.Reason, "within a minute") {
			t.Errorf("verdict %+v", a.v)
		}
		time.Sleep(time.Minute)
		r.wait(bg(), call("1", `201`)).waits(t)
		r.desk.Close()
	})
}

// TestTakeOver has a desk that is asked before it knows what the one before it had.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{})
		h := call("1", `{}`)
		h.Patience = time.Second
		a := r.wait(bg(), h)
		time.Sleep(time.Second)
		synctest.Wait()
		a.want(t, pipeline.Hold)
		r.decide(a.v.Approval, alice, yes)
		r.end()
		next, err := approval.New(r.o)
		if err != nil {
			t.Fatal(err)
		}
		r.desk = next
		b, c := r.wait(bg(), call("2", `{}`)), r.wait(bg(), call("3", `{"x":1}`))
		b.waits(t)
		r.log.replay(t, next, 0, r.log.len())
		if n := len(next.List(approval.Filter{})); n != 3 {
			t.Fatalf("%d items", n)
		}
		r.wait(bg(), call("4", `{}`)).want(t, pipeline.Allow) // what was approved before
		for _, it := range next.List(approval.Filter{States: []string{pipeline.ApprovalWaiting}}) {
			r.decide(it.ID, alice, yes)
		}
		b.want(t, pipeline.Allow)
		c.want(t, pipeline.Allow)
	})
}
