// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// Rollout says how far scopes enforce.
type Rollout interface {
	Rollout(ctx context.Context, since time.Time) (adminapi.Rollout, error)
}

func (s *Server) rollout(r *http.Request, _ caller) (any, error) {
	if s.opts.Rollout == nil {
		return nil, missing("the rollout")
	}
	var since time.Time
	if t := r.URL.Query().Get("since"); t != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, t); err != nil {
			return nil, bad("since: want a time as in RFC 3339")
		}
	}
	out, err := s.opts.Rollout.Rollout(r.Context(), since)
	out.Scopes = notNil(out.Scopes)
	for i := range out.Scopes {
		out.Scopes[i].Would, out.Scopes[i].Did = notNil(out.Scopes[i].Would), notNil(out.Scopes[i].Did)
	}
	return out, err
}
