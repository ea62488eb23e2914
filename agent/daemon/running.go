// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
)

// runningTime bounds how long the start waits for trust of programs that run already.
const runningTime = 5 * time.Second

// running gives trust to programs of scopes that open TLS and that run already, marked or not: whoever reads its store
// only when it calls a model for the first time reads it with our root. It returns when that is done, so that no such call is answered before
// it could be trusted; what takes longer than runningTime goes on, and ends with ctx.
func (m *marker) running(ctx context.Context) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	var found []agent.Mark
	for _, e := range entries {
		pid, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		w, err := m.d.ident.Look(uint32(pid))
		if err != nil || m.d.enrol.Mode(&w, false) < agent.ModeObserve {
			continue // it has ended, or no scope names it; what is marked comes by its mark
		}
		found = append(found, agent.Mark{Kind: agent.MarkStarted, Proc: agent.Process{TGID: w.PID, Start: w.Start, UID: w.UID, LoginUID: w.LoginUID, Comm: w.Comm}})
	}
	done := make(chan struct{})
	m.more.Go(func() {
		defer close(done)
		g := new(errgroup.Group) // its parts say for themselves what they cannot do
		g.SetLimit(16)
		for _, k := range found {
			g.Go(func() error {
				m.apply(ctx, k)
				m.d.inspect(ctx, k.Proc)
				return nil
			})
		}
		_ = g.Wait()
	})
	select {
	case <-done:
	case <-ctx.Done():
	case <-time.After(runningTime):
		m.d.Log.Warn("programs that run already are still being given trust", telemetry.KeyCount, len(found))
	}
	return nil
}
