// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// item is a call (step nil) or a step, in the order in which flow carries verdicts out, with what was recorded about it.
type item struct {
	step *pipeline.Step
	was  pipeline.Verdict

	decided bool // was is what was recorded; else nothing was, which means a plain yes
	held    bool // people decided on it then
	reply   bool // it came with the reply
	past    bool // a tool call of the conversation so far: only what is masked in it counts
	budget  bool
	covered bool // was masked before it was recorded
	unknown bool // the record ends before it
}

// layout is an exchange taken apart.
type layout struct {
	items    []item
	enforce  bool
	elevated bool // something in it hung on an elevation
}

// lay takes an exchange apart.
func lay(x *Exchange) *layout {
	l := &layout{enforce: x.Intent.Mode != pipeline.ModeObserve, items: []item{{}}}
	for i := range x.Decisions { // these are not in the record of the request
		if d := &x.Decisions[i]; d.Step == nil && len(d.Verdict.Removed) > 0 && d.Enforced {
			for k := range d.Verdict.Removed {
				l.items = append(l.items, item{step: &d.Verdict.Removed[k], was: d.Verdict, decided: true})
			}
		}
	}
	start := len(l.items)
	for i := range x.Intent.Call.Steps {
		s := &x.Intent.Call.Steps[i]
		switch s.Kind {
		case pipeline.StepPrompt, pipeline.StepToolOffer, pipeline.StepToolResult, pipeline.StepToolCall:
			l.items = append(l.items, item{step: s, past: s.Kind == pipeline.StepToolCall})
		}
	}
	reply := len(l.items)
	if x.Outcome != nil {
		for i := range x.Outcome.Tools {
			l.items = append(l.items, item{step: &x.Outcome.Tools[i], reply: true})
		}
		l.elevated = x.Outcome.Verdict.Elevation != ""
	}
	said := false
	for i := range x.Decisions {
		if s := x.Decisions[i].Step; s != nil && s.Kind == pipeline.StepResponse && !slices.ContainsFunc(l.items[reply:], func(it item) bool { return same(it.step, s) }) {
			l.items, said = append(l.items, item{step: s, reply: true}), true
		}
	}
	if x.Outcome != nil && x.Outcome.Text != "" && !said {
		l.items = append(l.items, item{step: &pipeline.Step{Kind: pipeline.StepResponse, Text: x.Outcome.Text}, reply: true})
	}
	request, answer := cursor{l.items[start:reply], 0}, cursor{l.items[reply:], 0}
	refused, last := false, 0
	unsent := l.enforce && x.Outcome != nil && x.Outcome.Status == 403 && x.Outcome.ResponseID == "" && x.Outcome.Text == "" && len(x.Outcome.Tools) == 0
	for i := range x.Decisions {
		d := &x.Decisions[i]
		v := d.Verdict
		l.elevated = l.elevated || v.Elevation != ""
		if v.Rule == "builtin/not-inspected" || v.Rule == "builtin/unavailable" || v.Rule == "builtin/flood" {
			continue // of the machinery around policy: no policy would change it
		}
		var it *item
		from := &request
		switch {
		case d.Step == nil && v.Stage == pipeline.StepToolOffer: // about several offers at once
			if v.Action == pipeline.Transform && !d.Enforced {
				for k := range v.Removed {
					if it := request.offer(&v.Removed[k]); it != nil {
						it.was, it.decided = v, true
					}
				}
			}
			continue
		case d.Step == nil:
			it = &l.items[0]
		case d.Step.Kind == pipeline.StepResponse, d.Step.Kind == pipeline.StepToolCall && !strings.HasPrefix(v.Reason, pastReason):
			from = &answer
			it = from.find(d.Step)
		default:
			it = from.find(d.Step)
		}
		if it == nil {
			continue
		}
		refuses := d.Enforced && from == &request && (v.Action == pipeline.Deny || unsent && v.Action == pipeline.Transform && d.ID == lastID(x))
		refused = refused || refuses
		if !it.held {
			it.was, it.decided = v, true
			it.held = v.Action == pipeline.Hold
			it.budget = v.Code == pipeline.CodeBudget
			it.covered = v.Action == pipeline.Transform && d.Enforced
		}
		if refuses {
			for k := range l.items[:reply] {
				if &l.items[k] == it {
					last = k
				}
			}
		}
	}
	if refused { // what stands behind the refusal was never carried out, or never asked
		for i := last + 1; i < len(l.items); i++ {
			l.items[i].unknown = true
		}
	}
	return l
}

