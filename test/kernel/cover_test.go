// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/kernel/cover"
	"github.com/sallyport-dev/sallyport/agent/kernel/learn"
	"github.com/sallyport-dev/sallyport/bpf"
)

// connectFD connects a socket that this process inherited.
func connectFD(fd int, a netip.AddrPort) (r reply) {
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}); err != nil {
		return reply{Error: errno(err)}
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return reply{Error: err.Error()}
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return reply{Error: errno(err)}
	}
	return reply{Said: line[:len(line)-1]}
}

// look checks as a daemon does until a while is over, by a clock of its own, and returns the row of the cgroup "app".
func (w *world) look() (row cover.Row, news []cover.News) {
	w.t.Helper()
	start := time.Now()
	for i := range 8 {
		report, err := w.k.Proof().Check(start.Add(time.Duration(i) * time.Second))
		must(w.t, err)
		row = cover.Row{}
		for _, r := range report.Rows {
			if r.Cgroup == w.sub("app") {
				if row.Cgroup != 0 {
					w.t.Errorf("two rows: %+v and %+v", row, r)
				}
				row = r
			}
		}
		news = report.News
	}
	return row, news
}

// TestCoverage: every connection of a workload to an endpoint is explained, or a gap.
func TestCoverage(t *testing.T) {
	observed := enforced
	observed.Mode, observed.Closed = agent.ModeObserve, false
	off := observed
	off.Mode = agent.ModeOff
	detach := func(w *world) {
		for _, name := range []string{bpf.RedirectProgConnect4, bpf.RedirectProgConnect6} {
			must(w.t, os.Remove(filepath.Join(w.pins, "link_"+name)))
		}
		// A link without a pin goes a moment later.
		dir, err := os.Open(w.cgroup)
		must(w.t, err)
		defer dir.Close()
		for _, at := range []ebpf.AttachType{ebpf.AttachCGroupInet4Connect, ebpf.AttachCGroupInet6Connect} {
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
				left, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: at})
				must(w.t, err)
				if len(left.Programs) == 0 {
					break
				}
				if time.Now().After(end) {
					w.t.Fatalf("%d programs are still attached", len(left.Programs))
				}
			}
		}
	}
	for _, c := range []struct {
		name string
		row  agent.ScopeRow
		do   func(*world, *process) string
		says string
		want cover.Row
	}{
		{"redirected", enforced, func(w *world, p *process) string { return p.connect("v4", origin4) }, "PROXY", cover.Row{Redirected: 1, Taken: 1}},
		{"redirected in IPv6", enforced, func(w *world, p *process) string { return p.connect("v6", origin6) }, "PROXY", cover.Row{Redirected: 1, Taken: 1}},
		{"redirected, mapped", enforced, func(w *world, p *process) string { return p.connect("mapped", origin4) }, "PROXY", cover.Row{Redirected: 1, Taken: 1}},
		{"redirected, multipath", enforced, func(w *world, p *process) string { return p.connect("mptcp", origin4) }, "PROXY", cover.Row{Redirected: 1, Taken: 1}},
		{"by break glass", enforced, func(w *world, p *process) string {
			must(w.t, kernel.Bypass(w.pins, 0, time.Minute))
			return p.connect("v4", origin4)
		}, "ORIGIN", cover.Row{Bypassed: 1}},
		{"without an agent, open", observed, func(w *world, p *process) string {
			w.stopProxy()
			return p.connect("v4", origin4)
		}, "ORIGIN", cover.Row{Opened: 1}},
		{"without an agent, closed", enforced, func(w *world, p *process) string {
			w.stopProxy()
			return p.connect("v4", origin4)
		}, "ECONNREFUSED", cover.Row{}},
		{"in mode off", off, func(w *world, p *process) string { return p.connect("v4", origin4) }, "ORIGIN", cover.Row{}},
		{"to no endpoint", enforced, func(w *world, p *process) string {
			detach(w)
			must(w.t, w.k.Learner().SetEndpoints([]learn.Endpoint{{Host: "other.test", Port: originPort}}))
			return p.connect("v4", origin4)
		}, "ORIGIN", cover.Row{}},
		{"from an exempt cgroup", enforced, func(w *world, p *process) string {
			must(w.t, w.k.Exempt(w.sub("app")))
			return p.connect("v4", origin4)
		}, "ORIGIN", cover.Row{}},
		{"with the connect programs gone", enforced, func(w *world, p *process) string {
			if got := p.connect("v4", origin4); got != "PROXY" {
				w.t.Errorf("before: %s", got)
			}
			detach(w)
			return p.connect("v4", origin4)
		}, "ORIGIN", cover.Row{Redirected: 1, Taken: 1, Direct: 1}},
		{"with the connect programs gone, in IPv6", enforced, func(w *world, p *process) string { detach(w); return p.connect("v6", origin6) }, "ORIGIN", cover.Row{Direct: 1}},
		{"with the connect programs gone, mapped", enforced, func(w *world, p *process) string { detach(w); return p.connect("mapped", origin4) }, "ORIGIN", cover.Row{Direct: 1}},
		{"by a socket that was made outside", enforced, func(w *world, p *process) string {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			must(w.t, err)
			f := os.NewFile(uintptr(fd), "socket")
			defer f.Close()
			other := w.spawn("app", func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{f} })
			return other.do("connectfd", origin4.String()).Said
		}, "ORIGIN", cover.Row{Direct: 1}},
		{"with its record taken away", enforced, func(w *world, p *process) string {
			w.gate.Lock()
			said := make(chan string)
			go func() { said <- p.connect("v4", origin4) }()
			conns, err := ebpf.LoadPinnedMap(filepath.Join(w.pins, bpf.RedirectMapConns), nil)
			must(w.t, err)
			defer conns.Close()
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
				var key bpf.RedirectFlowKey
				if err := conns.NextKey(nil, &key); err == nil {
					must(w.t, conns.Delete(key))
					break
				}
				if time.Now().After(end) {
					w.t.Fatal("there is no record")
				}
			}
			w.gate.Unlock()
			return <-said
		}, "", cover.Row{Redirected: 1, Lost: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.row)
			must(t, w.k.SetCgroup(w.sub("app"), 1))
			must(t, w.k.SetDefault(agent.ModeDiscover, false))
			l := w.k.Learner()
			must(t, l.SetEndpoints([]learn.Endpoint{{Host: "api.openai.test", Port: originPort, TLS: true}}))
			for _, a := range []netip.Addr{origin4.Addr(), origin6.Addr()} {
				must(t, l.Learn(w.netns, a, "api.openai.test", 0))
			}
			p := w.spawn("app")
			if got := c.do(w, p); got != c.says {
				t.Fatalf("got %q, want %q", got, c.says)
			}
			row, news := w.look()
			last := row.Last
			row.Workload, row.Last = cover.Workload{}, nil
			if row != c.want {
				t.Errorf("got  %+v\nwant %+v", row, c.want)
			}
			if c.want.Direct > 0 && (last == nil || last.To.Port() != originPort || last.PID == 0 || last.Comm == "") {
				t.Errorf("the latest is told as %+v", last)
			}
			gap := c.want.Direct + c.want.Lost + c.want.Opened + c.want.Bypassed
			if len(news) != int(min(gap, 1)) {
				t.Fatalf("news: %+v", news)
			}
			for _, n := range news {
				if n.Direct+n.Lost+n.Opened+n.Bypassed != gap || n.Cgroup != w.sub("app") {
					t.Errorf("news: %+v", n)
				}
				must(t, w.k.Proof().Told(n))
			}
			if _, news := w.look(); len(news) != 0 {
				t.Errorf("told again: %+v", news)
			}
			// The next agent tells nothing again, and begins from zero.
			k := w.load(2)
			defer k.Close()
			must(t, k.Proof().Begin(false))
			report, err := k.Proof().Check(time.Now())
			must(t, err)
			if len(report.News) != 0 || len(report.Rows) != 0 {
				t.Errorf("the next agent: %+v", report)
			}
		})
	}
}

