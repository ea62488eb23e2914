// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// How many sessions a listing holds.
const (
	defaultLimit = 50
	maxLimit     = 1000
)

// route is one endpoint.
type route struct {
	method string
	need   access
	query  []string // the parameters that it knows
	serve  func(s *Server, r *http.Request, c caller) (any, error)
}

var routes = map[string]route{
	"/v1/status":              {http.MethodGet, operator, nil, (*Server).status},
	"/v1/doctor":              {http.MethodGet, operator, nil, (*Server).doctor},
	"/v1/sessions":            {http.MethodGet, operator, []string{"q", "since", "limit", "exchanges"}, (*Server).sessions},
	"/v1/sessions/{id}":       {http.MethodGet, operator, nil, (*Server).session},
	"/v1/search":              {http.MethodGet, operator, []string{"q", "limit", "before"}, (*Server).search},
	"/v1/usage":               {http.MethodGet, operator, []string{"q", "days"}, (*Server).usage},
	"/v1/why/{id}":            {http.MethodGet, anyone, nil, (*Server).why},
	"/v1/trust":               {http.MethodGet, operator, nil, (*Server).trust},
	"/v1/trust/remove":        {http.MethodPost, operator, nil, (*Server).trustRemove},
	"/v1/trust/apply":         {http.MethodPost, self, nil, (*Server).trustApply},
	"/v1/quarantine":          {http.MethodGet, operator, nil, (*Server).quarantines},
	"/v1/quarantine/add":      {http.MethodPost, operator, nil, (*Server).quarantine},
	"/v1/quarantine/lift":     {http.MethodPost, operator, nil, (*Server).liftQuarantine},
	"/v1/record/erase":        {http.MethodPost, keeper, nil, (*Server).erase},
	"/v1/record/erase-copies": {http.MethodPost, keeper, nil, (*Server).eraseCopies},
	"/v1/record/holds":        {http.MethodGet, keeper, nil, (*Server).holds},
	"/v1/record/holds/add":    {http.MethodPost, keeper, nil, (*Server).addHold},
	"/v1/record/holds/remove": {http.MethodPost, keeper, nil, (*Server).releaseHold},
	"/v1/policy/explain":      {http.MethodPost, operator, nil, (*Server).explain},
	"/v1/rollout":             {http.MethodGet, operator, []string{"since"}, (*Server).rollout},

	"/v1/approvals":              {http.MethodGet, approver, []string{"state", "since", "limit"}, (*Server).approvals},
	"/v1/approvals/{id}":         {http.MethodGet, approver, nil, (*Server).approval},
	"/v1/approvals/{id}/decide":  {http.MethodPost, approver, nil, (*Server).decideApproval},
	"/v1/approvals/{id}/revoke":  {http.MethodPost, approver, nil, (*Server).revokeApproval},
	"GET /v1/elevations":         {http.MethodGet, approver, []string{"state", "since", "limit"}, (*Server).elevations},
	"/v1/elevations":             {http.MethodPost, requester, nil, (*Server).elevate},
	"/v1/elevations/{id}/decide": {http.MethodPost, approver, nil, (*Server).decideElevation},
	"/v1/elevations/{id}/revoke": {http.MethodPost, approver, nil, (*Server).revokeElevation},

	"/debug/pprof/{name}": {http.MethodGet, operator, []string{"seconds"}, (*Server).profile},
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, rt := range routes {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), handleTimeout)
			defer cancel()
			s.serve(w, r.WithContext(ctx), rt)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &refusal{http.StatusNotFound, adminapi.CodeNotFound, "no such endpoint: are sallyport and sallyportd of one version?"})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

// serve runs the checks that all endpoints share, in the order: who, how, what.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt route) {
	p, ok := peerOf(r)
	if !ok {
		s.fail(w, r, forbid("refused: the caller is unknown"))
		return
	}
	c, err := s.admit(p, rt.need)
	if err == nil {
		err = check(r, rt)
	}
	var out any
	if err == nil {
		out, err = rt.serve(s, r, c)
	}
	if err != nil {
		s.log.Debug("admin request refused", "path", r.URL.Path, "uid", c.UID, "pid", c.PID, "error", err)
		s.fail(w, r, err)
		return
	}
	if p, ok := out.(profiled); ok {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(p) // the caller went away
		return
	}
	raw, err := json.Marshal(out)
	if err != nil {
		s.fail(w, r, fmt.Errorf("encoding the answer: %w", err))
		return
	}
	reply(w, http.StatusOK, raw)
}

