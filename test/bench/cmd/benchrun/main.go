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
	"strings"
	"syscall"
)

// paths are measured in this order. envoy is left out, and said so, where there is none.
var paths = []string{"direct", "go-revproxy", "envoy", "pass-through", "observe", "enforce"}

type workload struct {
	name, what string
	args       []string
}

var workloads = []workload{
	{"chat-c1", "1 KB prompt, 1 KB answer, keep-alive, one client", []string{"-c", "1", "-d", "1500ms", "-warmup", "500ms"}},
	{"chat-c32", "the same, 32 clients, as fast as they can: the CPU of the path, or that of provider and clients, is full", []string{"-c", "32", "-d", "2s", "-warmup", "500ms"}},
	{"connect-c16", "a new connection per exchange, 16 clients", []string{"-c", "16", "-newconn", "-d", "1500ms", "-warmup", "300ms"}},
	{"stream-200", "200 streams, 100 deltas, 20 ms apart, words with the space before them (as providers send them)", stream()},
	{"stream-closed", "the same, words with the space behind them", stream("-closed")},
	{"prompt-1MB", "1 MB prompt, 2 clients", []string{"-c", "2", "-prompt", "1048576", "-d", "1500ms", "-warmup", "500ms"}},
}

func stream(more ...string) []string {
	return append([]string{"-mode", "stream", "-c", "200", "-n", "200", "-deltas", "100", "-delay", "20ms", "-warmup", "500ms", "-ramp", "500ms"}, more...)
}

type options struct {
	bin, dir, out    string
	peers            string
	only, work       string
	rounds, port     int
	cpuLoad, cpuPeer string
	table            string
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "build", "folder with sallyportd, sallyport, mockllm, llmload, gorevproxy and, if there is one, envoy")
	flag.StringVar(&o.dir, "dir", "build/bench", "work folder")
	flag.StringVar(&o.peers, "peers", "test/bench/peers", "folder with the configurations of other proxies")
	flag.StringVar(&o.only, "only", "", "comma list of paths (default all)")
	flag.StringVar(&o.work, "work", "", "comma list of workloads (default all)")
	flag.IntVar(&o.rounds, "rounds", 2, "rounds")
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

func wanted(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}
