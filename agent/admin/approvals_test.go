// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// clerk is a Desk that keeps its promises in the small: one approval decides, nobody in their own cause, nothing twice.
type clerk struct {
	held    []adminapi.Approval // newest first
	asked   []adminapi.Elevation
	by      []Person
	minimum int
}

func (k *clerk) Approvals(_ context.Context, q adminapi.StateQuery) ([]adminapi.Approval, error) {
	var out []adminapi.Approval
	for _, a := range k.held {
		live := a.State == adminapi.StateWaiting
		if (q.State == adminapi.StateAll || q.State == a.State || q.State == adminapi.StateLive && live) && !a.Asked.Before(q.Since) && (q.Limit == 0 || len(out) < q.Limit) {
			out = append(out, a)
		}
	}
	return out, nil
}

func (k *clerk) Approval(_ context.Context, id string) (adminapi.Approval, error) {
	for _, a := range k.held {
		if a.ID == id {
			return a, nil
		}
	}
	return adminapi.Approval{}, ErrNotFound
}

func (k *clerk) DecideApproval(_ context.Context, by Person, id string, d adminapi.ApprovalDecision) (adminapi.Approval, error) {
	i := slices.IndexFunc(k.held, func(a adminapi.Approval) bool { return a.ID == id })
	a := &k.held[i]
	switch {
	case a.State != adminapi.StateWaiting:
		return *a, &Conflict{fmt.Errorf("%s is %s already", id, a.State)}
	case by.User == a.Principal.User:
		return *a, &Denied{errors.New("nobody decides in their own cause: another person has to")}
	}
	k.by = append(k.by, by)
	a.Votes = append(a.Votes, adminapi.Vote{By: adminapi.Person{User: by.User, UID: by.ID}, Approve: d.Approve, Scope: d.Scope, Reason: d.Reason})
	if !d.Approve {
		a.State = adminapi.StateDenied
	} else if a.Given++; a.Given >= max(1, k.minimum) {
		a.State = adminapi.StateApproved
	}
	return *a, nil
}

func (k *clerk) RevokeApproval(ctx context.Context, by Person, id, _ string) (adminapi.Approval, error) {
	k.by = append(k.by, by)
	return k.Approval(ctx, id)
}

func (k *clerk) Elevations(context.Context, adminapi.StateQuery) ([]adminapi.Elevation, error) {
	return k.asked, nil
}

func (k *clerk) Elevation(_ context.Context, id string) (adminapi.Elevation, error) {
	for _, e := range k.asked {
		if e.ID == id {
			return e, nil
		}
	}
	return adminapi.Elevation{}, ErrNotFound
}

func (k *clerk) Elevate(_ context.Context, by Person, r adminapi.ElevationRequest) (adminapi.Elevation, error) {
	e := adminapi.Elevation{ID: fmt.Sprint("elv_", len(k.asked)+1), State: adminapi.StateWaiting, Role: r.Role, Seconds: r.Seconds, Reason: r.Reason,
		By: adminapi.Person{User: by.User, UID: by.ID}, Groups: []string{"owners"}}
	k.by = append(k.by, by)
	if !r.DryRun {
		k.asked = append(k.asked, e)
	}
	return e, nil
}

func (k *clerk) DecideElevation(ctx context.Context, by Person, id string, d adminapi.ElevationDecision) (adminapi.Elevation, error) {
	e, err := k.Elevation(ctx, id)
	if err == nil && by.ID == e.By.UID {
		err = &Denied{errors.New("nobody decides in their own cause: another person has to")}
	}
	k.by = append(k.by, by)
	e.State = map[bool]string{true: adminapi.StateActive, false: adminapi.StateDenied}[d.Approve]
	return e, err
}

func (k *clerk) RevokeElevation(ctx context.Context, by Person, id, _ string) (adminapi.Elevation, error) {
	k.by = append(k.by, by)
	e, err := k.Elevation(ctx, id)
	e.State = adminapi.StateRevoked
	return e, err
}

func newClerk() *clerk {
	at := func(s int) time.Time { return time.Date(2026, 1, 31, 12, 0, s, 0, time.UTC) }
	held := func(n int, group string) adminapi.Approval {
		return adminapi.Approval{ID: fmt.Sprint("apr_", n), State: adminapi.StateWaiting, Kind: "toolCall", Tool: "bash", Args: json.RawMessage(`{"cmd":"rm`),
			Rule: "guardrail/shell", Principal: adminapi.Principal{User: "ada"}, Asked: at(n), Groups: []string{group}, Needed: 1}
	}
	k := &clerk{held: []adminapi.Approval{held(3, "security"), held(2, "owners"), held(1, "owners")}}
	k.held[2].State = adminapi.StateExpired
	return k
}

