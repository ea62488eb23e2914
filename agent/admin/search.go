// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// Archive finds exchanges. An error that is a *QueryError is the asker's.
type Archive interface {
	Search(context.Context, adminapi.Search) (adminapi.Found, error)
	Usage(ctx context.Context, query string, days bool) (adminapi.UsageReport, error)
}

// QueryError says what is wrong with a query, for people.
type QueryError struct{ Err error }

func (e *QueryError) Error() string { return e.Err.Error() }
func (e *QueryError) Unwrap() error { return e.Err }

// queried turns the error of a query into an answer.
func queried(err error) error {
	var q *QueryError
	if errors.As(err, &q) {
		return bad("%s", q.Error())
	}
	return err
}

func (s *Server) search(r *http.Request, _ caller) (any, error) {
	if s.opts.Archive == nil {
		return nil, missing("the archive")
	}
	v := r.URL.Query()
	q := adminapi.Search{Query: v.Get("q"), Limit: defaultLimit, Before: v.Get("before")}
	if n := v.Get("limit"); n != "" {
		var err error
		if q.Limit, err = strconv.Atoi(n); err != nil || q.Limit < 1 || q.Limit > maxLimit {
			return nil, bad("limit: want 1 to %d", maxLimit)
		}
	}
	f, err := s.opts.Archive.Search(r.Context(), q)
	f.Exchanges = notNil(f.Exchanges)
	return f, queried(err)
}

func (s *Server) usage(r *http.Request, _ caller) (any, error) {
	if s.opts.Archive == nil {
		return nil, missing("the archive")
	}
	v := r.URL.Query()
	days := false
	if d := v.Get("days"); d != "" {
		var err error
		if days, err = strconv.ParseBool(d); err != nil {
			return nil, bad("days: want true or false")
		}
	}
	u, err := s.opts.Archive.Usage(r.Context(), v.Get("q"), days)
	u.Rows, u.SharedKeys = notNil(u.Rows), notNil(u.SharedKeys)
	return u, queried(err)
}
