// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

// TestBinding changes one thing at a time: none may use the approval of another.
func TestBinding(t *testing.T) {
	args := `{"to":"x","sum":1}`
	for _, c := range []struct {
		name   string
		change func(*pipeline.Held)
		same   bool
	}{
		{"nothing", func(*pipeline.Held) {}, true},
		{"call ID", func(h *pipeline.Held) { h.Step.ID = "call_2" }, true},
		{"exchange", func(h *pipeline.Held) { h.Meta.Exchange = "exc_x" }, true},
		{"order and white space", func(h *pipeline.Held) { h.Raw = []byte(`{ "sum": 1e0, "to": "x" }`) }, true},
		{"argument", func(h *pipeline.Held) { h.Raw = []byte(`{"to":"y","sum":1}`) }, false},
		{"what is shown", func(h *pipeline.Held) { h.Step.Args = []byte(`{"to":"[masked]","sum":1}`) }, false},
		{"type", func(h *pipeline.Held) { h.Raw = []byte(`{"to":"x","sum":"1"}`) }, false},
		{"duplicate key", func(h *pipeline.Held) { h.Raw = []byte(`{"to":"y","to":"x","sum":1}`) }, false},
		{"case of a key", func(h *pipeline.Held) { h.Raw = []byte(`{"To":"x","sum":1}`) }, false},
		{"a number that doubles cannot tell", func(h *pipeline.Held) { h.Raw = []byte(`{"to":"x","sum":1.00000000000000000001}`) }, false},
		{"trailing data", func(h *pipeline.Held) { h.Raw = []byte(args + "x") }, false},
		{"tool", func(h *pipeline.Held) { h.Step.Name = "pay2" }, false},
		{"rule", func(h *pipeline.Held) { h.Verdict.Rule = "guardrail/other" }, false},
		{"the rule as it reads", func(h *pipeline.Held) { h.Verdict.Digest = "d2" }, false},
		{"SPIFFE ID", func(h *pipeline.Held) { h.Meta.Principal.SPIFFEID += "y" }, false},
		{"user", func(h *pipeline.Held) { h.Meta.Principal.User = "erin" }, false},
		{"uid", func(h *pipeline.Held) { h.Meta.Workload.UID = 501 }, false},
		{"login", func(h *pipeline.Held) { h.Meta.Workload.LoginUID++ }, false},
		{"another container, with no SPIFFE ID", func(h *pipeline.Held) { h.Meta.Principal.SPIFFEID, h.Meta.Workload.Container = "", "b" }, false},
		{"request", func(h *pipeline.Held) { h.Step = nil }, false},
		{"text of a reply", func(h *pipeline.Held) { h.Step.Kind, h.Step.Text = pipeline.StepResponse, string(h.Raw) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ApprovalSettings{})
				defer r.end()
				h := call("1", args)
				h.Patience = time.Second
				a := r.wait(bg(), h)
				time.Sleep(time.Second)
				synctest.Wait()
				a.want(t, pipeline.Hold)
				id := r.one(approval.Filter{}).ID
				if it := r.decide(id, alice, yes); !it.Votes[0].Late || !strings.Contains(it.Note, "sent again") {
					t.Errorf("a late decision does not say so: %+v", it)
				}
				ctx, cancel := context.WithCancel(bg())
				b := r.wait(ctx, with(call("2", args), c.change))
				if c.same {
					b.want(t, pipeline.Allow)
				} else {
					b.waits(t)
				}
				cancel()
			})
		})
	}
}

