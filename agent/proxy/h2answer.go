// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Respond implements pipeline.Client.
func (e *exchange2) Respond(h pipeline.Head) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun {
		return errors.New("proxy: the reply has begun already")
	}
	if h.Status < 200 || h.Status > 999 {
		return fmt.Errorf("proxy: %d is no status of a reply", h.Status)
	}
	out := e.w.Header()
	out["Date"], out["Content-Type"] = nil, nil // nothing that the provider did not say
	e.left = -1
	for _, f := range h.Fields {
		name := http.CanonicalHeaderKey(f.Name)
		if connectionField(name) {
			continue
		}
		if name == "Content-Length" {
			n, err := strconv.ParseInt(f.Value, 10, 64)
			if err != nil || n < 0 || e.left >= 0 && n != e.left {
				return errors.New("proxy: reply head: Content-Length is no length")
			}
			e.left = n
			out[name] = []string{f.Value}
			continue
		}
		out[name] = append(out[name], f.Value)
	}
	e.none = e.head.Method == http.MethodHead || h.Status == http.StatusNoContent || h.Status == http.StatusNotModified
	e.begun, e.due = true, true
	e.w.WriteHeader(h.Status)
	return nil
}

// Write implements pipeline.Client.
func (e *exchange2) Write(b []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case !e.begun:
		return errors.New("proxy: Write before Respond")
	case e.failed != nil:
		return e.failed
	case len(b) == 0 || e.none:
		return nil
	case e.left >= 0 && int64(len(b)) > e.left:
		return e.keep(errTooLong)
	case e.left >= 0:
		e.left -= int64(len(b))
	}
	if e.reply != nil {
		e.reply.kept = 0
	}
	defer e.patience()()
	_, err := e.w.Write(b)
	if err == nil {
		err = e.flush()
	}
	return e.keep(err)
}

// patience cuts the stream if a write takes too long. What it returns ends the wait.
func (e *exchange2) patience() func() {
	if e.stalled == nil {
		e.stalled = time.AfterFunc(e.x.c.s.o.StallTimeout, func() {
			_ = http.NewResponseController(e.w).SetWriteDeadline(time.Unix(1, 0))
		})
	} else {
		e.stalled.Reset(e.x.c.s.o.StallTimeout)
	}
	return func() { e.stalled.Stop() }
}

func (e *exchange2) flush() error {
	e.due = false
	return http.NewResponseController(e.w).Flush()
}

// keep remembers the first error.
func (e *exchange2) keep(err error) error {
	if err != nil && e.failed == nil {
		e.failed = fmt.Errorf("write to the application: %w", err)
		return e.failed
	}
	return err
}

// finish ends a reply that the handler calls complete.
func (e *exchange2) finish() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case !e.begun:
		return errors.New("proxy: the handler gave no reply")
	case e.failed != nil:
		return e.failed
	case !e.none && e.left > 0:
		return errIncomplete
	}
	if e.reply != nil && e.meta.Mode == pipeline.ModeObserve {
		for name, values := range e.reply.resp.Trailer {
			e.w.Header()[http.TrailerPrefix+name] = values
		}
	}
	return nil
}
