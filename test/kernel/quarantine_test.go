// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/enrol"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/quarantine"
	"github.com/sallyport-dev/sallyport/agent/workload"
)

func (w *world) quarantine() *quarantine.Quarantine {
	root, err := kernel.CgroupRoot()
	must(w.t, err)
	return quarantine.New(quarantine.Options{
		File: filepath.Join(w.t.TempDir(), "quarantine.json"), PinDir: w.pins, CgroupRoot: root, Attach: w.cgroup,
		Unit: workload.Unit, Container: workload.Container, Pod: workload.Pod,
		Resolve: func(id string) (string, string, error) {
			unit, ok := strings.CutPrefix(id, "spiffe://test/")
			if !ok {
				return "", "", errors.New("not ours")
			}
			return "unit", unit, nil
		},
		Vital: func(m agent.Match) error {
			return enrol.Vital(enrol.Options{CgroupRoot: root, Attach: root, Unit: workload.Unit}, m)
		},
	})
}

var operator = quarantine.By{UID: 0, PID: 1, Comm: "test"}

// keep serves connections that stay, on a port that nobody captures.
func (w *world) keep(at netip.AddrPort) netip.AddrPort {
	ln := listen(w.t, at)
	done := make(chan struct{})
	w.group.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			w.group.Go(func() {
				defer c.Close()
				<-done
			})
		}
	})
	w.t.Cleanup(func() { close(done); ln.Close() })
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// TestQuarantine cuts a cgroup off that no scope names: what it has ends, what it tries is refused on every port, also with
// a dead agent, with another one, and in a cgroup that is made anew; it ends when it is lifted.
func TestQuarantine(t *testing.T) {
	w := newWorld(t)
	q := w.quarantine()
	must(t, w.k.SetCgroup(w.sub("app.service"), 0))
	must(t, w.k.SetCgroup(w.sub("app.service/below"), 0))
	must(t, w.k.SetCgroup(w.sub("other.service"), 0))
	other4, other6 := w.keep(netip.MustParseAddrPort("127.0.0.2:0")), w.keep(netip.MustParseAddrPort("[::1]:0"))
	p, below, free := w.spawn("app.service"), w.spawn("app.service/below"), w.spawn("other.service")
	for _, a := range []netip.AddrPort{other4, other6} {
		if r := p.do("hold", "tcp", a.String()); r.Error != "" {
			t.Fatal(r.Error)
		}
	}
	if r := p.do("hold", "udp", other4.String()); r.Error != "" {
		t.Fatal(r.Error)
	}
	if r := free.do("hold", "tcp", other4.String()); r.Error != "" {
		t.Fatal(r.Error)
	}
	e, err := q.Add("unit:app.service", 0, "it runs a miner", operator)
	must(t, err)
	if len(e.Cut) != 3 || e.Cut[0].Peer == "" || len(e.Paths) != 1 {
		t.Errorf("cut %+v, found at %v", e.Cut, e.Paths)
	}
	for range 2 {
		if r := p.do("held"); r.Error == "" || r.Error == "i/o timeout" {
			t.Errorf("a connection goes on: %+v", r)
		}
	}
	refused := func(when string, p *process) {
		t.Helper()
		for kind, a := range map[string]netip.AddrPort{"v4": origin4, "v6": origin6, "mapped": origin4, "nonblocking": other4, "fastopen": other4, "udp": other4, "unconnected": other4} {
			if got := p.connect(kind, a); got != "ECONNREFUSED" {
				t.Errorf("%s: %s to %s: %q", when, kind, a, got)
			}
		}
	}
	refused("cut off", p)
	refused("below what is cut off", below)
	if got := free.connect("unconnected", other4); got != "" {
		t.Errorf("a datagram of somebody else: %s", got)
	}
	if got := free.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("somebody else: %s", got)
	}
	w.stopProxy()
	refused("with a dead agent", p)
	next := w.load(2)
	defer next.Close()
	must(t, next.SetScopes(nil))
	must(t, q.Apply())
	must(t, next.Attach())
	refused("with the next agent", p)
	if l, err := q.List(); err != nil || len(l) != 1 || l[0].Refused < 20 || l[0].By != operator || l[0].Reason != "it runs a miner" {
		t.Errorf("listed %+v, %v", l, err)
	}
	p.end()
	below.end()
	must(t, killCgroup(filepath.Join(w.cgroup, "app.service")))
	w.sub("app.service") // as when the service is started again
	again := w.spawn("app.service")
	refused("made anew", again)
	must(t, q.Apply())
	refused("made anew, looked at", again)

	var seen []string
	record := func(e quarantine.Entry) error {
		seen = append(seen, e.Selector+" "+e.Reason+" "+map[bool]string{true: "cut off", false: "ended"}[e.Ended.IsZero()])
		return nil
	}
	must(t, q.Unrecorded(record))
	_, err = q.Lift("app.service", operator)
	must(t, err)
	must(t, q.Unrecorded(record))
	must(t, q.Unrecorded(record))
	if len(seen) != 2 || seen[0] != "unit:app.service it runs a miner cut off" || seen[1] != "unit:app.service it runs a miner ended" {
		t.Errorf("recorded %q", seen)
	}
	if q.Active() {
		t.Error("the file is still there")
	}
	if got := again.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("lifted: %s", got)
	}
	if _, err := q.Lift("app.service", operator); !errors.Is(err, quarantine.ErrNone) {
		t.Errorf("lifted twice: %v", err)
	}
}

