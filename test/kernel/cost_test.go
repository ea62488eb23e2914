// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent/kernel"
)

// burn connects many times and gives the processor time of one, in nanoseconds.
func burn(a netip.AddrPort, n int) reply {
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		return reply{Error: errno(err)}
	}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return reply{Error: errno(err)}
		}
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()})
		unix.Close(fd)
		if err != nil {
			return reply{Error: errno(err)}
		}
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		return reply{Error: errno(err)}
	}
	spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	return reply{Count: map[string]int{"ns": int(spent) / n}}
}

// spent reads what each pinned program has cost so far.
func (w *world) spent() map[string]ebpf.ProgramStats {
	w.t.Helper()
	out := map[string]ebpf.ProgramStats{}
	pins, err := filepath.Glob(filepath.Join(w.pins, "link_*"))
	must(w.t, err)
	for _, pin := range pins {
		l, err := link.LoadPinnedLink(pin, nil)
		must(w.t, err)
		info, err := l.Info()
		must(w.t, err)
		p, err := ebpf.NewProgramFromID(info.Program)
		must(w.t, err)
		stats, err := p.Stats()
		must(w.t, err)
		out[strings.TrimPrefix(filepath.Base(pin), "link_")] = *stats
		p.Close()
		l.Close()
	}
	return out
}

// BenchmarkCost measures what the programs cost those whom they do not concern: a process that no scope selects, and DNS. The ratio is
// between a process whose connections they see and one whose connections they do not (but for tracepoints, which are in both), in turn.
func BenchmarkCost(b *testing.B) {
	w := byDestination(b)
	outside := worldName() + "-outside"
	root, err := kernel.CgroupRoot()
	must(b, err)
	must(b, killCgroup(filepath.Join(root, outside)))
	must(b, os.Mkdir(filepath.Join(root, outside), 0o755))
	b.Cleanup(func() { must(b, killCgroup(filepath.Join(root, outside))) })
	ln := listen(b, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.4"), originPort))
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	serveDNS(b, resolver, func(q layers.DNSQuestion, r *layers.DNS) {
		r.Answers = append(chain(string(q.Name), "edge.cdn.test"), addressRecord("edge.cdn.test", netip.MustParseAddr("127.0.0.9")))
	})
	seen, unseen := w.spawn("app"), w.spawn("../"+outside)
	must(b, w.k.Learner().Learn(w.netns, origin4.Addr(), "api.openai.test", 0))
	at := ln.Addr().(*net.TCPAddr).AddrPort().String()
	const times = 2000
	ratio := func(what string) {
		var with, without []int
		for range 15 {
			for _, x := range []struct {
				p   *process
				out *[]int
			}{{seen, &with}, {unseen, &without}} {
				r := x.p.do("burn", at, strconv.Itoa(times))
				if r.Error != "" {
					b.Fatal(r.Error)
				}
				*x.out = append(*x.out, r.Count["ns"])
			}
		}
		b.Logf("%-40s %5d ns/connect unselected, %5d unseen: ×%.3f", what, least(with), least(without), float64(least(with))/float64(least(without)))
	}
	for b.Loop() {
		stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
		must(b, err)
		measure := func(name string, n int, do func()) {
			before := w.spent()
			do()
			time.Sleep(100 * time.Millisecond) // the last packets
			for prog, after := range w.spent() {
				if runs := after.RunCount - before[prog].RunCount; runs > uint64(n)/2 {
					cost := after.Runtime - before[prog].Runtime
					b.Logf("%-22s %-16s %5d ns/run %5.1f runs each", name, prog, cost.Nanoseconds()/int64(runs), float64(runs)/float64(n))
				}
			}
		}
		measure("connect, unselected", times, func() { seen.do("burn", at, strconv.Itoa(times)) })
		measure("question and answer", times, func() { seen.do("resolvemany", resolver, "api.openai.test", "1", strconv.Itoa(times)) })
		measure("another name", times, func() { seen.do("resolvemany", resolver, "www.example.test", "1", strconv.Itoa(times)) })
		stats.Close()
		ratio("all programs")
		for _, part := range []struct{ what, pins string }{{"without those that learn from DNS", "link_dns_*"}, {"and without the one that counts", "link_set_state"}, {"and without sockops", "link_sock_ops"}} {
			pins, err := filepath.Glob(filepath.Join(w.pins, part.pins))
			must(b, err)
			for _, pin := range pins {
				must(b, os.Remove(pin))
			}
			ratio(part.what)
		}
	}
}

func least(v []int) int {
	m := v[0]
	for _, x := range v {
		m = min(m, x)
	}
	return m
}
