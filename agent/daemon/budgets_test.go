// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/policy"
)

// TestBudgetsOutliveARestart: what the journal says was used counts on; what was refused, or is too old, does not.
func TestBudgetsOutliveARestart(t *testing.T) {
	set, err := policy.LoadFS(fstest.MapFS{"p.yaml": {Data: []byte(`
apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: r}
spec: {rules: [{endpoints: ["*"], operations: [chat], models: ["*"], limits: {requests: 3, per: 1h}}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: b}
spec: {role: r, subjects: [{user: ann}]}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	dir, now := t.TempDir(), time.Now()
	write := func(exchange string, at time.Time, v pipeline.Verdict) {
		x := journal.NewIndex(0)
		j, err := journal.Open(journal.Options{Dir: dir, Index: x})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		}()
		call := pipeline.Call{Operation: pipeline.OpChat, Model: "m"}
		_, intent := j.Append(pipeline.Record{Kind: pipeline.KindIntent, Time: at, Session: "ses_1", Exchange: exchange,
			Body: &pipeline.Intent{Principal: pipeline.Principal{User: "ann"}, Call: call, Body: []byte(`{"model":"m"}`)}})
		_, outcome := j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Time: at, Session: "ses_1", Exchange: exchange, Body: &pipeline.Outcome{Status: 200, Verdict: v}})
		for _, durable := range []<-chan error{intent, outcome} {
			if err := <-durable; err != nil {
				t.Fatal(err)
			}
		}
	}
	write("exc_1", now.Add(-3*time.Hour), pipeline.Verdict{})
	write("exc_2", now.Add(-30*time.Minute), pipeline.Verdict{})
	write("exc_3", now.Add(-20*time.Minute), pipeline.Verdict{Action: pipeline.Deny, Stage: "call"})
	write("exc_4", now.Add(-time.Minute), pipeline.Verdict{})

	x := journal.NewIndex(0)
	j, err := journal.Open(journal.Options{Dir: dir, Index: x})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	e := policy.NewEngine(set, policy.EngineOptions{})
	if err := restoreBudgets(e, x, now); err != nil {
		t.Fatal(err)
	}
	m, c := &pipeline.Meta{Exchange: "exc_5", Principal: pipeline.Principal{User: "ann"}}, &pipeline.Call{Operation: pipeline.OpChat, Model: "m"}
	if v := e.Decide(m, c, nil); v.Action != pipeline.Allow {
		t.Errorf("the third: %+v", v)
	}
	if v := e.Decide(m, c, nil); v.Code != pipeline.CodeBudget {
		t.Errorf("the fourth: %+v", v)
	}
}
