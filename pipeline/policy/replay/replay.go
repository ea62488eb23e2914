// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Decider is a policy.
type Decider interface {
	Decide(m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) pipeline.Verdict
	Version() string
}

// Exchange is one exchange as recorded.
type Exchange struct {
	ID, Session string
	Time        time.Time
	Intent      *pipeline.Intent // Mode, Workload, Principal, Endpoint and Call are used
	Decisions   []pipeline.Decision
	Outcome     *pipeline.Outcome // nil while it runs
}

// The effects of a verdict on a step.
const (
	Allow  = "allow"
	Alert  = "alert"
	Mask   = "mask"
	Remove = "remove" // a tool is taken out of the offer
	Hold   = "hold"
	Deny   = "deny"
)

// Ruling is one side of a difference.
type Ruling struct {
	Effect string `json:"effect"`
	Rule   string `json:"rule,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Change is a call or step on which the two sides differ.
type Change struct {
	Exchange string    `json:"exchange_id"`
	Session  string    `json:"session_id,omitempty"`
	Time     time.Time `json:"time"`
	Who      string    `json:"who"`
	Endpoint string    `json:"endpoint"`
	Model    string    `json:"model,omitempty"`
	Stage    string    `json:"stage"` // "call" or the kind of the step
	Tool     string    `json:"tool,omitempty"`
	Index    int       `json:"index"`
	Was      Ruling    `json:"was"`
	Would    Ruling    `json:"would"`
	Masked   bool      `json:"masked_text,omitempty"` // the text holds masks: with the original the verdict may be another
}

// Count says how often something was found.
type Count struct {
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
	Rule  string `json:"rule,omitempty"`
	Count int    `json:"count"`
}

// Report is what a comparison found.
type Report struct {
	Policy    string   `json:"policy"`  // of the candidate
	Against   string   `json:"against"` // "record", or the version of the other policy
	Exchanges int      `json:"exchanges"`
	Steps     int      `json:"steps"`   // verdicts compared, those on calls included
	Changed   int      `json:"changed"` // exchanges with a difference
	Kinds     []Count  `json:"kinds"`
	Rules     []Count  `json:"rules"` // the rule behind the severer side of each difference
	Changes   []Change `json:"changes"`

	OtherRule int `json:"other_rule"` // the same effect by another rule: not a difference

	Observed []Count `json:"observed,omitempty"` // rules of the candidate that only watch, and matched

	MaskedSteps   int `json:"masked_steps"`   // decided on a text that holds masks
	MaskedChanges int `json:"masked_changes"` // differences among them

	Uninspected int `json:"uninspected"` // exchanges whose contents policy never saw: left out
	Unfinished  int `json:"unfinished"`  // exchanges without an outcome: their replies are not compared
	Elevated    int `json:"elevated"`    // verdicts that hung on an elevation: left out
	Budget      int `json:"budget"`      // refusals for want of budget: left out, a replay counts no tokens
	Covered     int `json:"covered"`     // texts that a guardrail had masked before they were recorded: whether it still would cannot be told
	Beyond      int `json:"beyond"`      // steps behind a recorded refusal that would be decided now: there is nothing to compare with
}

// Comparison compares exchange by exchange.
type Comparison struct {
	candidate, against Decider
	o                  Options
	r                  Report
	kinds, rules, seen map[Count]int
}

// Options may be zero.
type Options struct {
	Against Decider                // another policy to compare with; nil: what was recorded
	Limit   int                    // how many differences are kept one by one; 0 = all
	Has     func(rule string) bool // whether the candidate has the rule of a verdict, such as guardrail/NAME; nil: not known
}

// New compares a candidate.
func New(candidate Decider, o Options) *Comparison {
	c := &Comparison{candidate: candidate, against: o.Against, o: o, kinds: map[Count]int{}, rules: map[Count]int{}, seen: map[Count]int{}}
	c.r = Report{Policy: candidate.Version(), Against: "record", Changes: []Change{}}
	if o.Against != nil {
		c.r.Against = o.Against.Version()
	}
	return c
}

// Report sums up.
func (c *Comparison) Report() Report {
	r := c.r
	r.Kinds, r.Rules, r.Observed = sorted(c.kinds), sorted(c.rules), sorted(c.seen)
	return r
}

func sorted(m map[Count]int) []Count {
	out := make([]Count, 0, len(m))
	for k, n := range m {
		k.Count = n
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}

// Add compares one exchange.
func (c *Comparison) Add(x *Exchange) {
	c.r.Exchanges++
	if x.Intent.Uninspected != "" || x.Intent.Call.Operation == "" {
		c.r.Uninspected++
		return
	}
	if x.Outcome == nil {
		c.r.Unfinished++
	}
	m := &pipeline.Meta{Session: x.Session, Exchange: x.ID, Flow: x.Intent.Flow, Scope: x.Intent.Scope, Mode: x.Intent.Mode, Workload: x.Intent.Workload,
		Principal: x.Intent.Principal, Endpoint: x.Intent.Endpoint, Start: x.Time}
	l := lay(x)
	call, done := x.Intent.Call, x.Intent.Call
	done.Steps = nil // as flow has it: the request is gone when its reply is decided
	would := c.side(c.candidate, m, &call, &done, l)
	was := l.recorded()
	if c.against != nil {
		was = c.side(c.against, m, &call, &done, l)
	}
	before := c.r.Changed
	for i := range l.items {
		it := &l.items[i]
		if !would[i].reached {
			continue
		}
		for _, k := range would[i].matched {
			if k.Observed {
				c.seen[Count{Rule: k.Rule}]++
			}
		}
		masked := it.step != nil && (it.covered || hidden(x, it.step))
		if masked {
			c.r.MaskedSteps++
		}
		now, then := would[i].Ruling, was[i].Ruling
		switch {
		case it.past && then.Effect == Allow && now.Effect == Allow:
		case it.budget:
			c.r.Budget++
		case !was[i].reached:
			c.r.Beyond++
		case c.against == nil && l.elevated && severity(then.Effect) < severity(Remove) && would[i].roles && severity(now.Effect) >= severity(Remove):
			c.r.Elevated++
		case c.against == nil && it.covered && severity(now.Effect) < severity(Mask) && (c.o.Has == nil || c.o.Has(then.Rule)):
			c.r.Covered++
		default:
			c.r.Steps++
			if then.Effect != now.Effect {
				c.r.Changed = before + 1
				c.change(x, it.step, then, now, masked)
			} else if then.Rule != now.Rule && now.Effect != Allow {
				c.r.OtherRule++
			}
		}
	}
}

func (c *Comparison) change(x *Exchange, step *pipeline.Step, was, would Ruling, masked bool) {
	c.kinds[Count{From: was.Effect, To: would.Effect}]++
	by := would.Rule
	if severity(was.Effect) > severity(would.Effect) {
		by = was.Rule
	}
	c.rules[Count{Rule: by}]++
	if masked {
		c.r.MaskedChanges++
	}
	if c.o.Limit > 0 && len(c.r.Changes) >= c.o.Limit {
		return
	}
	ch := Change{Exchange: x.ID, Session: x.Session, Time: x.Time, Who: Who(x.Intent), Endpoint: x.Intent.Endpoint.Name, Model: strings.Clone(x.Intent.Call.Model),
		Stage: "call", Was: was, Would: would, Masked: masked}
	if step != nil {
		ch.Stage, ch.Tool, ch.Index = step.Kind, strings.Clone(step.Name), step.Index
	}
	c.r.Changes = append(c.r.Changes, ch)
}

func severity(effect string) int {
	return slices.Index([]string{Allow, Alert, Mask, Remove, Hold, Deny}, effect)
}

// Who names the caller of an exchange: by SPIFFE ID, else unit, else uid.
func Who(in *pipeline.Intent) string {
	switch {
	case in.Principal.SPIFFEID != "":
		return in.Principal.SPIFFEID
	case in.Workload.Unit != "":
		return in.Workload.Unit
	}
	return fmt.Sprintf("uid %d", in.Workload.UID)
}