// TestQuarantineKinds: by user and by SPIFFE ID; it ends by itself in the kernel, and the agent is never cut off.
func TestQuarantineKinds(t *testing.T) {
	w := newWorld(t)
	q := w.quarantine()
	must(t, w.k.SetCgroup(w.sub("app.service"), 0))
	must(t, w.k.SetCgroup(w.sub("agent"), 0))
	p := w.spawn("app.service", func(c *exec.Cmd) { c.SysProcAttr.Credential = &syscall.Credential{Uid: 23456, Gid: 23456} })
	_, err := q.Add("uid:23456", 0, "r", operator)
	must(t, err)
	if got := p.connect("v4", origin4); got != "ECONNREFUSED" {
		t.Errorf("by user: %s", got)
	}
	_, err = q.Add("uid:23456", time.Second, "r", operator) // it lasts no longer now
	must(t, err)
	if l, err := q.List(); err != nil || len(l) != 1 || l[0].Left <= 0 {
		t.Errorf("listed %+v, %v", l, err)
	}
	wait(t, "its end", func() bool { return p.connect("v4", origin4) == "ORIGIN" })
	must(t, q.Apply())
	if l, err := q.List(); err != nil || len(l) > 0 {
		t.Errorf("listed %+v, %v", l, err)
	}
	_, err = q.Add("spiffe://test/app.service", 0, "r", operator)
	must(t, err)
	if got := p.connect("v4", origin4); got != "ECONNREFUSED" {
		t.Errorf("by SPIFFE ID: %s", got)
	}
	must(t, w.k.Exempt(w.sub("agent")))
	agent := w.spawn("agent")
	_, err = q.Add("cgroup:/"+worldName()+"/agent", 0, "r", operator)
	must(t, err)
	if got := agent.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("the agent: %s", got)
	}
}

// TestQuarantineRefused: what the host cannot do without, and what makes no sense, is not cut off, and nothing is noted.
func TestQuarantineRefused(t *testing.T) {
	w := newWorld(t)
	q := w.quarantine()
	deep := "/" + worldName() + strings.Repeat("/d", 20)
	for _, c := range []struct{ selector, reason, want string }{
		{"uid:0", "r", "cannot do without"},
		{"unit:ssh.service", "r", "cannot do without"},
		{"unit:init.scope", "r", "cannot do without"},
		{"cgroup:/" + worldName(), "", "needs a reason"},
		{"cgroup:/system.slice", "r", "all that the programs see"},
		{"cgroup:" + deep, "r", "too deep"},
		{"spiffe://elsewhere/x", "r", "not ours"},
		{"everything", "r", "want unit:NAME"},
	} {
		if _, err := q.Add(c.selector, 0, c.reason, operator); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.selector, err, c.want)
		}
	}
	if q.Active() {
		t.Error("something was noted")
	}
	self, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	_, own, _ := strings.Cut(string(self), "0::")
	if own = strings.TrimSpace(own); own != "/" {
		if _, err := q.Add("cgroup:"+own, 0, "r", operator); err == nil {
			t.Error("we cut ourselves off")
		}
	}
}