// TestBindingOfRequest does the same to a request.
func TestBindingOfRequest(t *testing.T) {
	body := `{"model":"m","messages":[]}`
	request := func(use string) *pipeline.Held {
		h := call(use, "")
		h.Raw, h.Body, h.Target, h.Step = []byte(body), []byte(body), "POST /v1/x", &pipeline.Step{Kind: pipeline.StepPrompt, Text: "hi"}
		return h
	}
	for _, c := range []struct {
		name   string
		change func(*pipeline.Held)
		same   bool
	}{
		{"nothing", func(*pipeline.Held) {}, true},
		{"another step of it, by the same rule", func(h *pipeline.Held) { h.Step.Index, h.Step.Text = 3, "ho" }, true},
		{"none of its steps", func(h *pipeline.Held) { h.Step = nil }, true},
		{"body", func(h *pipeline.Held) { h.Raw = []byte(`{"model":"m2","messages":[]}`) }, false},
		{"what is shown", func(h *pipeline.Held) { h.Body = []byte(`{}`) }, false},
		{"query", func(h *pipeline.Held) { h.Target += "?a=b" }, false},
		{"endpoint", func(h *pipeline.Held) { h.Meta.Endpoint.Host = "x" }, false},
		{"operation", func(h *pipeline.Held) { h.Call = &pipeline.Call{Operation: "embeddings"} }, false},
		{"rule", func(h *pipeline.Held) { h.Verdict.Digest = "d2" }, false},
		{"caller", func(h *pipeline.Held) { h.Meta.Workload.UID++ }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, pipeline.ApprovalSettings{})
				defer r.end()
				a := r.wait(bg(), request("1"))
				it := r.one(approval.Filter{})
				if it.Of != pipeline.ApprovalOfRequest || it.Body != body || it.Step.Text != "hi" {
					t.Errorf("item %+v", it)
				}
				r.decide(it.ID, alice, yes)
				a.want(t, pipeline.Allow)
				r.wait(bg(), with(request("1"), func(h *pipeline.Held) { h.Step = nil })).want(t, pipeline.Allow) // another step of the same exchange
				h := request("2")
				h.Patience = time.Second
				a = r.wait(bg(), h)
				time.Sleep(time.Second)
				synctest.Wait()
				r.decide(a.id(t), alice, yes)
				if b := r.wait(bg(), with(request("3"), c.change)); b.has() != c.same {
					t.Errorf("answer %+v", b)
				}
			})
		})
	}
}

// TestShownIsBounded has things that are too long to be kept.
func TestShownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{})
		defer r.end()
		long := `"` + strings.Repeat("ä", 40<<10) + `"`
		h := call("1", long)
		h.Step.Name = strings.Repeat("n", 1<<20)
		h.Call = &pipeline.Call{Operation: "chat", Model: strings.Repeat("m", 1<<20)}
		r.wait(bg(), h).waits(t)
		it := r.one(approval.Filter{})
		if n := len(it.Step.Text) + len(it.Step.Name) + len(it.Model); !it.Cut || it.Step.Args != nil || n > 33<<10 || n < 32<<10 {
			t.Errorf("cut %t, %d bytes", it.Cut, n)
		}
		if r.wait(bg(), with(call("2", long[:len(long)-3]+`"`), func(*pipeline.Held) {})); len(r.desk.List(approval.Filter{})) != 2 {
			t.Error("what is cut off does not bind")
		}
		// What is cut off was not seen: nobody approves all that begins like it, such as another tool.
		if why := r.refuse(it.ID, alice, approval.Decision{Approve: true, Scope: pipeline.ScopeSession}); !strings.Contains(why, "only the beginning") {
			t.Error(why)
		}
	})
}

func TestExactBytes(t *testing.T) {
	for _, args := range []string{`not json`, `{"a":1,"a":2}`, `"\ud800"`, "\"\xff\"", `{"n":12345678901234567890}`, ``} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, pipeline.ApprovalSettings{})
			defer r.end()
			a := r.wait(bg(), call("1", args))
			r.decide(r.one(approval.Filter{}).ID, alice, yes)
			a.want(t, pipeline.Allow)
		})
	}
}

// What is no Unicode is bound as it is, not as what JSON puts in its place.
func TestNamesThatAreNoUnicode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{})
		defer r.end()
		r.wait(bg(), with(call("1", "{}"), func(h *pipeline.Held) { h.Step.Name = "\xff" })).waits(t)
		r.wait(bg(), with(call("2", "{}"), func(h *pipeline.Held) { h.Step.Name = "\xfe" })).waits(t)
		r.wait(bg(), with(call("3", ""), func(h *pipeline.Held) { h.Step, h.Target = nil, "POST /?\xff" })).waits(t)
		r.wait(bg(), with(call("4", ""), func(h *pipeline.Held) { h.Step, h.Target = nil, "POST /?\xfe" })).waits(t)
		if n := len(r.desk.List(approval.Filter{})); n != 4 {
			t.Errorf("%d approvals of four things", n)
		}
	})
}
