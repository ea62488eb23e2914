// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/agent"
)

// Learned knows at which addresses endpoints were found by the programs of a network namespace (agent/kernel/learn).
type Learned interface {
	// At tells the hosts of endpoints at an address, in lower case.
	At(netns uint64, a netip.Addr) []string
}

// hidden finds an endpoint that a connection might be meant for although it does not say so: its destination is an address at which
// the endpoint was found. A provider's front may be reached under another name there, or under none.
func (e *Enrol) hidden(c *agent.Conn, sni string, tls bool) (why string) {
	if e.o.Learned == nil {
		return ""
	}
	hosts := e.o.Learned.At(c.Proc.NetNS, c.Orig.Addr())
	i := slices.IndexFunc(e.o.Endpoints, func(x Endpoint) bool {
		return x.Port == c.Orig.Port() && slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, x.Host) })
	})
	if i < 0 {
		return ""
	}
	x := &e.o.Endpoints[i]
	at := fmt.Sprintf("%s, an address of endpoint %s (%s)", c.Orig, x.Name, x.Host)
	switch {
	case !tls && x.Plain:
		return ""
	case !tls || x.Plain:
		return x.otherwise(c.Orig.Port(), tls)
	case sni == "":
		return "TLS without a name at " + at + ": have the program send the name"
	}
	return sni + " is no endpoint, but would be reached at " + at + ", which may answer for it: add an endpoint if this is wanted, or let the program run outside this scope"
}