// host is a user data base.
func host(uid uint32) (string, []string, error) {
	switch uid {
	case 0:
		return "root", []string{"root"}, nil
	case 1000:
		return "ada", []string{"owners"}, nil
	case 1001:
		return "bob", []string{"bob", "owners"}, nil
	case 1002:
		return "", nil, nil
	case 1003:
		return "eve", []string{"", "eve"}, nil
	}
	return "", nil, errors.New("no such user")
}

// desk makes a client whose peer has a uid, in no login session.
func desk(t *testing.T, k *clerk, uid uint32, edit ...func(*fakeDaemon, *Options)) (*fakeDaemon, *adminapi.Client) {
	t.Helper()
	f, _, c := session(t, k, uid, noLogin, edit...)
	return f, c
}

// session makes one whose peer has logged in as somebody.
func session(t *testing.T, k *clerk, uid, login uint32, edit ...func(*fakeDaemon, *Options)) (*fakeDaemon, *Server, *adminapi.Client) {
	t.Helper()
	f := &fakeDaemon{}
	s, c := start(t, f, uid, func(o *Options) {
		o.Desk, o.People, o.Admins = k, host, nil
		for _, e := range edit {
			e(f, o)
		}
	})
	s.login = func(uint32) (uint32, error) { return login, nil }
	return f, s, c
}

// TestLogin: a person stays who logged in, also as root. The login of any other uid proves nothing: a process that has none, like
// that of a service, may name any, without a right.
func TestLogin(t *testing.T) {
	ctx := t.Context()
	yes := adminapi.ApprovalDecision{Approve: true}
	for _, c := range []struct {
		name       string
		uid, login uint32
		code, text string
	}{
		{"own cause as root", 0, 1000, adminapi.CodeForbidden, "own cause"},
		{"own cause", 1000, 1000, adminapi.CodeForbidden, "own cause"},
		{"a service that names a member", 1003, 1001, adminapi.CodeForbidden, "proves nothing"},
		{"a member that names another, to count twice", 1001, 1000, adminapi.CodeForbidden, "proves nothing"},
		{"a member as root", 0, 1001, "", ""},
		{"no member as a member", 1001, 1003, adminapi.CodeForbidden, "proves nothing"},
		{"a login without a name as root", 0, 1002, adminapi.CodeForbidden, "has no name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newClerk()
			_, _, client := session(t, k, c.uid, c.login)
			a, err := client.DecideApproval(ctx, "apr_2", yes)
			if c.code != "" {
				refused(t, "approve", err, c.code, c.text)
			} else if err != nil || k.by[0].ID != c.login || k.by[0].UID != c.uid {
				t.Errorf("%+v by %+v, %v", a, k.by, err)
			}
		})
	}
	_, s, client := session(t, newClerk(), 1001, noLogin)
	s.login = func(uint32) (uint32, error) { return 0, errors.New("not readable") }
	_, err := client.Approvals(ctx, adminapi.StateQuery{})
	refused(t, "a login that cannot be read", err, adminapi.CodeForbidden, "not readable")
	for in, want := range map[string]uint32{"4294967295\n": noLogin, "1000": 1000} {
		if got, err := parseLogin(in); err != nil || got != want {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "x", "-1", "4294967296"} {
		if got, err := parseLogin(in); err == nil {
			t.Errorf("%q: %d", in, got)
		}
	}
}

func refused(t *testing.T, what string, err error, code, text string) {
	t.Helper()
	var s *adminapi.StatusError
	if !errors.As(err, &s) || s.Code != code || !strings.Contains(s.Message, text) {
		t.Errorf("%s: %v, want %s: … %s", what, err, code, text)
	}
}

