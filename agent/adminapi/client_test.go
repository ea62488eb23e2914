// SPDX-License-Identifier: Apache-2.0

package adminapi

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
)

// serve answers every request on a unix socket with h and returns the socket's path.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv, done := &http.Server{Handler: h}, make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return path
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string // part of the error; "" = none
		code   string
	}{
		{"fine", 200, `{"ready":true,"later":"field"}`, "", ""},
		{"refused", 403, `{"code":"forbidden","message":"uid 7 may not do this"}`, "uid 7 may not do this", CodeForbidden},
		{"not a sallyportd", 404, `<html>`, "is no sallyportd", ""},
		{"not even HTTP errors", 500, ``, "is no sallyportd", ""},
		{"redirect", 302, ``, "is no sallyportd", ""},
		{"no JSON", 200, `hello`, "of one version", ""},
		{"other shape", 200, `{"ready":"yes"}`, "of one version", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := NewClient(serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "http://elsewhere.invalid/")
				w.WriteHeader(c.status)
				w.Write([]byte(c.body))
			}))
			defer client.Close()
			st, err := client.Status(t.Context())
			if c.want == "" {
				if err != nil || !st.Ready {
					t.Errorf("got %+v, %v", st, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q on one line", err, c.want)
			}
			var se *StatusError
			if errors.As(err, &se) && (se.Code != c.code || se.Status != c.status) {
				t.Errorf("got %+v", se)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	var got string
	client := NewClient(serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.RequestURI + " " + r.Header.Get("Content-Type")
		if strings.HasPrefix(r.URL.Path, "/v1/sessions") && r.URL.Path == "/v1/sessions" {
			w.Write([]byte("[]"))
			return
		}
		w.Write([]byte("{}"))
	}))
	defer client.Close()
	ctx := t.Context()
	for _, c := range []struct {
		name string
		call func() error
		want string
	}{
		{"sessions", func() error { _, err := client.Sessions(ctx, Query{}); return err }, "GET /v1/sessions "},
		{"sessions, asked closely", func() error {
			_, err := client.Sessions(ctx, Query{Since: time.Unix(0, 5).UTC(), Limit: 3, Exchanges: true})
			return err
		}, "GET /v1/sessions?exchanges=true&limit=3&since=1970-01-01T00%3A00%3A00.000000005Z "},
		{"session with a strange ID", func() error { _, err := client.Session(ctx, "../status?x"); return err }, "GET /v1/sessions/..%2Fstatus%3Fx "},
		{"remove", func() error { _, err := client.TrustRemove(ctx, TrustRemoveRequest{}); return err }, "POST /v1/trust/remove application/json"},
		{"apply", func() error { _, err := client.TrustApply(ctx, ""); return err }, "POST /v1/trust/apply application/json"},
		{"explain", func() error { _, err := client.Explain(ctx, ExplainRequest{}); return err }, "POST /v1/policy/explain application/json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.call(); err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("sent %q, want %q", got, c.want)
			}
		})
	}
}

func TestSocketErrors(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	for _, c := range []struct{ name, socket string }{{"missing", filepath.Join(dir, "none")}, {"stale", stale}} {
		t.Run(c.name, func(t *testing.T) {
			client := NewClient(c.socket)
			defer client.Close()
			_, err := client.Status(t.Context())
			if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "start sallyportd") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("permission", func(t *testing.T) {
		err := NewClient("/s").explain(t.Context(), &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", os.ErrPermission)})
		if !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "run it as root") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		client := NewClient(stale)
		defer client.Close()
		if _, err := client.Status(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTrusted(t *testing.T) {
	for _, c := range []struct {
		server uint32
		own    int
		want   bool
	}{{0, 1000, true}, {1000, 1000, true}, {1001, 1000, false}, {65534, 0, false}} {
		if got := trusted(c.server, c.own); got != c.want {
			t.Errorf("server %d, own %d: %v", c.server, c.own, got)
		}
	}
}
