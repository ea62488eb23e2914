// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestTrusts: what counts as proof, where the alternative is to refuse and where it is to relay unread.
func TestTrusts(t *testing.T) {
	const (
		none    = iota
		roots   // its stores hold our root
		read    // and it has opened one since
		another // it has opened one that held another root
	)
	for _, c := range []struct {
		name   string
		stores int
		scope  uint32
		before []Ending
		want   Disposition
		state  agent.TrustState
		reason string
	}{
		{"nothing", none, enforcing, nil, Refuse, agent.TrustMissing, "not in its store: add it"},
		{"nothing, observed", none, observing, nil, Pass, agent.TrustMissing, "not in its store: add it"},
		{"in its stores: the handshake is to prove it", roots, enforcing, nil, Terminate, agent.TrustUnread, ""},
		{"in its stores, observed: no proof", roots, observing, nil, Pass, agent.TrustUnread, "not read: restart it"},
		{"opened", read, enforcing, nil, Terminate, agent.TrustOpened, ""},
		{"opened, observed", read, observing, nil, Terminate, agent.TrustOpened, ""},
		{"opened before this root was added", another, observing, nil, Pass, agent.TrustUnread, "not read: restart it"},
		{"a handshake", none, enforcing, []Ending{Completed}, Terminate, agent.TrustHandshake, ""},
		{"a handshake, observed", none, observing, []Ending{Completed}, Terminate, agent.TrustHandshake, ""},
		{"refused", none, enforcing, []Ending{Distrust}, Refuse, agent.TrustMissing, "not in its store: add it"},
		{"refused, and tried again where we would refuse", read, enforcing, []Ending{Distrust}, Terminate, agent.TrustOpened, ""},
		{"refused by one of its clients", roots, enforcing, []Ending{Completed, Distrust}, Terminate, agent.TrustHandshake, ""},
		{"refused, observed", read, observing, []Ending{Distrust}, Pass, agent.TrustRefused, "the program refused our certificate"},
		{"refused beside a completed one, observed", read, observing, []Ending{Completed, Distrust, Completed}, Pass, agent.TrustRefused, "the program refused"},
		{"one that closed without a word, observed: spared once", read, observing, []Ending{Vanished}, Pass, "", "its last handshake"},
		{"two that closed without a word, observed", read, observing, []Ending{Vanished, Vanished}, Pass, agent.TrustRefused, "the program refused"},
		{"a completed one between them", read, observing, []Ending{Vanished, Completed, Vanished}, Terminate, agent.TrustHandshake, ""},
		{"without a word after a completed one", read, observing, []Ending{Completed, Vanished, Vanished, Vanished}, Terminate, agent.TrustHandshake, ""},
		{"without a word, where we would refuse", read, enforcing, []Ending{Vanished, Vanished}, Terminate, agent.TrustOpened, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			conn := agent.Conn{Scope: c.scope, Orig: netip.MustParseAddrPort("1.2.3.4:443"), Proc: agent.Process{TGID: 50, Start: 1}}
			h.trust[50] = c.stores != none
			switch c.stores {
			case read:
				h.proofs.opened(50, 1, fakeRoot-1, fakeRoot)
			case another:
				h.proofs.opened(50, 1, fakeRoot-1)
			}
			e := h.enrol(h.options(routeScopes...))
			for _, end := range c.before {
				untrusted, mend := e.Handshake(conn, "api.openai.com", end)
				if untrusted != (mend != "") || end == Completed && untrusted || end == Distrust && !untrusted {
					t.Errorf("ending %d: %v %q", end, untrusted, mend)
				}
			}
			got := e.Route(conn, &pipeline.Workload{}, "api.openai.com", true)
			if got.Disposition != c.want || !strings.HasPrefix(got.Reason, c.reason) || got.Untrusted != (c.want != Terminate) {
				t.Errorf("got %+v", got)
			}
			if x := e.seen.of[process{pid: 50, start: 1}]; c.state != "" && (x == nil || x.State != c.state || x.Host != "api.openai.com") {
				t.Errorf("shown as %+v", x)
			}
			// The next process with that number starts from nothing.
			conn.Proc.Start = 2
			h.trust[50] = false
			if got := e.Route(conn, &pipeline.Workload{}, "api.openai.com", true); got.Disposition == Terminate {
				t.Errorf("another process: got %+v", got)
			}
		})
	}
}

// TestSpared: after a handshake that ended without a word one connection is left alone, the next is tried.
func TestSpared(t *testing.T) {
	h := newHost(t)
	h.proofs.opened(50, 1, fakeRoot)
	e := h.enrol(h.options(routeScopes...))
	conn := agent.Conn{Scope: observing, Orig: netip.MustParseAddrPort("1.2.3.4:443"), Proc: agent.Process{TGID: 50, Start: 1}}
	if untrusted, _ := e.Handshake(conn, "api.openai.com", Vanished); untrusted {
		t.Error("one is enough")
	}
	for _, want := range []Disposition{Pass, Terminate, Terminate} {
		if got := e.Route(conn, &pipeline.Workload{}, "api.openai.com", true); got.Disposition != want {
			t.Errorf("got %+v, want %d", got, want)
		}
	}
}

// TestUnknownProofs: what cannot be read proves nothing.
func TestUnknownProofs(t *testing.T) {
	h := newHost(t)
	h.proofs.err = errFake
	e := h.enrol(h.options(routeScopes...))
	conn := agent.Conn{Scope: observing, Orig: netip.MustParseAddrPort("1.2.3.4:443"), Proc: agent.Process{TGID: 50, Start: 1}}
	if got := e.Route(conn, &pipeline.Workload{}, "api.openai.com", true); got.Disposition != Pass || !strings.Contains(got.Reason, errFake.Error()) {
		t.Errorf("got %+v", got)
	}
}

func TestTrustingIsBounded(t *testing.T) {
	h := newHost(t)
	e := h.enrol(h.options(routeScopes...))
	stat := filepath.Join(h.dir, "proc", "77", "stat")
	h.must(os.MkdirAll(filepath.Dir(stat), 0o755))
	h.must(os.WriteFile(stat, []byte("77 (a) b) S"+strings.Repeat(" 0", 18)+" 12 0"), 0o644))
	living := agent.Conn{Proc: agent.Process{TGID: 77, Start: 120_000_001}}
	e.seen.note(&living, "a", agent.TrustUnread, "python", "", "")
	for i := range uint64(maxVanished + 10) {
		c := agent.Conn{Proc: agent.Process{TGID: 1, Start: i}}
		e.seen.note(&c, "a", agent.TrustOpened, "", "", "")
		e.Handshake(c, "a", Vanished)
	}
	if n, v := len(e.seen.of), len(e.vanished.of); n > maxSeen || v > maxVanished {
		t.Errorf("%d and %d are remembered", n, v)
	}
	if got := e.Trusting(); len(got) != 1 || got[0].Process.TGID != 77 || got[0].Kind != "python" {
		t.Errorf("those that live: %+v", got)
	}
}
