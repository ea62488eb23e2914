// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// rolled answers with the time that it was asked for.
type rolled struct{}

func (rolled) Rollout(_ context.Context, since time.Time) (adminapi.Rollout, error) {
	return adminapi.Rollout{Since: since, Scopes: []adminapi.RolloutScope{{Name: "agents"}}}, nil
}

func TestRollout(t *testing.T) {
	with := func(o *Options) { o.Rollout = rolled{} }
	since := time.Date(2026, 1, 31, 12, 0, 0, 5, time.UTC)
	_, c := start(t, &fakeDaemon{}, 0, with)
	r, err := c.Rollout(t.Context(), since)
	if err != nil || !r.Since.Equal(since) || len(r.Scopes) != 1 || r.Scopes[0].Would == nil || r.Scopes[0].Did == nil {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = c.Rollout(t.Context(), time.Time{}); err != nil || !r.Since.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	_, c = start(t, &fakeDaemon{}, 4242, with)
	_, err = c.Rollout(t.Context(), since)
	wantStatus(t, "somebody else", err, 403, "")
	_, c = start(t, &fakeDaemon{}, 0)
	_, err = c.Rollout(t.Context(), since)
	wantStatus(t, "a daemon without", err, 503, "not available")
}