// TestCoverageChurn: connections that are closed before they are accepted are no gap, nor are many at a time.
func TestCoverageChurn(t *testing.T) {
	w := inScope(t, enforced)
	const times = 2000
	p := w.spawn("app")
	p.do("churn", origin4.String(), strconv.Itoa(times))
	if r := p.do("many", origin4.String(), "50"); r.Count["PROXY"] != 50 {
		t.Errorf("got %v", r.Count)
	}
	var row cover.Row
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the last may still be in the queue
		if row, _ = w.look(); row.Taken+row.Withdrawn == row.Redirected || time.Now().After(end) {
			break
		}
	}
	if row.Redirected < 50 || row.Unexplained() != 0 || row.Taken+row.Withdrawn != row.Redirected {
		t.Errorf("got %+v", row)
	}
	t.Logf("%+v", row)
}

// TestCoverageUpgrade: while one agent follows another, nothing is counted twice.
func TestCoverageUpgrade(t *testing.T) {
	w := inScope(t, enforced)
	p := w.spawn("app")
	for generation := uint32(2); generation < 5; generation++ {
		k := w.load(generation)
		t.Cleanup(k.Close)
		must(t, k.Proof().Begin(true))
		must(t, k.Attach())
		w.mu.Lock()
		w.k = k
		w.mu.Unlock()
		if got := p.connect("v4", origin4); got != "PROXY" {
			t.Fatal(got)
		}
		if row, news := w.look(); row.Redirected != 1 || row.Taken != 1 || len(news) != 0 {
			t.Errorf("agent %d: %+v, %+v", generation, row, news)
		}
	}
}
