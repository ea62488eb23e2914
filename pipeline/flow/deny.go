// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"strconv"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// message tells people who refused what, and what to do about it. It never holds a pattern or a matched value.
func (x *exchange) message(d *denial) string {
	v := d.verdict
	s := "Sallyport refused this " + v.Stage
	if d.code == codeHeld {
		s = "Sallyport holds this " + v.Stage + " for approval"
	}
	if v.Rule != "" {
		s += " by " + v.Rule
	}
	if v.Reason != "" {
		s += ": " + v.Reason
	}
	if d.id == "" { // not on record by itself
		s += "."
	} else {
		s += " (" + d.id + "). Run `sallyport why " + d.id + "` for details."
	}
	if d.code == codeHeld && v.Approval != "" {
		s += " Approval " + v.Approval + " waits for people: once it is given, the same request, sent again, is let through."
	}
	if x.f.o.HelpURL != "" {
		s += " To ask for access, see " + x.f.o.HelpURL + "."
	}
	return s
}

func (x *exchange) failer() llm.Failer {
	if x.codec != nil {
		return x.codec
	}
	if c, ok := x.f.o.Codecs.(interface {
		Failer(*pipeline.Endpoint) llm.Failer
	}); ok {
		if f := c.Failer(&x.m.Endpoint); f != nil {
			return f
		}
	}
	return plainFailer{}
}

// plainFailer is for endpoints whose protocol nobody knows.
type plainFailer struct{}

func (plainFailer) AppendFailure(dst []byte, f llm.Failure) []byte {
	dst = append(dst, `{"error":{"code":`...)
	dst = llm.AppendString(dst, []byte(f.Code))
	dst = append(dst, `,"message":`...)
	dst = llm.AppendString(dst, []byte(f.Message))
	return append(dst, "}}"...)
}

func (p plainFailer) AppendFailureEvent(dst []byte, f llm.Failure) []byte {
	return stream.AppendEvent(dst, "error", p.AppendFailure(nil, f))
}

// refuse ends an exchange by a denial. The denial goes out even if it cannot be recorded: it releases nothing.
func (x *exchange) refuse(ctx context.Context, d *denial) error {
	if x.h.early {
		return x.refuseInside(ctx, d)
	}
	body := x.failer().AppendFailure(nil, llm.Failure{Code: d.code, Message: x.message(d)})
	x.out.BytesReleased, x.out.Pace, x.out.FirstReleaseMS = int64(len(body)), nil, 0
	x.finish(403)
	if d.code != codeUnavailable { // that is not their doing, and they are to hear of it
		x.f.flood.refused(x.m)
	}
	if err := x.settle(ctx, 0); err != nil {
		x.f.o.Notice("record denial", err)
	}
	return x.respondBody(d, body)
}

// respondFailure is refuse without a record.
func (x *exchange) respondFailure(d *denial) error {
	if x.h.early {
		return x.client.Write(x.failer().AppendFailureEvent(nil, llm.Failure{Code: d.code, Message: x.message(d)}))
	}
	return x.respondBody(d, x.failer().AppendFailure(nil, llm.Failure{Code: d.code, Message: x.message(d)}))
}

// respondBody answers 403, the one status that no client retries.
func (x *exchange) respondBody(d *denial, body []byte) error {
	h := pipeline.Head{Status: 403, Reason: "Forbidden", Fields: []pipeline.Field{
		{Name: "Content-Type", Value: "application/json"},
		{Name: "Content-Length", Value: strconv.Itoa(len(body))},
		{Name: "X-Should-Retry", Value: "false"},
	}}
	if x.tooLarge {
		h.Fields = append(h.Fields, pipeline.Field{Name: "Connection", Value: "close"})
	}
	x.responded = true
	if err := x.client.Respond(h); err != nil {
		return err
	}
	return x.client.Write(body)
}

// finish writes the outcome down.
func (x *exchange) finish(status int) {
	x.endOriginal()
	now := x.f.o.Now()
	x.out.Status = status
	if x.began.IsZero() {
		x.began = now
	}
	x.out.HoldMS = x.h.held.Milliseconds()
	if x.out.ReplyOf != "" {
		x.out.Usage = pipeline.Usage{} // counted when the reply came
	}
	x.out.DurationMS = now.Sub(x.began).Milliseconds()
	x.out.OverheadUS = max(0, (now.Sub(x.began) - x.waited).Microseconds())
	x.tellGuardrails()
	if len(x.out.Masks) > 0 && x.out.Verdict.Action < pipeline.Transform {
		x.out.Verdict = pipeline.Verdict{Action: pipeline.Transform, Stage: pipeline.StepResponse, Rule: "builtin/mask",
			Reason: strconv.Itoa(len(x.out.Masks)) + " masked", Credential: x.out.Verdict.Credential}
	}
	out := x.out
	x.append(pipeline.KindOutcome, &out)
	x.f.o.Sessions.Answered(x.m, &x.req.Call, &out, out.Used(x.bodyBytes))
}
