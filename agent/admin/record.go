// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"net/http"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// Records erases contents and keeps holds. It records who asked before anything takes effect.
type Records interface {
	Erase(context.Context, Person, adminapi.EraseRequest) (adminapi.Erasure, error)
	Holds(context.Context) ([]adminapi.Hold, error)
	AddHold(context.Context, Person, adminapi.HoldRequest) (adminapi.Hold, error)
	ReleaseHold(context.Context, Person, adminapi.HoldRequest) (adminapi.Hold, error)
}

func (s *Server) erase(r *http.Request, c caller) (any, error) {
	var req adminapi.EraseRequest
	if err := s.subject(r, &req, &req.RecordSubject, &req.Reason); err != nil {
		return nil, err
	}
	out, err := s.opts.Records.Erase(r.Context(), c.person(), req)
	out.List = notNil(out.List)
	return out, err
}

// eraseCopies records that the caller is about to erase copies of contents elsewhere. What is under hold is not.
func (s *Server) eraseCopies(r *http.Request, c caller) (any, error) {
	var req adminapi.CopiesRequest
	if err := s.subject(r, &req, &req.RecordSubject, &req.Reason); err != nil {
		return nil, err
	}
	_, err := s.opts.Records.Erase(r.Context(), c.person(), adminapi.EraseRequest{RecordSubject: req.RecordSubject, DryRun: true})
	if err != nil && !errors.Is(err, ErrNotFound) { // what the journal does not have any more may still be elsewhere
		return nil, err
	}
	target := req.Principal
	if req.Session != "" {
		target = req.Session
	}
	return struct{}{}, s.recordWhy(r.Context(), c, "elastic.erase", target, req.Reason)
}

func (s *Server) holds(r *http.Request, _ caller) (any, error) {
	if s.opts.Records == nil {
		return nil, missing("the record")
	}
	list, err := s.opts.Records.Holds(r.Context())
	return notNil(list), err
}

func (s *Server) addHold(r *http.Request, c caller) (any, error) {
	var req adminapi.HoldRequest
	if err := s.subject(r, &req, &req.RecordSubject, &req.Reason); err != nil {
		return nil, err
	}
	if req.Reason == "" {
		return nil, bad("reason: a hold needs one")
	}
	return s.opts.Records.AddHold(r.Context(), c.person(), req)
}

func (s *Server) releaseHold(r *http.Request, c caller) (any, error) {
	var req adminapi.HoldRequest
	if err := s.subject(r, &req, &req.RecordSubject, &req.Reason); err != nil {
		return nil, err
	}
	return s.opts.Records.ReleaseHold(r.Context(), c.person(), req)
}

// subject reads a request about the records of somebody.
func (s *Server) subject(r *http.Request, req any, of *adminapi.RecordSubject, reason *string) error {
	if err := decode(r, req); err != nil {
		return err
	}
	if (of.Session == "") == (of.Principal == "") || len(of.Session) > 255 || len(of.Principal) > 2048 {
		return bad("want session or principal, and not both")
	}
	if len(*reason) > 1000 {
		return bad("reason: at most 1,000 bytes")
	}
	if s.opts.Records == nil {
		return missing("the record")
	}
	*reason = s.opts.Words(*reason)
	return nil
}
