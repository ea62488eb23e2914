// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

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

// searchAgain is after how long the same search of the same user is recorded again: sessions tail asks every second.
const searchAgain = time.Hour

// maxSearches bounds how many searches are remembered for that.
const maxSearches = 4096

// looksFor records a search for words. What is found by words tells what was said, without showing it: so that is reading. Looking for
// fields of exchanges is not.
func (s *Server) looksFor(ctx context.Context, c caller, query string) error {
	query = strings.TrimSpace(query)
	if fieldsOnly.MatchString(query) {
		return nil
	}
	key, now := strconv.FormatUint(uint64(c.UID), 10)+" "+ages.ReplaceAllString(query, ""), time.Now()
	s.mu.Lock()
	last, known := s.searches[key]
	s.mu.Unlock()
	if known && now.Sub(last) < searchAgain {
		return nil
	}
	if err := s.record(ctx, c, "sessions.search", query); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.searches) >= maxSearches || s.searches == nil {
		s.searches = map[string]time.Time{}
	}
	s.searches[key] = now
	return nil
}

// fieldsOnly matches queries that are field:value and field:"a value" and nothing else; what it does not know counts as words.
var fieldsOnly = regexp.MustCompile(`^(?:-?[A-Za-z]+:(?:"[^"]*"|[^"\s]+)(?:\s+|$))*$`)

// ages matches what a query says of time.
var ages = regexp.MustCompile(`\b(?:since|until):[^"\s]+`)

func (s *Server) search(r *http.Request, c caller) (any, error) {
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
	if err := s.looksFor(r.Context(), c, q.Query); err != nil {
		return nil, err
	}
	f, err := s.opts.Archive.Search(r.Context(), q)
	f.Exchanges = notNil(f.Exchanges)
	return f, queried(err)
}

func (s *Server) usage(r *http.Request, c caller) (any, error) {
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
	if err := s.looksFor(r.Context(), c, v.Get("q")); err != nil {
		return nil, err
	}
	u, err := s.opts.Archive.Usage(r.Context(), v.Get("q"), days)
	u.Rows, u.SharedKeys = notNil(u.Rows), notNil(u.SharedKeys)
	return u, queried(err)
}
