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
	codeNotInspected = "sallyport_not_inspected"
	codeUnavailable  = "sallyport_unavailable"
)

// denial is why something does not pass.
type denial struct {
	code    string
	id      string // of the decision
	verdict pipeline.Verdict
}

// decideRequest asks about the call, then about each step that comes from the application. It stops at the first
// denial that is enforced.
func (x *exchange) decideRequest(ctx context.Context) (*denial, error) {
	if x.steps == nil && len(x.req.Call.Steps) > 0 {
		return nil, errors.New("the request could not be masked for the record")
	}
	d, err := x.rule(ctx, nil, nil)
	if d != nil || err != nil {
		return d, err
	}
	for i := range x.req.Call.Steps {
		step := &x.req.Call.Steps[i]
		switch step.Kind {
		case pipeline.StepPrompt, pipeline.StepToolOffer, pipeline.StepToolResult:
			if d, err := x.rule(ctx, step, &x.steps[i]); d != nil || err != nil {
				return d, err
			}
		}
	}
	return nil, nil
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
		v = x.f.o.Decider.Decide(x.m, &x.req.Call, step)
		return nil
	})
	if err != nil {
		return pipeline.Verdict{Action: pipeline.Deny}, err
	}
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
	switch v.Action {
	case pipeline.Allow:
		return nil, nil
	case pipeline.Alert:
		x.decision(v, shown)
		return nil, nil
	}
	id := x.decision(v, shown)
	if !x.enforce {
		return nil, nil
	}
	d := &denial{code: codeDenied, id: id, verdict: v}
	if v.Action != pipeline.Hold {
		return d, nil // Transform too: nothing here can carry it out, so it does not pass
	}
	return x.hold(ctx, d, shown)
}

// decision records a verdict and returns the ID of the record.
func (x *exchange) decision(v pipeline.Verdict, shown *pipeline.Step) string {
	id := newID("dec_")
	if v.Action > x.out.Verdict.Action || x.out.Decision == "" {
		x.out.Verdict, x.out.Decision = v, id
	}
	x.append(pipeline.KindDecision, &pipeline.Decision{
		ID: id, Verdict: v, Mode: x.m.Mode, Enforced: x.enforce, Step: shown, Policy: x.f.o.Decider.Version(),
		UID: x.m.Workload.UID, Scope: x.m.Scope, Model: x.req.Call.Model, Endpoint: x.m.Endpoint.Name, SPIFFEID: x.m.Principal.SPIFFEID,
	})
	return id
}

// uninspected records that something was not understood.
func (x *exchange) uninspected(why error) *denial {
	v := pipeline.Verdict{Action: pipeline.Deny, Stage: "call", Rule: "builtin/not-inspected", Reason: "not inspected: " + reason(why)}
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
	if errors.Is(err, llm.ErrNotInspected) {
		return x.uninspected(err)
	}
	return x.unavailable(err)
}
