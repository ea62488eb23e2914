// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// ruleLimit is the rule of denials because too much waits already.
const ruleLimit = "builtin/hold-limit"

// Wait implements flow.Holder. The verdict allows, denies, or holds still (patience is over, or the Desk is closed); its Approval
// names what people decide about.
//
// Of several that wait for one approval, the newest gets it: the others are most likely tries that its application has given up.
// What is used is used: those that still wait then ask anew.
func (d *Desk) Wait(ctx context.Context, h *pipeline.Held) (pipeline.Verdict, error) {
	if h.Step == nil && h.Raw == nil || h.Use == "" {
		return pipeline.Verdict{}, fmt.Errorf("approval: nothing is held, or its use has no name")
	}
	b, err := d.bind(h)
	if err != nil {
		return pipeline.Verdict{}, fmt.Errorf("approval: %w", err)
	}
	w := &waiter{use: h.Use}
	var patience <-chan time.Time
	if h.Patience > 0 {
		t := time.NewTimer(h.Patience)
		defer t.Stop()
		patience = t.C
	}
	for {
		it, v, done, err := d.join(h, &b, w)
		if done || err != nil {
			return v, err
		}
		<-it.written // nobody is told of what is not on disk
		v, again, err := d.stay(ctx, h, it, w, patience)
		if !again || err != nil {
			return v, err
		}
	}
}

// join finds or makes the approval that h waits for. done: nothing is to be waited for.
func (d *Desk) join(h *pipeline.Held, b *bound, w *waiter) (it *item, v pipeline.Verdict, done bool, err error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, held(h, nil), true, nil
	}
	if it := d.used[useKey{b.digest, h.Use}]; it != nil && !d.passed(it.lasts) {
		d.mu.Unlock()
		return nil, allowed(h, it), true, nil
	}
	if it = d.ofSession(h, b); it == nil {
		if it = d.digest[b.digest]; it != nil && !it.covers(h) {
			it = nil
		}
	}
	if it != nil {
		switch over := d.passed(it.lasts); {
		case it.State == pipeline.ApprovalDenied && !over:
			v := denied(h, it, it.why())
			d.mu.Unlock()
			return nil, v, true, nil
		case lives(it.State) && !over:
			it.waiters = append(it.waiters, w)
			it.gone = limit{}
			d.mu.Unlock()
			return it, v, false, nil
		}
	}
	who := whoOf(&pipeline.ApprovalAsked{Principal: h.Meta.Principal, Workload: h.Meta.Workload})
	if why := d.admit(who); why != "" {
		d.mu.Unlock()
		return nil, pipeline.Verdict{Action: pipeline.Deny, Stage: h.Verdict.Stage, Rule: ruleLimit, Reason: "it needs approval by " +
			h.Verdict.Rule + ", but " + why}, true, nil
	}
	it, err = d.begin(pipeline.KindApproval, "apr_", who, d.asked(h, b))
	if err != nil {
		d.mu.Unlock()
		return nil, v, true, err
	}
	d.shareOf(who)
	it.waiters = append(it.waiters, w)
	durable := d.insert(it)
	d.mu.Unlock()
	return it, v, false, d.first(it, durable)
}

// first waits for the first record of an item.
func (d *Desk) first(it *item, durable <-chan error) error {
	err := <-durable
	d.mu.Lock()
	defer d.mu.Unlock()
	defer close(it.written)
	if err != nil {
		d.forget(it)
		return fmt.Errorf("%w: %w", pipeline.ErrNotRecorded, err)
	}
	d.tell("asked", it)
	return nil
}

// ofSession finds an approval for the session that covers h. mu is held.
func (d *Desk) ofSession(h *pipeline.Held, b *bound) *item {
	if b.of != pipeline.ApprovalOfCall || h.Meta.Session == "" {
		return nil
	}
	for _, it := range d.items {
		if it.State != pipeline.ApprovalApproved || it.scope != pipeline.ScopeSession || it.Session != h.Meta.Session || d.passed(it.lasts) ||
			it.Step == nil || it.Step.Name != h.Step.Name || it.Rule != h.Verdict.Rule || it.RuleSum != h.Verdict.Digest {
			continue
		}
		if callerOf(&it.Principal, &it.Workload) != callerOf(&h.Meta.Principal, &h.Meta.Workload) {
			continue
		}
		if it.Digest == b.digest || likeness(it.Fields, b.fields, it.free) {
			return it
		}
	}
	return nil
}

// covers tells whether what is approved, if it is, is good for the session of h. mu is held.
func (it *item) covers(h *pipeline.Held) bool {
	return it.State != pipeline.ApprovalApproved || it.scope != pipeline.ScopeSession || it.Session == h.Meta.Session
}

