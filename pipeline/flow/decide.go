// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// The codes of denials.
const (
	codeDenied       = "sallyport_denied"
	codeHeld         = "sallyport_held"
	codeBudget       = "sallyport_budget"
	codeNotInspected = "sallyport_not_inspected"
	codeUnavailable  = "sallyport_unavailable"
)

// denial is why something does not pass.
type denial struct {
	code    string
	id      string // of the decision
	verdict pipeline.Verdict
}

// asked are the verdicts on a request: what policy said before anything of it was carried out.
type asked struct {
	call  pipeline.Verdict
	steps []pipeline.Verdict // as the steps of the call; of the kinds that are not asked about, the zero value
	taken []pipeline.Step    // out of the offer
	masks []pipeline.Mask    // carried out
	gone  *pipeline.Verdict  // says which tools were taken out of the offer, and why
	err   error              // nobody could say
}

// askRequest asks about the call and, if it is allowed, about each of its steps. Calls of tools in the conversation so far were
// decided when the model made them: only what is to be masked in them counts.
func (x *exchange) askRequest() (a asked) {
	if a.call, a.err = x.ask(nil); a.err != nil || a.call.Action == pipeline.Deny && x.enforce {
		return a
	}
	a.steps = make([]pipeline.Verdict, len(x.req.Call.Steps))
	for i := range x.req.Call.Steps {
		step := &x.req.Call.Steps[i]
		switch step.Kind {
		case pipeline.StepPrompt, pipeline.StepToolOffer, pipeline.StepToolResult:
			if a.steps[i], a.err = x.ask(step); a.err != nil {
				return a
			}
		case pipeline.StepToolCall:
			v, err := x.ask(step)
			if err != nil {
				a.err = err
				return a
			}
			if len(v.Masks) > 0 {
				a.steps[i] = pipeline.Verdict{Action: pipeline.Transform, Stage: v.Stage, Rule: maskedBy(&v), Masks: v.Masks, Reason: "masked in the conversation so far"}
			}
		}
	}
	return a
}

// maskedBy names the rule that masks.
func maskedBy(v *pipeline.Verdict) string {
	for _, m := range v.Matched {
		if m.Action == pipeline.Transform && !m.Observed {
			return m.Rule
		}
	}
	return v.Rule
}

// decideRequest records the verdicts on a request and carries out what is left of them: denials first, then holds.
func (x *exchange) decideRequest(ctx context.Context, a *asked) (*denial, error) {
	if a.err != nil {
		return nil, a.err
	}
	if x.steps == nil && len(x.req.Call.Steps) > 0 {
		return nil, errors.New("the request could not be masked for the record")
	}
	if d, err := x.apply(ctx, a.call, nil); d != nil || err != nil {
		return d, err
	}
	x.tellSent()
	if a.gone != nil {
		if d, err := x.apply(ctx, *a.gone, nil); d != nil || err != nil {
			return d, err
		}
	}
	if v := x.watchedOffers(a); v != nil {
		x.decided(*v, nil, false)
	}
	holds := true
	for i := range a.steps {
		if x.refuses(&a.steps[i]) && a.steps[i].Action != pipeline.Hold {
			holds = false // nobody is asked about what is refused anyway
		}
	}
	for i := range a.steps {
		v := a.steps[i]
		if v.Action == pipeline.Hold && !holds && x.enforce {
			continue
		}
		if d, err := x.apply(ctx, v, &x.steps[i]); d != nil || err != nil {
			return d, err
		}
	}
	return nil, nil
}

// watchedOffers makes one verdict of all offers that rules only watch: a request repeats its tools each time. They need no verdict
// of their own then.
func (x *exchange) watchedOffers(a *asked) *pipeline.Verdict {
	v := pipeline.Verdict{Stage: pipeline.StepToolOffer}
	var names []string
	for i := range a.steps {
		o := &a.steps[i]
		if o.Action != pipeline.Allow || len(o.Matched) == 0 || x.req.Call.Steps[i].Kind != pipeline.StepToolOffer {
			continue
		}
		names = append(names, x.word(x.req.Call.Steps[i].Name))
		v.Matched = union(v.Matched, o.Matched)
		o.Matched = nil
	}
	if len(names) == 0 {
		return nil
	}
	v.Reason = "rules that are only observed would change the offer of " + list(names)
	return &v
}

// refuses says whether a verdict keeps something from passing as it is.
func (x *exchange) refuses(v *pipeline.Verdict) bool {
	return x.enforce && (v.Action >= pipeline.Hold || v.Action == pipeline.Transform && !v.Done)
}

