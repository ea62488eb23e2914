// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretDoesNotPrint(t *testing.T) {
	s := NewSecret("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", s, "options", Options{APIKey: s})
	encoded, err := json.Marshal(map[string]any{"key": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%v %+v %#v", &s, &s, &s),
		fmt.Sprintf("%+v %#v", Options{Password: s}, Options{Password: s}), log.String(), string(encoded), fmt.Sprint(errors.New(s.String())),
	} {
		if strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") {
			t.Errorf("the secret is in %q", got)
		}
	}
}

func TestReadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("a2V5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSecret(path); err != nil || s.value != "a2V5" {
		t.Errorf("%v %q", err, s.value)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSecret(path); err == nil || !s.Empty() || !strings.Contains(err.Error(), "the Elasticsearch key") {
		t.Errorf("%v %v", err, s.Empty())
	}
}

func TestBadOptions(t *testing.T) {
	key := NewSecret("hunter2")
	at := func(u ...string) Options { return Options{URLs: u} }
	tests := map[string]struct {
		o    Options
		want string
	}{
		"no URL":            {Options{}, "elasticsearch.url"},
		"other scheme":      {at("ftp://es"), "elasticsearch.url"},
		"second one is bad": {at("https://es", "es2"), "elasticsearch.url"},
		"password in URL":   {at("https://u:hunter2@es"), "api_key_file"},
		"key without TLS":   {Options{URLs: []string{"https://es", "http://es:9200"}, APIKey: key}, "not https"},
		"key and password":  {Options{URLs: []string{"https://es"}, APIKey: key, Username: "u"}, "or a user name"},
		"bad CA":            {Options{URLs: []string{"https://es"}, CA: []byte("x")}, "ca_file"},
		"two pins":          {Options{URLs: []string{"https://es"}, CA: []byte("x"), Fingerprint: strings.Repeat("ab", 32)}, "or a fingerprint"},
		"bad fingerprint":   {Options{URLs: []string{"https://es"}, Fingerprint: "abcd"}, "elasticsearch.fingerprint"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := New(tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for name, bad := range map[string]bool{"default": false, "a-b": true, "../x": true, "": true, "A": true} {
		if err := CheckNamespace(name); (err != nil) != bad {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func handler(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
	b, _ := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(w, `{"encoding":%q,"bytes":%d}`, r.Header.Get("Content-Encoding"), len(b))
}

// A pinned certificate is trusted whoever signed it, and no other is, whoever signed that.
func TestFingerprint(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(handler))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	sum := sha256.Sum256(s.Certificate().Raw)
	for name, c := range map[string]struct {
		pin string
		ok  bool
	}{"right": {hex.EncodeToString(sum[:]), true}, "with colons": {strings.ToUpper(hex.EncodeToString(sum[:1]) + ":" + hex.EncodeToString(sum[1:])), true}, "wrong": {strings.Repeat("ab", 32), false}} {
		t.Run(name, func(t *testing.T) {
			cl, err := New(Options{URLs: []string{s.URL}, Fingerprint: c.pin})
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			err = cl.Do(context.Background(), http.MethodGet, "/", nil, nil)
			if c.ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "fingerprint") {
				t.Error(err)
			}
		})
	}
}

// A node that is away is left alone: the next request goes to another one. Bodies are compressed.
func TestNodes(t *testing.T) {
	one, two := httptest.NewServer(http.HandlerFunc(handler)), httptest.NewServer(http.HandlerFunc(handler))
	defer two.Close()
	c, err := New(Options{URLs: []string{one.URL, two.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func() error {
		var got struct {
			Encoding string
			Bytes    int
		}
		err := c.Do(context.Background(), http.MethodPost, "/x", bytes.Repeat([]byte("a"), 10_000), &got)
		if err == nil && (got.Encoding != "gzip" || got.Bytes > 1000) {
			t.Errorf("%+v", got)
		}
		return err
	}
	for range 4 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	one.Close()
	failed := 0
	for range 10 {
		if ask() != nil {
			failed++
		}
	}
	if failed > 1 {
		t.Errorf("%d of 10 requests failed", failed)
	}
}

func TestAnswersThatSayNo(t *testing.T) {
	for name, c := range map[string]struct {
		body, want string
	}{
		"exception": {`{"error":{"type":"security_exception","reason":"no\n  way"}}`, "403 Forbidden: security_exception: no way; see docs"},
		"a string":  {`{"error":"no handler found"}`, "403 Forbidden; see docs"},
		"a proxy":   {`<html>`, "403 Forbidden; see docs"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, c.body)
			}))
			defer s.Close()
			cl, err := New(Options{URLs: []string{s.URL}})
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			err = cl.Do(context.Background(), http.MethodGet, "/", nil, nil)
			if !Is(err, http.StatusForbidden) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
