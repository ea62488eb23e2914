// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// fakeDaemon is all parts of a daemon that the server asks.
type fakeDaemon struct {
	mu       sync.Mutex
	records  []pipeline.Record
	readonly error // what Record returns
	removed  bool
	applied  []Peer
	scoped   map[uint32]bool
	scopeErr error
	block    chan struct{} // if set, Status waits for it
	entered  chan struct{}
}

func (f *fakeDaemon) Status(ctx context.Context) (adminapi.Status, error) {
	if f.block != nil {
		f.entered <- struct{}{}
		select {
		case <-f.block:
		case <-ctx.Done():
			return adminapi.Status{}, ctx.Err()
		}
	}
	return adminapi.Status{Ready: true, Version: "v1"}, nil
}

func (f *fakeDaemon) Doctor(context.Context) (adminapi.Doctor, error) {
	return adminapi.Doctor{Checks: []adminapi.Check{{Name: "kernel", State: adminapi.CheckOK}}}, nil
}

func (f *fakeDaemon) Sessions(_ context.Context, q adminapi.Query) ([]adminapi.Session, error) {
	s := adminapi.Session{ID: "ses_1", Started: q.Since, Count: q.Limit}
	if q.Exchanges {
		s.Exchanges = []adminapi.Exchange{{ExchangeID: "exc_1"}}
	}
	return []adminapi.Session{s}, nil
}

func (f *fakeDaemon) Session(_ context.Context, id string) (adminapi.Session, error) {
	if id != "ses_1" {
		return adminapi.Session{}, ErrNotFound
	}
	return adminapi.Session{ID: id, Exchanges: []adminapi.Exchange{{ExchangeID: "exc_1"}}}, nil
}

func (f *fakeDaemon) Decision(_ context.Context, id string) (adminapi.Decision, error) {
	if id != "dec_1" {
		return adminapi.Decision{}, ErrNotFound
	}
	return adminapi.Decision{ID: id, UID: 4242, Rule: "role/support"}, nil
}

func (f *fakeDaemon) Trust(context.Context) (adminapi.Trust, error) { return adminapi.Trust{}, nil }

func (f *fakeDaemon) TrustRemove(_ context.Context, r adminapi.TrustRemoveRequest) (adminapi.TrustRemoved, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removed = f.removed || !r.DryRun
	return adminapi.TrustRemoved{DryRun: r.DryRun}, nil
}

func (f *fakeDaemon) TrustApply(_ context.Context, p Peer) (adminapi.TrustApplied, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied = append(f.applied, p)
	return adminapi.TrustApplied{RootsFile: "/roots.pem"}, nil
}

func (f *fakeDaemon) Explain(_ context.Context, r adminapi.ExplainRequest) (adminapi.Explanation, error) {
	return adminapi.Explanation{Policy: r.Call.Model}, nil
}

func (f *fakeDaemon) Record(_ context.Context, r pipeline.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readonly != nil {
		return f.readonly
	}
	f.records = append(f.records, r)
	return nil
}

func (f *fakeDaemon) Scoped(pid uint32) (bool, error) { return f.scoped[pid], f.scopeErr }

func (f *fakeDaemon) actions() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.records {
		a := r.Body.(adminapi.Action)
		out = append(out, strings.TrimSpace(r.Kind+" "+a.Action+" "+a.Target))
	}
	return out
}

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
			_, err := c.TrustApply(t.Context())
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
		_, err := c.TrustApply(t.Context())
		wantStatus(t, "apply", err, 403, "another net namespace")
	})
}

