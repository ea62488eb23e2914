// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// How long applications wait, measured: with no byte of an answer, the least patient client of a plain call gives up after 120 s;
// of a stream, langchain-openai gives up after 120 s without a chunk. A head that is sent cannot be taken back, so it waits as
// long as a person may decide at once.
const (
	holdSilence  = 60 * time.Second  // before a stream's head is sent with nothing behind it
	holdPing     = 15 * time.Second  // between events that add nothing
	holdPatience = 110 * time.Second // since a plain call was read; then it is answered that it is held
)

// holding is what an exchange knows about holds.
type holding struct {
	body   []byte        // the request as it would be sent; nil once it is with the provider
	shown  []byte        // the same, masked
	call   *toolCall     // that is being decided
	stream *events       // of the reply, if it is one
	early  bool          // the head is sent, and no reply is there yet
	held   time.Duration // spent waiting
	key    vaultKey      // of the request, if its reply may be kept
	reply  []byte        // as it came, if it is not a stream
	policy string        // version in force when the exchange began
	over   bool          // something is held still: the reply is to be kept
}

// hold waits until people have decided about what d holds. It returns the denial that is left, nil if they approved.
func (x *exchange) hold(ctx context.Context, d *denial, shown *pipeline.Step) (*denial, error) {
	v := d.verdict
	d.code = codeHeld
	if x.f.o.Holder == nil {
		return d, nil
	}
	if err := x.settle(ctx, 0); err != nil {
		return nil, err
	}
	h := x.held(d, shown)
	before := x.f.o.Now()
	after, err := x.await(ctx, h)
	waited := x.f.o.Now().Sub(before)
	x.waited += waited
	x.h.held += waited
	if err != nil {
		if ctx.Err() != nil {
			x.h.over = h.Step != nil && h.Step.Kind != pipeline.StepPrompt // it may come again for the reply
			return nil, &cutError{by: ended(ctx), err: err}
		}
		return nil, err
	}
	if after.Stage == "" {
		after.Stage = v.Stage
	}
	if x.out.Verdict.Action == pipeline.Hold && x.out.Verdict.Approval == "" {
		x.out.Verdict.Approval = after.Approval
	}
	switch {
	case after.Action <= pipeline.Alert:
		x.decision(after, h.Step)
		return x.still(v, shown, h.Step)
	case after.Action == pipeline.Hold:
		d.verdict = after
		if x.h.reply != nil && !x.responded { // all of it is kept until it is decided
			x.h.over = true
			return nil, &deniedError{d}
		}
		return d, nil
	}
	return &denial{code: codeDenied, id: x.decision(after, h.Step), verdict: after}, nil
}

// still asks policy once more about what people have approved: meanwhile rules may have changed, and grants ended. What it would
// now refuse, or hold for another reason, does not pass.
func (x *exchange) still(held pipeline.Verdict, shown, kept *pipeline.Step) (*denial, error) {
	var steps []*pipeline.Step
	switch t := x.h.call; {
	case t != nil:
		raw := pipeline.Step{Kind: pipeline.StepToolCall, Name: t.name, ID: t.id, Index: t.index, Args: t.args, ByProvider: t.byProvider}
		if steps = append(steps, &raw); t.masked != nil {
			masked := raw
			masked.Args = t.masked
			steps = append(steps, &masked)
		}
	case shown != nil && shown.Kind == pipeline.StepResponse:
		steps = append(steps, shown)
	default:
		// A call is counted on its limits when it is decided: so not again without need.
		if shown == nil || x.h.policy != x.f.o.Decider.Version() || x.out.Verdict.Elevation != "" || held.Elevation != "" {
			steps = append(steps, nil)
		}
		for i := range x.steps {
			if shown == &x.steps[i] {
				steps = append(steps, &x.req.Call.Steps[i])
			}
		}
	}
	for _, step := range steps {
		var v pipeline.Verdict
		if err := x.inspect("policy", func() error {
			v = x.decides(step)
			return nil
		}); err != nil {
			return nil, err
		}
		same := v.Rule == held.Rule && v.Digest == held.Digest
		if !same && x.h.policy == x.f.o.Decider.Version() { // of several rules, some may hold what is masked no more
			same = within(&v, &held)
		}
		if v.Action <= pipeline.Alert || v.Action == pipeline.Hold && same {
			continue
		}
		if v.Stage == "" {
			v.Stage = held.Stage
		}
		if v.Action != pipeline.Deny {
			v.Action, v.Reason = pipeline.Deny, "the policy has changed while it waited: send it again"
		}
		v.Masks, v.Approval = nil, ""
		return &denial{code: codeDenied, id: x.decision(v, kept), verdict: v}, nil
	}
	return nil, nil
}

// held describes what is held. People look at it for as long as they like: it must not share the memory of the request.
func (x *exchange) held(d *denial, shown *pipeline.Step) *pipeline.Held {
	h := &pipeline.Held{Meta: x.m, Call: x.call(), Verdict: d.verdict, Decision: d.id, Use: x.m.Exchange, Raw: x.h.body, Body: x.h.shown,
		Target: x.head.Method + " " + x.head.Target}
	if x.out.ReplyOf != "" {
		h.Use = x.out.ReplyOf
	}
	if shown != nil {
		kept := *shown
		kept.Text, kept.Args, kept.Beside = strings.Clone(shown.Text), bytes.Clone(shown.Args), ""
		h.Step = &kept
	}
	switch {
	case x.h.call != nil: // two equal calls of one reply are two things
		h.Raw, h.Body = x.h.call.args, nil
		h.Use += "#" + strconv.Itoa(len(x.out.Tools))
	case shown != nil && shown.Kind == pipeline.StepResponse:
		h.Raw, h.Body = []byte(shown.Text), nil
		h.Use += "#text" + strconv.Itoa(shown.Index)
	}
	if h.Raw == nil {
		h.Raw = []byte{}
	}
	return h
}