// asked is what people get to see of h.
func (d *Desk) asked(h *pipeline.Held, b *bound) pipeline.ApprovalAsked {
	a := pipeline.ApprovalAsked{Of: b.of, Digest: b.digest, Fields: b.fields, Rule: h.Verdict.Rule, RuleSum: h.Verdict.Digest,
		Reason: h.Verdict.Reason, Session: h.Meta.Session, Exchange: h.Meta.Exchange, Decision: h.Decision, Scope: h.Meta.Scope,
		Endpoint: h.Meta.Endpoint.Name, Workload: h.Meta.Workload, Principal: h.Meta.Principal, Settings: d.settings(h.Verdict.Rule)}
	d.also(&a, &h.Verdict)
	a.Workload.Labels = nil
	if h.Call != nil { // its words may point into the request, which does not live as long
		a.Operation, a.Model, a.Cut = cut(h.Call.Operation, maxName), cut(h.Call.Model, maxName), len(h.Call.Model) > maxName
	}
	room := keepShown
	if h.Step != nil {
		s := *h.Step
		s.Name, s.ID, s.Text, s.Args, s.From = strings.Clone(s.Name), strings.Clone(s.ID), strings.Clone(s.Text), bytes.Clone(s.Args), [2]int{}
		if len(s.Args) > 0 && !json.Valid(s.Args) { // it could not be written down
			s.Args, s.Text = nil, strings.ToValidUTF8(string(s.Args), "\uFFFD")
		}
		if len(s.Name)+len(s.ID) > maxName {
			a.Cut = true
			s.Name, s.ID = cut(s.Name, maxName), cut(s.ID, maxName)
		}
		if len(s.Args)+len(s.Text) > room {
			a.Cut = true
			if s.Text == "" {
				s.Text = string(s.Args)
			}
			s.Args, s.Text = nil, cut(s.Text, room)
		}
		room -= len(s.Args) + len(s.Text)
		a.Step = &s
	}
	if b.of == pipeline.ApprovalOfRequest {
		a.Cut = a.Cut || len(h.Body) > room
		a.Body = cut(string(h.Body[:min(len(h.Body), max(room, 0))]), keepShown)
	}
	return a
}

// maxName bounds the name and the ID of a call that are shown, and the name of a model.
const maxName = 512

// cut shortens a text, and lets go of the rest.
func cut(s string, n int) string {
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), n)], ""))
}

// stay waits for people. again: the approval was used by somebody else.
func (d *Desk) stay(ctx context.Context, h *pipeline.Held, it *item, w *waiter, patience <-chan time.Time) (v pipeline.Verdict, again bool, err error) {
	late := time.NewTimer(0)
	defer late.Stop()
	for {
		d.mu.Lock()
		state, changed, newest, covers := it.State, it.changed, it.waiters[len(it.waiters)-1] == w, it.covers(h)
		left := d.left(it.lasts)
		late.Reset(max(left, time.Millisecond))
		closed := d.closed
		d.mu.Unlock()
		switch {
		case state == pipeline.ApprovalDenied || state == pipeline.ApprovalExpired || left <= 0 && state == pipeline.ApprovalWaiting:
			d.part(it, w, false)
			return denied(h, it, d.whyOf(it)), false, nil
		case closed:
			d.part(it, w, true)
			return held(h, it), false, nil
		case state == pipeline.ApprovalApproved && !covers:
			d.part(it, w, false)
			return v, true, nil
		case state == pipeline.ApprovalApproved && newest && left > 0:
			ok, err := d.use(it, h)
			if ok || err != nil {
				d.part(it, w, false)
				return allowed(h, it), false, err
			}
			continue
		case state != pipeline.ApprovalWaiting && state != pipeline.ApprovalApproved || left <= 0:
			d.part(it, w, false)
			return v, true, nil
		}
		select {
		case <-changed:
		case <-late.C:
		case <-d.shut:
		case <-patience:
			d.part(it, w, true)
			return held(h, it), false, nil
		case <-ctx.Done():
			d.part(it, w, false)
			return v, false, ctx.Err()
		}
	}
}

// use releases h under an approval: durably, before it goes on. ok is false if the approval is not there any more.
func (d *Desk) use(it *item, h *pipeline.Held) (ok bool, err error) {
	it.busy <- struct{}{}
	defer func() { <-it.busy }()
	d.mu.Lock()
	ok = it.State == pipeline.ApprovalApproved && !d.passed(it.lasts) && !d.closed
	r := &pipeline.Approval{ID: it.ID, State: pipeline.ApprovalUsed, Used: &pipeline.ApprovalUse{Time: d.now(), Exchange: h.Meta.Exchange, Use: h.Use}}
	if it.scope == pipeline.ScopeSession {
		r.State = it.State
	}
	d.mu.Unlock()
	if !ok {
		return false, nil
	}
	return true, d.commit(it, r, "used")
}

// part ends the wait of one exchange. stays: it was told that it is held, so that the approval goes on without it.
func (d *Desk) part(it *item, w *waiter, stays bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	it.waiters = slices.DeleteFunc(it.waiters, func(o *waiter) bool { return o == w })
	it.late = it.late || stays
	if len(it.waiters) == 0 && it.State == pipeline.ApprovalWaiting && !it.late {
		it.gone = d.in(grace)
		d.nudge()
	}
	it.stir() // another one may be the newest now
}

func allowed(h *pipeline.Held, it *item) pipeline.Verdict {
	return pipeline.Verdict{Action: pipeline.Allow, Stage: h.Verdict.Stage, Rule: h.Verdict.Rule, Reason: "approved", Approval: it.ID,
		Credential: h.Verdict.Credential, Digest: h.Verdict.Digest}
}

func denied(h *pipeline.Held, it *item, why string) pipeline.Verdict {
	return pipeline.Verdict{Action: pipeline.Deny, Stage: h.Verdict.Stage, Rule: h.Verdict.Rule, Reason: why, Approval: it.ID, Digest: h.Verdict.Digest}
}

func held(h *pipeline.Held, it *item) pipeline.Verdict {
	v := h.Verdict
	v.Action = pipeline.Hold
	if it != nil {
		v.Approval = it.ID
	}
	return v
}

func (d *Desk) whyOf(it *item) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return it.why()
}

// why says for the application why an item denies. mu is held.
func (it *item) why() string {
	if it.State != pipeline.ApprovalDenied {
		return "nobody approved it within " + it.Settings.Timeout.String()
	}
	why := "denied by a person"
	if n := len(it.Votes); n > 0 && it.Votes[n-1].Reason != "" {
		why += ": " + it.Votes[n-1].Reason
	}
	return why
}
