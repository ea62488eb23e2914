// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
)

// An observed application that leaves is the one that ended the exchange, unless it had all that it waited for.
func TestClientLeaves(t *testing.T) {
	for _, tc := range []struct {
		name  string
		mode  pipeline.Mode
		after int // writes before it leaves
		cause error
		cut   string
	}{
		{"observe, after the last event", pipeline.ModeObserve, 3, pipeline.ErrClientGone, ""},
		{"observe, before the last event", pipeline.ModeObserve, 2, pipeline.ErrClientGone, "client"},
		{"observe, the agent stops", pipeline.ModeObserve, 2, nil, "agent"},
		{"observe, the agent stops after the last event", pipeline.ModeObserve, 3, nil, "agent"},
		{"enforce, before the last event", pipeline.ModeEnforce, 2, pipeline.ErrClientGone, "client"},
		{"enforce, the agent stops", pipeline.ModeEnforce, 2, nil, "agent"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.mode, asked).reply(200, "text/event-stream", text(0, "he"), text(0, "llo"), done)
			ctx, leave := context.WithCancelCause(t.Context())
			defer leave(nil)
			r.client.OnWrite = func() {
				if len(r.client.Writes)+1 == tc.after {
					leave(tc.cause)
				}
			}
			f, err := flow.New(r.opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Serve(ctx, &r.meta, &r.client, &r.up); (err != nil) != (tc.cut != "") {
				t.Errorf("serve: %v", err)
			}
			if o := r.outcome(); o.Cut != tc.cut {
				t.Errorf("cut %q, want %q", o.Cut, tc.cut)
			}
		})
	}
}
