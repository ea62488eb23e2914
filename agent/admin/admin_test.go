// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// asUID makes every peer appear to have a uid, as the kernel would report it.
type asUID struct {
	*peerListener
	uid uint32
}

func (l asUID) Accept() (net.Conn, error) {
	c, err := l.peerListener.Accept()
	if err != nil {
		return nil, err
	}
	c.(*peerConn).cred.Uid = l.uid
	return c, nil
}

// start runs a server whose peers have the given uid and stops it at the test's end.
func start(t *testing.T, f *fakeDaemon, uid uint32, edit ...func(*Options)) (*Server, *adminapi.Client) {
	t.Helper()
	o := Options{Socket: filepath.Join(t.TempDir(), "admin.sock"), Admins: []uint32{1000},
		Status: f, Doctor: f, Sessions: f, Trust: f, Policy: f, Recorder: f, Scopes: f}
	for _, e := range edit {
		e(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		err := s.http.Serve(asUID{s.ln, uid})
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		served <- err
	}()
	c := adminapi.NewClient(o.Socket)
	t.Cleanup(func() {
		c.Close()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if len(s.ln.open) != 0 || s.ln.total != 0 {
			t.Errorf("connections leaked: %v", s.ln.open)
		}
	})
	return s, c
}

func TestOperator(t *testing.T) {
	for _, uid := range []uint32{0, 1000} {
		f := &fakeDaemon{}
		_, c := start(t, f, uid)
		ctx := t.Context()
		st, err := c.Status(ctx)
		if err != nil || !st.Ready {
			t.Fatalf("status: %+v, %v", st, err)
		}
		if d, err := c.Doctor(ctx); err != nil || len(d.Checks) != 1 {
			t.Errorf("doctor: %+v, %v", d, err)
		}
		since := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
		list, err := c.Sessions(ctx, adminapi.Query{Since: since, Limit: 7})
		if err != nil || len(list) != 1 || !list[0].Started.Equal(since) || list[0].Count != 7 || list[0].Exchanges != nil {
			t.Errorf("sessions: %+v, %v", list, err)
		}
		if list, err := c.Sessions(ctx, adminapi.Query{Exchanges: true}); err != nil || len(list[0].Exchanges) != 1 || list[0].Count != defaultLimit {
			t.Errorf("sessions with exchanges: %+v, %v", list, err)
		}
		if s, err := c.Session(ctx, "ses_1"); err != nil || len(s.Exchanges) != 1 {
			t.Errorf("session: %+v, %v", s, err)
		}
		if d, err := c.Why(ctx, "dec_1"); err != nil || d.Rule != "role/support" {
			t.Errorf("why: %+v, %v", d, err)
		}
		if _, err := c.Trust(ctx); err != nil {
			t.Errorf("trust: %v", err)
		}
		if r, err := c.TrustRemove(ctx, adminapi.TrustRemoveRequest{DryRun: true}); err != nil || !r.DryRun || f.removed {
			t.Errorf("dry run: %+v, %v", r, err)
		}
		if _, err := c.TrustRemove(ctx, adminapi.TrustRemoveRequest{}); err != nil || !f.removed {
			t.Errorf("remove: %v", err)
		}
		e, err := c.Explain(ctx, adminapi.ExplainRequest{Mode: pipeline.ModeEnforce, Call: pipeline.Call{Model: "m"}})
		if err != nil || e.Policy != "m" {
			t.Errorf("explain: %+v, %v", e, err)
		}
		want := []string{"admin sessions.read exchanges=true", "admin session.read ses_1", "admin trust.remove"}
		if d := cmp.Diff(want, f.actions()); d != "" {
			t.Errorf("recorded (-want +got):\n%s", d)
		}
	}
}

// wantStatus checks that an error is an answer of the server with this status and a part of its message.
func wantStatus(t *testing.T, what string, err error, status int, message string) {
	t.Helper()
	var se *adminapi.StatusError
	if !errors.As(err, &se) || se.Status != status || !strings.Contains(se.Message, message) || strings.Contains(se.Message, "\n") {
		t.Errorf("%s: got %v, want status %d with %q on one line", what, err, status, message)
	}
}

func refusedToAll(t *testing.T, c *adminapi.Client, message string) {
	t.Helper()
	ctx := t.Context()
	_, err := c.Status(ctx)
	wantStatus(t, "status", err, 403, message)
	_, err = c.Doctor(ctx)
	wantStatus(t, "doctor", err, 403, message)
	_, err = c.Sessions(ctx, adminapi.Query{})
	wantStatus(t, "sessions", err, 403, message)
	_, err = c.Session(ctx, "ses_1")
	wantStatus(t, "session", err, 403, message)
	_, err = c.Trust(ctx)
	wantStatus(t, "trust", err, 403, message)
	_, err = c.TrustRemove(ctx, adminapi.TrustRemoveRequest{})
	wantStatus(t, "trust remove", err, 403, message)
	_, err = c.Explain(ctx, adminapi.ExplainRequest{})
	wantStatus(t, "explain", err, 403, message)
}

func TestOtherUsers(t *testing.T) {
	f := &fakeDaemon{}
	_, c := start(t, f, 4242)
	refusedToAll(t, c, "uid 4242 may not do this")
	if d, err := c.Why(t.Context(), "dec_1"); err != nil || d.UID != 4242 {
		t.Errorf("why of its own: %+v, %v", d, err)
	}
	if f.removed || len(f.actions()) > 0 {
		t.Error("a refused request had an effect")
	}
	_, c = start(t, f, 4243)
	_, err := c.Why(t.Context(), "dec_1")
	wantStatus(t, "why of another", err, 404, "no decision about uid 4243")
	_, unknown := c.Why(t.Context(), "dec_2")
	if unknown == nil || err == nil || unknown.Error() != err.Error() {
		t.Errorf("another's decision and none are told apart: %v, %v", err, unknown)
	}
}

func TestScopedPeer(t *testing.T) {
	pid := uint32(os.Getpid())
	t.Run("in a scope", func(t *testing.T) {
		_, c := start(t, &fakeDaemon{scoped: map[uint32]bool{pid: true}}, 0)
		refusedToAll(t, c, "a scope governs")
		_, err := c.Why(t.Context(), "dec_1")
		wantStatus(t, "why of another, as root", err, 404, "no decision about uid 0")
	})
	t.Run("unknown", func(t *testing.T) {
		_, c := start(t, &fakeDaemon{scopeErr: errors.New("the map is gone")}, 0)
		refusedToAll(t, c, "the map is gone")
	})
}

func TestForeignPeer(t *testing.T) {
	for _, ns := range namespaces {
		t.Run(ns, func(t *testing.T) {
			s, c := start(t, &fakeDaemon{}, 0)
			s.home[ns] = map[nsID]bool{{1, 1}: true} // before the first request, so that the server's goroutines see it
			refusedToAll(t, c, "another "+ns+" namespace")
			_, err := c.TrustApply(t.Context(), "")
			if ns == "mnt" {
				if err != nil {
					t.Errorf("a private mount namespace is what trust/apply wants: %v", err)
				}
			} else {
				wantStatus(t, "apply", err, 403, "shares the host's mounts")
			}
		})
	}
	t.Run("mnt and net", func(t *testing.T) {
		s, c := start(t, &fakeDaemon{}, 0)
		s.home["mnt"], s.home["net"] = map[nsID]bool{{1, 1}: true}, map[nsID]bool{{1, 1}: true}
		_, err := c.TrustApply(t.Context(), "")
		wantStatus(t, "apply", err, 403, "another net namespace")
	})
}

func TestTrustApply(t *testing.T) {
	f := &fakeDaemon{}
	s, c := start(t, f, 4242)
	_, err := c.TrustApply(t.Context(), "")
	wantStatus(t, "in the host's namespace", err, 403, "sallyport run")
	s.home["mnt"] = map[nsID]bool{{1, 1}: true}
	c.Close()
	out, err := c.TrustApply(t.Context(), "")
	if err != nil || out.RootsFile != "/roots.pem" {
		t.Fatalf("apply: %+v, %v", out, err)
	}
	if len(f.applied) != 1 || f.applied[0].PID != uint32(os.Getpid()) || f.applied[0].UID != 4242 || f.applied[0].Start == 0 {
		t.Errorf("applied to %+v", f.applied)
	}
	if d := cmp.Diff([]string{"admin trust.apply"}, f.actions()); d != "" {
		t.Error(d)
	}
}

// What cannot be recorded does not happen.
func TestUnrecorded(t *testing.T) {
	for name, edit := range map[string]func(*Options){
		"journal stopped": func(o *Options) { o.Recorder = &fakeDaemon{readonly: errors.New("disk full")} },
		"no journal":      func(o *Options) { o.Recorder = nil },
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeDaemon{}
			s, c := start(t, f, 0, edit)
			_, err := c.Session(t.Context(), "ses_1")
			wantStatus(t, "session", err, 503, "")
			_, err = c.Sessions(t.Context(), adminapi.Query{Exchanges: true})
			wantStatus(t, "sessions", err, 503, "")
			_, err = c.TrustRemove(t.Context(), adminapi.TrustRemoveRequest{})
			wantStatus(t, "remove", err, 503, "")
			s.home["mnt"] = map[nsID]bool{{1, 1}: true}
			_, err = c.TrustApply(t.Context(), "")
			wantStatus(t, "apply", err, 503, "")
			if f.removed || len(f.applied) > 0 {
				t.Error("done without a record")
			}
		})
	}
}

func TestMissingParts(t *testing.T) {
	_, c := start(t, &fakeDaemon{}, 0, func(o *Options) { *o = Options{Socket: o.Socket} })
	ctx := t.Context()
	_, err := c.Status(ctx)
	wantStatus(t, "status", err, 503, "not available")
	_, err = c.Doctor(ctx)
	wantStatus(t, "doctor", err, 503, "not available")
	_, err = c.Sessions(ctx, adminapi.Query{})
	wantStatus(t, "sessions", err, 503, "not available")
	_, err = c.Session(ctx, "ses_1")
	wantStatus(t, "session", err, 503, "not available")
	_, err = c.Why(ctx, "dec_1")
	wantStatus(t, "why", err, 503, "not available")
	_, err = c.Trust(ctx)
	wantStatus(t, "trust", err, 503, "not available")
	_, err = c.TrustRemove(ctx, adminapi.TrustRemoveRequest{})
	wantStatus(t, "remove", err, 503, "not available")
	_, err = c.Explain(ctx, adminapi.ExplainRequest{})
	wantStatus(t, "explain", err, 503, "not available")
}
