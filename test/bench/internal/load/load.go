// SPDX-License-Identifier: Apache-2.0

// Package load drives a chat completion endpoint and measures what a client sees.
package load

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport/test/bench/internal/hist"
	"github.com/sallyport-dev/sallyport/test/bench/internal/procstat"
	"github.com/sallyport-dev/sallyport/test/bench/internal/wire"
)

// Config is one measurement.
type Config struct {
	Label       string
	Mode        string // chat, stream, blob, raw, idle
	Dialer      *Dialer
	H2          bool
	NewConn     bool // a new connection (TCP and TLS) for each request
	Concurrency int
	Requests    int64         // stop after this many (0: no limit)
	Duration    time.Duration // stop starting requests after this
	Warmup      time.Duration
	Rate        float64 // requests/s; 0 means closed loop
	Timeout     time.Duration
	Model       string
	Headers     []string // "Name: value"
	PromptBytes int
	Spec        wire.Spec // answer size, deltas, delays
	BlobBytes   int64
	Check       string // exact, content, status
	Ramp        time.Duration
	Hold        time.Duration  // idle mode: how long the connections are left alone; shorter than Timeout
	Watch       map[string]int // name -> pid
}

// ProcResult is the cost of one watched process tree.
type ProcResult struct {
	UserS      float64 `json:"user_s"`
	SystemS    float64 `json:"system_s"`
	CPUPct     float64 `json:"cpu_pct"`
	CPUPerReq  float64 `json:"cpu_us_per_request,omitempty"`
	CPUPerKTok float64 `json:"cpu_ms_per_1k_tokens,omitempty"`
	CPUPerMB   float64 `json:"cpu_us_per_mb,omitempty"`
	RSSStart   int64   `json:"rss_start_bytes"`
	RSSPeak    int64   `json:"rss_peak_bytes"`
	RSSPerConn float64 `json:"rss_growth_per_conn_bytes"`
	Procs      int     `json:"procs"`
}

// Result is what one measurement found.
type Result struct {
	Label     string                `json:"label"`
	Mode      string                `json:"mode"`
	Conc      int                   `json:"concurrency"`
	Rate      float64               `json:"rate,omitempty"`
	NewConn   bool                  `json:"new_conn,omitempty"`
	H2        bool                  `json:"h2,omitempty"`
	Seconds   float64               `json:"seconds"`
	OK        int64                 `json:"ok"`
	Errors    int64                 `json:"errors"`
	ErrorKind map[string]int64      `json:"error_kinds,omitempty"`
	RPS       float64               `json:"rps"`
	MBps      float64               `json:"mb_per_s,omitempty"`
	Tokens    int64                 `json:"tokens,omitempty"`
	TokensPS  float64               `json:"tokens_per_s,omitempty"`
	Latency   hist.Summary          `json:"latency"`
	Connect   *hist.Summary         `json:"connect,omitempty"`
	TTFT      *hist.Summary         `json:"ttft,omitempty"`
	Gap       *hist.Summary         `json:"inter_token_gap,omitempty"`
	Jitter    *hist.Summary         `json:"gap_jitter,omitempty"`
	Transit   *hist.Summary         `json:"token_transit,omitempty"`
	Procs     map[string]ProcResult `json:"procs,omitempty"`
	Idle      *Idle                 `json:"idle,omitempty"`
	LoadAvg   string                `json:"loadavg"`
	Note      string                `json:"note,omitempty"`
}

type runner struct {
	Config
	lat, conn, ttft, gap, jit, transit *hist.H
	ok, bad, tokens, bytes, next       atomic.Int64
	mu                                 sync.Mutex
	kinds                              map[string]int64
	recording                          atomic.Bool
	t0                                 time.Time
	deadline                           time.Time
	h2c                                *http.Client
}

