// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
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

	MaskedSteps   int `json:"masked_steps"`   // decided on a text that holds masks
	MaskedChanges int `json:"masked_changes"` // differences among them

	Uninspected int `json:"uninspected"` // exchanges whose contents policy never saw: left out
	Unfinished  int `json:"unfinished"`  // exchanges without an outcome: their replies are not compared
	Elevated    int `json:"elevated"`    // verdicts that hung on an elevation: left out
	Budget      int `json:"budget"`      // refusals for want of budget: left out, a replay counts no tokens
	Beyond      int `json:"beyond"`      // steps behind a recorded refusal that would be decided now: there is nothing to compare with
}

// Comparison compares exchange by exchange.
type Comparison struct {
	candidate, against Decider
	limit              int
	r                  Report
	kinds, rules       map[Count]int
}

// New compares candidate with what was recorded, or with another policy if against is not nil. Of the differences, the
// first limit are kept one by one; 0 means all.
func New(candidate, against Decider, limit int) *Comparison {
	c := &Comparison{candidate: candidate, against: against, limit: limit, kinds: map[Count]int{}, rules: map[Count]int{}}
	c.r = Report{Policy: candidate.Version(), Against: "record", Changes: []Change{}}
	if against != nil {
		c.r.Against = against.Version()
	}
	return c
}

