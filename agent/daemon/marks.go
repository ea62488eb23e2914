// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"sync"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/agent/trust"
)

// marker gives trust to programs as they are marked: some seconds before their first connection.
type marker struct {
	d     *daemon
	queue chan agent.Mark
	more  sync.WaitGroup // programs that ran before us
}

// markQueue is how many programs may be marked before the first of them is served.
const markQueue = 1024

func newMarker(d *daemon) *marker { return &marker{d: d, queue: make(chan agent.Mark, markQueue)} }

// mark is called by the reader of kernel events and must not block.
func (m *marker) mark(k agent.Mark) {
	select {
	case m.queue <- k:
	default:
		m.d.Log.Warn("too many programs start at once: one gets no trust and will be refused or passed unread", telemetry.KeyPID, k.Proc.TGID)
	}
}

// run serves marks until ctx ends. Trust itself bounds how many processes it looks at at once.
func (m *marker) run(ctx context.Context) error {
	var running sync.WaitGroup
	defer m.more.Wait()
	defer running.Wait()
	limit := make(chan struct{}, 64)
	for {
		select {
		case <-ctx.Done():
			return nil
		case k := <-m.queue:
			limit <- struct{}{}
			running.Go(func() {
				defer func() { <-limit }()
				m.apply(ctx, k)
			})
		}
	}
}

// apply gives trust to one program, if it belongs to a scope that opens TLS.
func (m *marker) apply(ctx context.Context, k agent.Mark) {
	log := m.d.Log.With(telemetry.KeyPID, k.Proc.TGID, telemetry.KeyComm, k.Proc.Comm)
	// Only where TLS will be opened: marks are seen on the whole host, and a scope in discover changes no trust.
	w, err := m.d.ident.Look(k.Proc.TGID)
	if err != nil || w.Start/1e7 != k.Proc.Start/1e7 {
		return // it ended meanwhile
	}
	marked := k.Kind != agent.MarkStarted
	mode := m.d.enrol.Mode(&w, marked)
	if mode != agent.ModeOff {
		m.d.spaces.Look(k.Proc.TGID)
	}
	if mode < agent.ModeObserve {
		return
	}
	if marked {
		m.d.older.Look() // it may have connected before it was recognised
	}
	hints := []string{w.Exe}
	if marked {
		hints = append(hints, k.Path)
	}
	r, err := m.d.trust.Apply(ctx, int(k.Proc.TGID), k.Proc.Start, hints)
	if !marked {
		if err != nil && ctx.Err() == nil {
			log.Debug("trust was not given to a program that started", telemetry.KeyError, err)
		}
		return
	}
	if m.d.inspect(ctx, k.Proc) {
		return
	}
	switch {
	case err != nil && ctx.Err() == nil:
		log.Warn("trust was not given to a LangChain program", telemetry.KeyError, err)
	case r.Outcome == trust.Covered:
		log.Info("a LangChain program started and trusts our root", telemetry.KeyCount, len(r.Stores))
	case err == nil:
		log.Info("a LangChain program started", telemetry.KeyState, string(r.Outcome), telemetry.KeyError, r.Reason)
	}
	if r.Outcome == trust.Host && named(m.d.cfg, w.Unit) {
		if err := m.d.trust.ApplyUnit(ctx, w.Unit, int(k.Proc.TGID), k.Proc.Start, []string{k.Path}); err != nil && ctx.Err() == nil {
			log.Warn("a unit gets no trust at its next start", telemetry.KeyUnit, w.Unit, telemetry.KeyError, err)
		}
	}
}