// Run carries out one measurement.
func Run(ctx context.Context, c Config) (*Result, error) {
	r := &runner{Config: c, kinds: map[string]int64{}}
	for _, h := range []**hist.H{&r.lat, &r.conn, &r.ttft, &r.gap, &r.jit, &r.transit} {
		*h = hist.New()
	}
	watches := map[string]*procstat.Watch{}
	for name, pid := range c.Watch {
		w, err := procstat.NewWatch(pid, 250*time.Millisecond)
		if err != nil {
			return nil, err
		}
		watches[name] = w
	}
	if c.H2 {
		r.h2c = &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: true, MaxConnsPerHost: 1,
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				t := time.Now()
				conn, err := c.Dialer.Dial(ctx)
				if err == nil {
					r.conn.Record(int64(time.Since(t)))
				}
				return conn, err
			},
		}, Timeout: c.Timeout}
	}
	workers := make([]*worker, c.Concurrency)
	var wg sync.WaitGroup
	for i := range workers {
		workers[i] = &worker{r: r, n: i}
	}
	each := func(f func(w *worker)) {
		for _, w := range workers {
			wg.Add(1)
			go func() { defer wg.Done(); f(w) }()
		}
		wg.Wait()
	}
	// Warm-up: connections, pools and certificate caches of whatever is between
	// get filled. Streams hold one upstream connection each at the same time.
	if c.Mode == "stream" && c.Warmup > 0 {
		each(func(w *worker) {
			time.Sleep(time.Duration(w.n) * c.Warmup / time.Duration(c.Concurrency))
			w.stream(ctx, wire.Spec{Deltas: 1, First: c.Warmup + 300*time.Millisecond}, time.Now())
		})
	} else if c.Warmup > 0 {
		r.deadline = time.Now().Add(c.Warmup)
		each(func(w *worker) { w.loop(ctx, 0, 0) })
	}
	for _, w := range watches {
		w.Reset()
	}
	r.next.Store(0)
	r.ok.Store(0)
	r.bad.Store(0)
	r.kinds = map[string]int64{}
	r.recording.Store(true)
	r.t0 = time.Now()
	r.deadline = r.t0.Add(c.Duration)
	var held *Idle
	if c.Mode == "idle" {
		each((*worker).drop)
		var err error
		if held, err = r.idle(ctx); err != nil {
			return nil, err
		}
	} else if c.Mode == "stream" && c.Ramp > 0 {
		each(func(w *worker) {
			time.Sleep(time.Duration(w.n) * c.Ramp / time.Duration(c.Concurrency))
			w.loop(ctx, c.Requests, c.Rate)
		})
	} else {
		each(func(w *worker) { w.loop(ctx, c.Requests, c.Rate) })
	}
	secs := time.Since(r.t0).Seconds()
	for _, w := range workers {
		w.drop()
	}

	res := &Result{Label: c.Label, Mode: c.Mode, Conc: c.Concurrency, Rate: c.Rate, NewConn: c.NewConn, H2: c.H2,
		Seconds: secs, OK: r.ok.Load(), Errors: r.bad.Load(), ErrorKind: r.kinds, RPS: float64(r.ok.Load()) / secs,
		Tokens: r.tokens.Load(), TokensPS: float64(r.tokens.Load()) / secs, Latency: r.lat.Summary(), Procs: map[string]ProcResult{}, Idle: held}
	mb := float64(r.bytes.Load()) / 1e6
	if c.Mode == "blob" || c.Mode == "raw" {
		res.MBps = mb / secs
	}
	opt := func(h *hist.H) *hist.Summary {
		if h.Count() == 0 {
			return nil
		}
		s := h.Summary()
		return &s
	}
	res.Connect, res.TTFT, res.Gap, res.Jitter, res.Transit = opt(r.conn), opt(r.ttft), opt(r.gap), opt(r.jit), opt(r.transit)
	for name, w := range watches {
		u, peak, err := w.Stop()
		if err != nil {
			res.Note = err.Error()
			continue
		}
		p := ProcResult{UserS: u.User, SystemS: u.System, CPUPct: 100 * u.CPU() / secs, RSSStart: w.Start.RSS, RSSPeak: peak,
			RSSPerConn: float64(peak-w.Start.RSS) / float64(c.Concurrency), Procs: u.Procs}
		if n := r.ok.Load(); n > 0 {
			p.CPUPerReq = u.CPU() * 1e6 / float64(n)
		}
		if n := r.tokens.Load(); n > 0 {
			p.CPUPerKTok = u.CPU() * 1e6 / float64(n)
		}
		if res.MBps > 0 {
			p.CPUPerMB = u.CPU() * 1e6 / mb
		}
		res.Procs[name] = p
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		res.LoadAvg = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return res, nil
}

func (r *runner) fail(kind string) {
	r.bad.Add(1)
	r.mu.Lock()
	r.kinds[kind]++
	r.mu.Unlock()
}
