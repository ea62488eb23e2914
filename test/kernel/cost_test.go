// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"encoding/json"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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

// burn connects many times in one cgroup, then in the other, and so on, and gives the processor time of one connection in each of
// the turns, in nanoseconds, as JSON. One process and one processor, so that nothing else differs.
func burn(a netip.AddrPort, cgroups []string, turns, each int) reply {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var one unix.CPUSet
	one.Set(0)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return reply{Error: errno(err)}
	}
	out := make([][]float64, len(cgroups))
	for i := range turns {
		for j := range cgroups {
			at := (i + j) % len(cgroups) // who goes first changes
			if err := os.WriteFile(filepath.Join(cgroups[at], "cgroup.procs"), []byte("0"), 0); err != nil {
				return reply{Error: err.Error()}
			}
			ns, err := connects(a, each)
			if err != nil {
				return reply{Error: errno(err)}
			}
			out[at] = append(out[at], float64(ns)/float64(each))
		}
	}
	said, err := json.Marshal(out)
	if err != nil {
		return reply{Error: err.Error()}
	}
	return reply{Said: string(said)}
}

// connects gives the time that this thread spends on n connections.
func connects(a netip.AddrPort, n int) (int64, error) {
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &before); err != nil {
		return 0, err
	}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return 0, err
		}
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()})
		unix.Close(fd)
		if err != nil {
			return 0, err
		}
	}
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &after); err != nil {
		return 0, err
	}
	return after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano(), nil
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
	seen, moving := w.spawn("app"), w.spawn("../"+outside)
	inside := filepath.Join(root, worldName(), "app")
	must(b, w.k.Learner().Learn(w.netns, origin4.Addr(), "api.openai.test", 0))
	at := ln.Addr().(*net.TCPAddr).AddrPort().String()
	const times, turns, each = 2000, 800, 250
	must(b, w.k.SetCgroup(w.sub("selected"), 1))
	selected := filepath.Join(root, worldName(), "selected")
	ratio := func(what, inside string) {
		r := moving.do("burn", at, strconv.Itoa(turns), strconv.Itoa(each), inside, filepath.Join(root, outside))
		var ns [2][]float64
		if r.Error != "" {
			b.Fatal(r.Error)
		}
		must(b, json.Unmarshal([]byte(r.Said), &ns))
		ratios := make([]float64, turns)
		for i := range ratios {
			ratios[i] = ns[0][i] / ns[1][i]
		}
		by := 1.25 / math.Sqrt(turns) // of the median, 98.8 %
		b.Logf("%-40s %5.0f ns/connect, %5.0f unseen: ×%.3f (%.3f to %.3f)", what, quantile(ns[0], 0.5), quantile(ns[1], 0.5),
			quantile(ratios, 0.5), quantile(ratios, 0.5-by), quantile(ratios, 0.5+by))
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
		measure("open, unselected", times, func() { seen.do("openmany", "/dev/null", strconv.Itoa(times)) })
		measure("connect, unselected", times, func() { seen.do("burn", at, "1", strconv.Itoa(times), inside) })
		measure("question and answer", times, func() { seen.do("resolvemany", resolver, "api.openai.test", "1", strconv.Itoa(times)) })
		measure("another name", times, func() { seen.do("resolvemany", resolver, "www.example.test", "1", strconv.Itoa(times)) })
		stats.Close()
		ratio("selected: redirected to the proxy", selected)
		ratio("unselected: all programs", inside)
		for _, part := range []struct{ what, pins string }{{"without the one that sees questions to DNS", "link_dns_egress"}, {"and without the one that sees answers", "link_dns_ingress"}, {"and without the one that counts", "link_set_state"}, {"and without sockops", "link_sock_ops"}} {
			pins, err := filepath.Glob(filepath.Join(w.pins, part.pins))
			must(b, err)
			for _, pin := range pins {
				must(b, os.Remove(pin))
			}
			ratio(part.what, inside)
		}
	}
}

// quantile sorts v.
func quantile(v []float64, q float64) float64 {
	slices.Sort(v)
	return v[min(int(q*float64(len(v))), len(v)-1)]
}
