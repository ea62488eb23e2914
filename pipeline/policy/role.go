// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/cond"
	"github.com/sallyport-dev/sallyport/pipeline/policy/meter"
)

// asking is one question to roles: about the call, or about a tool within it.
type asking struct {
	env  *Env
	m    *pipeline.Meta
	c    *pipeline.Call
	step *pipeline.Step
	in   *cond.Input

	watched []pipeline.Matched // what would have refused if it were enforced
	short   meter.Short        // the first limit that had no room, of role shortOf
	shortOf *role
	tooMany *rule // the first rule that grants it but for the number of tokens that it asks for, of role manyOf
	manyOf  *role
}

// role asks the roles that are bound to the caller, then those granted for a time.
func (s *Set) role(env *Env, m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) pipeline.Verdict {
	a := asking{env: env, m: m, c: c, step: step}
	who := s.bound(m)
	v := pipeline.Verdict{Stage: "call"}
	if step != nil {
		v.Stage = step.Kind
	}
	var watched *role // the one that would grant it
	for _, r := range who.watched {
		if watched == nil && a.has(r) {
			watched = r
		}
	}
	if watched == nil && len(who.watched) > 0 {
		a.watch(who.watched[0])
	}
	if r := a.first(who.roles); r != nil {
		v.Rule, v.Matched = "role/"+r.name, a.watched
		return v
	}
	for i := range env.Grants {
		g := &env.Grants[i]
		if r := s.roles[g.Role]; r != nil && (g.Until.IsZero() || env.Now.Before(g.Until)) && a.first([]*role{r}) != nil {
			v.Rule, v.Elevation, v.Matched = "role/"+r.name, g.ID, a.watched
			return v
		}
	}
	if len(who.roles) == 0 && len(who.watched) > 0 { // roles that are watched grant nothing, but who has no others is not refused
		v.Rule, v.Matched = "role/"+who.watched[0].name, a.watched
		if watched != nil {
			v.Rule = "role/" + watched.name
		}
		return v
	}
	v.Action, v.Rule, v.Matched = pipeline.Deny, "builtin/no-binding", a.watched
	if len(who.roles) > 0 {
		v.Rule = "role/" + who.roles[0].name
	}
	a.blame(&v)
	return v
}

// blame words a denial.
func (a *asking) blame(v *pipeline.Verdict) {
	m, c := a.m, a.c
	switch {
	case a.step != nil && a.step.Kind == pipeline.StepToolOffer:
		v.Reason = fmt.Sprintf("the role lacks tool %s: %s may not use it with model %s at %s", plain(a.step.Name), who(m), plain(c.Model), m.Endpoint.Name)
		if a.step.ByProvider {
			v.Reason += "; the provider runs it, so a role must name it"
		}
	case a.step != nil:
		v.Reason = fmt.Sprintf("%s may not call tool %s with model %s at %s", who(m), plain(a.step.Name), plain(c.Model), m.Endpoint.Name)
	case a.shortOf != nil:
		v.Code, v.Rule = pipeline.CodeBudget, "role/"+a.shortOf.name
		again := a.short.Again.UTC().Format("2006-01-02 15:04:05 UTC")
		if a.short.What == "counters" {
			v.Reason = fmt.Sprintf("more callers have limits than can be counted here; try again after %s", again)
		} else {
			v.Reason = fmt.Sprintf("%s has used the %d %s that the role allows in %s; there is room again at %s", who(m), a.short.Limit, a.short.What, span(a.short.Per), again)
		}
	case a.tooMany != nil:
		v.Code, v.Rule = pipeline.CodeBudget, "role/"+a.manyOf.name
		asks := fmt.Sprintf("asks for %d tokens", c.MaxTokens)
		if c.MaxTokens <= 0 {
			asks = "does not say how many tokens it wants"
		}
		v.Reason = fmt.Sprintf("the request %s; the role allows at most %d: set the request's limit of output tokens", asks, a.tooMany.maxTokens)
	default:
		v.Reason = fmt.Sprintf("%s may not use model %s for %s at %s", who(m), plain(c.Model), plain(c.Operation), m.Endpoint.Name)
	}
}

