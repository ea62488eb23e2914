// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport/test/bench/internal/procstat"
)

// Idle is what open connections that carry nothing cost.
type Idle struct {
	Connections int                 `json:"connections"` // that were open, each after one right answer
	OpenS       float64             `json:"open_s"`      // until all were open
	HoldS       float64             `json:"hold_s"`      // for which they were left alone
	Procs       map[string]IdleProc `json:"procs"`
}

// IdleProc is one watched process tree: before the first of the connections, and at the end of the time in which they
// were held.
type IdleProc struct {
	Before  procstat.Memory `json:"before"`
	Held    procstat.Memory `json:"held"`
	RSSPer  float64         `json:"rss_per_conn_bytes"`
	AnonPer float64         `json:"anon_per_conn_bytes"`
	CPUPct  float64         `json:"cpu_pct"` // while they were held, of one core
}

// idle opens Requests keep-alive connections with one request on each, leaves them alone for Hold, and then asks each
// of them once more: one that the other side closed is an error.
func (r *runner) idle(ctx context.Context) (*Idle, error) {
	n := int(r.Requests)
	if n <= 0 {
		return nil, errors.New("idle mode holds as many connections as there are requests: say how many (-n)")
	}
	res := &Idle{Procs: map[string]IdleProc{}}
	for name, pid := range r.Watch {
		m, err := procstat.MemoryOf(pid)
		if err != nil {
			return nil, fmt.Errorf("memory of %s: %w", name, err)
		}
		res.Procs[name] = IdleProc{Before: m}
	}
	held := make([]*worker, n)
	for i := range held {
		held[i] = &worker{r: r, n: i}
	}
	defer func() {
		for _, w := range held {
			w.drop()
		}
	}()
	t := time.Now()
	r.ask(ctx, held, 0)
	res.OpenS = time.Since(t).Seconds()
	for _, w := range held {
		if w.conn != nil {
			res.Connections++
		}
	}
	used, err := r.hold(ctx)
	if err != nil {
		return nil, err
	}
	res.HoldS = r.Hold.Seconds()
	for name, p := range res.Procs {
		m, err := procstat.MemoryOf(r.Watch[name])
		if err != nil {
			return nil, fmt.Errorf("memory of %s: %w", name, err)
		}
		p.Held, p.CPUPct = m, 100*used[name]/res.HoldS
		if c := float64(res.Connections); c > 0 {
			p.RSSPer, p.AnonPer = float64(m.RSS-p.Before.RSS)/c, float64(m.Anon-p.Before.Anon)/c
		}
		res.Procs[name] = p
	}
	r.ask(ctx, held, int64(n))
	return res, nil
}

// ask sends one request on each connection, Concurrency of them at a time; one that was never used is opened first.
// Request i of them has the number first+i.
func (r *runner) ask(ctx context.Context, held []*worker, first int64) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(r.Concurrency, len(held)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(held)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				w := held[i]
				if w.conn == nil && first > 0 {
					r.fail("not held: it was closed, or never opened")
					continue
				}
				if w.conn != nil {
					w.conn = newH1(w.conn.c)
				}
				s := r.Spec
				s.ID = first + i
				w.single(ctx, s, time.Now())
				w.shrink()
			}
		})
	}
	wg.Wait()
}

// shrink keeps nothing but the connection: ten thousand buffers would be a few hundred megabytes.
func (w *worker) shrink() {
	w.req, w.body = nil, nil
	if w.conn != nil {
		w.conn = &h1{c: w.conn.c}
	}
}

// hold waits, and returns the CPU seconds that the watched processes used meanwhile.
func (r *runner) hold(ctx context.Context) (map[string]float64, error) {
	used := map[string]float64{}
	read := func(sign float64) error {
		for name, pid := range r.Watch {
			u, err := procstat.Tree(pid)
			if err != nil {
				return fmt.Errorf("CPU of %s: %w", name, err)
			}
			used[name] += sign * u.CPU()
		}
		return nil
	}
	if err := read(-1); err != nil {
		return nil, err
	}
	t := time.NewTimer(r.Hold)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
	}
	return used, read(1)
}
