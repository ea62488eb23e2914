// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"net/netip"
	"strings"
)

// PortDoT is the port of DNS over TLS (RFC 7858).
const PortDoT = 853

// publicResolvers are the well-known public name servers that speak DNS over HTTPS or TLS. Where a program asks one of them, nobody on
// the host sees what it asks. The list cannot be complete: anybody may run one.
var publicResolvers = []struct {
	operator  string
	names     []string // with everything below them
	addresses []string
}{
	{"Google", []string{"dns.google", "dns.google.com", "8888.google", "dns64.dns.google"},
		[]string{"8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844", "2001:4860:4860::64", "2001:4860:4860::6464"}},
	{"Cloudflare", []string{"cloudflare-dns.com", "one.one.one.one", "cloudflare-gateway.com"},
		[]string{"1.1.1.1", "1.0.0.1", "1.1.1.2", "1.0.0.2", "1.1.1.3", "1.0.0.3", "2606:4700:4700::1111", "2606:4700:4700::1001",
			"2606:4700:4700::1112", "2606:4700:4700::1002", "2606:4700:4700::1113", "2606:4700:4700::1003"}},
	{"Quad9", []string{"dns.quad9.net", "dns9.quad9.net", "dns10.quad9.net", "dns11.quad9.net", "dns12.quad9.net"},
		[]string{"9.9.9.9", "149.112.112.112", "9.9.9.10", "149.112.112.10", "9.9.9.11", "149.112.112.11", "2620:fe::fe", "2620:fe::9", "2620:fe::10", "2620:fe::11"}},
	{"OpenDNS", []string{"doh.opendns.com", "dns.opendns.com", "doh.umbrella.com", "dns.umbrella.com", "doh.familyshield.opendns.com"},
		[]string{"208.67.222.222", "208.67.220.220", "208.67.222.123", "208.67.220.123", "2620:119:35::35", "2620:119:53::53"}},
	{"AdGuard", []string{"adguard-dns.com", "dns.adguard.com"},
		[]string{"94.140.14.14", "94.140.15.15", "94.140.14.15", "94.140.15.16", "94.140.14.140", "94.140.14.141", "2a10:50c0::ad1:ff", "2a10:50c0::ad2:ff"}},
	{"NextDNS", []string{"dns.nextdns.io", "doh.nextdns.io"}, []string{"45.90.28.0/24", "45.90.30.0/24", "2a07:a8c0::/32", "2a07:a8c1::/32"}},
	{"Mullvad", []string{"dns.mullvad.net", "doh.mullvad.net"}, []string{"194.242.2.0/28", "2a07:e340::/64"}},
	{"CleanBrowsing", []string{"doh.cleanbrowsing.org", "dns.cleanbrowsing.org"},
		[]string{"185.228.168.0/24", "185.228.169.0/24", "2a0d:2a00:1::", "2a0d:2a00:2::"}},
	{"Control D", []string{"freedns.controld.com", "dns.controld.com"}, []string{"76.76.2.0/24", "76.76.10.0/24"}},
	{"DNS.SB", []string{"doh.dns.sb", "dot.sb", "doh.sb"}, []string{"185.222.222.222", "45.11.45.11", "2a09::", "2a11::"}},
	{"AliDNS", []string{"dns.alidns.com"}, []string{"223.5.5.5", "223.6.6.6", "2400:3200::1", "2400:3200:baba::1"}},
	{"DNSPod", []string{"doh.pub", "dot.pub", "dns.pub"}, []string{"1.12.12.12", "120.53.53.53"}},
	{"Yandex", []string{"common.dot.dns.yandex.net", "dns.yandex.net"}, []string{"77.88.8.8", "77.88.8.1"}},
	{"LibreDNS", []string{"doh.libredns.gr", "dot.libredns.gr"}, []string{"116.202.176.26"}},
	{"Applied Privacy", []string{"doh.applied-privacy.net", "dot1.applied-privacy.net"}, []string{"146.255.56.98"}},
	{"Switch", []string{"dns.switch.ch"}, []string{"130.59.31.248", "130.59.31.251"}},
}

// resolvers is the table, ready to be asked.
type resolvers struct {
	names     map[string]string // to operator
	addresses map[netip.Addr]string
	nets      map[netip.Prefix]string
}

func newResolvers() resolvers {
	r := resolvers{map[string]string{}, map[netip.Addr]string{}, map[netip.Prefix]string{}}
	for _, p := range publicResolvers {
		for _, n := range p.names {
			r.names[n] = p.operator
		}
		for _, a := range p.addresses {
			if strings.Contains(a, "/") {
				r.nets[netip.MustParsePrefix(a)] = p.operator
			} else {
				r.addresses[netip.MustParseAddr(a)] = p.operator
			}
		}
	}
	return r
}

// operator says whose encrypted name server a connection goes to, by its name or its address; "" = to none that is known. What
// speaks to port 853 is DNS over TLS, whoever it is.
func (r *resolvers) operator(to netip.AddrPort, sni string) string {
	for name := strings.ToLower(strings.TrimSuffix(sni, ".")); name != ""; {
		if op := r.names[name]; op != "" {
			return op
		}
		_, name, _ = strings.Cut(name, ".")
	}
	if to.Port() != 443 && to.Port() != PortDoT {
		return ""
	}
	if op := r.addresses[to.Addr()]; op != "" {
		return op
	}
	for p, op := range r.nets {
		if p.Contains(to.Addr()) {
			return op
		}
	}
	if to.Port() == PortDoT {
		return to.Addr().String()
	}
	return ""
}
