// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

const empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// The handler never sees a credential, the provider sees each in its old place.
func TestCredentialsAreCut(t *testing.T) {
	request := "GET /v1/x?a=1&key=SECRET1&%6bey=SECRET2&access_token=SECRET3&z HTTP/1.1\r\nHost: api.test\r\nAuthorization:  Bearer SECRET4 \r\nX-One: 1\r\nx-api-key: SECRET5\r\n" +
		"API-KEY: SECRET6\r\nx-goog-api-key: SECRET7\r\nX-Two: 2\r\nCookie: SECRET8\r\nProxy-Authorization: SECRET9\r\nX-Amz-Security-Token: SECRET10\r\n\r\n"
	heads := make(chan pipeline.Head, 1)
	r := newRig(t, always(empty), func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		h := c.Head().Clone()
		heads <- c.Head()
		h.Target = strings.Replace(h.Target, "a=1", "a=2", 1)
		h.Set("X-Two", "zwei")
		h.Del("X-One")
		h.Set("New", "n")
		reply, err := u.Send(ctx, h, nil, "", nil)
		if err != nil {
			return err
		}
		return deliver(ctx, c, reply, reply.Head())
	})
	ask(t, r.client(), request, len(empty))
	h := <-heads
	if s := fmt.Sprint(h); strings.Contains(s, "SECRET") {
		t.Errorf("seen by the handler: %s", s)
	}
	if h.Target != "/v1/x?a=1&key=&%6bey=&access_token=&z" || len(h.Credential) != 32 {
		t.Errorf("target %q credential %q", h.Target, h.Credential)
	}
	want := strings.NewReplacer("a=1", "a=2", "X-Two: 2", "X-Two: zwei", "X-One: 1\r\n", "", "SECRET10\r\n", "SECRET10\r\nNew: n\r\n").Replace(request)
	if got := r.provider.received(0); !sameFields(got, want) {
		t.Errorf("got\n%s want\n%s", got, want)
	}
}

// sameFields compares two heads, but for the place of the new field.
func sameFields(a, b string) bool {
	cut := func(s string) string { return strings.Replace(s, "New: n\r\n", "", 1) }
	return cut(a) == cut(b) && strings.Contains(a, "New: n\r\n") == strings.Contains(b, "New: n\r\n")
}

// The same credential has the same fingerprint, another one another, and none has none.
func TestFingerprint(t *testing.T) {
	var prints []string
	r := newRig(t, always(empty), func(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		prints = append(prints, c.Head().Credential)
		return forward(ctx, m, c, u)
	})
	c := r.client()
	for _, f := range []string{"Authorization: Bearer a\r\n", "authorization: Bearer a\r\nCookie: x\r\n", "Authorization: Bearer b\r\n", "", "Cookie: x\r\n",
		"Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/x, Signature=1\r\n", "Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260102/x, Signature=2\r\n"} {
		ask(t, c, "GET / HTTP/1.1\r\nHost: api.test\r\n"+f+"\r\n", len(empty))
	}
	p := prints
	if p[0] != p[1] || p[0] == p[2] || p[3] != "" || p[4] == "" || p[4] == p[0] || p[5] != p[6] {
		t.Errorf("%q", p)
	}
}

// keys is a store with one credential.
type keys struct{}

func (keys) Apply(_ context.Context, name string, m *pipeline.Meta, wire *[]pipeline.Field, body []byte) error {
	if name != "team" || m.Endpoint.Host != host {
		return errors.New("no such credential")
	}
	h := pipeline.Head{Fields: *wire}
	h.Set("Authorization", "Bearer TEAM")
	*wire = h.Fields
	return nil
}

func TestNamedCredential(t *testing.T) {
	request := "POST /x?key=OLD HTTP/1.1\r\nHost: api.test\r\nauthorization: Bearer OLD\r\nX: y\r\nContent-Length: 2\r\n\r\n{}"
	for _, tc := range []struct {
		name, credential string
		store            proxy.Credentials
		want             string
	}{
		{"known", "team", keys{}, "POST /x?key= HTTP/1.1\r\nHost: api.test\r\nauthorization: Bearer TEAM\r\nX: y\r\nContent-Length: 2\r\n\r\n{}"},
		{"unknown", "other", keys{}, ""},
		{"no store", "team", nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			errs := make(chan error, 1)
			r := newRig(t, always(empty), func(ctx context.Context, _ *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
				body, err := c.Body(ctx, 100)
				if err != nil {
					return err
				}
				reply, err := u.Send(ctx, c.Head(), body, tc.credential, nil)
				errs <- err
				if err != nil {
					return err
				}
				return deliver(ctx, c, reply, reply.Head())
			}, func(r *rig) { r.opts.Credentials = tc.store })
			c := r.client()
			if tc.want == "" {
				if got := ask(t, c, request, 0); got != "" {
					t.Errorf("%q", got)
				}
				if err := <-errs; err == nil {
					t.Error("sent")
				}
			} else {
				ask(t, c, request, len(empty))
			}
			if got := r.provider.received(0); got != tc.want {
				t.Errorf("%q", got)
			}
		})
	}
}

// A body that the handler changes gets the length that it has.
func TestChangedBody(t *testing.T) {
	r := newRig(t, always(empty), func(ctx context.Context, _ *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
		reply, err := u.Send(ctx, c.Head(), []byte("changed"), "", nil)
		if err != nil {
			return err
		}
		return deliver(ctx, c, reply, reply.Head())
	})
	ask(t, r.client(), "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length:   2\r\nX: y\r\nConnection: close\r\n\r\n{}", len(empty))
	if got := r.provider.received(0); got != "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length:   7\r\nX: y\r\nConnection: close\r\n\r\nchanged" {
		t.Errorf("%q", got)
	}
}
