// SPDX-License-Identifier: Apache-2.0

// Command llmload measures a chat completion endpoint, directly or through
// whatever stands between. See the README for definitions.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sallyport-dev/sallyport/test/bench/internal/certs"
	"github.com/sallyport-dev/sallyport/test/bench/internal/hist"
	"github.com/sallyport-dev/sallyport/test/bench/internal/load"
	"github.com/sallyport-dev/sallyport/test/bench/internal/nofile"
	"github.com/sallyport-dev/sallyport/test/bench/internal/wire"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	var headers list
	c := load.Config{Watch: map[string]int{}}
	target := flag.String("url", "https://llm.bench.test:18443/v1/chat/completions", "what the client believes it talks to (for -mode raw: tcp://host:port)")
	connect := flag.String("connect", "", "host:port really dialled: the target itself, or a transparent proxy in front of it")
	proxy := flag.String("proxy", "", "explicit proxy, http://host:port, used with CONNECT")
	ca := flag.String("ca", "bench-certs/ca.pem", "PEM file of trusted CAs")
	pids := flag.String("pids", "", "name=pid,name=pid: process trees to account")
	out := flag.String("json", "", "file to append the JSON result to (- for standard output)")
	flag.StringVar(&c.Label, "label", "run", "name of this run")
	flag.StringVar(&c.Mode, "mode", "chat", "chat, stream, blob, raw, or idle: -n connections with one request each, held for -hold")
	flag.BoolVar(&c.H2, "h2", false, "HTTP/2: all workers share one connection")
	flag.BoolVar(&c.NewConn, "newconn", false, "new TCP and TLS connection for each request")
	flag.IntVar(&c.Concurrency, "c", 1, "concurrent clients")
	flag.Int64Var(&c.Requests, "n", 0, "stop after this many requests")
	flag.DurationVar(&c.Duration, "d", 5*time.Second, "start no request after this time")
	flag.DurationVar(&c.Warmup, "warmup", time.Second, "unrecorded time before")
	flag.DurationVar(&c.Ramp, "ramp", time.Second, "stream mode: spread the starts over this time")
	flag.DurationVar(&c.Hold, "hold", 20*time.Second, "idle mode: leave the connections alone for this time")
	flag.Float64Var(&c.Rate, "rate", 0, "constant requests/s; 0: closed loop")
	flag.DurationVar(&c.Timeout, "timeout", 60*time.Second, "for one request")
	flag.StringVar(&c.Model, "model", "bench-1", "model name sent")
	flag.StringVar(&c.Check, "check", "exact", "exact (bytes), content (assistant text), status")
	flag.IntVar(&c.PromptBytes, "prompt", 1024, "prompt bytes")
	flag.IntVar(&c.Spec.Bytes, "answer", 1024, "answer bytes")
	flag.IntVar(&c.Spec.Deltas, "deltas", 200, "stream mode: deltas per stream")
	flag.DurationVar(&c.Spec.Delay, "delay", 20*time.Millisecond, "stream mode: between deltas")
	flag.DurationVar(&c.Spec.First, "first", 0, "mock's time to first byte or delta")
	flag.BoolVar(&c.Spec.Closed, "closed", false, "stream mode: a delta ends with its space")
	flag.Int64Var(&c.BlobBytes, "blob", 64<<20, "blob and raw mode: bytes per request")
	flag.Var(&headers, "H", "extra header 'Name: value' (repeatable)")
	flag.Parse()
	c.Headers = headers

	u, err := url.Parse(*target)
	if err != nil {
		log.Fatal(err)
	}
	c.Dialer = &load.Dialer{Target: u, Override: *connect, Timeout: 20 * time.Second}
	if *proxy != "" {
		if c.Dialer.Proxy, err = url.Parse(*proxy); err != nil {
			log.Fatal(err)
		}
	}
	if u.Scheme == "https" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			log.Fatal(err)
		}
		c.Dialer.TLS = &tls.Config{RootCAs: certs.Pool(pem), ServerName: u.Hostname(), CurvePreferences: []tls.CurveID{tls.X25519},
			NextProtos: []string{"http/1.1"}}
		if c.H2 {
			c.Dialer.TLS.NextProtos = []string{"h2"}
		}
	}
	for _, p := range strings.Split(*pids, ",") {
		if name, v, ok := strings.Cut(p, "="); ok {
			if c.Watch[name], err = strconv.Atoi(v); err != nil {
				log.Fatal(err)
			}
		}
	}
	c.Spec = wire.Spec{Bytes: c.Spec.Bytes, Deltas: c.Spec.Deltas, Delay: c.Spec.Delay, First: c.Spec.First, Closed: c.Spec.Closed}
	if c.Mode == "idle" {
		if err := nofile.Raise(uint64(c.Requests) + 256); err != nil {
			log.Fatal(err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := load.Run(ctx, c)
	if err != nil {
		log.Fatal(err)
	}
	b, _ := json.Marshal(r)
	switch *out {
	case "":
		table(r)
	case "-":
		fmt.Println(string(b))
	default:
		table(r)
		f, err := os.OpenFile(*out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = fmt.Fprintln(f, string(b))
			f.Close()
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	if r.OK == 0 || r.Errors > 0 {
		os.Exit(1)
	}
}

func table(r *load.Result) {
	fmt.Printf("%s: %s c=%d %.1fs ok=%d errors=%d rps=%.0f", r.Label, r.Mode, r.Conc, r.Seconds, r.OK, r.Errors, r.RPS)
	if r.MBps > 0 {
		fmt.Printf(" MB/s=%.0f", r.MBps)
	}
	if r.Tokens > 0 {
		fmt.Printf(" tokens/s=%.0f", r.TokensPS)
	}
	fmt.Printf(" loadavg=%s\n", r.LoadAvg)
	for k, n := range r.ErrorKind {
		fmt.Printf("  error %d x %s\n", n, k)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "us\tcount\tmin\tmean\tp50\tp90\tp99\tp99.9\tmax\t")
	row := func(name string, s *hist.Summary) {
		if s != nil && s.Count > 0 {
			fmt.Fprintf(w, "%s\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", name, s.Count, s.Min, s.Mean, s.P50, s.P90, s.P99, s.P999, s.Max)
		}
	}
	row("latency", &r.Latency)
	row("connect", r.Connect)
	row("ttft", r.TTFT)
	row("gap", r.Gap)
	row("jitter", r.Jitter)
	row("transit", r.Transit)
	w.Flush()
	if r.Idle != nil {
		for name, p := range r.Idle.Procs {
			fmt.Printf("  %s: %d connections open after %.1f s, held %.0f s: rss %.1f -> %.1f MB (%.1f KB/conn), anonymous %.1f -> %.1f MB (%.1f KB/conn), %.2f %% of a core\n", name, r.Idle.Connections, r.Idle.OpenS, r.Idle.HoldS,
				float64(p.Before.RSS)/1e6, float64(p.Held.RSS)/1e6, p.RSSPer/1e3, float64(p.Before.Anon)/1e6, float64(p.Held.Anon)/1e6, p.AnonPer/1e3, p.CPUPct)
		}
	}
	for name, p := range r.Procs {
		fmt.Printf("  %s: cpu %.2fs user + %.2fs system = %.0f%%; %.1f us/request; %.1f ms/1k tokens; rss %.1f -> %.1f MB peak (%.1f KB/conn); %d procs\n", name,
			p.UserS, p.SystemS, p.CPUPct, p.CPUPerReq, p.CPUPerKTok, float64(p.RSSStart)/1e6, float64(p.RSSPeak)/1e6, p.RSSPerConn/1e3, p.Procs)
	}
}
