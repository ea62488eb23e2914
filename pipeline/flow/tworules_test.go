// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// TestTwoRulesHold has a call that other rules hold as the model wrote it than as it would be released. All of their approvers are
// asked, and what they have approved passes.
func TestTwoRulesHold(t *testing.T) {
	hold := func(digest string, rules ...string) pipeline.Verdict {
		v := pipeline.Verdict{Action: pipeline.Hold, Rule: "guardrail/" + rules[0], Digest: digest}
		for _, r := range rules {
			v.Matched = append(v.Matched, pipeline.Matched{Rule: "guardrail/" + r, Action: pipeline.Hold})
		}
		return v
	}
	for _, c := range []struct {
		name        string
		raw, masked pipeline.Verdict
		asked       string
		digest      string // "": another than each
	}{
		{"the same", hold("a", "a"), hold("a", "a"), "guardrail/a", "a"},
		{"the secret is held too", hold("ab", "a", "b"), hold("a", "a"), "guardrail/a guardrail/b", "ab"},
		{"the secret alone is held", hold("b", "b"), hold("a", "a"), "guardrail/b guardrail/a", ""},
		{"what is left is held too", hold("a", "a"), hold("ab", "a", "b"), "guardrail/a guardrail/b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", withCalls(`{"to":"`+secret+`"}`))
			p := &people{decided: true, verdict: pipeline.Allow}
			r.opts.Holder = p
			r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
				switch {
				case s == nil || s.Kind != pipeline.StepToolCall:
					return pipeline.Verdict{Rule: "role/fake"}
				case bytes.Contains(s.Args, []byte(secret)):
					return c.raw
				}
				return c.masked
			})
			if err := r.serve(); err != nil {
				t.Fatal(err)
			}
			if len(p.asked) != 1 || !strings.Contains(string(r.client.Got), with) {
				t.Fatalf("asked %d times, got %s", len(p.asked), r.client.Got)
			}
			var rules []string
			v := p.asked[0].Verdict
			for _, m := range v.Matched {
				rules = append(rules, m.Rule)
			}
			if got := strings.Join(rules, " "); got != c.asked {
				t.Errorf("asked for %s, want %s", got, c.asked)
			}
			if c.digest != "" && v.Digest != c.digest || v.Digest == "" || c.digest == "" && (v.Digest == c.raw.Digest || v.Digest == c.masked.Digest) {
				t.Errorf("digest %s", v.Digest)
			}
		})
	}
}
