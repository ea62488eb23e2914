// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestHeldBlock: a tool call that is held in the middle of a stream: what came before it is out, pings keep the application
// waiting, and then it comes as it was, or a text in its place, and the blocks behind it have the right numbers.
func TestHeldBlock(t *testing.T) {
	in := cat(begins, textBlock(0, "Well."), toolBlock(1, "delete", bad), textBlock(2, "so"), ends("tool_use"), stops)
	for _, c := range []struct {
		name    string
		verdict pipeline.Action
		after   time.Duration
		want    []string
	}{
		{"approved", pipeline.Allow, 40 * time.Second,
			cat(begins, textBlock(0, "Well."), ping, ping, toolBlock(1, "delete", bad), textBlock(2, "so"), ends("tool_use"), stops)},
		{"approved at once", pipeline.Allow, time.Second, in},
		{"denied", pipeline.Deny, 20 * time.Second,
			cat(begins, textBlock(0, "Well."), ping, textBlock(1, "so"), instead(2, "delete"), ends("end_turn"), stops)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := blockRig(t, true).reply(200, "text/event-stream", in...)
				p := &people{after: c.after, verdict: c.verdict}
				r.opts.Holder, r.opts.Decider = p, actOn(pipeline.StepToolCall, pipeline.Hold)
				got := strings.ReplaceAll(unnamed(r.must()), "guardrail/g", "guardrail/no-delete")
				if want := strings.Join(c.want, ""); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
				if len(p.asked) != 1 || string(p.asked[0].Raw) != bad || p.asked[0].Step.Name != "delete" {
					t.Errorf("asked %+v", p.asked)
				}
			})
		})
	}
}
