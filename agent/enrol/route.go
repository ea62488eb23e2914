// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"fmt"
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
	Untrusted   bool // refused or passed because trust in our root is not proven
	Reason      string
}

// DefaultScope is the name of the scope of marked processes that no scope names.
const DefaultScope = "default"

// Route decides on a connection once the name of its destination is known. sni is "" without TLS; tls says whether there
// was a ClientHello. A name that is no endpoint is relayed and recorded as not inspected: refusing other destinations is
// not part of this version.
func (e *Enrol) Route(c agent.Conn, w *pipeline.Workload, sni string, tls bool) Route {
	scope, r := e.scope(c, w)
	if r != nil {
		return *r
	}
	out := Route{Disposition: Pass, Scope: scope.Name, Mode: pipeline.Mode(scope.Mode)}
	if scope.Mode == agent.ModeOff || scope.Mode == agent.ModeDiscover {
		out.Reason = "scope is in " + scope.Mode.String()
		return out
	}
	ep := e.endpoint(c, sni, tls)
	if ep == nil {
		out.Reason = "not inspected: no endpoint"
		if sni != "" {
			out.Reason = "not inspected: " + sni + " is no endpoint"
		}
		return out
	}
	if !ep.Plain {
		if ok, why := e.trusts(c.Proc); !ok {
			out.Untrusted, out.Reason = true, why
			if scope.Deny {
				out.Disposition = Refuse
			}
			return out
		}
	}
	out.Disposition = Terminate
	out.Endpoint = pipeline.Endpoint{Name: ep.Name, Host: ep.Host, Protocol: ep.Protocol, Port: ep.Port}
	out.UpstreamCA, out.Plain = ep.UpstreamCA, ep.Plain
	return out
}

// scope finds the scope of a connection; the second result is a route that needs none.
func (e *Enrol) scope(c agent.Conn, w *pipeline.Workload) (*agent.Scope, *Route) {
	switch {
	case c.Scope == agent.ScopeDefault:
		return &agent.Scope{Name: DefaultScope, Mode: e.o.DefaultMode, Deny: e.o.DefaultMode == agent.ModeEnforce}, nil
	case c.Scope == agent.ScopePending:
		// Only a cgroup criterion can be pending; a row that also needs the mark is left to the kernel, which knows it by
		// the process's next connection.
		if i, ok := e.Matches(w, false); ok {
			return &e.o.Scopes[i], nil
		}
		return nil, &Route{Disposition: Pass, Reason: "no scope names this process"}
	case int64(c.Scope) < int64(len(e.o.Scopes)):
		return &e.o.Scopes[c.Scope], nil
	}
	return nil, &Route{Disposition: Refuse, Reason: fmt.Sprintf("scope %d is not configured any more: connect again", c.Scope)}
}

// Matches finds the first scope whose criteria a workload satisfies. marked says whether it carries the LangChain mark.
func (e *Enrol) Matches(w *pipeline.Workload, marked bool) (int, bool) {
	for i := range e.o.Scopes {
		m := &e.o.Scopes[i].Match
		if (!m.LangChain || marked) && e.selects(m, w.Cgroup, w.UID, w.Exe) {
			return i, true
		}
	}
	return 0, false
}

func (e *Enrol) endpoint(c agent.Conn, sni string, tls bool) *Endpoint {
	name := strings.ToLower(strings.TrimSuffix(sni, "."))
	for i := range e.o.Endpoints {
		ep := &e.o.Endpoints[i]
		if ep.Port != c.Orig.Port() || ep.Plain == tls {
			continue
		}
		// Without TLS there is no name to go by yet: a plain endpoint is its port, and the Host field is checked later.
		if ep.Plain || name != "" && strings.EqualFold(ep.Host, name) {
			return ep
		}
	}
	return nil
}

// maxProof bounds what is remembered of handshakes.
const maxProof = 65536

// trusts says whether a process was proven to trust our root: by a completed handshake, or because its trust stores are
// covered.
func (e *Enrol) trusts(p agent.Process) (bool, string) {
	e.mu.Lock()
	proven, known := e.proof[process{p.TGID, p.Start}]
	e.mu.Unlock()
	if known {
		if proven {
			return true, ""
		}
		return false, "the process refused our certificate: it read its trust store before we covered it; restart it, or start it by 'sallyport run -- CMD'"
	}
	return e.o.Trust.Trusted(int(p.TGID), p.Start)
}

// Handshake remembers how a handshake with a process ended: nil proves trust, an error disproves it.
func (e *Enrol) Handshake(c agent.Conn, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.proof) >= maxProof {
		clear(e.proof)
	}
	k := process{c.Proc.TGID, c.Proc.Start}
	// A process may hold contexts of both kinds: one success is not taken back by a later failure.
	if err == nil || !e.proof[k] {
		e.proof[k] = err == nil
	}
}
