// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// send asks the provider. An error means that the connection ends without a reply, as it would without us.
func (x *exchange) send(ctx context.Context, body []byte) (pipeline.Reply, error) {
	var durable <-chan error
	if reply := x.unseal(); reply != nil {
		if err := x.settle(ctx, 0); err != nil {
			return nil, x.refuse(ctx, x.unavailable(err))
		}
		return reply, nil
	}
	if x.enforce {
		if err := x.settle(ctx, 1); err != nil {
			return nil, x.refuse(ctx, x.unavailable(err))
		}
		if len(x.pending) == 1 {
			durable = x.pending[0]
			x.pending = x.pending[:0]
		}
	}
	before := x.f.o.Now()
	x.sent, x.bodyBytes = true, int64(len(body))
	reply, err := x.up.Send(ctx, x.head, body, x.cred, durable)
	x.waited += x.f.o.Now().Sub(before)
	if err == nil {
		return reply, nil
	}
	if x.enforce && errors.Is(err, pipeline.ErrNotRecorded) {
		return nil, x.refuse(ctx, x.unavailable(err))
	}
	by := "upstream"
	if ctx.Err() != nil {
		by = ended(ctx)
	}
	x.cut(by, err)
	x.finish(0)
	if lerr := x.settle(ctx, 0); lerr != nil && ctx.Err() == nil {
		// The journal is what failed, now or before: say so rather than look like a broken line.
		return nil, x.respondFailure(x.unavailable(lerr))
	}
	return nil, fmt.Errorf("send: %w", err)
}

// account tells who wants to know what the exchange used.
func (x *exchange) account() {
	a, ok := x.f.o.Decider.(Accountant)
	if !ok || !x.sent {
		return
	}
	_ = x.inspect("account", func() error {
		a.Account(x.m, &x.req.Call, x.out.Verdict, x.out.Used(x.bodyBytes))
		return nil
	})
}
