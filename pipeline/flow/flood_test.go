// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// A flood of refused calls is recorded up to a point, then counted, and nothing is missing from the sum. Whoever floods is refused
// until the minute is over; others notice nothing.
func TestFlood(t *testing.T) {
	const each, n = 300, 1000
	now := time.Unix(1_800_000_000, 0)
	r := newRig(t, pipeline.ModeEnforce, plain)
	r.opts.Now = func() time.Time { return now }
	deny := true
	r.opts.Decider = fakes.Decider(func(m *pipeline.Meta, _ *pipeline.Call, _ *pipeline.Step) pipeline.Verdict {
		if deny && m.Principal.SPIFFEID == "spiffe://test/flood" {
			return pipeline.Verdict{Action: pipeline.Deny, Rule: "role/none"}
		}
		return pipeline.Verdict{Rule: "role/fake"}
	})
	f, err := flow.New(r.opts)
	if err != nil {
		t.Fatal(err)
	}
	serve := func(who string) string {
		t.Helper()
		q := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("the answer"))
		q.meta.Principal.SPIFFEID = "spiffe://test/" + who
		if err := f.Serve(context.Background(), &q.meta, &q.client, &q.up); err != nil {
			t.Fatal(err)
		}
		if denied := q.client.Reply.Status == 403; denied && len(q.up.Sent) > 0 {
			t.Fatal("a refused call reached the provider")
		}
		return string(q.client.Got)
	}
	for i := range n {
		got := serve("flood")
		if flooded := strings.Contains(got, "builtin/flood"); flooded != (i >= each) || !strings.Contains(got, "sallyport_denied") {
			t.Fatalf("call %d: %s", i, got)
		}
		if i >= each && strings.Contains(got, "sallyport why") {
			t.Fatalf("it names a decision that is not on record: %s", got)
		}
	}
	if got := serve("other"); !strings.Contains(got, "the answer") {
		t.Errorf("another principal: %s", got)
	}
	deny = false
	if got := serve("flood"); !strings.Contains(got, "builtin/flood") {
		t.Errorf("within the minute: %s", got)
	}
	counted := func() (sum int64, records int) {
		for _, raw := range r.log.Of(pipeline.KindFlow) {
			var fl pipeline.Flow
			if err := json.Unmarshal(raw, &fl); err != nil || fl.Disposition != "refused" || fl.Scope != "agents" || fl.Principal.SPIFFEID != "spiffe://test/flood" || fl.ID == "" {
				t.Fatalf("%s, %v", raw, err)
			}
			sum += fl.Count
			records++
		}
		return sum, records
	}
	if sum, records := counted(); sum < (n-each)/2 || records > 12 {
		t.Errorf("%d counted in %d records before the end of the minute", sum, records)
	}
	now = now.Add(time.Minute)
	if got := serve("flood"); !strings.Contains(got, "the answer") {
		t.Errorf("after the minute: %s", got)
	}
	if sum, _ := counted(); sum != n-each+1 {
		t.Errorf("%d counted, want %d", sum, n-each+1)
	}
	f.Flush()
	if sum, _ := counted(); sum != n-each+1 {
		t.Errorf("counted twice: %d", sum)
	}
	if intents := len(r.log.Of(pipeline.KindIntent)); intents != each+2 {
		t.Errorf("%d intents", intents)
	}
}

// At the end what was only counted is recorded.
func TestFloodFlushed(t *testing.T) {
	r := newRig(t, pipeline.ModeEnforce, plain)
	r.opts.Decider = fakes.Decider(func(*pipeline.Meta, *pipeline.Call, *pipeline.Step) pipeline.Verdict {
		return pipeline.Verdict{Action: pipeline.Deny, Rule: "role/none"}
	})
	f, err := flow.New(r.opts)
	if err != nil {
		t.Fatal(err)
	}
	for range 303 {
		q := newRig(t, pipeline.ModeEnforce, plain)
		if err := f.Serve(context.Background(), &q.meta, &q.client, &q.up); err != nil {
			t.Fatal(err)
		}
	}
	f.Flush()
	sum := int64(0)
	for _, raw := range r.log.Of(pipeline.KindFlow) {
		var fl pipeline.Flow
		if err := json.Unmarshal(raw, &fl); err != nil {
			t.Fatal(err)
		}
		sum += fl.Count
	}
	if sum != 3 {
		t.Errorf("%d counted, want 3", sum)
	}
}

// Where nothing is enforced nothing is refused, however often it would have been.
func TestFloodObserved(t *testing.T) {
	r := newRig(t, pipeline.ModeObserve, plain)
	r.opts.Decider = fakes.Decider(func(*pipeline.Meta, *pipeline.Call, *pipeline.Step) pipeline.Verdict {
		return pipeline.Verdict{Action: pipeline.Deny, Rule: "role/none"}
	})
	f, err := flow.New(r.opts)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 310 {
		q := newRig(t, pipeline.ModeObserve, plain).reply(200, "application/json", completion("the answer"))
		if err := f.Serve(context.Background(), &q.meta, &q.client, &q.up); err != nil || !strings.Contains(string(q.client.Got), "the answer") {
			t.Fatalf("call %d: %v %s", i, err, q.client.Got)
		}
	}
}

// Containers without an identity may all run as one uid: one that floods does not silence the others.
func TestFloodOfUnknown(t *testing.T) {
	r := newRig(t, pipeline.ModeEnforce, plain)
	r.opts.Decider = fakes.Decider(func(m *pipeline.Meta, _ *pipeline.Call, _ *pipeline.Step) pipeline.Verdict {
		if m.Workload.Container == "a" {
			return pipeline.Verdict{Action: pipeline.Deny, Rule: "role/none"}
		}
		return pipeline.Verdict{Rule: "role/fake"}
	})
	f, err := flow.New(r.opts)
	if err != nil {
		t.Fatal(err)
	}
	serve := func(container string) string {
		t.Helper()
		q := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion("the answer"))
		q.meta.Principal, q.meta.Workload.Container = pipeline.Principal{}, container
		if err := f.Serve(context.Background(), &q.meta, &q.client, &q.up); err != nil {
			t.Fatal(err)
		}
		return string(q.client.Got)
	}
	for range 300 {
		serve("a")
	}
	if got := serve("a"); !strings.Contains(got, "builtin/flood") {
		t.Errorf("the one that floods: %s", got)
	}
	if got := serve("b"); !strings.Contains(got, "the answer") {
		t.Errorf("another: %s", got)
	}
}
