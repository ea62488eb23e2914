// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// cutter remembers who is cut off, and by whom.
type cutter struct {
	list []adminapi.Quarantine
	by   []Peer
}

func (c *cutter) Quarantines(context.Context) ([]adminapi.Quarantine, error) { return c.list, nil }

func (c *cutter) Quarantine(_ context.Context, p Peer, r adminapi.QuarantineRequest) (adminapi.Quarantine, error) {
	if r.Selector == "uid:0" {
		return adminapi.Quarantine{}, &Refused{errors.New("the host cannot do without it")}
	}
	q := adminapi.Quarantine{Selector: r.Selector, Reason: r.Reason, UID: p.UID}
	c.list, c.by = append(c.list, q), append(c.by, p)
	return q, nil
}

func (c *cutter) LiftQuarantine(_ context.Context, p Peer, r adminapi.QuarantineLift) (adminapi.Quarantine, error) {
	c.list, c.by = nil, append(c.by, p)
	return adminapi.Quarantine{Selector: r.Selector}, nil
}

// TestQuarantine: operators cut off and lift, in their own name; nobody else may, nor see who is.
func TestQuarantine(t *testing.T) {
	cut := &cutter{}
	_, c := start(t, &fakeDaemon{}, 1000, func(o *Options) { o.Quarantine = cut })
	ctx := t.Context()
	if l, err := c.Quarantines(ctx); err != nil || l == nil || len(l) > 0 {
		t.Errorf("%v, %v", l, err)
	}
	q, err := c.Quarantine(ctx, adminapi.QuarantineRequest{Selector: "uid:7", Seconds: 60, Reason: "r"})
	if err != nil || q.UID != 1000 || q.Paths == nil || q.Cut == nil || len(cut.by) != 1 || cut.by[0].PID == 0 || cut.by[0].Comm == "" {
		t.Errorf("%+v by %+v, %v", q, cut.by, err)
	}
	if _, err := c.LiftQuarantine(ctx, adminapi.QuarantineLift{Selector: "uid:7"}); err != nil || len(cut.list) > 0 {
		t.Errorf("lifted: %v, %v", cut.list, err)
	}
	for _, r := range []struct {
		req  adminapi.QuarantineRequest
		want string
	}{
		{adminapi.QuarantineRequest{Selector: "uid:0", Reason: "r"}, "cannot do without"},
		{adminapi.QuarantineRequest{Selector: "uid:7", Seconds: -1, Reason: "r"}, "seconds: want 0"},
		{adminapi.QuarantineRequest{Selector: "uid:7", Seconds: 1 << 40, Reason: "r"}, "seconds: want 0"},
		{adminapi.QuarantineRequest{Selector: "uid:7", Reason: strings.Repeat("r", 1001)}, "reason: at most"},
	} {
		var s *adminapi.StatusError
		if _, err := c.Quarantine(ctx, r.req); !errors.As(err, &s) || s.Code != adminapi.CodeBadRequest || !strings.Contains(s.Message, r.want) {
			t.Errorf("%.40v: %v, want %q", r.req, err, r.want)
		}
	}
	before := len(cut.by)
	_, other := start(t, &fakeDaemon{}, 4242, func(o *Options) { o.Quarantine = cut })
	_, qerr := other.Quarantine(ctx, adminapi.QuarantineRequest{Selector: "uid:7", Reason: "r"})
	_, lerr := other.LiftQuarantine(ctx, adminapi.QuarantineLift{Selector: "uid:7"})
	_, err = other.Quarantines(ctx)
	for what, err := range map[string]error{"cut off": qerr, "lifted": lerr, "listed": err} {
		var s *adminapi.StatusError
		if !errors.As(err, &s) || s.Code != adminapi.CodeForbidden {
			t.Errorf("%s by somebody: %v", what, err)
		}
	}
	if len(cut.by) != before {
		t.Errorf("somebody got through: %+v", cut.by)
	}
	_, without := start(t, &fakeDaemon{}, 0)
	if _, err := without.Quarantines(ctx); err == nil || !strings.Contains(err.Error(), "not available") {
		t.Errorf("without that part: %v", err)
	}
}
