// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"sync/atomic"
	"time"
)

const (
	beatEvery   = 250 * time.Millisecond // at most half of what Options.Accepting promises
	reportEvery = time.Minute
)

// pulse is how an accept loop shows that it runs: it waits for a connection, or it took one since it was looked at last.
// A loop that hangs with a connection in its hands shows neither.
type pulse struct {
	state atomic.Uint64 // turns so far, times four, plus one of the below
	seen  uint64        // the heart's: state when it looked last
}

const (
	pulseBusy = iota
	pulseWaiting
	pulseEnded
	pulseStates = 4
)

func (p *pulse) wait() { p.state.Store(p.state.Load()/pulseStates*pulseStates + pulseWaiting) }
func (p *pulse) turn() { p.state.Store((p.state.Load()/pulseStates + 1) * pulseStates) }
func (p *pulse) end()  { p.state.Store(pulseEnded) }

// look says what the loop did since the last look.
func (p *pulse) look() (runs, hangs bool) {
	now := p.state.Load()
	moved := now != p.seen
	p.seen = now
	switch now % pulseStates {
	case pulseEnded:
		return false, false
	case pulseWaiting:
		return true, false
	}
	return moved, !moved
}

// heart beats for all loops of a Serve with one timer: each wake-up of an idle agent costs a tenth of a millisecond. It beats
// while at least one loop runs and none hangs. What it does each minute besides is
// reportCounts, and to close upstream connections that nobody uses.
func (s *Server) heart(v *service, done <-chan struct{}) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	reported := time.Now()
	for {
		select {
		case <-done:
			s.reportCounts()
			return
		case now := <-t.C:
			if v.alive() && !s.draining.Load() {
				s.o.Accepting()
			}
			if now.Sub(reported) >= reportEvery {
				reported = now
				s.reportCounts()
				s.pool.reap(now)
			}
		}
	}
}

func alive(pulses []*pulse) bool {
	some := false
	for _, p := range pulses {
		runs, hangs := p.look()
		if hangs {
			return false
		}
		some = some || runs
	}
	return some
}
