// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	var kept []books
	var idle []rest
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var l line
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if l.Books != nil {
			kept = append(kept, *l.Books)
		}
		if l.Rest != nil {
			idle = append(idle, *l.Rest)
		}
		if l.Result == nil {
			continue
		}
		label := strings.Split(l.Result.Label, "|")
		if len(label) != 3 {
			return fmt.Errorf("%s: label %q is not path|workload|round", file, l.Result.Label)
		}
		path, work, round := label[0], label[1], label[2]
		if got[work] == nil {
			got[work] = map[string]byRound{}
		}
		if got[work][path] == nil {
			got[work][path] = byRound{}
		}
		got[work][path][round] = *l.Result
	}
	if err := sc.Err(); err != nil {
		return err
	}
	for _, wl := range withIdle(slices.Sorted(maps.Keys(got)), 0) {
		if got[wl.name] != nil {
			fmt.Fprintf(w, "\n### %s: %s\n\n", wl.name, wl.what)
			if held(got[wl.name]) {
				idleTable(w, got[wl.name])
			} else {
				table(w, got[wl.name])
			}
		}
	}
	if len(kept) > 0 {
		fmt.Fprint(w, "\n### What the daemon says\n\n| path | round | right answers | exchanges on record, with warm-up | of these refused or cut | connections proxied | passed unread | denied | missed |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	}
	for _, k := range kept {
		fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %d | %d | %d | %d |\n", k.Path, k.Round+1, k.Answers, k.Recorded, k.Refused, k.Flows.Proxied, k.Flows.Passed, k.Flows.Denied, k.Flows.Missed)
	}
	for _, r := range idle {
		fmt.Fprintf(w, "\nAt rest (%s, %.0f s from its start on): RssAnon %.1f MB, RSS %.1f MB, %.2f %% of a core.\n", r.Path, r.Seconds, float64(r.Anon)/1e6, float64(r.RSS)/1e6, 100*r.CPU)
	}
	return nil
}

type column struct {
	title, format string
	of            func(load.Result) float64
	base          string // path that the value is set against, of the same round
	minus         bool   // the difference to it, not the ratio
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
	cpu := func(r load.Result) float64 { return r.Procs["peer"].CPUPerReq }
	cols := []column{
		{title: "CPU µs/exchange", format: "%.0f", of: cpu},
		{title: "/go", format: "%.2f", of: cpu, base: "go-revproxy"},
	}
	if streams {
		tok := func(r load.Result) float64 { return r.Procs["peer"].CPUPerKTok }
		cols = []column{
			{title: "CPU ms/1,000 tokens", format: "%.1f", of: tok},
			{title: "/go", format: "%.2f", of: tok, base: "go-revproxy"},
			{title: "first token p50 µs", format: "%.0f", of: part(ttft, mid)},
			{title: "added", format: "%+.0f", of: part(ttft, mid), base: "direct", minus: true},
			{title: "p99", format: "%.0f", of: part(ttft, high)},
			{title: "token transit p50 µs", format: "%.0f", of: part(transit, mid)},
			{title: "added", format: "%+.0f", of: part(transit, mid), base: "direct", minus: true},
			{title: "p99", format: "%.0f", of: part(transit, high)},
			{title: "KB/stream", format: "%.0f", of: func(r load.Result) float64 { return r.Procs["peer"].RSSPerConn / 1e3 }},
		}
	} else {
		p50 := func(r load.Result) float64 { return r.Latency.P50 }
		p99 := func(r load.Result) float64 { return r.Latency.P99 }
		cols = append(cols,
			column{title: "p50 µs", format: "%.0f", of: p50},
			column{title: "added", format: "%+.0f", of: p50, base: "direct", minus: true},
			column{title: "/direct", format: "%.2f", of: p50, base: "direct"},
			column{title: "/go", format: "%.2f", of: p50, base: "go-revproxy"},
			column{title: "p99 µs", format: "%.0f", of: p99},
			column{title: "added", format: "%+.0f", of: p99, base: "direct", minus: true},
			column{title: "exchanges/s", format: "%.0f", of: func(r load.Result) float64 { return r.RPS }})
	}
	return append(cols,
		column{title: "RSS MB", format: "%.0f", of: func(r load.Result) float64 { return float64(r.Procs["peer"].RSSPeak) / 1e6 }},
		column{title: "right", format: "%.0f", of: func(r load.Result) float64 { return float64(r.OK) }},
		column{title: "errors", format: "%.0f", of: func(r load.Result) float64 { return float64(r.Errors) }})
}

// held tells whether a workload held idle connections.
func held(got map[string]byRound) bool {
	for _, rounds := range got {
		for _, r := range rounds {
			if r.Idle != nil {
				return true
			}
		}
	}
	return false
}

// idleTable prints what idle connections cost each path; the direct one has no process of its own.
func idleTable(w io.Writer, got map[string]byRound) {
	anon := func(p load.IdleProc) float64 { return p.AnonPer / 1e3 }
	cols := []struct {
		title, format string
		of            func(load.IdleProc) float64
		base          bool // set against go-revproxy
	}{
		{"RssAnon before, MB", "%.1f", func(p load.IdleProc) float64 { return float64(p.Before.Anon) / 1e6 }, false},
		{"with them", "%.1f", func(p load.IdleProc) float64 { return float64(p.Held.Anon) / 1e6 }, false},
		{"KB/connection", "%.1f", anon, false},
		{"/go", "%.2f", anon, true},
		{"RSS before, MB", "%.1f", func(p load.IdleProc) float64 { return float64(p.Before.RSS) / 1e6 }, false},
		{"with them", "%.1f", func(p load.IdleProc) float64 { return float64(p.Held.RSS) / 1e6 }, false},
		{"KB/connection", "%.1f", func(p load.IdleProc) float64 { return p.RSSPer / 1e3 }, false},
		{"CPU meanwhile, % of a core", "%.2f", func(p load.IdleProc) float64 { return p.CPUPct }, false},
	}
	fmt.Fprint(w, "| path | rounds |")
	for _, c := range cols {
		fmt.Fprintf(w, " %s |", c.title)
	}
	fmt.Fprintf(w, " connections | held, s | errors |\n|---|---:|%s---:|---:|---:|\n", strings.Repeat("---:|", len(cols)))
	for _, path := range paths {
		rounds := got[path]
		if rounds == nil || path == "direct" {
			continue
		}
		fmt.Fprintf(w, "| %s | %d |", path, len(rounds))
		for _, c := range cols {
			var x []float64
			for n, r := range rounds {
				if r.Idle == nil {
					continue
				}
				v := c.of(r.Idle.Procs["peer"])
				if c.base {
					go1 := got["go-revproxy"][n].Idle
					if go1 == nil {
						continue
					}
					v /= c.of(go1.Procs["peer"])
				}
				x = append(x, v)
			}
			if len(x) == 0 {
				fmt.Fprint(w, " – |")
			} else {
				fmt.Fprintf(w, " "+c.format+" |", median(x))
			}
		}
		open, secs, bad := 0, 0.0, int64(0) // open: in the round with the fewest
		for _, r := range rounds {
			if i := r.Idle; i != nil && (open == 0 || i.Connections < open) {
				open, secs = i.Connections, i.HoldS
			}
			bad += r.Errors
		}
		fmt.Fprintf(w, " %d | %.0f | %d |\n", open, secs, bad)
	}
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
			x := c.values(rounds, got[c.base])
			switch {
			case c.title == "errors" || c.title == "right":
				var sum float64
				for _, v := range x {
					sum += v
				}
				fmt.Fprintf(w, " %.0f |", sum)
			case len(x) == 0 || (median(x) == 0 && !c.minus) || (c.minus && path == c.base):
				fmt.Fprint(w, " – |")
			default:
				fmt.Fprintf(w, " "+c.format+" |", median(x))
			}
		}
		fmt.Fprintln(w)
	}
}

// values is the column of one path, one value a round, set against the same round of base.
func (c column) values(rounds, base byRound) []float64 {
	var x []float64
	for n, r := range rounds {
		v := c.of(r)
		if c.base != "" {
			b := c.of(base[n])
			switch {
			case b == 0 || v == 0:
				continue
			case c.minus:
				v -= b
			default:
				v /= b
			}
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
