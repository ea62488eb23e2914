// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/replay"
)

// rules is a policy by a function.
type rules func(step *pipeline.Step) pipeline.Action

func (r rules) Decide(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
	v := pipeline.Verdict{Action: r(s), Stage: "call"}
	if s != nil {
		v.Stage = s.Kind
	}
	switch v.Action {
	case pipeline.Allow:
	case noRole:
		v.Action, v.Rule = pipeline.Deny, "builtin/no-binding"
	default:
		v.Rule = "guardrail/" + v.Action.String()
	}
	return v
}
func (r rules) Version() string { return "test" }

// on gives an action to steps whose name or text holds a word, "call" for calls.
func on(word string, a pipeline.Action) rules {
	return func(s *pipeline.Step) pipeline.Action {
		if s == nil && word == "call" || s != nil && word != "" && strings.Contains(s.Kind+" "+s.Name+" "+s.Text+string(s.Args), word) {
			return a
		}
		return pipeline.Allow
	}
}

// roleLacks is a policy in which nobody has a role.
func roleLacks(s *pipeline.Step) pipeline.Action { return noRole }

// noRole stands for a refusal for want of a role.
const noRole = pipeline.Action(200)

func base(mode pipeline.Mode) *replay.Exchange {
	return &replay.Exchange{ID: "exc_1", Time: time.Unix(1, 0), Intent: &pipeline.Intent{Mode: mode, Workload: pipeline.Workload{PID: 1, UID: 9, Unit: "a.service"},
		Call: pipeline.Call{Operation: pipeline.OpChat, Model: "m", Steps: []pipeline.Step{
			{Kind: pipeline.StepPrompt, Text: "one"}, {Kind: pipeline.StepPrompt, Text: "one"}, {Kind: pipeline.StepToolCall, Name: "old", Args: []byte(`{}`)},
			{Kind: pipeline.StepToolResult, Name: "old", Text: "result"}, {Kind: pipeline.StepToolOffer, Name: "bash"}}}},
		Outcome: &pipeline.Outcome{Tools: []pipeline.Step{{Kind: pipeline.StepToolCall, Name: "bash", ID: "c1", Args: []byte(`{"c":"ls"}`)}}}}
}

func decided(x *replay.Exchange, a pipeline.Action, step *pipeline.Step) *replay.Exchange {
	v := pipeline.Verdict{Action: a, Stage: "call", Rule: "guardrail/" + a.String()}
	x.Decisions = append(x.Decisions, pipeline.Decision{Verdict: v, Step: step, Enforced: x.Intent.Mode == pipeline.ModeEnforce})
	return x
}

