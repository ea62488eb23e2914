// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// addresses is what DNS told about one host, and what was verified.
type addresses struct {
	mu       sync.Mutex
	known    []netip.Addr
	asked    int
	verified []netip.Addr
}

func (a *addresses) Addresses(_ uint64, name string) []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if name != host {
		return nil
	}
	return a.known
}

func (a *addresses) Verified(_ uint64, name string, at netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if name == host {
		a.verified = append(a.verified, at)
	}
}

// TestOtherAddresses: a provider that does not answer where the application looks for it is looked for where DNS says that it is.
func TestOtherAddresses(t *testing.T) {
	here, dead := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.77")
	for _, c := range []struct {
		name  string
		first netip.Addr
		known []netip.Addr
		ok    bool
		asked int
	}{
		{"it answers", here, []netip.Addr{dead}, true, 0},
		{"another answers", dead, []netip.Addr{dead, netip.MustParseAddr("127.0.0.78"), here}, true, 1},
		{"none is known", dead, nil, false, 1},
		{"none answers", dead, []netip.Addr{netip.MustParseAddr("127.0.0.78")}, false, 1},
		{"one of another kind is not tried", dead, []netip.Addr{netip.MustParseAddr("192.0.2.1")}, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &addresses{known: c.known}
			r := newRig(t, always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), nil, func(r *rig) {
				r.opts.Addresses = a
				r.origins.dest = netip.AddrPortFrom(c.first, r.origins.dest.Port())
			})
			r.router.table[host] = r.terminate(pipeline.ModeEnforce)
			client := r.client()
			if c.ok {
				if got := ask(t, client, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n", len("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")); !strings.HasSuffix(got, "ok") {
					t.Errorf("got %q", got)
				}
			} else {
				_, _ = client.Write([]byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"))
				if n, err := client.Read(make([]byte, 1)); err == nil {
					t.Errorf("%d bytes came from nowhere", n)
				}
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.asked < min(c.asked, 1) || c.asked == 0 && a.asked > 0 {
				t.Errorf("DNS was asked about %d times", a.asked)
			}
			if want := c.ok; slices.Contains(a.verified, here) != want || len(a.verified) > 1 {
				t.Errorf("verified at %v", a.verified)
			}
		})
	}
}

var _ proxy.Addresses = (*addresses)(nil)