func check(r *http.Request, rt route) error {
	if r.Method != rt.method {
		return &refusal{http.StatusMethodNotAllowed, adminapi.CodeMethod, r.URL.Path + " takes " + rt.method}
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("the query does not parse")
	}
	for name, values := range q {
		if !slices.Contains(rt.query, name) || len(values) != 1 {
			return bad("query parameter %q is unknown or repeated", name)
		}
	}
	if rt.method != http.MethodPost {
		return nil
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return &refusal{http.StatusUnsupportedMediaType, adminapi.CodeMediaType, "want Content-Type: application/json"}
	}
	return nil
}

func bad(format string, a ...any) error {
	return &refusal{http.StatusBadRequest, adminapi.CodeBadRequest, fmt.Sprintf(format, a...)}
}

func missing(what string) error {
	return &refusal{http.StatusServiceUnavailable, adminapi.CodeUnavailable, what + " is not available in this daemon"}
}

// fail answers with an error. What is not meant for callers goes to the log.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var ref *refusal
	var refused *Refused
	var denied *Denied
	var conflict *Conflict
	switch {
	case errors.As(err, &ref):
	case errors.As(err, &denied):
		ref = &refusal{http.StatusForbidden, adminapi.CodeForbidden, denied.Error()}
	case errors.As(err, &conflict):
		ref = &refusal{http.StatusConflict, adminapi.CodeConflict, conflict.Error()}
	case errors.As(err, &refused):
		ref = &refusal{http.StatusBadRequest, adminapi.CodeBadRequest, refused.Error()}
	case errors.Is(err, ErrNotFound):
		ref = &refusal{http.StatusNotFound, adminapi.CodeNotFound, "nothing is recorded under this ID"}
	case errors.Is(err, context.DeadlineExceeded):
		ref = &refusal{http.StatusServiceUnavailable, adminapi.CodeUnavailable, "it took too long: ask for less (--since, --limit)"}
	default:
		s.log.Error("admin request failed", "path", r.URL.Path, "error", err)
		ref = &refusal{http.StatusInternalServerError, adminapi.CodeInternal, err.Error()}
	}
	if ref.status == http.StatusMethodNotAllowed {
		if rt, ok := routes[r.Pattern]; ok {
			w.Header().Set("Allow", rt.method)
		}
	}
	raw, err := json.Marshal(adminapi.Error{Code: ref.code, Message: oneLine(ref.message)})
	if err != nil {
		raw = []byte(`{"code":"internal","message":"the error does not encode"}`)
	}
	reply(w, ref.status, raw)
}

func reply(w http.ResponseWriter, status int, raw []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)+1))
	w.WriteHeader(status)
	w.Write(append(raw, '\n')) // an error means that the caller went away
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// record writes what the caller is about to do. What cannot be recorded does not happen.
func (s *Server) record(ctx context.Context, c caller, action, target string) error {
	return s.recordWhy(ctx, c, action, target, "")
}

func (s *Server) recordWhy(ctx context.Context, c caller, action, target, reason string) error {
	if s.opts.Recorder == nil {
		return missing("the journal, without which this may not be done,")
	}
	rec := pipeline.Record{Kind: pipeline.KindAdmin, Time: time.Now(),
		Body: adminapi.Action{Action: action, Target: s.opts.Words(target), Reason: s.opts.Words(reason), UID: c.UID, PID: c.PID, Comm: c.Comm, User: c.user}}
	if strings.HasPrefix(target, "ses_") {
		rec.Session = target
	}
	if err := s.opts.Recorder.Record(ctx, rec); err != nil {
		s.log.Error("admin action not recorded", "action", action, "error", err)
		return &refusal{http.StatusServiceUnavailable, adminapi.CodeUnavailable, "refused, because it cannot be recorded: " + err.Error()}
	}
	return nil
}

func (s *Server) status(r *http.Request, _ caller) (any, error) {
	if s.opts.Status == nil {
		return nil, missing("status")
	}
	st, err := s.opts.Status.Status(r.Context())
	// Lists are lists in JSON, also when they are empty.
	st.Kernel.Attached = notNil(st.Kernel.Attached)
	st.Scopes = notNil(st.Scopes)
	return st, err
}

func (s *Server) doctor(r *http.Request, _ caller) (any, error) {
	if s.opts.Doctor == nil {
		return nil, missing("the doctor")
	}
	d, err := s.opts.Doctor.Doctor(r.Context())
	d.Checks = notNil(d.Checks)
	return d, err
}

