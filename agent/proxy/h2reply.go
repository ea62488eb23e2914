// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// reply2 is the provider's answer.
type reply2 struct {
	e      *exchange2
	resp   *http.Response
	head   pipeline.Head
	ctx    context.Context // of the request; its cause says if the provider stalled
	cancel context.CancelCauseFunc
	late   *time.Timer
	buf    []byte
	kept   int // bytes that the handler has and the application has not
	err    error
}

func replyHead(r *http.Response) pipeline.Head {
	h := pipeline.Head{Status: r.StatusCode, Fields: fieldsOf(r.Header)}
	return h
}

// Head implements pipeline.Reply.
func (r *reply2) Head() pipeline.Head { return r.head }

// Next implements pipeline.Reply.
func (r *reply2) Next(ctx context.Context) ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	r.e.mu.Lock()
	if r.e.due { // the application gets the head before we wait
		r.e.failed = r.e.flush()
	}
	r.e.mu.Unlock()
	if r.buf == nil {
		r.buf = r.e.x.c.s.bufs.get(16 << 10)
	}
	stop := context.AfterFunc(ctx, func() { r.cancel(nil) })
	r.late.Reset(r.e.x.c.s.o.UpstreamTimeout)
	defer r.late.Stop()
	for {
		n, err := r.resp.Body.Read(r.buf)
		if err != nil {
			stop()
			r.err = io.EOF
			if !errors.Is(err, io.EOF) {
				r.err = fmt.Errorf("reply: %w", err)
				if cerr := ctx.Err(); cerr != nil {
					r.err = cerr
				} else if errors.Is(context.Cause(r.ctx), errStalled) {
					r.err = fmt.Errorf("reply: %w", errStalled)
				}
			}
		}
		if n > 0 {
			stop()
			r.kept += n
			if !r.e.x.c.hold(&r.e.waits, r.kept) {
				r.err = errNoRoom
				return nil, r.err
			}
			return r.buf[:n], nil
		}
		if r.err != nil {
			return nil, r.err
		}
	}
}

// Close implements pipeline.Reply.
func (r *reply2) Close() error {
	if r.resp == nil {
		return nil
	}
	r.late.Stop()
	r.cancel(nil)
	_ = r.resp.Body.Close()
	if r.err == nil {
		r.err = os.ErrClosed
	}
	if r.buf != nil {
		r.e.x.c.s.bufs.put(r.buf)
	}
	r.buf = nil
	return nil
}

var (
	_ pipeline.Client   = (*exchange2)(nil)
	_ pipeline.Upstream = (*exchange2)(nil)
	_ pipeline.Reply    = (*reply2)(nil)
)
