// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// A process in a scope may ask for itself, and nothing else; what cannot be seen may not even ask.
func TestElevations(t *testing.T) {
	ctx := t.Context()
	ask := adminapi.ElevationRequest{Role: "writer", Seconds: 600, Reason: "a release"}
	k := newClerk()
	f, eve := desk(t, k, 1003)
	e, err := eve.Elevate(ctx, ask)
	if err != nil || e.State != adminapi.StateWaiting || k.by[0].User != "eve" || k.by[0].Inside {
		t.Fatalf("%+v by %+v, %v", e, k.by, err)
	}
	ask.DryRun = true
	if _, err := eve.Elevate(ctx, ask); err != nil || len(k.asked) != 1 {
		t.Errorf("a dry run asked: %v, %v", k.asked, err)
	}
	if got := fmt.Sprint(f.actions()); got != "[admin elevation.request writer]" {
		t.Error(got)
	}
	ask.DryRun = false
	if list, err := eve.Elevations(ctx, adminapi.StateQuery{}); err != nil || len(list) != 1 {
		t.Errorf("one's own: %v, %v", list, err)
	}
	_, err = eve.DecideElevation(ctx, e.ID, adminapi.ElevationDecision{Approve: true})
	refused(t, "one's own", err, adminapi.CodeForbidden, "own cause")

	inside := func(f *fakeDaemon, _ *Options) { f.scoped = map[uint32]bool{uint32(os.Getpid()): true} }
	_, agent := desk(t, k, 1003, inside)
	if _, err := agent.Elevate(ctx, ask); err != nil || !k.by[len(k.by)-1].Inside {
		t.Errorf("from inside: %+v, %v", k.by, err)
	}
	_, err = agent.Elevations(ctx, adminapi.StateQuery{})
	refused(t, "list from inside", err, adminapi.CodeForbidden, "a scope governs")
	_, err = agent.RevokeElevation(ctx, e.ID, adminapi.Revocation{Reason: "r"})
	refused(t, "revoke from inside", err, adminapi.CodeForbidden, "a scope governs")

	_, nameless := desk(t, k, 1004, inside)
	if _, err := nameless.Elevate(ctx, ask); err != nil || k.by[len(k.by)-1].User != "" || k.by[len(k.by)-1].ID != 1004 {
		t.Errorf("a container's user: %+v, %v", k.by[len(k.by)-1], err)
	}
	_, _, forger := session(t, k, 1003, 1000, inside)
	if _, err := forger.Elevate(ctx, ask); err != nil || k.by[len(k.by)-1].Login || k.by[len(k.by)-1].ID != 1003 {
		t.Errorf("a service that names a login: %+v, %v", k.by[len(k.by)-1], err)
	}
	_, _, forger = session(t, k, 1003, 1000)
	_, err = forger.Elevate(ctx, ask)
	refused(t, "in somebody's name", err, adminapi.CodeForbidden, "proves nothing")

	_, stranger := desk(t, k, 1004)
	_, err = stranger.Elevate(ctx, ask)
	refused(t, "nobody's uid on the host", err, adminapi.CodeForbidden, "cannot be found out")

	_, bob := desk(t, k, 1001)
	if e, err := bob.DecideElevation(ctx, e.ID, adminapi.ElevationDecision{Approve: true}); err != nil || e.State != adminapi.StateActive {
		t.Errorf("approved: %+v, %v", e, err)
	}
	if list, err := bob.Elevations(ctx, adminapi.StateQuery{}); err != nil || len(list) != 4 {
		t.Errorf("an approver's: %v, %v", list, err)
	}
	_, ada := desk(t, &clerk{asked: []adminapi.Elevation{{ID: "elv_1", Groups: []string{"security"}, By: adminapi.Person{UID: 7}}}}, 1000)
	if list, err := ada.Elevations(ctx, adminapi.StateQuery{}); err != nil || len(list) != 0 {
		t.Errorf("somebody else's: %v, %v", list, err)
	}
	_, err = ada.RevokeElevation(ctx, "elv_1", adminapi.Revocation{Reason: "r"})
	refused(t, "somebody else's", err, adminapi.CodeForbidden, "whoever asked")
	full, eve := desk(t, k, 1003)
	full.readonly = errors.New("disk full")
	if e, err := eve.RevokeElevation(ctx, e.ID, adminapi.Revocation{Reason: "done"}); err != nil || e.State != adminapi.StateRevoked {
		t.Errorf("revoked with a full journal: %+v, %v", e, err)
	}
}
