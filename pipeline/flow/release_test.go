// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Who holds a step may keep it after the exchange: it shares no memory with the request.
func TestHeldStepIsKept(t *testing.T) {
	for _, after := range []pipeline.Action{pipeline.Allow, pipeline.Deny} {
		r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("hello"))
		var kept *pipeline.Step
		r.opts.Decider = actOn(pipeline.StepPrompt, pipeline.Hold)
		r.opts.Holder = holder{v: pipeline.Verdict{Action: after}, kept: &kept}
		r.must()
		if kept == nil || kept.Text != "Say hi" {
			t.Errorf("%v: kept %+v", after, kept)
		}
	}
}
