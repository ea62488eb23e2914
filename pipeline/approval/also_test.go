// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

// TestTwoRules has two rules that hold one thing: the approvers of the one do not approve for those of the other.
func TestTwoRules(t *testing.T) {
	both := pipeline.Person{User: "both", UID: 1010, Groups: []string{"ops", "owners"}}
	operator := pipeline.Person{User: "operator", UID: 1011}
	for _, c := range []struct {
		name  string
		other pipeline.ApprovalSettings
		by    []pipeline.Person // one after the other; it is approved by the last of them
	}{
		{"one of each", pipeline.ApprovalSettings{Approvers: []string{"owners"}}, []pipeline.Person{alice, carol}},
		{"in another order", pipeline.ApprovalSettings{Approvers: []string{"owners"}}, []pipeline.Person{carol, alice}},
		{"two of the same do not do", pipeline.ApprovalSettings{Approvers: []string{"owners"}}, []pipeline.Person{alice, bob, carol}},
		{"somebody in both", pipeline.ApprovalSettings{Approvers: []string{"owners"}}, []pipeline.Person{both}},
		{"the same approvers, but two of them", pipeline.ApprovalSettings{Approvers: []string{"ops"}, Minimum: 2}, []pipeline.Person{alice, bob}},
		{"whoever may decide at all", pipeline.ApprovalSettings{}, []pipeline.Person{alice, operator}},
		{"by escalation", pipeline.ApprovalSettings{Approvers: []string{"owners"}, Escalate: []pipeline.ApprovalEscalation{{After: 0, Groups: []string{"leads"}}}},
			[]pipeline.Person{bob}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.other.Once, c.other.Timeout = true, time.Minute
				r := newRig(t, pipeline.ApprovalSettings{Approvers: []string{"ops"}}, func(o *approval.Options) {
					o.Settings = func(rule string) (pipeline.ApprovalSettings, bool) { return c.other, rule == "guardrail/prod" }
				})
				defer r.end()
				a := r.wait(bg(), with(call("1", `{"a":1}`), func(h *pipeline.Held) {
					h.Verdict.Matched = []pipeline.Matched{{Rule: "guardrail/pay", Action: pipeline.Hold}, {Rule: "guardrail/prod", Action: pipeline.Hold},
						{Rule: "guardrail/try", Action: pipeline.Hold, Observed: true}}
				}))
				it := r.one(approval.Filter{})
				if len(it.Settings.Also) != 1 || !it.Settings.Once || it.Deadline.Sub(it.Time) != time.Minute || !strings.Contains(it.Reason, "guardrail/prod") {
					t.Errorf("item %+v", it)
				}
				if why := r.refuse(it.ID, alice, approval.Decision{Approve: true, Scope: pipeline.ScopeSession}); !strings.Contains(why, "one time only") {
					t.Error(why)
				}
				for i, by := range c.by {
					if i > 0 {
						a.waits(t)
					}
					r.decide(it.ID, by, yes)
				}
				a.want(t, pipeline.Allow)
			})
		})
	}
}
