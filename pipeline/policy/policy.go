// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	masking "github.com/sallyport-dev/sallyport/pipeline/mask/rule"
	"github.com/sallyport-dev/sallyport/pipeline/policy/cond"
	"github.com/sallyport-dev/sallyport/pipeline/policy/meter"
	"github.com/sallyport-dev/sallyport/pipeline/policy/prefilter"
)

// Set is a compiled policy. The zero Set denies everything.
type Set struct {
	version  string
	roles    map[string]*role
	bindings []binding        // by name
	guards   []guard          // by name
	about    map[string]*kind // step kind → guards
	index    *prefilter.Index // of the expressions of guards, under the same numbers
	replies  []*masking.Rule  // by which guards mask replies
	labels   []string         // the pod labels that bindings ask for, sorted
	scratch  sync.Pool        // of *reading

	mu    sync.RWMutex
	known map[string]*caller // by caller key, bounded by maxKnown; what it points to is not changed
}

// maxKnown bounds how many callers are remembered; when it is reached, all are forgotten.
const maxKnown = 4096

type role struct {
	name  string
	rules []rule
}

// rule grants what all of its lists grant; an empty list grants nothing.
type rule struct {
	endpoints, models, operations, tools []glob
	hosts                                []glob // those of endpoints that have a dot, in lower case
	maxTokens                            int64  // 0: as many as the request likes
	limit                                meter.Limit
	when                                 *cond.Program
	observe                              bool // limits and conditions are only watched
}

type binding struct {
	name     string
	role     *role
	subjects []subject
	observe  bool
}

// subject selects callers; every criterion that is set must hold.
type subject struct {
	spiffe, unit              *glob
	user, group               string
	namespace, serviceAccount string
	uid                       *uint32
	labels                    map[string]string
}

// Env is what a decision depends on beside the policy and the call.
type Env struct {
	Now    time.Time // of conditions on the time; zero: the start of the exchange, or the clock
	Grants []pipeline.Grant
	Meter  *meter.Meter // nil: limits of requests and tokens are taken to have room
}

// Version names the policy by its content: "sha256:…".
func (s *Set) Version() string { return s.version }

// Roles names all roles, in order.
func (s *Set) Roles() []string { return slices.Sorted(maps.Keys(s.roles)) }

// Role says whether there is a role of this name.
func (s *Set) Role(name string) bool { return s.roles[name] != nil }

// Decide is DecideIn without grants and counters: the same call gives the same verdict.
func (s *Set) Decide(m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) pipeline.Verdict {
	return s.DecideIn(Env{}, m, c, step)
}

// DecideIn gives the verdict on a call (step nil) or on one step of a call that was allowed.
//
// A call needs a role with a rule that grants its endpoint, operation and model, whose condition holds and whose limits have
// room; the request is counted then. A tool that is offered or called needs such a rule that grants the tool too, whatever its
// limits; one that the provider runs itself needs a pattern that is more than "*". Guardrails look at steps only; deny wins over
// hold, mask and alert, and of several the first by name speaks. A guardrail that names tools also matches a step whose tool is
// not known, for want of proof that it is another.
func (s *Set) DecideIn(env Env, m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) pipeline.Verdict {
	if m == nil || c == nil {
		return pipeline.Verdict{Action: pipeline.Deny, Stage: "call", Rule: "builtin/no-call", Reason: "there is no call to decide on"}
	}
	if env.Now.IsZero() {
		if env.Now = m.Start; env.Now.IsZero() {
			env.Now = time.Now()
		}
	}
	if step == nil {
		return s.role(&env, m, c, nil)
	}
	v := pipeline.Verdict{Stage: step.Kind}
	switch step.Kind {
	case pipeline.StepToolCall, pipeline.StepToolOffer:
		if r := s.role(&env, m, c, step); r.Action == pipeline.Deny {
			return r
		} else {
			v.Elevation, v.Matched = r.Elevation, r.Matched
		}
	case pipeline.StepPrompt, pipeline.StepToolResult, pipeline.StepResponse:
	default:
		return pipeline.Verdict{Action: pipeline.Deny, Stage: plain(step.Kind), Rule: "builtin/unknown-step", Reason: "policy does not know this kind of step"}
	}
	s.guard(&env, m, c, step, &v)
	return v
}