// TestApprovals: approvers need not be root; they see and decide what is for their groups, and are recorded.
func TestApprovals(t *testing.T) {
	ctx := t.Context()
	k := newClerk()
	f, bob := desk(t, k, 1001)
	for _, c := range []struct {
		q    adminapi.StateQuery
		want string
	}{
		{adminapi.StateQuery{}, "[apr_2]"},
		{adminapi.StateQuery{State: adminapi.StateAll}, "[apr_2 apr_1]"},
		{adminapi.StateQuery{State: adminapi.StateAll, Limit: 1}, "[apr_2]"},
		{adminapi.StateQuery{State: adminapi.StateExpired}, "[apr_1]"},
		{adminapi.StateQuery{State: adminapi.StateAll, Since: k.held[1].Asked}, "[apr_2]"},
	} {
		list, err := bob.Approvals(ctx, c.q)
		var ids []string
		for _, a := range list {
			if ids = append(ids, a.ID); a.Args != nil {
				t.Errorf("a listing shows contents: %s", a.Args)
			}
		}
		if got := fmt.Sprint(ids); err != nil || got != c.want {
			t.Errorf("%+v: %s, %v, want %s", c.q, got, err, c.want)
		}
	}
	a, err := bob.Approval(ctx, "apr_2")
	if err != nil || string(a.Args) != `"{\"cmd\":\"rm"` || a.Votes == nil || a.Uses == nil {
		t.Errorf("%+v, %v", a, err)
	}
	_, err = bob.Approval(ctx, "apr_3")
	refused(t, "another group's", err, adminapi.CodeForbidden, "only operators and members of group security")
	_, err = bob.DecideApproval(ctx, "apr_3", adminapi.ApprovalDecision{Approve: true})
	refused(t, "another group's", err, adminapi.CodeForbidden, "only operators and members of group security")
	if len(k.by) != 0 || fmt.Sprint(f.actions()) != "[admin approval.read apr_2]" {
		t.Errorf("it reached the desk: %v, %v", k.by, f.actions())
	}
	a, err = bob.DecideApproval(ctx, "apr_2", adminapi.ApprovalDecision{Approve: true, Scope: adminapi.ScopeSession, Reason: "looked at it"})
	if err != nil || a.State != adminapi.StateApproved || len(a.Votes) != 1 || a.Votes[0].By.User != "bob" {
		t.Errorf("%+v, %v", a, err)
	}
	if by := k.by[0]; by.ID != 1001 || by.Operator || by.Inside || by.PID != uint32(os.Getpid()) || !slices.Contains(by.Groups, "owners") {
		t.Errorf("decided by %+v", by)
	}
	if got := fmt.Sprint(f.actions()); got != "[admin approval.read apr_2 admin approval.approve apr_2]" {
		t.Error(got)
	}
	if r := f.records[1].Body.(adminapi.Action); r.User != "bob" || r.UID != 1001 || r.PID == 0 {
		t.Errorf("recorded %+v", r)
	}
	_, err = bob.DecideApproval(ctx, "apr_2", adminapi.ApprovalDecision{Reason: "no"})
	refused(t, "twice", err, adminapi.CodeConflict, "approved already")
	_, err = bob.DecideApproval(ctx, "apr_9", adminapi.ApprovalDecision{Approve: true})
	refused(t, "unknown", err, adminapi.CodeNotFound, "")
	if _, err := bob.RevokeApproval(ctx, "apr_2", adminapi.Revocation{Reason: "wrong one"}); err != nil {
		t.Error(err)
	}
}