func TestComparison(t *testing.T) {
	const enforce, observe = pipeline.ModeEnforce, pipeline.ModeObserve
	step := func(x *replay.Exchange, i int) *pipeline.Step { return &x.Intent.Call.Steps[i] }
	for _, c := range []struct {
		name      string
		x         func() *replay.Exchange
		candidate rules
		against   rules
		want      []string // STAGE TOOL FROM→TO
		check     func(r *replay.Report) string
	}{
		{name: "nothing differs", x: func() *replay.Exchange { return base(enforce) }, candidate: on("", 0)},
		{name: "the call is refused, nothing behind it counts", x: func() *replay.Exchange { return base(enforce) }, candidate: on("call", pipeline.Deny), want: []string{"call  allow→deny"}},
		{name: "in observe everything is decided", x: func() *replay.Exchange { return base(observe) }, candidate: func(*pipeline.Step) pipeline.Action { return pipeline.Deny },
			want: []string{"call  allow→deny", "prompt  allow→deny", "prompt  allow→deny", "toolResult old allow→deny", "toolOffer bash allow→remove", "toolCall bash allow→deny"}},
		{name: "a refusal is lifted", x: func() *replay.Exchange {
			x := base(enforce)
			x.Outcome.Tools = nil
			return decided(x, pipeline.Deny, nil)
		}, candidate: on("", 0), want: []string{"call  deny→allow"}, check: func(r *replay.Report) string {
			if r.Beyond != 4 { // two prompts, a result, an offer
				return "what stands behind the refusal is not counted"
			}
			return ""
		}},
		{name: "a tool is taken out, and its call refused", x: func() *replay.Exchange { return base(enforce) }, candidate: func(s *pipeline.Step) pipeline.Action {
			if s != nil && s.Name == "bash" {
				return pipeline.Deny
			}
			return pipeline.Allow
		}, want: []string{"toolOffer bash allow→remove", "toolCall bash allow→deny"}},
		{name: "a tool had been taken out, and would not be", x: func() *replay.Exchange {
			x := decided(base(enforce), pipeline.Transform, nil)
			v := &x.Decisions[0].Verdict
			v.Stage, v.Removed = pipeline.StepToolOffer, []pipeline.Step{{Kind: pipeline.StepToolOffer, Name: "sql"}, {Kind: pipeline.StepToolOffer, Name: "curl", Index: 1}}
			return x
		}, candidate: on("sql", pipeline.Deny), want: []string{"toolOffer curl remove→allow"}},
		{name: "a tool would have been taken out, in observe", x: func() *replay.Exchange {
			x := decided(base(observe), pipeline.Transform, nil)
			v := &x.Decisions[0].Verdict
			v.Stage, v.Removed = pipeline.StepToolOffer, []pipeline.Step{{Kind: pipeline.StepToolOffer, Name: "bash"}}
			return x
		}, candidate: on("toolOffer bash", pipeline.Deny)},
		{name: "a tool that the request demands was refused, and is", x: func() *replay.Exchange {
			x := base(enforce)
			x.Outcome.Tools = nil
			return decided(x, pipeline.Deny, step(x, 4))
		}, candidate: on("toolOffer bash", pipeline.Deny)},
		{name: "nobody is asked about what is refused anyway", x: func() *replay.Exchange {
			x := base(enforce)
			x.Outcome.Tools = nil
			return decided(x, pipeline.Deny, step(x, 3))
		}, candidate: func(s *pipeline.Step) pipeline.Action {
			switch {
			case s != nil && s.Kind == pipeline.StepPrompt:
				return pipeline.Hold
			case s != nil && s.Kind == pipeline.StepToolResult:
				return pipeline.Deny
			}
			return pipeline.Allow
		}},
		{name: "masked before it was recorded", x: func() *replay.Exchange {
			x := base(enforce)
			return decided(x, pipeline.Transform, step(x, 3))
		}, candidate: on("", 0), check: func(r *replay.Report) string {
			if r.Covered != 1 {
				return "not counted"
			}
			return ""
		}},
		{name: "an answer", x: func() *replay.Exchange {
			x := base(enforce)
			x.Outcome.Text = "a secret plan"
			return x
		}, candidate: on("secret plan", pipeline.Deny), want: []string{"response  allow→deny"}},
		{name: "an answer that was refused", x: func() *replay.Exchange {
			x := base(enforce)
			return decided(x, pipeline.Deny, &pipeline.Step{Kind: pipeline.StepResponse, Text: "a secret plan"})
		}, candidate: on("", 0), want: []string{"response  deny→allow"}},
		{name: "masked and held", x: func() *replay.Exchange { return base(enforce) }, candidate: func(s *pipeline.Step) pipeline.Action {
			switch {
			case s != nil && s.Kind == pipeline.StepToolResult:
				return pipeline.Transform
			case s != nil && s.Kind == pipeline.StepToolCall:
				return pipeline.Hold
			}
			return pipeline.Allow
		}, want: []string{"toolResult old allow→mask", "toolCall bash allow→hold"}},
		{name: "the second of two like steps was refused", x: func() *replay.Exchange {
			x := base(observe)
			return decided(decided(x, pipeline.Deny, step(x, 0)), pipeline.Deny, step(x, 1))
		}, candidate: on("one", pipeline.Deny)},
		{name: "held and approved, and the rule still holds", x: func() *replay.Exchange {
			x := base(enforce)
			return decided(decided(x, pipeline.Hold, step(x, 3)), pipeline.Allow, step(x, 3))
		}, candidate: on("result", pipeline.Hold)},
		{name: "held and refused by people", x: func() *replay.Exchange {
			x := base(enforce)
			x.Outcome.Tools = nil
			return decided(decided(x, pipeline.Hold, step(x, 3)), pipeline.Deny, step(x, 3))
		}, candidate: on("result", pipeline.Hold)},
		{name: "a tool call of the past is not decided again", x: func() *replay.Exchange { return base(enforce) }, candidate: on("toolCall old", pipeline.Deny)},
		{name: "verdicts of the machinery do not count", x: func() *replay.Exchange {
			x := decided(base(enforce), pipeline.Deny, nil)
			x.Decisions[0].Verdict.Rule = "builtin/unavailable"
			return x
		}, candidate: on("", 0)},
		{name: "an elevation is left out", x: func() *replay.Exchange {
			x := decided(base(enforce), pipeline.Allow, nil)
			x.Decisions[0].Verdict.Elevation = "elv_1"
			return x
		}, candidate: roleLacks, check: func(r *replay.Report) string {
			if r.Elevated != 6 {
				return "not counted"
			}
			return ""
		}},
		{name: "a budget is left out", x: func() *replay.Exchange {
			x := decided(base(enforce), pipeline.Deny, nil)
			x.Decisions[0].Verdict.Code = pipeline.CodeBudget
			return x
		}, candidate: on("", 0), check: func(r *replay.Report) string {
			if r.Budget != 1 {
				return "not counted"
			}
			return ""
		}},
		{name: "not inspected", x: func() *replay.Exchange {
			x := base(enforce)
			x.Intent.Uninspected = "unknown"
			return x
		}, candidate: on("call", pipeline.Deny), check: func(r *replay.Report) string {
			if r.Uninspected != 1 {
				return "not counted"
			}
			return ""
		}},
		{name: "against another policy, which refuses the call", x: func() *replay.Exchange { return base(enforce) }, candidate: on("bash", pipeline.Deny), against: on("call", pipeline.Deny),
			want: []string{"call  deny→allow"}},
		{name: "on a text with masks", x: func() *replay.Exchange {
			x := base(enforce)
			x.Intent.Masks = []pipeline.Mask{{With: "one"}}
			return x
		}, candidate: on("one", pipeline.Alert), want: []string{"prompt  allow→alert", "prompt  allow→alert"}, check: func(r *replay.Report) string {
			if r.MaskedSteps != 2 || r.MaskedChanges != 2 || !r.Changes[0].Masked {
				return "not marked"
			}
			return ""
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var against replay.Decider
			if c.against != nil {
				against = c.against
			}
			cmp := replay.New(c.candidate, replay.Options{Against: against})
			cmp.Add(c.x())
			r := cmp.Report()
			var got []string
			for _, ch := range r.Changes {
				got = append(got, fmt.Sprintf("%s %s %s→%s", ch.Stage, ch.Tool, ch.Was.Effect, ch.Would.Effect))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.check != nil {
				if why := c.check(&r); why != "" {
					t.Errorf("%s: %+v", why, r)
				}
			}
		})
	}
}
