// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/session"
)

// openJournal opens the record, and learns from it which sessions go on.
func (d *daemon) openJournal(ctx context.Context) (err error) {
	if !d.cfg.Record.Required {
		return &UsageError{errors.New("record.required: false is not supported yet: leave it out")}
	}
	key, err := d.fingerprintKey()
	if err != nil {
		return err
	}
	d.sessions = session.New(session.Options{Key: key})
	d.index = journal.NewIndex(0)
	d.index.Watch(d.sessions.Observe)
	if d.journal, err = journal.Open(d.journalOptions()); err != nil {
		return err
	}
	n, err := d.journal.CloseOpen(ctx)
	if err != nil {
		return fmt.Errorf("closing exchanges that the last run left open: %w", err)
	}
	if n > 0 {
		d.Log.Warn("exchanges were cut by the end of the last run", telemetry.KeyCount, n)
	}
	return errors.Join(d.restoreBudgets(), d.policy.begin(ctx, d.append))
}