func (s *Server) sessions(r *http.Request, c caller) (any, error) {
	if s.opts.Sessions == nil {
		return nil, missing("the record")
	}
	q, v := adminapi.Query{Limit: defaultLimit}, r.URL.Query()
	q.Find = v.Get("q")
	var err error
	if t := v.Get("since"); t != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, t); err != nil {
			return nil, bad("since: want a time as in RFC 3339")
		}
	}
	if n := v.Get("limit"); n != "" {
		if q.Limit, err = strconv.Atoi(n); err != nil || q.Limit < 1 || q.Limit > maxLimit {
			return nil, bad("limit: want 1 to %d", maxLimit)
		}
	}
	if e := v.Get("exchanges"); e != "" {
		if q.Exchanges, err = strconv.ParseBool(e); err != nil {
			return nil, bad("exchanges: want true or false")
		}
	}
	if q.Exchanges {
		what, err := url.QueryUnescape(r.URL.RawQuery) // as people read it, and maskers
		if err == nil {
			err = s.record(r.Context(), c, "sessions.read", what)
		}
		if err != nil {
			return nil, err
		}
	} else if err := s.looksFor(r.Context(), c, q.Find); err != nil {
		return nil, err
	}
	list, err := s.opts.Sessions.Sessions(r.Context(), q)
	for i := range list {
		tidy(&list[i])
	}
	return notNil(list), queried(err)
}

func (s *Server) session(r *http.Request, c caller) (any, error) {
	if s.opts.Sessions == nil {
		return nil, missing("the record")
	}
	id, err := pathID(r, "ses_")
	if err != nil {
		return nil, err
	}
	if err := s.record(r.Context(), c, "session.read", id); err != nil {
		return nil, err
	}
	ses, err := s.opts.Sessions.Session(r.Context(), id)
	tidy(&ses)
	return ses, err
}

// why hides what is not the caller's own as if it did not exist.
func (s *Server) why(r *http.Request, c caller) (any, error) {
	if s.opts.Sessions == nil {
		return nil, missing("the record")
	}
	id, err := pathID(r, "dec_", "exc_", "pid_")
	if err != nil {
		return nil, err
	}
	d, err := s.opts.Sessions.Decision(r.Context(), id)
	if err == nil && !c.operator && d.UID != c.UID {
		err = ErrNotFound
	}
	if errors.Is(err, ErrNotFound) && !c.operator {
		return nil, &refusal{http.StatusNotFound, adminapi.CodeNotFound, fmt.Sprintf("no decision about uid %d has this ID", c.UID)}
	}
	return d, err
}

func (s *Server) trust(r *http.Request, _ caller) (any, error) {
	if s.opts.Trust == nil {
		return nil, missing("trust")
	}
	t, err := s.opts.Trust.Trust(r.Context())
	t.Roots, t.Entries, t.Processes = notNil(t.Roots), notNil(t.Entries), notNil(t.Processes)
	return t, err
}

func (s *Server) trustRemove(r *http.Request, c caller) (any, error) {
	var req adminapi.TrustRemoveRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if s.opts.Trust == nil {
		return nil, missing("trust")
	}
	if !req.DryRun {
		if err := s.record(r.Context(), c, "trust.remove", ""); err != nil {
			return nil, err
		}
	}
	out, err := s.opts.Trust.TrustRemove(r.Context(), req)
	out.Entries = notNil(out.Entries)
	return out, err
}

func (s *Server) trustApply(r *http.Request, c caller) (any, error) {
	var req adminapi.TrustApplyRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if s.opts.Trust == nil {
		return nil, missing("trust")
	}
	if err := s.record(r.Context(), c, "trust.apply", ""); err != nil {
		return nil, err
	}
	out, err := s.opts.Trust.TrustApply(r.Context(), c.Peer, req.Program)
	out.Entries = notNil(out.Entries)
	return out, err
}

func (s *Server) explain(r *http.Request, _ caller) (any, error) {
	var req adminapi.ExplainRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if s.opts.Policy == nil {
		return nil, missing("policy")
	}
	out, err := s.opts.Policy.Explain(r.Context(), req)
	out.Trace = notNil(out.Trace)
	return out, err
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func tidy(s *adminapi.Session) {
	s.Models = notNil(s.Models)
	for i := range s.Exchanges {
		x := &s.Exchanges[i]
		x.Tools, x.Steps, x.Masked = notNil(x.Tools), notNil(x.Steps), notNil(x.Masked)
	}
}
