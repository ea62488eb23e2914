// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

var routeScopes = []agent.Scope{
	{Name: "enforce", Match: agent.Match{UID: ptr(uint32(2001))}, Mode: agent.ModeEnforce, Deny: true},
	{Name: "observe", Match: agent.Match{UID: ptr(uint32(2002))}, Mode: agent.ModeObserve},
	{Name: "discover", Match: agent.Match{UID: ptr(uint32(2003))}, Mode: agent.ModeDiscover},
	{Name: "off", Match: agent.Match{UID: ptr(uint32(2004))}, Mode: agent.ModeOff},
	{Name: "lenient", Match: agent.Match{UID: ptr(uint32(2005))}, Mode: agent.ModeEnforce},
}

const (
	trusting  = 50
	doubting  = 51
	enforcing = uint32(0)
	observing = uint32(1)
)

func TestRoute(t *testing.T) {
	openai := pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443}
	local := pipeline.Endpoint{Name: "local", Host: "127.0.0.1", Protocol: "openai", Port: 11434}
	plain := pipeline.Endpoint{Name: "plain", Host: "llm.internal", Protocol: "openai", BasePath: "/openai/v1", Port: 8000}
	terminate := func(scope string, m pipeline.Mode, ep pipeline.Endpoint) Route {
		r := Route{Disposition: Terminate, Endpoint: ep, Scope: scope, Mode: m, Plain: ep.Port != 443}
		if ep.Port == 443 {
			r.UpstreamCA = []byte("pem")
		}
		return r
	}
	const obs, enf = pipeline.ModeObserve, pipeline.ModeEnforce
	for _, c := range []struct {
		name  string
		scope uint32
		pid   uint32
		to    string
		sni   string
		tls   bool
		want  Route
	}{
		{"endpoint", enforcing, trusting, "1.2.3.4:443", "api.openai.com", true, terminate("enforce", enf, openai)},
		{"endpoint, case and dot", enforcing, trusting, "[2001:db8::1]:443", "API.openai.com.", true, terminate("enforce", enf, openai)},
		{"endpoint, observed", observing, trusting, "1.2.3.4:443", "api.openai.com", true, terminate("observe", obs, openai)},
		{"not trusted", enforcing, doubting, "1.2.3.4:443", "api.openai.com", true,
			Route{Disposition: Refuse, Scope: "enforce", Mode: enf, Untrusted: true, Missing: true, Reason: "not in its store: add it"}},
		{"not trusted, observed", observing, doubting, "1.2.3.4:443", "api.openai.com", true,
			Route{Disposition: Pass, Scope: "observe", Mode: obs, Untrusted: true, Missing: true, Reason: "not in its store: add it"}},
		{"not trusted, passed by choice", 4, doubting, "1.2.3.4:443", "api.openai.com", true,
			Route{Disposition: Pass, Scope: "lenient", Mode: enf, Untrusted: true, Missing: true, Reason: "not in its store: add it"}},
		{"discover", 2, trusting, "1.2.3.4:443", "api.openai.com", true,
			Route{Disposition: Pass, Scope: "discover", Mode: pipeline.ModeDiscover, Reason: "not inspected: the scope's mode is discover"}},
		{"off", 3, trusting, "1.2.3.4:443", "api.openai.com", true,
			Route{Disposition: Pass, Scope: "off", Mode: pipeline.ModeOff, Reason: "not inspected: the scope's mode is off"}},
		{"marked", agent.ScopeDefault, trusting, "1.2.3.4:443", "api.openai.com", true,
			Route{Disposition: Pass, Scope: DefaultScope, Mode: pipeline.ModeDiscover, Reason: "not inspected: the scope's mode is discover"}},
		{"scope of yesterday", 5, trusting, "1.2.3.4:443", "api.openai.com", true, Route{Reason: "scope 5 is not configured any more: connect again"}},
		{"other name", enforcing, trusting, "1.2.3.4:443", "example.org", true,
			Route{Disposition: Pass, Scope: "enforce", Mode: enf, Reason: "not inspected: example.org is no endpoint"}},
		{"name below an endpoint", enforcing, trusting, "1.2.3.4:443", "x.api.openai.com", true,
			Route{Disposition: Pass, Scope: "enforce", Mode: enf, Reason: "not inspected: x.api.openai.com is no endpoint"}},
		{"no name", enforcing, trusting, "1.2.3.4:443", "", true,
			Route{Disposition: Pass, Scope: "enforce", Mode: enf, Reason: "not inspected: 1.2.3.4:443 is no endpoint"}},
		{"no TLS", enforcing, trusting, "1.2.3.4:443", "", false,
			Route{Disposition: Pass, Scope: "enforce", Mode: enf, Reason: "not inspected: 1.2.3.4:443 is no endpoint"}},
		{"endpoint at another port", enforcing, trusting, "1.2.3.4:8443", "api.openai.com", true, Route{Scope: "enforce", Mode: enf,
			Reason: "api.openai.com is endpoint openai at port 443 with TLS, not at port 8443 with TLS: add an endpoint if this is wanted"}},
		{"endpoint at another port, observed", observing, trusting, "1.2.3.4:8443", "api.openai.com", true, Route{Disposition: Pass, Scope: "observe", Mode: obs,
			Reason: "not inspected: api.openai.com is endpoint openai at port 443 with TLS, not at port 8443 with TLS: add an endpoint if this is wanted"}},
		{"plain by address", enforcing, doubting, "127.0.0.1:11434", "", false, terminate("enforce", enf, local)},
		{"plain by another address", enforcing, doubting, "127.0.0.2:11434", "", false,
			Route{Disposition: Pass, Scope: "enforce", Mode: enf, Reason: "not inspected: 127.0.0.2:11434 is no endpoint"}},
		{"plain by address at another port", enforcing, doubting, "127.0.0.1:443", "", true,
			Route{Disposition: Pass, Scope: "enforce", Mode: enf, Reason: "not inspected: 127.0.0.1:443 is no endpoint"}},
		{"TLS to a plain address", enforcing, trusting, "127.0.0.1:11434", "", true, Route{Scope: "enforce", Mode: enf,
			Reason: "127.0.0.1 is endpoint local at port 11434 without TLS, not at port 11434 with TLS: add an endpoint if this is wanted"}},
		{"TLS with some name to a plain address", enforcing, trusting, "127.0.0.1:11434", "x.example", true, Route{Scope: "enforce", Mode: enf,
			Reason: "127.0.0.1 is endpoint local at port 11434 without TLS, not at port 11434 with TLS: add an endpoint if this is wanted"}},
		{"plain by port", enforcing, doubting, "10.0.0.1:8000", "", false, terminate("enforce", enf, plain)},
		{"TLS to a plain name", enforcing, trusting, "10.0.0.1:8000", "llm.internal", true, Route{Scope: "enforce", Mode: enf,
			Reason: "llm.internal is endpoint plain at port 8000 without TLS, not at port 8000 with TLS: add an endpoint if this is wanted"}},
		{"TLS to the port of a plain name", enforcing, trusting, "10.0.0.1:8000", "other.example", true,
			Route{Disposition: Pass, Scope: "enforce", Mode: enf, Reason: "not inspected: other.example is no endpoint"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.trust[trusting] = true
			h.proofs.opened(trusting, 1, fakeRoot)
			conn := agent.Conn{Scope: c.scope, Orig: netip.MustParseAddrPort(c.to), Proc: agent.Process{TGID: c.pid, Start: 1}}
			got := h.enrol(h.options(routeScopes...)).Route(conn, &pipeline.Workload{}, c.sni, c.tls)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPending: what the kernel could not tell, and we cannot either, is refused if it may be enforced.
func TestPending(t *testing.T) {
	unitScope := func(m agent.Mode) agent.Scope {
		return agent.Scope{Name: "u", Match: agent.Match{Unit: "app.service"}, Mode: m}
	}
	marked := agent.Scope{Name: "m", Match: agent.Match{LangChain: true}, Mode: agent.ModeEnforce}
	for _, c := range []struct {
		name    string
		scopes  []agent.Scope
		def     agent.Mode
		cgroup  string // in which the process was found; "" = not found
		made    string // the cgroup from which it connected; "" = gone
		mark    bool
		markErr error
		want    Disposition
		scope   string
	}{
		{name: "matches", scopes: []agent.Scope{unitScope(agent.ModeObserve)}, cgroup: "/app.service", made: "/app.service", want: Pass, scope: "u"},
		{name: "does not match", scopes: []agent.Scope{unitScope(agent.ModeEnforce)}, cgroup: "/b.service", made: "/b.service", want: Pass},
		{name: "unknown cgroup, enforcing", scopes: []agent.Scope{unitScope(agent.ModeEnforce)}, want: Refuse, scope: "u"},
		{name: "unknown cgroup, observing", scopes: []agent.Scope{unitScope(agent.ModeObserve)}, want: Pass},
		{name: "unknown cgroup, off before enforcing", scopes: []agent.Scope{unitScope(agent.ModeOff), {Name: "e", Match: agent.Match{Cgroup: "/x"}, Mode: agent.ModeEnforce}}, want: Refuse, scope: "e"},
		{name: "moved since", scopes: []agent.Scope{unitScope(agent.ModeEnforce)}, cgroup: "/b.service", made: "/app.service", want: Refuse, scope: "u"},
		{name: "second scope by mark", scopes: []agent.Scope{unitScope(agent.ModeObserve), marked}, cgroup: "/b.service", made: "/b.service", mark: true, want: Pass, scope: "m"},
		{name: "mark cannot be read", scopes: []agent.Scope{unitScope(agent.ModeObserve), marked}, cgroup: "/b.service", made: "/b.service", markErr: errFake, want: Refuse, scope: "m"},
		{name: "marked, no scope", scopes: []agent.Scope{unitScope(agent.ModeObserve)}, def: agent.ModeEnforce, cgroup: "/b.service", made: "/b.service", mark: true, want: Pass, scope: DefaultScope},
		{name: "mark cannot be read, enforced by default", scopes: []agent.Scope{unitScope(agent.ModeObserve)}, def: agent.ModeEnforce, cgroup: "/b.service", made: "/b.service", markErr: errFake, want: Refuse, scope: DefaultScope},
		{name: "other uid settles it", scopes: []agent.Scope{{Name: "x", Match: agent.Match{Unit: "*", UID: ptr(uint32(1234))}, Mode: agent.ModeEnforce}}, want: Pass},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			o := h.options(c.scopes...)
			o.DefaultMode = max(c.def, agent.ModeDiscover)
			e := h.enrol(o)
			id := uint64(1)
			if c.made != "" {
				id = h.cgroup(c.made) // after the walk: no event has come yet
			}
			if c.cgroup != "" {
				h.cgroup(c.cgroup)
			}
			h.kernel.marks[60], h.kernel.fail["Marked"] = c.mark, c.markErr
			conn := agent.Conn{Scope: agent.ScopePending, Orig: netip.MustParseAddrPort("1.2.3.4:443"), Proc: agent.Process{TGID: 60, UID: 1, CgroupID: id}}
			got := e.Route(conn, &pipeline.Workload{Cgroup: c.cgroup}, "example.org", true)
			if got.Disposition != c.want || got.Scope != c.scope || got.Reason == "" {
				t.Errorf("got %+v", got)
			}
			if _, learned := h.kernel.cgroups[id]; learned != (c.made != "" && c.made == c.cgroup) {
				t.Errorf("the kernel learned the cgroup: %v", learned)
			}
		})
	}
}

func BenchmarkRoute(b *testing.B) {
	proofs := &fakeProofs{of: map[[2]uint64]agent.Proofs{}}
	proofs.opened(trusting, 0, fakeRoot)
	e := &Enrol{o: Options{Trust: fakeTrust{trusting: true}, Proofs: proofs, Root: func(string) agent.RootID { return fakeRoot }, Endpoints: []Endpoint{{Name: "openai", Host: "api.openai.com", Port: 443}}}, scopes: routeScopes, seen: seen{of: map[process]*Trusting{}}}
	conn := agent.Conn{Orig: netip.MustParseAddrPort("1.2.3.4:443"), Proc: agent.Process{TGID: trusting}}
	b.ReportAllocs()
	for b.Loop() {
		if r := e.Route(conn, &pipeline.Workload{}, "api.openai.com", true); r.Disposition != Terminate {
			b.Fatal(r)
		}
	}
}