func TestWhoMayApprove(t *testing.T) {
	ctx := t.Context()
	yes := adminapi.ApprovalDecision{Approve: true}
	for _, c := range []struct {
		name string
		uid  uint32
		edit func(*fakeDaemon, *Options)
		code string // of approving apr_2; "" = done
		text string
		sees int // of a listing, if it is allowed
	}{
		{"member", 1001, nil, "", "", 1},
		{"root", 0, nil, "", "", 2},
		{"own cause", 1000, nil, adminapi.CodeForbidden, "own cause", 1},
		{"own cause of an admin", 1000, func(_ *fakeDaemon, o *Options) { o.Admins = []uint32{1000} }, adminapi.CodeForbidden, "own cause", 2},
		{"no member", 1003, nil, adminapi.CodeForbidden, "only operators and members of group owners", 0},
		{"no name", 1002, nil, adminapi.CodeForbidden, "has no name", -1},
		{"unknown to the host", 1004, nil, adminapi.CodeForbidden, "cannot be found out", -1},
		{"in a scope", 1001, func(f *fakeDaemon, _ *Options) { f.scoped = map[uint32]bool{uint32(os.Getpid()): true} }, adminapi.CodeForbidden, "a scope governs", -1},
		{"root in a scope", 0, func(f *fakeDaemon, _ *Options) { f.scoped = map[uint32]bool{uint32(os.Getpid()): true} }, adminapi.CodeForbidden, "a scope governs", -1},
		{"unknown whether in a scope", 1001, func(f *fakeDaemon, _ *Options) { f.scopeErr = errors.New("map is gone") }, adminapi.CodeForbidden, "map is gone", -1},
		{"not recorded", 1001, func(f *fakeDaemon, _ *Options) { f.readonly = errors.New("disk full") }, adminapi.CodeUnavailable, "cannot be recorded", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newClerk()
			var edit []func(*fakeDaemon, *Options)
			if c.edit != nil {
				edit = append(edit, c.edit)
			}
			_, client := desk(t, k, c.uid, edit...)
			list, err := client.Approvals(ctx, adminapi.StateQuery{})
			if c.sees < 0 {
				refused(t, "list", err, c.code, c.text)
			} else if err != nil || len(list) != c.sees {
				t.Errorf("sees %d, %v, want %d", len(list), err, c.sees)
			}
			_, err = client.DecideApproval(ctx, "apr_2", yes)
			if c.code == "" && err != nil {
				t.Error(err)
			} else if c.code != "" {
				refused(t, "approve", err, c.code, c.text)
			}
			if done := k.held[1].State == adminapi.StateApproved; done != (c.code == "") {
				t.Errorf("approved: %v", done)
			}
		})
	}
	_, without := desk(t, newClerk(), 0, func(_ *fakeDaemon, o *Options) { o.Desk = nil })
	_, err := without.Approvals(ctx, adminapi.StateQuery{})
	refused(t, "without that part", err, adminapi.CodeUnavailable, "not available")
}

func TestBadDecisions(t *testing.T) {
	ctx := t.Context()
	_, bob := desk(t, newClerk(), 1001)
	long := strings.Repeat("r", maxReason+1)
	for _, c := range []struct {
		d    adminapi.ApprovalDecision
		want string
	}{
		{adminapi.ApprovalDecision{}, "say why it is denied"},
		{adminapi.ApprovalDecision{Approve: true, Reason: long}, "at most"},
		{adminapi.ApprovalDecision{Approve: true, Scope: "for ever"}, "scope: want"},
		{adminapi.ApprovalDecision{Scope: adminapi.ScopeOnce, Reason: "r"}, "scope: want"},
		{adminapi.ApprovalDecision{Approve: true, Free: []string{"path"}}, "only with scope session"},
		{adminapi.ApprovalDecision{Approve: true, Scope: adminapi.ScopeSession, Seconds: -1}, "seconds"},
	} {
		_, err := bob.DecideApproval(ctx, "apr_2", c.d)
		refused(t, fmt.Sprintf("%.60v", c.d), err, adminapi.CodeBadRequest, c.want)
	}
	for _, c := range []struct {
		r    adminapi.ElevationRequest
		want string
	}{
		{adminapi.ElevationRequest{Role: "w", Seconds: 1}, "what it is needed for"},
		{adminapi.ElevationRequest{Seconds: 1, Reason: "r"}, "which role"},
		{adminapi.ElevationRequest{Role: "w", Reason: "r"}, "for how long"},
		{adminapi.ElevationRequest{Role: "w", Reason: "r", Seconds: 1, UntilSessionEnd: true, Decision: "dec_1"}, "for how long"},
		{adminapi.ElevationRequest{Role: "w", Reason: "r", Seconds: -1}, "seconds"},
		{adminapi.ElevationRequest{Role: "w", Reason: "r", UntilSessionEnd: true}, "which session"},
		{adminapi.ElevationRequest{Role: "w", Reason: "r", Seconds: 1, Decision: "elv_1"}, "want dec_"},
	} {
		_, err := bob.Elevate(ctx, c.r)
		refused(t, fmt.Sprint(c.r), err, adminapi.CodeBadRequest, c.want)
	}
	_, err := bob.Approvals(ctx, adminapi.StateQuery{State: "open"})
	refused(t, "state", err, adminapi.CodeBadRequest, "state: want all, waiting")
	_, err = bob.Elevations(ctx, adminapi.StateQuery{State: "used"})
	refused(t, "state", err, adminapi.CodeBadRequest, "state: want all, waiting")
	_, err = bob.RevokeElevation(ctx, "elv_1", adminapi.Revocation{})
	refused(t, "revoke", err, adminapi.CodeBadRequest, "say why")
}