// span writes a duration without the parts that are nought.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// first finds a role with a rule that grants it: one without limits if there is one, else the first whose limit has room, on
// which the request is counted.
func (a *asking) first(roles []*role) *role {
	type limited struct {
		r *role
		i int
	}
	var few [4]limited
	rest := few[:0]
	for _, r := range roles {
		for i := range r.rules {
			u := &r.rules[i]
			if !u.grants(a.m, a.c) || !u.tool(a.step) {
				continue
			}
			if !a.holds(u) {
				if !u.observe {
					continue
				}
				a.watch(r)
			}
			if a.step != nil {
				return r
			}
			if u.exceeded(a.c) {
				if !u.observe {
					if a.tooMany == nil {
						a.tooMany, a.manyOf = u, r
					}
					continue
				}
				a.watch(r)
			}
			if u.limit.Per == 0 || a.env.Meter == nil {
				return r
			}
			rest = append(rest, limited{r, i})
		}
	}
	for _, l := range rest {
		u := &l.r.rules[l.i]
		short := a.env.Meter.Take(a.m.Exchange, meter.Key{Role: l.r.name, Rule: l.i, Principal: budgetOf(a.m)}, u.limit)
		if short.What != "" {
			if !u.observe {
				if a.shortOf == nil {
					a.short, a.shortOf = short, l.r
				}
				continue
			}
			a.watch(l.r)
		}
		return l.r
	}
	return nil
}

// has says whether a role would grant it, limits aside.
func (a *asking) has(r *role) bool {
	for i := range r.rules {
		if u := &r.rules[i]; u.grants(a.m, a.c) && u.tool(a.step) && a.holds(u) {
			return true
		}
	}
	return false
}

// watch notes that a role would have refused it.
func (a *asking) watch(r *role) {
	m := pipeline.Matched{Rule: "role/" + r.name, Action: pipeline.Deny, Observed: true}
	for _, o := range a.watched {
		if o == m {
			return
		}
	}
	a.watched = append(a.watched, m)
}

// holds asks the condition of a rule. One that fails does not hold.
func (a *asking) holds(u *rule) bool {
	if u.when == nil {
		return true
	}
	if a.in == nil {
		a.in = &cond.Input{Meta: a.m, Call: a.c, Step: a.step, Now: a.env.Now}
		if a.step != nil {
			a.in.Texts = func() ([]string, error) { return new(reading).texts(a.step) }
		}
	}
	yes, err := u.when.Eval(a.in)
	return err == nil && yes
}

// exceeded says whether a call asks for more tokens than a rule grants, or does not say how many.
func (u *rule) exceeded(c *pipeline.Call) bool {
	return u.maxTokens > 0 && writes(c) && (c.MaxTokens <= 0 || c.MaxTokens > u.maxTokens)
}

// writes says whether the model writes tokens in such a call.
func writes(c *pipeline.Call) bool {
	return c.Operation != pipeline.OpEmbeddings && c.Operation != pipeline.OpModels && c.Operation != pipeline.OpCountTokens
}

// budgetOf names who a limit is counted for. Who logs in anew gets another unit (session-4.scope), and an identity made of it,
// but not another budget.
func budgetOf(m *pipeline.Meta) string {
	caller, unit := who(m), m.Workload.Unit
	if strings.HasSuffix(unit, ".scope") || strings.HasPrefix(unit, "user@") {
		caller = fmt.Sprintf("uid %d", m.Workload.UID)
	}
	return caller + "\x00" + cmp.Or(m.Principal.User, m.Workload.Pod)
}

func (u *rule) grants(m *pipeline.Meta, c *pipeline.Call) bool {
	return u.endpoint(&m.Endpoint) && matchAny(u.operations, c.Operation) && matchAny(u.models, c.Model)
}

// tool says whether a rule grants the tool of a step.
func (u *rule) tool(step *pipeline.Step) bool {
	switch {
	case step == nil:
		return true
	case step.ByProvider:
		return matchNamed(u.tools, step.Name)
	}
	return matchAny(u.tools, step.Name)
}

// endpoint compares names, and hosts without case where a pattern has a dot: "a*" should not grant api.example.com.
func (u *rule) endpoint(e *pipeline.Endpoint) bool {
	return matchAny(u.endpoints, e.Name) || len(u.hosts) > 0 && matchAny(u.hosts, strings.ToLower(e.Host))
}
