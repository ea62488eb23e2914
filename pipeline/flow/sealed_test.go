// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// withCalls is a whole reply with tool calls.
func withCalls(calls ...string) string {
	var list []string
	for i, args := range calls {
		list = append(list, fmt.Sprintf(`{"id":"call_%d","type":"function","function":{"name":"pay","arguments":%s}}`, i, quote(args)))
	}
	return `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[` +
		strings.Join(list, ",") + `]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":5,"completion_tokens":4}}`
}

// TestKeptReply has a plain call whose reply holds what nobody decides in time.
func TestKeptReply(t *testing.T) {
	reply := withCalls(`{"to":"x"}`, `{"to":"x"}`)
	again := func(r *rig, change func(*rig)) {
		payload, head := r.client.Payload, r.client.Request
		r.client = fakes.Client{Payload: payload, Request: head.Clone()}
		r.meta.Exchange = ""
		r.log = &fakes.Log{}
		change(r)
	}
	for _, c := range []struct {
		name   string
		change func(*rig) // of the request that comes again
		kept   bool
	}{
		{"the same", func(*rig) {}, true},
		{"another body", func(r *rig) { r.client.Payload = append([]byte(" "), r.client.Payload...) }, false},
		{"another path", func(r *rig) { r.client.Request.Target += "?x=1" }, false},
		{"another credential", func(r *rig) { r.client.Request.Credential = "fp2" }, false},
		{"another uid", func(r *rig) { r.meta.Workload.UID++ }, false},
		{"another login", func(r *rig) { r.meta.Workload.LoginUID++ }, false},
		{"another principal", func(r *rig) { r.meta.Principal.SPIFFEID = "spiffe://example.org/y" }, false},
		{"another endpoint", func(r *rig) { r.meta.Endpoint.Host = "other.example" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", reply)
				log := &fakes.Log{}
				p := &people{after: time.Hour, verdict: pipeline.Allow}
				r.opts.Holder, r.opts.Decider, r.opts.Log = p, holdTool("pay"), log
				r.log = log
				f := newFlow(t, r.opts)
				if err := serve(t, f, r, context.Background()); err != nil {
					t.Fatal(err)
				}
				r.wantFailure("sallyport_held")
				first := r.meta.Exchange
				if o := r.outcome(); *o.Usage.InputTokens != 5 {
					t.Errorf("outcome %+v", o)
				}
				// Still nobody: it is held again, and kept again.
				again(r, func(*rig) {})
				if err := serve(t, f, r, context.Background()); err != nil {
					t.Fatal(err)
				}
				r.wantFailure("sallyport_held")
				if len(r.up.Sent) != 1 {
					t.Fatalf("%d requests sent", len(r.up.Sent))
				}
				p.decided = true
				again(r, c.change)
				sent := len(r.up.Sent)
				r.up.Rewind()
				if err := serve(t, f, r, context.Background()); err != nil {
					t.Fatal(err)
				}
				if string(r.client.Got) != reply {
					t.Errorf("got %s", r.client.Got)
				}
				if got := len(r.up.Sent) == 0; got != c.kept {
					t.Errorf("%d requests sent after %d", len(r.up.Sent), sent)
				}
				var o pipeline.Outcome
				all := log.Of(pipeline.KindOutcome)
				if err := json.Unmarshal(all[len(all)-1], &o); err != nil {
					t.Fatal(err)
				}
				if c.kept && (o.ReplyOf != first || o.Usage.InputTokens != nil) || !c.kept && o.ReplyOf != "" {
					t.Errorf("outcome %+v", o)
				}
				use := map[string]int{}
				for _, a := range p.asked {
					use[a.Use]++
				}
				if c.kept && (use[first+"#1"] != 3 || use[first+"#2"] != 1 || len(use) != 2) {
					t.Errorf("uses %v", use)
				}
				// It was given out: it is not there any more.
				if c.kept {
					again(r, func(*rig) {})
					r.up.Rewind()
					if err := serve(t, f, r, context.Background()); err != nil || len(r.up.Sent) != 1 {
						t.Errorf("%d requests sent, %v", len(r.up.Sent), err)
					}
				}
			})
		})
	}
}

func TestKeptReplyIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", withCalls(`{}`))
		p := &people{after: time.Hour, verdict: pipeline.Allow}
		r.opts.Holder, r.opts.Decider = p, holdTool("pay")
		f := newFlow(t, r.opts)
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(time.Second, func() { cancel(pipeline.ErrClientGone) })
		if err := serve(t, f, r, ctx); err == nil { // it goes away, and comes again
			t.Error("no error")
		}
		p.decided = true
		payload, head := r.client.Payload, r.client.Request
		r.client = fakes.Client{Payload: payload, Request: head}
		r.meta.Exchange = ""
		if err := serve(t, f, r, context.Background()); err != nil || len(r.up.Sent) != 1 || string(r.client.Got) != withCalls(`{}`) {
			t.Errorf("%d requests sent, %v: %s", len(r.up.Sent), err, r.client.Got)
		}
		p.decided = false
		r.up.Rewind()
		r.client = fakes.Client{Payload: payload, Request: head}
		r.meta.Exchange = ""
		if err := serve(t, f, r, context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Minute)
		p.decided = true
		r.up.Rewind()
		r.client = fakes.Client{Payload: payload, Request: head}
		r.meta.Exchange = ""
		if err := serve(t, f, r, context.Background()); err != nil || len(r.up.Sent) != 1 {
			t.Errorf("%d requests sent, %v", len(r.up.Sent), err)
		}
	})
}
