// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/test/bench/internal/hist"
	"github.com/sallyport-dev/sallyport/test/bench/internal/load"
)

// byRound holds the results of one path for one workload.
type byRound map[string]load.Result

// report prints one Markdown table per workload: medians over the rounds, and medians of per-round ratios.
func report(w io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	got := map[string]map[string]byRound{} // workload, path
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var r load.Result
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		label := strings.Split(r.Label, "|")
		if len(label) != 3 {
			return fmt.Errorf("%s: label %q is not path|workload|round", file, r.Label)
		}
		path, work, round := label[0], label[1], label[2]
		if got[work] == nil {
			got[work] = map[string]byRound{}
		}
		if got[work][path] == nil {
			got[work][path] = byRound{}
		}
		got[work][path][round] = r
	}
	if err := sc.Err(); err != nil {
		return err
	}
	for _, wl := range workloads {
		if got[wl.name] != nil {
			fmt.Fprintf(w, "\n### %s: %s\n\n", wl.name, wl.what)
			table(w, got[wl.name])
		}
	}
	return nil
}

type column struct {
	title, format string
	of            func(load.Result) float64
	ratioTo       string
}

func columns(streams bool) []column {
	part := func(f func(load.Result) *hist.Summary, of func(*hist.Summary) float64) func(load.Result) float64 {
		return func(r load.Result) float64 {
			if s := f(r); s != nil {
				return of(s)
			}
			return 0
		}
	}
	ttft := func(r load.Result) *hist.Summary { return r.TTFT }
	transit := func(r load.Result) *hist.Summary { return r.Transit }
	mid := func(s *hist.Summary) float64 { return s.P50 }
	high := func(s *hist.Summary) float64 { return s.P99 }
	p50 := func(r load.Result) float64 { return r.Latency.P50 }
	cpu := func(r load.Result) float64 { return r.Procs["peer"].CPUPerReq }
	cols := []column{
		{"exchanges/s", "%.0f", func(r load.Result) float64 { return r.RPS }, ""},
		{"p50 µs", "%.0f", p50, ""},
		{"/direct", "%.2f", p50, "direct"},
		{"p99 µs", "%.0f", func(r load.Result) float64 { return r.Latency.P99 }, ""},
		{"CPU µs/exchange", "%.0f", cpu, ""},
		{"/go", "%.2f", cpu, "go-revproxy"},
	}
	if streams {
		cols = append(cols,
			column{"first token p50 µs", "%.0f", part(ttft, mid), ""}, column{"p99", "%.0f", part(ttft, high), ""},
			column{"transit p50 µs", "%.0f", part(transit, mid), ""}, column{"p99", "%.0f", part(transit, high), ""},
			column{"CPU ms/1,000 tokens", "%.1f", func(r load.Result) float64 { return r.Procs["peer"].CPUPerKTok }, ""})
	}
	return append(cols,
		column{"RSS MB", "%.0f", func(r load.Result) float64 { return float64(r.Procs["peer"].RSSPeak) / 1e6 }, ""},
		column{"errors", "%.0f", func(r load.Result) float64 { return float64(r.Errors) }, ""})
}

func table(w io.Writer, got map[string]byRound) {
	streams := false
	for _, rounds := range got {
		for _, r := range rounds {
			streams = streams || r.Transit != nil
		}
	}
	cols := columns(streams)
	fmt.Fprint(w, "| path | rounds |")
	for _, c := range cols {
		fmt.Fprintf(w, " %s |", c.title)
	}
	fmt.Fprintf(w, "\n|---|---:|%s\n", strings.Repeat("---:|", len(cols)))
	for _, path := range paths {
		rounds := got[path]
		if rounds == nil {
			continue
		}
		fmt.Fprintf(w, "| %s | %d |", path, len(rounds))
		for _, c := range cols {
			x := c.values(rounds, got[c.ratioTo])
			if len(x) == 0 || (median(x) == 0 && c.title != "errors") {
				fmt.Fprint(w, " – |")
				continue
			}
			fmt.Fprintf(w, " "+c.format+" |", median(x))
		}
		fmt.Fprintln(w)
	}
}

// values is the column of one path, one value a round; ratios are to the same round of base.
func (c column) values(rounds, base byRound) []float64 {
	var x []float64
	for n, r := range rounds {
		v := c.of(r)
		if c.ratioTo != "" {
			b := c.of(base[n])
			if b == 0 || v == 0 {
				continue
			}
			v /= b
		}
		x = append(x, v)
	}
	return x
}

func median(x []float64) float64 {
	slices.Sort(x)
	if n := len(x); n%2 == 0 {
		return (x[n/2-1] + x[n/2]) / 2
	}
	return x[len(x)/2]
}
