// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/llm/openai"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// people decide after a time, as long as somebody waits.
type people struct {
	after   time.Duration // since Wait
	verdict pipeline.Action
	panics  bool
	asked   []pipeline.Held // copies
	gone    int             // waits that ended because the application went away
	decided bool            // already: at once
}

func (p *people) Wait(ctx context.Context, h *pipeline.Held) (pipeline.Verdict, error) {
	kept := *h
	kept.Raw = append([]byte(nil), h.Raw...)
	kept.Body = append([]byte(nil), h.Body...)
	p.asked = append(p.asked, kept)
	if p.panics {
		panic("x")
	}
	v := h.Verdict
	v.Approval, v.Action = "apr_1", p.verdict
	if p.decided {
		return v, nil
	}
	patience := make(<-chan time.Time)
	if h.Patience > 0 {
		patience = time.After(h.Patience)
	}
	select {
	case <-time.After(p.after):
		p.decided = true
		return v, nil
	case <-patience:
		v.Action = pipeline.Hold
		return v, nil
	case <-ctx.Done():
		p.gone++
		return pipeline.Verdict{}, ctx.Err()
	}
}

// timed notes when the application got what.
type timed struct {
	start time.Time
	list  []string
}

func (w *timed) on(c *fakes.Client) {
	w.start = time.Now()
	c.OnWrite = func() { w.list = append(w.list, time.Since(w.start).String()) }
}

func serve(t *testing.T, f *flow.Flow, r *rig, ctx context.Context) error {
	t.Helper()
	return f.Serve(ctx, &r.meta, &r.client, &r.up)
}

func newFlow(t *testing.T, o flow.Options) *flow.Flow {
	t.Helper()
	f, err := flow.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func pinged(t *testing.T, like string) string {
	t.Helper()
	c, err := openai.Provider{}.Codec(&pipeline.Endpoint{}, &pipeline.Head{Method: "POST", Target: "/v1/chat/completions", Fields: []pipeline.Field{{Name: "Content-Type", Value: "application/json"}}})
	if err != nil {
		t.Fatal(err)
	}
	if like == "" {
		return string(c.AppendPing(nil, nil))
	}
	return string(c.AppendPing(nil, []byte(strings.TrimSuffix(strings.TrimPrefix(like, "data: "), "\n\n"))))
}

func TestHeldStreamRequest(t *testing.T) {
	events := text(0, "hi") + delta(0, "{}", "stop") + done
	for _, c := range []struct {
		name    string
		after   time.Duration
		verdict pipeline.Action
		pings   int
		kind    string
		reply   string
		want    string // after the pings; of a denial a part of it
		when    string
	}{
		{"approved soon", 59 * time.Second, pipeline.Allow, 0, "text/event-stream", events, events, "59s"},
		{"approved late", 100 * time.Second, pipeline.Allow, 3, "text/event-stream", events, events, "1m0s 1m15s 1m30s 1m40s"},
		{"denied late", 61 * time.Second, pipeline.Deny, 1, "text/event-stream", events, `"code":"sallyport_denied"`, "1m0s 1m1s"},
		{"approved late, and the provider refuses", 61 * time.Second, pipeline.Allow, 1, "error", `{"error":{"message":"slow down ` + secret + `"}}`,
			`The provider answered 429: {\"error\":{\"message\":\"slow down ` + with, "1m0s 1m1s"},
		{"approved late, and the answer is no stream", 61 * time.Second, pipeline.Allow, 1, "application/json", completion("x"), `"code":"sallyport_not_inspected"`, "1m0s 1m1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ModeEnforce, asked)
				if c.kind == "error" {
					r.reply(429, "application/json", c.reply)
				} else {
					r.reply(200, c.kind, c.reply)
				}
				p := &people{after: c.after, verdict: c.verdict}
				r.opts.Holder, r.opts.Decider = p, actOn(pipeline.StepPrompt, pipeline.Hold)
				var w timed
				w.on(&r.client)
				if err := serve(t, newFlow(t, r.opts), r, context.Background()); err != nil {
					t.Fatalf("serve: %v (%v)", err, r.notes)
				}
				rest, ok := strings.CutPrefix(string(r.client.Got), strings.Repeat(pinged(t, ""), c.pings))
				if !ok || !strings.Contains(rest, c.want) || c.verdict == pipeline.Allow && c.kind == "text/event-stream" && rest != c.want {
					t.Errorf("got %s", r.client.Got)
				}
				if got := strings.Join(w.list, " "); got != c.when {
					t.Errorf("written at %s", got)
				}
				if (len(r.up.Sent) == 1) != (c.verdict == pipeline.Allow) {
					t.Errorf("%d requests sent", len(r.up.Sent))
				}
				if h := r.client.Reply; h.Status != 200 || h.Get("Content-Type") != "text/event-stream" {
					t.Errorf("head %+v", h)
				}
				if c.pings == 0 && !reflect.DeepEqual(r.client.Reply, r.up.Head) {
					t.Errorf("head changed: %+v", r.client.Reply)
				}
				if len(p.asked) != 1 || string(p.asked[0].Raw) != asked || string(p.asked[0].Body) != asked || p.asked[0].Patience != 0 || p.asked[0].Step.Text != "Say hi" {
					t.Errorf("asked %+v", p.asked)
				}
				if o := r.outcome(); o.HoldMS != c.after.Milliseconds() || (o.Verdict.Approval != "apr_1") != (c.name == "approved late, and the answer is no stream") || o.BytesReleased != int64(len(r.client.Got)) || o.OverheadUS != 0 {
					t.Errorf("outcome %+v", o)
				}
				r.noSecret()
			})
		})
	}
}

func TestHeldPlainRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("hello"))
		p := &people{after: 5 * time.Minute, verdict: pipeline.Allow}
		r.opts.Holder, r.opts.Decider = p, actOn(pipeline.StepPrompt, pipeline.Hold)
		var w timed
		w.on(&r.client)
		msg := r.wantDenied("sallyport_held")
		if !strings.Contains(msg, "Approval apr_1 waits") || strings.Join(w.list, " ") != "1m50s" {
			t.Errorf("at %v: %s", w.list, msg)
		}
		if o := r.outcome(); o.Verdict.Action != pipeline.Hold || o.Verdict.Approval != "apr_1" || o.Status != 403 {
			t.Errorf("outcome %+v", o)
		}
	})
}

// callDelta is an event with a piece of a tool call.
func callDelta(index int, name, args string) string {
	if name != "" {
		return delta(0, fmt.Sprintf(`{"tool_calls":[{"index":%d,"id":"call_%d","type":"function","function":{"name":%s,"arguments":%s}}]}`, index, index, quote(name), quote(args)), "")
	}
	return delta(0, fmt.Sprintf(`{"tool_calls":[{"index":%d,"function":{"arguments":%s}}]}`, index, quote(args)), "")
}

func holdTool(name string) fakes.Decider {
	return func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		if s != nil && s.Kind == pipeline.StepToolCall && s.Name == name {
			return pipeline.Verdict{Action: pipeline.Hold, Rule: "guardrail/hold-" + name, Digest: "d1"}
		}
		return pipeline.Verdict{Rule: "role/fake"}
	}
}

func TestHeldCallInStream(t *testing.T) {
	first := text(0, "I pay")
	head := first + callDelta(0, "look", `{"a":1}`)
	held := callDelta(1, "pay", `{"to":"`) + callDelta(1, "", secret+`"}`)
	tail := callDelta(2, "look", `{}`) + delta(0, "{}", "tool_calls") + done
	shown := `{"to":"` + with + `"}`
	heldOut := callDelta(1, "pay", "") + callDelta(1, "", shown)
	for _, c := range []struct {
		name    string
		verdict pipeline.Action
		want    string
	}{
		{"approved", pipeline.Allow, heldOut + tail},
		{"denied", pipeline.Deny, tail},
	} {
		for _, split := range []string{"whole", "events"} {
			t.Run(c.name+", "+split, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, pipeline.ModeEnforce, asked)
					if split == "whole" {
						r.reply(200, "text/event-stream", head+held+tail)
					} else {
						r.reply(200, "text/event-stream", strings.SplitAfter(head+held+tail, "\n\n")...)
					}
					p := &people{after: 40 * time.Second, verdict: c.verdict}
					r.opts.Holder, r.opts.Decider = p, holdTool("pay")
					var before string
					start := time.Now()
					r.client.OnWrite = func() {
						if time.Since(start) == 15*time.Second {
							before = string(r.client.Got)
						}
					}
					if err := serve(t, newFlow(t, r.opts), r, context.Background()); err != nil {
						t.Fatalf("serve: %v (%v)", err, r.notes)
					}
					if before != head {
						t.Errorf("while it was held, the application had %s", before)
					}
					if got, want := string(r.client.Got), head+strings.Repeat(pinged(t, first), 2)+c.want; got != want {
						t.Errorf("got\n%s\nwant\n%s", got, want)
					}
					a := p.asked[0]
					if string(a.Raw) != `{"to":"`+secret+`"}` || string(a.Step.Args) != shown || a.Body != nil || a.Step.Name != "pay" || a.Decision == "" || a.Patience != 0 {
						t.Errorf("asked %+v", a)
					}
					if o := r.outcome(); o.HoldMS != 40_000 {
						t.Errorf("outcome %+v", o)
					}
					r.noSecret()
				})
			})
		}
	}
}

