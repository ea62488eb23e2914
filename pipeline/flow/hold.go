// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// hold waits until people have decided about what d holds. It returns the denial that is left, nil if they approved.
func (x *exchange) hold(ctx context.Context, d *denial, shown *pipeline.Step) (*denial, error) {
	v := d.verdict
	d.code = codeHeld
	if x.f.o.Holder == nil {
		return d, nil
	}
	if err := x.settle(ctx, 0); err != nil {
		return nil, err
	}
	if shown != nil { // people look at it for as long as they like: it must not share the memory of the request
		kept := *shown
		kept.Text, kept.Args = strings.Clone(shown.Text), bytes.Clone(shown.Args)
		shown = &kept
	}
	before := x.f.o.Now()
	after, err := x.f.o.Holder.Wait(ctx, x.m, shown, v)
	x.waited += x.f.o.Now().Sub(before)
	if err != nil {
		return nil, err
	}
	if after.Stage == "" {
		after.Stage = v.Stage
	}
	id := x.decision(after, shown)
	if after.Action <= pipeline.Alert {
		return nil, nil
	}
	return &denial{code: codeDenied, id: id, verdict: after}, nil
}