// Report sums up.
func (c *Comparison) Report() Report {
	r := c.r
	r.Kinds, r.Rules = sorted(c.kinds), sorted(c.rules)
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

// item is a call (step nil) or a step, with what was recorded about it.
type item struct {
	step     *pipeline.Step
	was      pipeline.Verdict
	skip     *int // counts why it cannot be compared
	unknown  bool // the record ends before it
	original bool // decided
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
	m := pipeline.Meta{Session: x.Session, Exchange: x.ID, Flow: x.Intent.Flow, Scope: x.Intent.Scope, Mode: x.Intent.Mode, Workload: x.Intent.Workload,
		Principal: x.Intent.Principal, Endpoint: x.Intent.Endpoint, Start: x.Time}
	changed := false
	request, reply, refused := c.items(x)
	call := x.Intent.Call
	stops := m.Mode != pipeline.ModeObserve
	would, was := true, true // the exchange goes on, by the candidate and by the other side
	walk := func(list []item) {
		for i := range list {
			if !would {
				return
			}
			it := &list[i]
			v := c.candidate.Decide(&m, &call, it.step)
			now := ruling(v, it.step)
			masked := it.step != nil && hidden(x, it.step)
			if masked {
				c.r.MaskedSteps++
			}
			before, known := Ruling{}, was && !it.unknown
			if c.against != nil {
				w := c.against.Decide(&m, &call, it.step)
				before, known = ruling(w, it.step), was
			} else {
				before = ruling(it.was, it.step)
			}
			switch {
			case it.skip != nil:
				*it.skip++
			case !known:
				c.r.Beyond++
			default:
				c.r.Steps++
				if before.Effect != now.Effect {
					changed = true
					c.change(x, it.step, before, now, masked)
				} else if before.Rule != now.Rule && now.Effect != Allow {
					c.r.OtherRule++
				}
			}
			ends := func(r Ruling) bool {
				return stops && r.Effect == Deny && (it.step == nil || it.step.Kind != pipeline.StepToolCall)
			}
			if ends(now) && it.skip == nil {
				would = false
			}
			if known && ends(before) {
				was = false
			}
		}
	}
	walk(request)
	if refused && c.against == nil {
		was = false
	}
	call.Steps = nil // as flow has it: the request is gone when its reply is decided
	walk(reply)
	if changed {
		c.r.Changed++
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
	if c.limit > 0 && len(c.r.Changes) >= c.limit {
		return
	}
	ch := Change{Exchange: x.ID, Session: x.Session, Time: x.Time, Who: Who(x.Intent), Endpoint: x.Intent.Endpoint.Name, Model: strings.Clone(x.Intent.Call.Model),
		Stage: "call", Was: was, Would: would, Masked: masked}
	if step != nil {
		ch.Stage, ch.Tool, ch.Index = step.Kind, strings.Clone(step.Name), step.Index
	}
	c.r.Changes = append(c.r.Changes, ch)
}

// items lists what flow decides on, in its order, with what the record says of it. refused: the record says that nothing
// was sent.
func (c *Comparison) items(x *Exchange) (request, reply []item, refused bool) {
	request = append(request, item{})
	for i := range x.Intent.Call.Steps {
		switch s := &x.Intent.Call.Steps[i]; s.Kind {
		case pipeline.StepPrompt, pipeline.StepToolOffer, pipeline.StepToolResult:
			request = append(request, item{step: s})
		}
	}
	if x.Outcome != nil {
		for i := range x.Outcome.Tools {
			reply = append(reply, item{step: &x.Outcome.Tools[i]})
		}
	}
	cursor := map[bool]int{}
	held := map[*item]bool{}
	for i := range x.Decisions {
		d := &x.Decisions[i]
		if ours(&d.Verdict) {
			continue
		}
		inReply := d.Step != nil && d.Step.Kind == pipeline.StepToolCall
		list := request
		if inReply {
			list = reply
		}
		it, at := match(list, cursor[inReply], d.Step, held)
		if it == nil {
			continue
		}
		cursor[inReply] = at + 1
		if held[it] { // what people said after policy had held it
			if d.Verdict.Action == pipeline.Deny && d.Enforced && !inReply {
				refused = true
			}
			continue
		}
		if it.original && d.Verdict.Action <= it.was.Action {
			continue
		}
		it.original, it.was = true, d.Verdict
		if d.Verdict.Action == pipeline.Hold {
			held[it] = true
		}
		switch {
		case d.Verdict.Elevation != "":
			it.skip = &c.r.Elevated
		case d.Verdict.Code == pipeline.CodeBudget:
			it.skip = &c.r.Budget
		}
		refused = refused || d.Verdict.Action == pipeline.Deny && d.Enforced && !inReply
	}
	if x.Outcome != nil && x.Outcome.Verdict.Elevation != "" && !request[0].original {
		request[0].skip = &c.r.Elevated
	}
	if refused { // what stands behind the refusal was never asked
		last := 0
		for i := range request {
			if request[i].original {
				last = i
			}
		}
		for i := last + 1; i < len(request); i++ {
			request[i].unknown = true
		}
	}
	return request, reply, refused
}

// match finds the item that a decision is about, from a place in the list on: decisions come in the order of the items. The
// item before that place is looked at first if it was held: people decided on it after policy had.
func match(list []item, from int, step *pipeline.Step, held map[*item]bool) (*item, int) {
	if from > 0 && from <= len(list) && held[&list[from-1]] && same(list[from-1].step, step) {
		return &list[from-1], from - 1
	}
	for i := from; i < len(list); i++ {
		if same(list[i].step, step) {
			return &list[i], i
		}
	}
	for i := range min(from, len(list)) { // recorded out of order
		if same(list[i].step, step) {
			return &list[i], i
		}
	}
	return nil, 0
}

func same(a, b *pipeline.Step) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Kind == b.Kind && a.Name == b.Name && a.ID == b.ID && a.Index == b.Index && a.Text == b.Text && (bytes.Equal(a.Args, b.Args) || bytes.Equal(compact(a.Args), compact(b.Args)))
}

// compact takes out the space that a listing put in.
func compact(args []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, args) != nil {
		return args
	}
	return b.Bytes()
}

// ours says whether a verdict is of the machinery around policy: no policy would change it.
func ours(v *pipeline.Verdict) bool {
	return v.Rule == "builtin/not-inspected" || v.Rule == "builtin/unavailable"
}

// hidden says whether the text of a step holds a mask.
func hidden(x *Exchange, s *pipeline.Step) bool {
	find := func(masks []pipeline.Mask) bool {
		return slices.ContainsFunc(masks, func(m pipeline.Mask) bool {
			return m.With != "" && (strings.Contains(s.Text, m.With) || bytes.Contains(s.Args, []byte(m.With)))
		})
	}
	return find(x.Intent.Masks) || x.Outcome != nil && find(x.Outcome.Masks)
}

func ruling(v pipeline.Verdict, step *pipeline.Step) Ruling {
	r := Ruling{Rule: v.Rule, Reason: v.Reason}
	switch v.Action {
	case pipeline.Allow:
		r.Effect = Allow
	case pipeline.Alert:
		r.Effect = Alert
	case pipeline.Transform:
		r.Effect = Mask
		if step != nil && step.Kind == pipeline.StepToolOffer {
			r.Effect = Remove
		}
	case pipeline.Hold:
		r.Effect = Hold
	default:
		r.Effect = Deny
	}
	return r
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