// await waits for people, and keeps the application from giving up meanwhile.
func (x *exchange) await(ctx context.Context, h *pipeline.Held) (pipeline.Verdict, error) {
	first := holdPing
	switch m := x.h.stream; {
	case m != nil:
		if err := x.releaseEvents(m, true); err != nil { // what was decided before does not wait
			return pipeline.Verdict{}, err
		}
	case x.req.Call.Stream && x.h.reply == nil && len(x.codec.AppendPing(nil, nil)) > 0:
		if !x.h.early {
			first = max(holdSilence-x.f.o.Now().Sub(x.began), time.Millisecond)
		}
	default:
		h.Patience = max(holdPatience-x.f.o.Now().Sub(x.began), time.Millisecond)
		return x.wait(ctx, h)
	}
	ctx, cancel := context.WithCancel(ctx)
	type answer struct {
		v   pipeline.Verdict
		err error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := x.wait(ctx, h)
		done <- answer{v, err}
	}()
	t := time.NewTimer(first)
	defer t.Stop()
	for {
		select {
		case a := <-done:
			cancel()
			return a.v, a.err
		case <-t.C:
			if err := x.ping(); err != nil {
				cancel()
				<-done
				return pipeline.Verdict{}, err
			}
			t.Reset(holdPing)
		}
	}
}

// wait asks the holder, whose failures are not ours. Besides Wait it may not look at x: the exchange goes on meanwhile.
func (x *exchange) wait(ctx context.Context, h *pipeline.Held) (v pipeline.Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = pipeline.Verdict{}, fmt.Errorf("hold: panic: %v", panicType(p))
			x.f.o.Notice("hold", fmt.Errorf("%w at %s", err, firstFrames(debug.Stack())))
		}
	}()
	return x.f.o.Holder.Wait(ctx, h)
}

// ping sends an event that adds nothing, with the head of a stream before it if need be.
func (x *exchange) ping() error {
	var like []byte
	if m := x.h.stream; m != nil {
		like = m.like
	} else if !x.responded {
		x.h.early, x.responded = true, true
		kind := [...]string{llm.SSE: "text/event-stream", llm.NDJSON: "application/x-ndjson"}[x.codec.Framing()]
		x.out.Status = 200
		if err := x.client.Respond(pipeline.Head{Status: 200, Reason: "OK", Fields: []pipeline.Field{{Name: "Content-Type", Value: kind},
			{Name: "Cache-Control", Value: "no-cache"}, {Name: "Transfer-Encoding", Value: "chunked"}}}); err != nil {
			return clientError{err}
		}
	}
	b := x.codec.AppendPing(nil, like)
	if len(b) == 0 {
		return nil
	}
	return x.writeEvent(b)
}

// leftBy says who ended an exchange while it was held; "" if nobody did.
func leftBy(err error) string {
	var cut *cutError
	var gone clientError
	switch {
	case errors.As(err, &cut):
		return cut.by
	case errors.As(err, &gone):
		return "client"
	}
	return ""
}

// refuseInside is refuse after the head of a stream is sent: the denial goes in-band.
func (x *exchange) refuseInside(ctx context.Context, d *denial) error {
	if d.code != codeUnavailable {
		x.f.flood.refused(x.m)
	}
	return x.failInside(ctx, llm.Failure{Code: d.code, Message: x.message(d)})
}

// failInside ends a stream that has nothing but its head and pings.
func (x *exchange) failInside(ctx context.Context, f llm.Failure) error {
	ev := x.failer().AppendFailureEvent(nil, f)
	rerr := x.recordEvent(ev, len(ev))
	x.released(len(ev))
	x.finish(x.out.Status)
	if err := errors.Join(rerr, x.settle(ctx, 0)); err != nil {
		x.f.o.Notice("record denial", err)
	}
	if err := x.client.Write(ev); err != nil {
		return clientError{err}
	}
	return nil
}

// codeUpstream is the code of what the provider answered when its own form of an error cannot be passed on any more.
const codeUpstream = "upstream_error"

// maxLate bounds what is told of an answer that is no stream.
const maxLate = 2 << 10

// answerLate tells what the provider answered, when the application has the head of a stream already and the answer is none.
func (x *exchange) answerLate(ctx context.Context, src *source, head pipeline.Head, kind form) error {
	x.out.Status = 200
	if kind == formUnknown || kind == formReply {
		return x.refuseInside(ctx, x.uninspected(llm.NotInspected("reply with status %d and content type %q to a request for a stream",
			head.Status, head.Get("Content-Type"))))
	}
	body, _, err := x.readWhole(src, head.Get("Content-Encoding"))
	if err == nil {
		err = x.inspect("reply", func() error {
			now, changed, err := x.processWhole(ctx, body, kind)
			if changed {
				body = now
			}
			return err
		})
	}
	if by := leftBy(err); by != "" {
		return x.cutBy(ctx, nil, by, err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return x.refuseInside(ctx, x.failed(err))
	}
	said := strings.ToValidUTF8(string(body[:min(len(body), maxLate)]), "")
	return x.failInside(ctx, llm.Failure{Code: codeUpstream, Message: fmt.Sprintf("The provider answered %d: %s", head.Status, said)})
}
