// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/meter"
)

// Grants knows the roles that callers have for a time. It is asked at each decision, so that a grant that ends or is revoked
// ends within a reply too.
type Grants interface {
	For(m *pipeline.Meta) []pipeline.Grant
}

// Engine is the policy in force with what it counts: the Set is replaced as a whole, the counters stay. It is safe for
// concurrent use.
type Engine struct {
	set    atomic.Pointer[Set]
	grants atomic.Pointer[Grants]
	meter  *meter.Meter
	now    func() time.Time
}

// EngineOptions may all be zero.
type EngineOptions struct {
	Grants Grants
	Now    func() time.Time
}

// NewEngine puts a set in force.
func NewEngine(set *Set, o EngineOptions) *Engine {
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Engine{meter: meter.New(o.Now), now: o.Now}
	e.set.Store(set)
	if o.Grants != nil {
		e.UseGrants(o.Grants)
	}
	return e
}

// UseGrants names who knows the grants from now on.
func (e *Engine) UseGrants(g Grants) { e.grants.Store(&g) }

// Set is the one in force.
func (e *Engine) Set() *Set { return e.set.Load() }

// Swap puts another set in force and returns the one before.
func (e *Engine) Swap(set *Set) *Set { return e.set.Swap(set) }

// Version is that of the set in force.
func (e *Engine) Version() string { return e.set.Load().Version() }

func (e *Engine) env(m *pipeline.Meta, step *pipeline.Step) Env {
	env := Env{Now: e.now(), Meter: e.meter}
	if step != nil && step.Kind != pipeline.StepToolCall && step.Kind != pipeline.StepToolOffer {
		return env // no role is asked
	}
	if g := e.grants.Load(); g != nil && m != nil {
		env.Grants = (*g).For(m)
	}
	return env
}

// Decide is that of the set in force, with the grants and the counters of now.
func (e *Engine) Decide(m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) pipeline.Verdict {
	return e.set.Load().DecideIn(e.env(m, step), m, c, step)
}

// Explain is that of the set in force, with the grants of now. It counts nothing, and takes limits to have room.
func (e *Engine) Explain(m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) Explanation {
	env := e.env(m, step)
	env.Meter = nil
	return e.set.Load().ExplainIn(env, m, c, step)
}

// Approval is that of the set in force.
func (e *Engine) Approval(rule string) (ApprovalSettings, bool) { return e.set.Load().Approval(rule) }

// Account counts the tokens of an exchange that ended on the limit that its request was counted on.
func (e *Engine) Account(m *pipeline.Meta, _ *pipeline.Call, _ pipeline.Verdict, u pipeline.Usage) {
	var tokens int64
	for _, n := range []*int64{u.InputTokens, u.OutputTokens} {
		if n != nil {
			tokens += *n
		}
	}
	e.meter.Spend(m.Exchange, tokens)
}

// Restore counts an exchange of before, as the set in force would have counted it. It is for the start, from the journal.
func (e *Engine) Restore(in *pipeline.Intent, at time.Time, out *pipeline.Outcome) {
	if v := &out.Verdict; v.Action == pipeline.Deny && v.Stage == "call" && v.Rule != "builtin/not-inspected" && v.Rule != "builtin/unavailable" {
		return // it was not granted, and so not counted
	}
	m := &pipeline.Meta{Scope: in.Scope, Mode: in.Mode, Workload: in.Workload, Principal: in.Principal, Endpoint: in.Endpoint, Start: at}
	all := e.set.Load().counted(m, &in.Call, at)
	if len(all) == 0 {
		return
	}
	on := all[0]
	for _, c := range all {
		if e.meter.Room(c.key, c.limit).What == "" {
			on = c
			break
		}
	}
	var tokens int64
	used := out.Used(in.BodyBytes)
	for _, n := range []*int64{used.InputTokens, used.OutputTokens} {
		if n != nil {
			tokens += *n
		}
	}
	e.meter.Restore(on.key, on.limit, at, 1, tokens)
}

type counter struct {
	key   meter.Key
	limit meter.Limit
}

// counted lists the limits on which a call may be counted, in the order in which they are tried: none if a rule without one
// grants it.
func (s *Set) counted(m *pipeline.Meta, c *pipeline.Call, at time.Time) (out []counter) {
	a := asking{env: &Env{Now: at}, m: m, c: c}
	for _, r := range s.bound(m).roles {
		for i := range r.rules {
			u := &r.rules[i]
			if !u.grants(m, c) || !u.observe && (!a.holds(u) || u.exceeded(c)) {
				continue
			}
			if u.limit.Per == 0 {
				return nil
			}
			out = append(out, counter{meter.Key{Role: r.name, Rule: i, Principal: budgetOf(m)}, u.limit})
		}
	}
	return out
}

// LongestWindow is the longest time that a limit of the set looks back, 0 if none does.
func (s *Set) LongestWindow() time.Duration {
	var most time.Duration
	for _, r := range s.roles {
		for i := range r.rules {
			most = max(most, r.rules[i].limit.Per)
		}
	}
	return most
}