func TestTrustApply(t *testing.T) {
	f := &fakeDaemon{}
	s, c := start(t, f, 4242)
	_, err := c.TrustApply(t.Context())
	wantStatus(t, "in the host's namespace", err, 403, "sallyport run")
	s.home["mnt"] = map[nsID]bool{{1, 1}: true}
	c.Close()
	out, err := c.TrustApply(t.Context())
	if err != nil || out.RootsFile != "/roots.pem" {
		t.Fatalf("apply: %+v, %v", out, err)
	}
	if len(f.applied) != 1 || f.applied[0].PID != uint32(os.Getpid()) || f.applied[0].UID != 4242 {
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
			_, err = c.TrustApply(t.Context())
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

func TestBadRequests(t *testing.T) {
	s, _ := start(t, &fakeDaemon{}, 0)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", s.opts.Socket)
	}}}
	for _, c := range []struct {
		name, method, path, contentType, body string
		status                                int
		code                                  string
	}{
		{"unknown path", "GET", "/v2/status", "", "", 404, adminapi.CodeNotFound},
		{"root", "GET", "/", "", "", 404, adminapi.CodeNotFound},
		{"method", "POST", "/v1/status", "application/json", "{}", 405, adminapi.CodeMethod},
		{"head", "HEAD", "/v1/status", "", "", 405, ""},
		{"get for post", "GET", "/v1/trust/remove", "", "", 405, adminapi.CodeMethod},
		{"form", "POST", "/v1/trust/remove", "application/x-www-form-urlencoded", "dry_run=true", 415, adminapi.CodeMediaType},
		{"no type", "POST", "/v1/trust/remove", "", "{}", 415, adminapi.CodeMediaType},
		{"unknown field", "POST", "/v1/trust/remove", "application/json", `{"dryrun":true}`, 400, adminapi.CodeBadRequest},
		{"empty", "POST", "/v1/trust/remove", "application/json", ``, 400, adminapi.CodeBadRequest},
		{"two values", "POST", "/v1/trust/remove", "application/json", `{}{}`, 400, adminapi.CodeBadRequest},
		{"large", "POST", "/v1/policy/explain", "application/json", `{"call":{"model":"` + strings.Repeat("a", maxBody) + `"}}`, 413, adminapi.CodeTooLarge},
		{"bad mode", "POST", "/v1/policy/explain", "application/json", `{"mode":"maybe"}`, 400, adminapi.CodeBadRequest},
		{"unknown parameter", "GET", "/v1/status?x=1", "", "", 400, adminapi.CodeBadRequest},
		{"repeated parameter", "GET", "/v1/sessions?limit=1&limit=2", "", "", 400, adminapi.CodeBadRequest},
		{"query does not parse", "GET", "/v1/sessions?limit=%zz", "", "", 400, adminapi.CodeBadRequest},
		{"limit", "GET", "/v1/sessions?limit=1001", "", "", 400, adminapi.CodeBadRequest},
		{"since", "GET", "/v1/sessions?since=yesterday", "", "", 400, adminapi.CodeBadRequest},
		{"exchanges", "GET", "/v1/sessions?exchanges=perhaps", "", "", 400, adminapi.CodeBadRequest},
		{"session ID of another kind", "GET", "/v1/sessions/dec_1", "", "", 400, adminapi.CodeBadRequest},
		{"ID with a path in it", "GET", "/v1/sessions/ses_..%2F..%2Fetc", "", "", 400, adminapi.CodeBadRequest},
		{"no ID", "GET", "/v1/why/dec_", "", "", 400, adminapi.CodeBadRequest},
		{"unknown session", "GET", "/v1/sessions/ses_2", "", "", 404, adminapi.CodeNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, "http://x"+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.contentType != "" {
				req.Header.Set("Content-Type", c.contentType)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			raw, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var e adminapi.Error
			if c.code != "" && json.Unmarshal(raw, &e) != nil {
				t.Errorf("no JSON: %q", raw)
			}
			if resp.StatusCode != c.status || e.Code != c.code {
				t.Errorf("status %d, code %q (%s), want %d, %q", resp.StatusCode, e.Code, e.Message, c.status, c.code)
			}
			if resp.StatusCode == 405 && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
				"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Content-Type": "application/json"} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}
