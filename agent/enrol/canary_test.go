// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

func TestCanaryShare(t *testing.T) {
	h := newHost(t)
	scope := func(share int) *agent.Scope {
		return &agent.Scope{Name: "agents", Mode: agent.ModeEnforce, Closed: true, Deny: true, DenyDNS: true, Canary: share}
	}
	e := h.enrol(h.options())
	pods := func(share int) map[int]bool {
		in := map[int]bool{}
		for i := range 2000 {
			s := e.effective(scope(share), &pipeline.Workload{PID: uint32(i), Pod: fmt.Sprint("pod-", i), Container: "c"})
			again := e.effective(scope(share), &pipeline.Workload{PID: 9, Start: 7, Pod: fmt.Sprint("pod-", i), Container: "d"})
			if again.Mode != s.Mode {
				t.Fatalf("pod %d changes sides with its process", i)
			}
			switch s.Mode {
			case agent.ModeEnforce:
				in[i] = true
				if !s.Deny || !s.DenyDNS {
					t.Errorf("enforced, but %+v", s)
				}
			case agent.ModeObserve:
				if s.Deny || s.DenyDNS || !s.Closed {
					t.Errorf("observed, but %+v", s)
				}
			}
		}
		return in
	}
	ten, thirty, all := pods(1000), pods(3000), pods(10_000)
	if len(ten) < 140 || len(ten) > 260 || len(thirty) < 520 || len(thirty) > 680 || len(all) != 2000 || len(pods(0)) != 2000 {
		t.Errorf("of 2000, 10%% are %d, 30%% are %d, 100%% are %d", len(ten), len(thirty), len(all))
	}
	for i := range ten {
		if !thirty[i] {
			t.Errorf("pod %d is let off by a greater share", i)
		}
	}
	if s := e.effective(scope(1), &pipeline.Workload{PID: 4}); s.Mode != agent.ModeEnforce {
		t.Error("who cannot be told from others is let off")
	}
	if s := e.effective(scope(1), nil); s.Mode != agent.ModeEnforce {
		t.Error("who is not known is let off")
	}
	if n, _ := e.Instances("agents"); n != 2000 {
		t.Errorf("%d instances are enforced at the end", n)
	}
}

func TestInstance(t *testing.T) {
	for _, c := range []struct {
		name string
		w    pipeline.Workload
		want string
	}{
		{"pod before container", pipeline.Workload{Pod: "p", Container: "c", Unit: "u.service", Cgroup: "/x"}, "pod p"},
		{"container", pipeline.Workload{Container: "c", Unit: "containerd.service"}, "container c"},
		{"unit of this host", pipeline.Workload{Unit: "bot@3.service", Cgroup: "/x"}, "unit h bot@3.service"},
		{"a login session has a number", pipeline.Workload{Unit: "session-4.scope", Cgroup: "/user.slice/session-4.scope", UID: 7, Exe: "/usr/bin/python3"}, "exe h 7 /usr/bin/python3"},
		{"cgroup", pipeline.Workload{Cgroup: "/lab/a"}, "cgroup h /lab/a"},
		{"the root cgroup is no instance", pipeline.Workload{Cgroup: "/", Exe: "/x"}, "exe h 0 /x"},
		{"nothing", pipeline.Workload{PID: 4, Comm: "x"}, ""},
	} {
		if got := instance(&c.w, "h"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestRouteCanary: who is let off is treated as in an observing scope, in every respect that is decided here.
func TestRouteCanary(t *testing.T) {
	h := newHost(t)
	o := h.options(agent.Scope{Name: "s", Match: agent.Match{UID: ptr(uint32(2001))}, Mode: agent.ModeEnforce, Deny: true, Canary: 1})
	o.Endpoints = []Endpoint{{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443}}
	e := h.enrol(o)
	conn := agent.Conn{Scope: 0, Orig: netip.MustParseAddrPort("1.2.3.4:8443"), Proc: agent.Process{TGID: 60, UID: 2001}}
	if r := e.Route(conn, &pipeline.Workload{Pod: "off"}, "api.openai.com", true); r.Disposition != Pass || r.Mode != pipeline.ModeObserve || r.Scope != "s" {
		t.Errorf("let off, but %+v", r)
	}
	if r := e.Route(conn, &pipeline.Workload{}, "api.openai.com", true); r.Disposition != Refuse || r.Mode != pipeline.ModeEnforce {
		t.Errorf("not known, but %+v", r)
	}
}