// rule asks policy about a step, nil meaning the call, and records the verdict if it is not a plain yes. shown is the
// step as records may show it. It returns a denial only where it is enforced.
func (x *exchange) rule(ctx context.Context, step, shown *pipeline.Step) (*denial, error) {
	v, err := x.ask(step)
	if err != nil {
		return nil, err
	}
	return x.apply(ctx, v, shown)
}

// ask guards against a policy that fails.
func (x *exchange) ask(step *pipeline.Step) (v pipeline.Verdict, err error) {
	err = x.inspect("policy", func() error {
		v = x.decides(step)
		return nil
	})
	if err != nil {
		return pipeline.Verdict{Action: pipeline.Deny}, err
	}
	v.Done = false
	if v.Stage == "" {
		if v.Stage = "call"; step != nil {
			v.Stage = step.Kind
		}
	}
	if step == nil {
		x.cred = v.Credential
		x.out.Verdict = v
	}
	return v, nil
}

// apply records a verdict and carries it out as far as it is about a denial.
func (x *exchange) apply(ctx context.Context, v pipeline.Verdict, shown *pipeline.Step) (*denial, error) {
	switch {
	case v.Action == pipeline.Allow:
		another := v.Elevation != "" && v.Elevation != x.out.Verdict.Elevation
		if len(v.Matched) > 0 || another { // of rules that are only watched
			x.decided(v, shown, x.enforce && another)
		}
		return nil, nil
	case v.Action == pipeline.Alert, v.Action == pipeline.Transform && v.Done:
		x.decision(v, shown)
		return nil, nil
	}
	id := x.decision(v, shown)
	if !x.enforce {
		return nil, nil
	}
	d := &denial{code: codeDenied, id: id, verdict: v}
	if v.Code == pipeline.CodeBudget {
		d.code = codeBudget
	}
	if v.Action != pipeline.Hold {
		return d, nil // Transform too: nobody carried it out, so it does not pass
	}
	return x.hold(ctx, d, shown)
}

// decision records a verdict and returns the ID of the record.
func (x *exchange) decision(v pipeline.Verdict, shown *pipeline.Step) string {
	return x.decided(v, shown, x.enforce)
}

func (x *exchange) decided(v pipeline.Verdict, shown *pipeline.Step, enforced bool) string {
	id := newID("dec_")
	if v.Action > x.out.Verdict.Action || x.out.Decision == "" && v.Action > pipeline.Allow {
		elevation := x.out.Verdict.Elevation
		if x.out.Verdict, x.out.Decision = v, id; v.Elevation == "" {
			x.out.Verdict.Elevation = elevation
		}
	} else if x.out.Verdict.Elevation == "" {
		x.out.Verdict.Elevation = v.Elevation
	}
	x.append(pipeline.KindDecision, &pipeline.Decision{
		ID: id, Verdict: v, Mode: x.m.Mode, Enforced: enforced, Step: shown, Policy: x.f.o.Decider.Version(),
		UID: x.m.Workload.UID, Scope: x.m.Scope, Model: x.word(x.req.Call.Model), Endpoint: x.m.Endpoint.Name, SPIFFEID: x.m.Principal.SPIFFEID,
	})
	return id
}

// uninspected records that something was not understood.
func (x *exchange) uninspected(why error) *denial {
	v := pipeline.Verdict{Action: pipeline.Deny, Stage: "call", Rule: "builtin/not-inspected", Reason: "not inspected: " + x.reason(why)}
	return &denial{code: codeNotInspected, id: x.decision(v, nil), verdict: v}
}

// unavailable records that we could not do our work.
func (x *exchange) unavailable(why error) *denial {
	x.f.o.Notice("exchange", why)
	v := pipeline.Verdict{Action: pipeline.Deny, Stage: "call", Rule: "builtin/unavailable", Reason: "could not be decided or recorded"}
	if errors.Is(why, pipeline.ErrNotRecorded) {
		v.Reason = "it cannot be recorded now: the journal on this host takes no more (tell whoever runs Sallyport here)"
	}
	return &denial{code: codeUnavailable, id: x.decision(v, nil), verdict: v}
}

// failed turns an error on the way of a reply into a denial of the right kind.
func (x *exchange) failed(err error) *denial {
	var no pipeline.MaskRefused
	if errors.As(err, &no) {
		return x.maskRefused(err, no)
	}
	if errors.Is(err, llm.ErrNotInspected) {
		return x.uninspected(err)
	}
	return x.unavailable(err)
}
