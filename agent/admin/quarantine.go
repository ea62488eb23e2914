// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"net/http"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// Quarantine cuts principals off. It notes who asked before anything takes effect, and brings the note into the journal.
type Quarantine interface {
	Quarantines(context.Context) ([]adminapi.Quarantine, error)
	Quarantine(context.Context, Peer, adminapi.QuarantineRequest) (adminapi.Quarantine, error)
	LiftQuarantine(context.Context, Peer, adminapi.QuarantineLift) (adminapi.Quarantine, error)
}

// Refused is what a part returns for a request that cannot be met as it is: the message is for the caller.
type Refused struct{ Err error }

func (e *Refused) Error() string { return e.Err.Error() }
func (e *Refused) Unwrap() error { return e.Err }

// maxQuarantine is more than a year; whoever wants more wants no end.
const maxQuarantine = 400 * 24 * 3600

func (s *Server) quarantines(r *http.Request, _ caller) (any, error) {
	if s.opts.Quarantine == nil {
		return nil, missing("quarantine")
	}
	list, err := s.opts.Quarantine.Quarantines(r.Context())
	for i := range list {
		list[i].Paths, list[i].Cut = notNil(list[i].Paths), notNil(list[i].Cut)
	}
	return notNil(list), err
}

func (s *Server) quarantine(r *http.Request, c caller) (any, error) {
	var req adminapi.QuarantineRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if req.Seconds < 0 || req.Seconds > maxQuarantine {
		return nil, bad("seconds: want 0 (until it is lifted) to %d", maxQuarantine)
	}
	if len(req.Reason) > 1000 {
		return nil, bad("reason: at most 1,000 bytes")
	}
	if s.opts.Quarantine == nil {
		return nil, missing("quarantine")
	}
	req.Reason = s.opts.Words(req.Reason)
	out, err := s.opts.Quarantine.Quarantine(r.Context(), c.Peer, req)
	out.Paths, out.Cut = notNil(out.Paths), notNil(out.Cut)
	return out, err
}

func (s *Server) liftQuarantine(r *http.Request, c caller) (any, error) {
	var req adminapi.QuarantineLift
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if s.opts.Quarantine == nil {
		return nil, missing("quarantine")
	}
	out, err := s.opts.Quarantine.LiftQuarantine(r.Context(), c.Peer, req)
	out.Paths, out.Cut = notNil(out.Paths), notNil(out.Cut)
	return out, err
}