func TestHeldAndGone(t *testing.T) {
	call := text(0, "I pay") + callDelta(0, "pay", `{}`) + delta(0, "{}", "tool_calls") + done
	for _, c := range []struct {
		name    string
		request string
		setup   func(*rig)
		leave   time.Duration // the application closes its connection
	}{
		{"request", asked, func(r *rig) { r.opts.Decider = actOn(pipeline.StepPrompt, pipeline.Hold) }, 10 * time.Second},
		{"request, with the head sent", asked, func(r *rig) { r.opts.Decider = actOn(pipeline.StepPrompt, pipeline.Hold) }, 70 * time.Second},
		{"plain request", plain, func(r *rig) { r.opts.Decider = actOn(pipeline.StepPrompt, pipeline.Hold) }, 10 * time.Second},
		{"call in a stream", asked, func(r *rig) { r.reply(200, "text/event-stream", call) }, 20 * time.Second},
		{"call in a stream, seen by writing", asked, func(r *rig) {
			r.reply(200, "text/event-stream", call)
			r.client.WriteErr, r.client.Accept = errors.New("broken pipe"), len(text(0, "I pay"))
		}, time.Hour},
		{"request, seen by writing", asked, func(r *rig) {
			r.opts.Decider = actOn(pipeline.StepPrompt, pipeline.Hold)
			r.client.WriteErr = errors.New("broken pipe")
		}, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ModeEnforce, c.request).reply(200, "application/json", completion("x"))
				p := &people{after: 2 * time.Hour, verdict: pipeline.Allow}
				r.opts.Holder, r.opts.Decider = p, holdTool("pay")
				c.setup(r)
				ctx, cancel := context.WithCancelCause(context.Background())
				defer cancel(nil)
				time.AfterFunc(c.leave, func() { cancel(pipeline.ErrClientGone) })
				if err := serve(t, newFlow(t, r.opts), r, ctx); err == nil {
					t.Error("no error")
				}
				if p.gone != 1 {
					t.Errorf("%d holds were given up", p.gone)
				}
				if o := r.outcome(); o.Cut != "client" || o.HoldMS == 0 {
					t.Errorf("outcome %+v", o)
				}
				if strings.Contains(string(r.client.Got), "tool_calls") {
					t.Errorf("released %s", r.client.Got)
				}
			})
		})
	}
}

func TestHolderPanics(t *testing.T) {
	for _, request := range []string{plain, asked} {
		r := newRig(t, pipeline.ModeEnforce, request).reply(200, "application/json", completion("x"))
		r.opts.Holder, r.opts.Decider = &people{panics: true}, actOn(pipeline.StepPrompt, pipeline.Hold)
		r.wantDenied("sallyport_unavailable")
	}
}

// changing is a policy that is another one once something is held.
type changing struct {
	fakes.Decider
	then  fakes.Decider
	times int
}

func (c *changing) Decide(m *pipeline.Meta, call *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
	v := c.Decider(m, call, s)
	if c.times > 0 {
		v = c.then(m, call, s)
	}
	if v.Action == pipeline.Hold {
		c.times++
	}
	return v
}

func (c *changing) Version() string { return fmt.Sprint(c.times) }

// TestPolicyChangesMeanwhile: what people approved under a policy that is not in force any more does not pass against the one that is.
func TestPolicyChangesMeanwhile(t *testing.T) {
	verdict := func(kind string, v pipeline.Verdict) fakes.Decider {
		return func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
			if s == nil && kind == "call" || s != nil && s.Kind == kind {
				return v
			}
			return pipeline.Verdict{Rule: "role/fake"}
		}
	}
	hold := pipeline.Verdict{Action: pipeline.Hold, Rule: "guardrail/h", Digest: "d1"}
	changed := hold
	changed.Digest = "d2"
	for _, c := range []struct {
		name string
		kind string
		then fakes.Decider
		ok   bool
	}{
		{"not at all", pipeline.StepPrompt, verdict(pipeline.StepPrompt, hold), true},
		{"it is not held any more", pipeline.StepPrompt, verdict("", hold), true},
		{"it is denied", pipeline.StepPrompt, verdict(pipeline.StepPrompt, pipeline.Verdict{Action: pipeline.Deny, Rule: "guardrail/d"}), false},
		{"the rule reads otherwise", pipeline.StepPrompt, verdict(pipeline.StepPrompt, changed), false},
		{"it is to be masked", pipeline.StepPrompt, verdict(pipeline.StepPrompt, pipeline.Verdict{Action: pipeline.Transform}), false},
		{"the role is gone", pipeline.StepPrompt, verdict("call", pipeline.Verdict{Action: pipeline.Deny, Rule: "builtin/no-role"}), false},
		{"a tool call, not at all", pipeline.StepToolCall, verdict(pipeline.StepToolCall, hold), true},
		{"a tool call is denied", pipeline.StepToolCall, verdict(pipeline.StepToolCall, pipeline.Verdict{Action: pipeline.Deny, Rule: "builtin/no-role"}), false},
		{"a text is denied", pipeline.StepResponse, verdict(pipeline.StepResponse, pipeline.Verdict{Action: pipeline.Deny, Rule: "guardrail/d"}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			reply := completion("hello")
			if c.kind == pipeline.StepToolCall {
				reply = withCalls(`{}`)
			}
			r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", reply)
			r.opts.Holder = &people{decided: true, verdict: pipeline.Allow}
			r.opts.Decider = &changing{Decider: verdict(c.kind, hold), then: c.then}
			if err := r.serve(); err != nil {
				t.Fatal(err)
			}
			if got := string(r.client.Got) == reply; got != c.ok {
				t.Errorf("got %s", r.client.Got)
			}
		})
	}
}
