// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// heldForm is a stream of one protocol with a held tool call "pay".
type heldForm struct {
	rig    func(testing.TB) *rig
	pieces []string // of the stream
	before int      // pieces that do not wait for the call
	kind   string   // content type of a stream
}

func heldForms() map[string]heldForm {
	const args = `{"to":"x"}`
	blocks := cat(begins, textBlock(0, "I pay"), toolBlock(1, "pay", `{"to"`, `:"x"}`), textBlock(2, "more"), ends("tool_use"), stops)
	lines := []string{spoke("I pay"), calls("pay", args), spoke("more"), last}
	chunks := []string{text(0, "I pay"), callDelta(0, "pay", `{"to"`), callDelta(0, "", `:"x"}`), delta(0, "{}", "tool_calls"), done}
	return map[string]heldForm{
		"chat": {func(t testing.TB) *rig {
			return newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", chunks...)
		}, chunks, 1, "text/event-stream"},
		"blocks": {func(t testing.TB) *rig { return blockRig(t, true).reply(200, "text/event-stream", blocks...) }, blocks, 4, "text/event-stream"},
		"lines":  {func(t testing.TB) *rig { return ollamaRig(t, pipeline.ModeEnforce, lines...) }, lines, 1, ndjson},
	}
}

// pings are what the codec of a rig sends meanwhile, in a stream whose first event with an identity is like.
func pings(t *testing.T, r *rig, like string) string {
	t.Helper()
	c, err := r.opts.Codecs.For(&r.meta.Endpoint, &r.client.Request)
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	for line := range strings.Lines(like) {
		if after, ok := strings.CutPrefix(line, "data: "); ok {
			data = []byte(strings.TrimSuffix(after, "\n"))
		} else if strings.HasPrefix(line, "{") {
			data = []byte(strings.TrimSuffix(line, "\n"))
		}
	}
	return string(c.AppendPing(nil, data))
}

// TestHeldForms holds a call, and then a request, of each form of stream: while it waits, the application gets events of its own
// protocol that add nothing, and afterwards exactly what the provider sent.
func TestHeldForms(t *testing.T) {
	for name, form := range heldForms() {
		t.Run(name+", call", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := form.rig(t)
				p := &people{after: 40 * time.Second, verdict: pipeline.Allow}
				r.opts.Holder, r.opts.Decider = p, holdTool("pay")
				if err := serve(t, newFlow(t, r.opts), r, context.Background()); err != nil {
					t.Fatalf("serve: %v (%v)", err, r.notes)
				}
				whole, added := strings.Join(form.pieces, ""), pings(t, r, form.pieces[0])
				early := strings.Join(form.pieces[:form.before], "")
				if added == "" {
					t.Fatal("the protocol has no event that adds nothing")
				}
				if got := string(r.client.Got); got != early+added+added+strings.TrimPrefix(whole, early) {
					t.Errorf("got %s\nping %s", got, added)
				}
				if a := p.asked[0]; string(a.Raw) != `{"to":"x"}` || !json.Valid(a.Step.Args) {
					t.Errorf("asked %+v", a)
				}
			})
		})
		t.Run(name+", call denied", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := form.rig(t)
				r.opts.Holder, r.opts.Decider = &people{after: 40 * time.Second, verdict: pipeline.Deny}, holdTool("pay")
				if err := serve(t, newFlow(t, r.opts), r, context.Background()); err != nil {
					t.Fatalf("serve: %v (%v)", err, r.notes)
				}
				if got := string(r.client.Got); strings.Contains(got, `"name":"pay"`) || strings.Contains(got, `"x"`) || strings.Contains(got, `\"x\"`) || !strings.Contains(got, "[sallyport]") {
					t.Errorf("got %s", got)
				}
			})
		})
		for after, want := range map[time.Duration]int{30 * time.Second: 0, 100 * time.Second: 3} {
			t.Run(name+", request for "+after.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := form.rig(t)
					if name == "lines" { // a stream unless the request says otherwise
						r.client.Payload = []byte(strings.Replace(string(r.client.Payload), "{", `{"stream":true,`, 1))
					}
					r.opts.Holder, r.opts.Decider = &people{after: after, verdict: pipeline.Allow}, actOn(pipeline.StepPrompt, pipeline.Hold)
					if err := serve(t, newFlow(t, r.opts), r, context.Background()); err != nil {
						t.Fatalf("serve: %v (%v)", err, r.notes)
					}
					added := pings(t, r, "")
					if got := string(r.client.Got); got != strings.Repeat(added, want)+strings.Join(form.pieces, "") {
						t.Errorf("got %s", got)
					}
					if kind := r.client.Reply.Get("Content-Type"); kind != form.kind {
						t.Errorf("content type %q", kind)
					}
				})
			})
		}
	}
}
