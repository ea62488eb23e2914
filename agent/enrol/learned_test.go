// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// book is what one network namespace was told.
type book map[netip.Addr][]string

const bookNetNS = 77

func (b book) At(netns uint64, a netip.Addr) []string {
	if netns != bookNetNS {
		return nil
	}
	return b[a]
}

// TestHiddenEndpoint: what goes to an endpoint's address without its name is not passed by a scope that enforces.
func TestHiddenEndpoint(t *testing.T) {
	known := book{netip.MustParseAddr("192.0.2.1"): {"api.openai.com"}, netip.MustParseAddr("192.0.2.2"): {"llm.internal"}}
	for _, c := range []struct {
		name   string
		scope  uint32
		netns  uint64
		to     string
		sni    string
		tls    bool
		want   Disposition
		reason string // part of it
	}{
		{"no name", enforcing, bookNetNS, "192.0.2.1:443", "", true, Refuse, "TLS without a name at 192.0.2.1:443, an address of endpoint openai"},
		{"another name", enforcing, bookNetNS, "192.0.2.1:443", "front.example", true, Refuse, "front.example is no endpoint, but would be reached at 192.0.2.1:443"},
		{"no TLS", enforcing, bookNetNS, "192.0.2.1:443", "", false, Refuse, "not at port 443 without TLS"},
		{"the endpoint's name", enforcing, bookNetNS, "192.0.2.1:443", "api.openai.com", true, Terminate, ""},
		{"another port", enforcing, bookNetNS, "192.0.2.1:80", "front.example", true, Pass, "front.example is no endpoint"},
		{"another namespace", enforcing, bookNetNS + 1, "192.0.2.1:443", "front.example", true, Pass, "front.example is no endpoint"},
		{"another address", enforcing, bookNetNS, "192.0.2.9:443", "front.example", true, Pass, "front.example is no endpoint"},
		{"observed", observing, bookNetNS, "192.0.2.1:443", "front.example", true, Pass, "not inspected: front.example is no endpoint, but"},
		{"discovered", 2, bookNetNS, "192.0.2.1:443", "front.example", true, Pass, "the scope's mode is discover"},
		{"TLS at a plain endpoint", enforcing, bookNetNS, "192.0.2.2:8000", "front.example", true, Refuse, "not at port 8000 with TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.trust[trusting] = true
			o := h.options(routeScopes...)
			o.Learned = known
			conn := agent.Conn{Scope: c.scope, Orig: netip.MustParseAddrPort(c.to), Proc: agent.Process{TGID: trusting, Start: 1, NetNS: c.netns}}
			got := h.enrol(o).Route(conn, &pipeline.Workload{}, c.sni, c.tls)
			if got.Disposition != c.want || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestEncryptedDNS: name servers that hide what is asked are named, and refused where a scope says so.
func TestEncryptedDNS(t *testing.T) {
	scopes := []agent.Scope{
		{Name: "deny", Match: agent.Match{UID: ptr(uint32(2001))}, Mode: agent.ModeEnforce, DenyDNS: true},
		{Name: "observe", Match: agent.Match{UID: ptr(uint32(2002))}, Mode: agent.ModeEnforce},
	}
	for _, c := range []struct {
		name  string
		scope uint32
		to    string
		sni   string
		want  Disposition
		who   string
	}{
		{"by name", 0, "192.0.2.7:443", "Dns.Google.", Refuse, "Google"},
		{"below a name", 0, "192.0.2.7:443", "mozilla.cloudflare-dns.com", Refuse, "Cloudflare"},
		{"by address", 0, "1.1.1.1:443", "", Refuse, "Cloudflare"},
		{"by address in a range", 0, "45.90.28.17:443", "x.example", Refuse, "NextDNS"},
		{"by IPv6 address", 0, "[2620:fe::fe]:443", "", Refuse, "Quad9"},
		{"by port", 0, "192.0.2.7:853", "", Refuse, "192.0.2.7"},
		{"observed", 1, "1.1.1.1:443", "", Pass, "Cloudflare"},
		{"a name that only ends alike", 0, "192.0.2.7:443", "mydns.google", Pass, ""},
		{"another port of a name server", 0, "8.8.8.8:80", "", Pass, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			conn := agent.Conn{Scope: c.scope, Orig: netip.MustParseAddrPort(c.to), Proc: agent.Process{TGID: trusting}}
			got := h.enrol(h.options(scopes...)).Route(conn, &pipeline.Workload{}, c.sni, true)
			if got.Disposition != c.want || strings.Contains(got.Reason, "encrypted DNS") != (c.who != "") || !strings.Contains(got.Reason, c.who) {
				t.Errorf("got %+v", got)
			}
		})
	}
}
