// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// some agree to what some rules hold.
type some map[string]pipeline.Action

func (s some) Wait(_ context.Context, h *pipeline.Held) (pipeline.Verdict, error) {
	v := h.Verdict
	v.Action, v.Approval = s[v.Rule], "apr_"+v.Hold
	return v, nil
}

// TestHeldByTwoRules: what two rules hold passes only if people agree about both.
func TestHeldByTwoRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		second pipeline.Action
		kind   string
		want   string
	}{
		{"a request, both agree", pipeline.Allow, pipeline.StepPrompt, `"hello"`},
		{"a request, one refuses", pipeline.Deny, pipeline.StepPrompt, "guardrail/two"},
		{"a request, one has not decided", pipeline.Hold, pipeline.StepPrompt, "Approval apr_two waits"},
		{"a reply, both agree", pipeline.Allow, pipeline.StepResponse, `"hello"`},
		{"a reply, one refuses", pipeline.Deny, pipeline.StepResponse, "guardrail/two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("hello"))
				r.opts.Holder = some{"guardrail/one": pipeline.Allow, "guardrail/two": c.second}
				r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
					if s == nil || s.Kind != c.kind {
						return pipeline.Verdict{Rule: "role/fake"}
					}
					return pipeline.Verdict{Action: pipeline.Hold, Rule: "guardrail/one", Hold: "one", Digest: "d1",
						Also: []pipeline.HeldBy{{Rule: "guardrail/two", Hold: "two", Digest: "d2"}}}
				})
				if err := serve(t, newFlow(t, r.opts), r, context.Background()); err != nil {
					t.Fatalf("serve: %v (%v)", err, r.notes)
				}
				if got := string(r.client.Got); !strings.Contains(got, c.want) || strings.Contains(got, "hello") != (c.second == pipeline.Allow) {
					t.Errorf("got %d %s", r.client.Reply.Status, got)
				}
				if sent := len(r.up.Sent) == 1; sent != (c.second == pipeline.Allow || c.kind == pipeline.StepResponse) {
					t.Errorf("%d requests sent", len(r.up.Sent))
				}
			})
		})
	}
}
