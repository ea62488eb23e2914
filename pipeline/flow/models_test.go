// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// TestModels: a question without a body is decided and recorded as every other one, and its answer stays as it came.
func TestModels(t *testing.T) {
	const list = `{"object":"list","data":[{"id":"gpt-4o","object":"model","owned_by":"system"}]}`
	ask := func(target string) *rig {
		r := newRig(t, pipeline.ModeEnforce, "").reply(200, "application/json", list)
		r.client.Payload = nil
		r.client.Request.Method, r.client.Request.Target = "GET", target
		r.client.Request.Fields = r.client.Request.Fields[:1]
		return r
	}
	for target, model := range map[string]string{"/v1/models": "", "/v1/models/gpt-4o": "gpt-4o"} {
		r := ask(target)
		if got := r.must(); got != list {
			t.Errorf("%s: got %s", target, got)
		}
		if in := r.intent(); in.Call.Operation != pipeline.OpModels || in.Call.Model != model || in.Uninspected != "" || len(r.up.Sent) != 1 {
			t.Errorf("%s: intent %+v", target, in)
		}
	}
	r := ask("/v1/models")
	r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, c *pipeline.Call, _ *pipeline.Step) pipeline.Verdict {
		if c.Operation == pipeline.OpModels {
			return pipeline.Verdict{Action: pipeline.Deny, Rule: "role/x", Reason: "no"}
		}
		return pipeline.Verdict{}
	})
	r.wantDenied("sallyport_denied")
	r = ask("/v1/models")
	r.client.Payload = []byte(strings.Repeat("x", 10))
	r.wantDenied("sallyport_not_inspected")
	r = ask("/v1/files")
	r.wantDenied("sallyport_not_inspected")
}
