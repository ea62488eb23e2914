// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

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
