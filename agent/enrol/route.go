// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// Disposition is what happens to a connection.
type Disposition uint8

const (
	Refuse    Disposition = iota // the zero value fails closed
	Pass                         // relay bytes unread
	Terminate                    // open the TLS and inspect
)

// Route is a decision on one connection.
type Route struct {
	Disposition Disposition
	Endpoint    pipeline.Endpoint // if Terminate
	UpstreamCA  []byte
	Plain       bool
	Scope       string
	Mode        pipeline.Mode
	Untrusted   bool   // refused or passed because trust in our root is not proven
	Missing     bool   // untrusted, because its trust stores do not hold our root
	Reason      string // for people; says the mend where there is one
}

// DefaultScope is the name of the scope of marked processes that no scope names.
const DefaultScope = "default"

// Route decides on a connection once the name of its destination is known. sni is "" without TLS; tls says whether there
// was a ClientHello.
//
// A destination that is no endpoint is relayed and recorded as not inspected, also in an enforcing scope: what else a
// workload may reach is not part of this version. But TLS without a name, or with another name, to an address at which an endpoint
// was found might be meant for that endpoint: an enforcing scope refuses it. So it does with the well-known encrypted name
// servers, if it is told to.
func (e *Enrol) Route(c agent.Conn, w *pipeline.Workload, sni string, tls bool) Route {
	scope, r := e.scope(c, w)
	if r != nil {
		return *r
	}
	scope = e.effective(scope, w)
	out := Route{Disposition: Pass, Scope: scope.Name, Mode: pipeline.Mode(scope.Mode)}
	if scope.Mode == agent.ModeOff || scope.Mode == agent.ModeDiscover {
		out.Reason = "not inspected: the scope's mode is " + scope.Mode.String()
		return out
	}
	ep, near := e.endpoint(c.Orig, sni, tls)
	if ep == nil {
		enforce := scope.Mode == agent.ModeEnforce
		var why string
		if near != nil {
			why = near.otherwise(c.Orig.Port(), tls)
		} else {
			why = e.hidden(&c, sni, tls)
		}
		dns := e.resolvers.operator(c.Orig, sni)
		switch {
		case why != "" && enforce:
			out.Disposition, out.Reason = Refuse, why
		case why != "":
			out.Reason = "not inspected: " + why
		case dns != "" && enforce && scope.DenyDNS:
			out.Disposition, out.Reason = Refuse, "encrypted DNS of "+dns+" would hide which names the program looks up: have it use the host's resolver"
		case dns != "":
			out.Reason = "not inspected: encrypted DNS of " + dns
		case sni != "":
			out.Reason = "not inspected: " + sni + " is no endpoint"
		default:
			out.Reason = "not inspected: " + c.Orig.String() + " is no endpoint"
		}
		return out
	}
	if !ep.Plain {
		if ok, missing, why := e.trusts(&c, shown(ep, sni), scope.Deny); !ok {
			out.Untrusted, out.Missing, out.Reason = true, missing, why
			if scope.Deny {
				out.Disposition = Refuse
			}
			return out
		}
	}
	out.Disposition = Terminate
	out.Endpoint = pipeline.Endpoint{Name: ep.Name, Host: ep.Host, Protocol: ep.Protocol, BasePath: ep.BasePath, Port: ep.Port}
	out.UpstreamCA, out.Plain = ep.UpstreamCA, ep.Plain
	return out
}

// shown is the name in the certificate that a client is shown.
func shown(ep *Endpoint, sni string) string {
	if sni != "" {
		return strings.ToLower(strings.TrimSuffix(sni, "."))
	}
	return strings.ToLower(ep.Host)
}

// otherwise says that a connection is to an endpoint, but not as it is configured.
func (ep *Endpoint) otherwise(port uint16, tls bool) string {
	how := func(plain bool) string {
		if plain {
			return "without TLS"
		}
		return "with TLS"
	}
	return fmt.Sprintf("%s is endpoint %s at port %d %s, not at port %d %s: add an endpoint if this is wanted", ep.Host, ep.Name,
		ep.Port, how(ep.Plain), port, how(!tls))
}

// scope finds the scope of a connection; the second result is a route that needs none.
func (e *Enrol) scope(c agent.Conn, w *pipeline.Workload) (*agent.Scope, *Route) {
	switch {
	case c.Scope == agent.ScopeDefault:
		return e.unnamed(), nil
	case c.Scope == agent.ScopePending:
		return e.pending(c, w)
	case int64(c.Scope) < int64(len(e.scopes)):
		return &e.scopes[c.Scope], nil
	}
	return nil, &Route{Disposition: Refuse, Reason: fmt.Sprintf("scope %d is not configured any more: connect again", c.Scope)}
}

// unnamed is the scope of marked processes that no scope names.
func (e *Enrol) unnamed() *agent.Scope {
	return &agent.Scope{Name: DefaultScope, Mode: e.o.DefaultMode, Deny: e.o.DefaultMode == agent.ModeEnforce}
}

// pending does what the kernel could not: it connected from a cgroup that we had not looked at yet. What may be in an
// enforcing scope, but cannot be told, is refused.
func (e *Enrol) pending(c agent.Conn, w *pipeline.Workload) (*agent.Scope, *Route) {
	s := subject{uid: c.Proc.UID, exe: e.runs(c.Proc.TGID)}
	s.cgroup, s.cgroupKnown = e.path(c.Proc.CgroupID, w.Cgroup)
	if _, marked, err := e.o.Kernel.Marked(c.Proc.TGID); err != nil {
		s.marked = unknown
	} else {
		s.marked = is(marked)
	}
	cannotTell := func(scope *agent.Scope) (*agent.Scope, *Route) {
		return nil, &Route{Disposition: Refuse, Scope: scope.Name, Mode: pipeline.ModeEnforce,
			Reason: "the process ended or moved before it could be told whether scope " + scope.Name + " is its own: connect again"}
	}
	for i := range e.scopes {
		switch scope := &e.scopes[i]; e.chosen(i, &s) {
		case yes:
			return scope, nil
		case unknown:
			if scope.Mode == agent.ModeEnforce {
				return cannotTell(scope)
			}
		}
	}
	switch {
	case s.marked == yes:
		return e.unnamed(), nil
	case s.marked == unknown && e.o.DefaultMode == agent.ModeEnforce:
		return cannotTell(e.unnamed())
	}
	return nil, &Route{Disposition: Pass, Reason: "no scope names this process"}
}

// endpoint finds the endpoint of a connection. near is one that is meant, but at another port, or with TLS instead of
// without: that is no way around inspection.
//
// With TLS the name decides. Without, there is no name to go by yet: an endpoint that is configured by its address is
// that address, any other plain one is its port, and its name is compared with the Host field later.
func (e *Enrol) endpoint(to netip.AddrPort, sni string, tls bool) (ep, near *Endpoint) {
	name := strings.TrimSuffix(sni, ".")
	var byPort *Endpoint
	for i := range e.o.Endpoints {
		x := &e.o.Endpoints[i]
		addr, err := netip.ParseAddr(x.Host)
		byName := tls && name != "" && strings.EqualFold(x.Host, name)
		byAddr := err == nil && addr == to.Addr() && x.Port == to.Port()
		switch here := x.Port == to.Port() && x.Plain != tls; {
		case here && (byName || byAddr && name == ""):
			return x, nil
		case here && !tls && err != nil && byPort == nil:
			byPort = x
		case (byName || byAddr) && near == nil:
			near = x
		}
	}
	if byPort != nil {
		return byPort, nil
	}
	return nil, near
}
