// SPDX-License-Identifier: Apache-2.0

// Command benchrun measures what an inspecting path costs. In each round it puts every path in turn between the same
// load generator and the same fake provider, on the same machine, and prints medians with ratios to the direct
// connection and to a plain Go reverse proxy of the same round. Sallyport's own paths go through the kernel hook: the
// load generator runs in a cgroup that a scope names. It needs root.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// paths are measured in this order. envoy is left out, and said so, where there is none.
var paths = []string{"direct", "go-revproxy", "envoy", "pass-through", "observe", "enforce"}

type workload struct {
	name, what string
	args       []string
	apart      bool // runs only if -work names it
}

var workloads = []workload{
	{name: "chat-c1", what: "1 KB prompt, 1 KB answer, keep-alive, one client", args: []string{"-c", "1", "-d", "1500ms", "-warmup", "500ms"}},
	{name: "chat-c32", what: "the same, 32 clients, as fast as they can: the CPU of the path, or that of provider and clients, is full", args: []string{"-c", "32", "-d", "2s", "-warmup", "500ms"}},
	{name: "connect-c16", what: "a new connection per exchange, 16 clients", args: []string{"-c", "16", "-newconn", "-d", "1500ms", "-warmup", "300ms"}},
	{name: "stream-200", what: "200 streams, 100 deltas, 20 ms apart, words with the space before them (as providers send them)", args: stream()},
	{name: "stream-closed", what: "the same, words with the space behind them", args: stream("-closed")},
	{name: "prompt-1MB", what: "1 MB prompt, 2 clients", args: []string{"-c", "2", "-prompt", "1048576", "-d", "1500ms", "-warmup", "500ms"}},
	{name: "streams-10", what: "10 streams, 100 deltas, 200 ms apart", args: streams(10), apart: true},
	{name: "streams-100", what: "100 streams, 100 deltas, 200 ms apart", args: streams(100), apart: true},
	{name: "streams-1000", what: "1,000 streams, 100 deltas, 200 ms apart", args: streams(1000), apart: true},
	{name: soak, what: fmt.Sprintf("streams of %d deltas, 5 ms apart, 200 at a time, every byte compared", soakDeltas),
		args: []string{"-mode", "stream", "-c", "200", "-deltas", fmt.Sprint(soakDeltas), "-delay", "5ms", "-d", "1h", "-check", "exact"}, apart: true},
}

// soak is the workload that fails at the first stream that is cut, reordered or changed.
const soak = "soak"

const soakDeltas = 20

// withIdle is workloads, and after them those of the names that are idle-N: N connections that carry nothing.
func withIdle(names []string, hold time.Duration) []workload {
	all := slices.Clone(workloads)
	for _, name := range names {
		n, err := strconv.Atoi(strings.TrimPrefix(name, "idle-"))
		if err != nil || n <= 0 || !strings.HasPrefix(name, "idle-") {
			continue
		}
		all = append(all, workload{name: name, what: fmt.Sprintf("%d keep-alive connections, one exchange each, then nothing on them", n),
			args: []string{"-mode", "idle", "-c", "32", "-n", strconv.Itoa(n), "-hold", hold.String(), "-timeout", (hold + time.Minute).String(), "-warmup", "1s"}, apart: true})
	}
	return all
}

func streams(n int) []string {
	return []string{"-mode", "stream", "-c", fmt.Sprint(n), "-n", fmt.Sprint(n), "-deltas", "100", "-delay", "200ms", "-ramp", "2s"}
}

func stream(more ...string) []string {
	return append([]string{"-mode", "stream", "-c", "200", "-n", "200", "-deltas", "100", "-delay", "20ms", "-warmup", "500ms", "-ramp", "500ms"}, more...)
}

type options struct {
	bin, dir, out    string
	peers            string
	only, work       string
	rounds, port     int
	streams          int
	hold, rest       time.Duration
	cpuLoad, cpuPeer string
	table            string
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "build", "folder with sallyportd, sallyport, mockllm, llmload, gorevproxy and, if there is one, envoy")
	flag.StringVar(&o.dir, "dir", "build/bench", "work folder")
	flag.StringVar(&o.peers, "peers", "test/bench/peers", "folder with the configurations of other proxies")
	flag.StringVar(&o.only, "only", "", "comma list of paths (default all)")
	flag.StringVar(&o.work, "work", "", "comma list of workloads (default all but soak, streams-N and idle-N); idle-10000 holds 10,000 connections")
	flag.IntVar(&o.rounds, "rounds", 2, "rounds")
	flag.IntVar(&o.streams, "streams", 100_000, "streams of the workload soak")
	flag.DurationVar(&o.hold, "hold", 20*time.Second, "how long the connections of idle-N are left alone")
	flag.DurationVar(&o.rest, "rest", 5*time.Second, "how long the daemon is measured before its first work")
	flag.IntVar(&o.port, "port", 18440, "first port; ten are used")
	flag.StringVar(&o.cpuLoad, "cpu-load", "0", "CPU of fake provider and load generator")
	flag.StringVar(&o.cpuPeer, "cpu-peer", "1", "CPU of the path under test")
	flag.StringVar(&o.out, "json", "", "results, one JSON object a line (default DIR/results.jsonl, made anew)")
	flag.StringVar(&o.table, "table", "", "only print the tables of this results file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	if o.table != "" {
		return report(os.Stdout, o.table)
	}
	if o.out == "" {
		o.out = filepath.Join(o.dir, "results.jsonl")
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	for round := range o.rounds {
		for _, path := range paths {
			if err := b.path(ctx, path, round); err != nil {
				return fmt.Errorf("%s: %w", path, closeAfter(b, err))
			}
		}
	}
	if err := b.Close(); err != nil {
		return err
	}
	return report(os.Stdout, b.out)
}

func closeAfter(b *bench, err error) error {
	if cerr := b.Close(); cerr != nil {
		return fmt.Errorf("%w (and cleaning up: %v)", err, cerr)
	}
	return err
}

// wanted tells whether a comma list names something; an empty list names all.
func wanted(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}