// lastID names the last decision of an exchange. If nothing was sent after it, what it wanted masked could not be.
func lastID(x *Exchange) string { return x.Decisions[len(x.Decisions)-1].ID }

// pastReason is how flow explains what it masks in tool calls of the conversation so far.
const pastReason = "masked in the conversation so far"

// cursor finds items in the order in which they were decided.
type cursor struct {
	items []item
	at    int
}

// find gives the item of a decision. What was held before is looked at first: people decided on it after policy had.
func (c *cursor) find(step *pipeline.Step) *item {
	if c.at > 0 && c.items[c.at-1].held && same(c.items[c.at-1].step, step) {
		return &c.items[c.at-1]
	}
	for _, r := range [][2]int{{c.at, len(c.items)}, {0, c.at}} {
		for i := r[0]; i < r[1]; i++ {
			if same(c.items[i].step, step) {
				c.at = i + 1
				return &c.items[i]
			}
		}
	}
	return nil
}

func (c *cursor) offer(step *pipeline.Step) *item {
	for i := range c.items {
		if s := c.items[i].step; s.Kind == step.Kind && s.Name == step.Name && s.Index == step.Index {
			return &c.items[i]
		}
	}
	return nil
}

func same(a, b *pipeline.Step) bool {
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

// answer is what one side does with an item.
type answer struct {
	Ruling
	reached bool
	roles   bool // it is for want of a role
	matched []pipeline.Matched
}

// recorded is the side of the record.
func (l *layout) recorded() []answer {
	out := make([]answer, len(l.items))
	for i := range l.items {
		it := &l.items[i]
		out[i] = answer{Ruling: ruling(&it.was, it), reached: !it.unknown}
	}
	return out
}

// side asks a policy about everything, and does with the verdicts what flow does: a tool that is refused is taken out of the
// offer; what is refused ends the exchange, and then nobody is asked about what would be held.
func (c *Comparison) side(d Decider, m *pipeline.Meta, call, done *pipeline.Call, l *layout) []answer {
	out := make([]answer, len(l.items))
	refused := false // something of the request is
	for i := range l.items {
		it := &l.items[i]
		with := call
		if it.reply {
			with = done
		}
		v := d.Decide(m, with, it.step)
		if it.past {
			if len(v.Masks) > 0 {
				v = pipeline.Verdict{Action: pipeline.Transform, Rule: v.Rule, Reason: pastReason}
			} else {
				v = pipeline.Verdict{}
			}
		}
		a := answer{Ruling: ruling(&v, it), reached: true, matched: v.Matched}
		a.roles = v.Action == pipeline.Deny && (strings.HasPrefix(v.Rule, "role/") || v.Rule == "builtin/no-binding")
		out[i] = a
		refused = refused || l.enforce && a.Effect == Deny && !it.reply
		if i == 0 && refused && !l.skips(it, &a) {
			for k := range out[1:] {
				out[1+k].reached = false
			}
			return out
		}
	}
	ended := false
	for i := range out {
		it, a := &l.items[i], &out[i]
		if ended {
			a.reached = false
			continue
		}
		if refused && a.Effect == Hold && !it.reply {
			a.Ruling = Ruling{Effect: Allow}
		}
		if l.enforce && a.Effect == Deny && !l.skips(it, a) && (!it.reply || it.step.Kind == pipeline.StepResponse || it.step.ByProvider) {
			ended = true
		}
	}
	return out
}

// skips says whether a refusal is left out of the comparison, so that the exchange goes on behind it as it did.
func (l *layout) skips(it *item, a *answer) bool {
	return it.budget || l.elevated && a.roles && it.was.Action < pipeline.Hold
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

// ruling says what a verdict does to an item. A tool that is refused in the offer is taken out, unless the record says of it
// that it could not be.
func ruling(v *pipeline.Verdict, it *item) Ruling {
	r := Ruling{Rule: v.Rule, Reason: v.Reason}
	offer := it.step != nil && it.step.Kind == pipeline.StepToolOffer
	switch {
	case v.Action == pipeline.Allow:
		return Ruling{Effect: Allow, Rule: v.Rule}
	case v.Action == pipeline.Alert:
		r.Effect = Alert
	case v.Action == pipeline.Transform && offer && len(v.Removed) > 0:
		r.Effect = Remove
	case v.Action == pipeline.Transform:
		r.Effect = Mask
	case v.Action == pipeline.Hold:
		r.Effect = Hold
	case offer && !(it.decided && it.was.Action == pipeline.Deny):
		r.Effect = Remove
	default:
		r.Effect = Deny
	}
	return r
}
