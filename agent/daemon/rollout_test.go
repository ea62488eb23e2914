// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// TestRollout counts the decisions of a journal by scope and rule: what was enforced, what would have been.
func TestRollout(t *testing.T) {
	index := journal.NewIndex(0)
	j, err := journal.Open(journal.Options{Dir: filepath.Join(t.TempDir(), "journal"), BootID: "boot", Index: index})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	at := func(min int) time.Time { return time.Date(2026, 1, 31, 12, min, 0, 0, time.UTC) }
	write := func(min int, kind, id string, body any) {
		_, durable := j.Append(pipeline.Record{Kind: kind, Time: at(min), Session: "ses_1", Exchange: id, Body: body})
		if err := <-durable; err != nil {
			t.Fatal(err)
		}
	}
	deny := func(scope, id, who string, enforced bool, v pipeline.Verdict) *pipeline.Decision {
		return &pipeline.Decision{ID: id, Scope: scope, SPIFFEID: who, Enforced: enforced, Verdict: v}
	}
	no := pipeline.Verdict{Action: pipeline.Deny, Rule: "role/bot"}
	for i, d := range []*pipeline.Decision{
		deny("agents", "dec_0", "a", false, no), // too old
		deny("agents", "dec_1", "a", false, no), deny("agents", "dec_2", "b", false, no), deny("agents", "dec_3", "a", true, no),
		deny("agents", "dec_4", "", false, pipeline.Verdict{Action: pipeline.Alert, Rule: "guardrail/told"}),
		deny("old", "dec_5", "", true, pipeline.Verdict{Matched: []pipeline.Matched{{Rule: "guardrail/new", Action: pipeline.Hold, Observed: true}, {Rule: "guardrail/x", Action: pipeline.Deny}}}),
	} {
		id := "exc_" + d.ID
		write(i, pipeline.KindIntent, id, &pipeline.Intent{Scope: d.Scope})
		write(i, pipeline.KindDecision, id, d)
		write(i, pipeline.KindOutcome, id, &pipeline.Outcome{})
	}
	d := &daemon{index: index, cfg: &config.Config{Protect: []config.Scope{{Name: "agents", Mode: "enforce", Canary: 1050}, {Name: "pods", Mode: "observe"}}}}
	got, err := console{d}.Rollout(t.Context(), at(1))
	if err != nil {
		t.Fatal(err)
	}
	want := []adminapi.RolloutScope{
		{Name: "agents", Mode: "enforce", Canary: "10.5%", Would: []adminapi.RolloutRule{{Rule: "role/bot", Action: "deny", Count: 2, Callers: 2, Example: "dec_2", Last: at(2)}},
			Did: []adminapi.RolloutRule{{Rule: "role/bot", Action: "deny", Count: 1, Callers: 1, Example: "dec_3", Last: at(3)}}},
		{Name: "pods", Mode: "observe"},
		{Name: "old", Mode: "not configured now", Would: []adminapi.RolloutRule{{Rule: "guardrail/new", Action: "hold", Count: 1, Callers: 1, Example: "dec_5", Last: at(5)}}},
	}
	if diff := cmp.Diff(want, got.Scopes); diff != "" {
		t.Error(diff)
	}
}
