// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Over HTTP/2 too, who stalls is given up after a while; only that stream ends.
func TestHTTP2Stalls(t *testing.T) {
	never, end := io.Pipe() // a body of which nothing more comes
	defer end.Close()
	go func() { _, _ = io.WriteString(end, "half") }()
	for name, tc := range map[string]struct {
		provider http.HandlerFunc
		body     io.Reader
		want     string // in the error
	}{
		"the provider, before its reply": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil, "upstream_timeout"},
		"the provider, in its reply": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, nil, "upstream_timeout"},
		"the application, in its request": {func(w http.ResponseWriter, r *http.Request) {}, never, "proxy.stall"},
	} {
		t.Run(name, func(t *testing.T) {
			failed := make(chan error, 1)
			_, client := newRig2(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/good" {
					_, _ = io.WriteString(w, "good")
					return
				}
				tc.provider(w, r)
			}, func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				err := forward(ctx, m, c, u)
				if c.Head().Target != "/good" {
					failed <- err
				}
				return err
			}, func(r *rig) { r.opts.UpstreamTimeout, r.opts.StallTimeout = 200*time.Millisecond, 200*time.Millisecond })
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			req := must(http.NewRequestWithContext(ctx, "POST", "https://"+host+"/bad", tc.body))(t)
			if resp, err := client.Do(req); err == nil {
				if b, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("%q looks complete", b)
				}
				_ = resp.Body.Close()
			}
			if err := <-failed; err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ended with %v", err)
			}
			resp := must(client.Get("https://" + host + "/good"))(t)
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "good" {
				t.Errorf("%q, %v", b, err)
			}
			_ = resp.Body.Close()
		})
	}
}
