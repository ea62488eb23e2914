// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/policy"
)

// budgets counts what exchanges used: policy.Engine.
type budgets interface {
	Set() *policy.Set
	Restore(in *pipeline.Intent, at time.Time, out *pipeline.Outcome)
}

// restoreBudgets does so once, when nobody else answers exchanges any more.
func (d *daemon) restoreBudgets() error {
	if d.pred != nil && !d.took {
		return nil
	}
	return restoreBudgets(d.policy, d.index, time.Now())
}

// restoreBudgets tells the policy what exchanges before this start used within the windows of its limits, so that a restart
// gives nobody a second budget. It reads what the index knows: of the newest exchanges.
func restoreBudgets(b budgets, x *journal.Index, now time.Time) error {
	window := b.Set().LongestWindow()
	if window == 0 {
		return nil
	}
	if err := x.Since(now.Add(-window), func(p *journal.Parts) {
		if p.Intent.Call.Operation != "" {
			b.Restore(p.Intent, p.Time, p.Outcome)
		}
	}); err != nil {
		return fmt.Errorf("reading what earlier exchanges used of their limits: %w", err)
	}
	return nil
}
