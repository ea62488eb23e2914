// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// selfTestReason is the reason with which the self-test's own connections are refused.
const selfTestReason = "self-test"

// retryTest is how soon a self-test that failed is repeated.
const retryTest = 5 * time.Second

// failuresNotReady is how many self-tests fail in a row before the daemon is not ready any more. One may be a busy host.
const failuresNotReady = 2

// health is what is wrong while the daemon runs, for the log, the record and status.
type health struct {
	mu    sync.Mutex
	test  adminapi.SelfTest
	vital []string // see enrol.Spare
}

// tested notes a result and returns how many failed in a row, before it and with it.
func (h *health) tested(err error) (before, after int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before = h.test.Failures
	h.test.Last = time.Now()
	if err == nil {
		h.test.Failures, h.test.Reason, h.test.Passed = 0, "", h.test.Last
		return before, 0
	}
	h.test.Failures, h.test.Reason = before+1, err.Error()
	return before, before + 1
}

// tell puts it into a status.
func (h *health) tell(s *adminapi.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.SelfTest = h.test
	if n := h.test.Failures; n > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the self-test failed %d times in a row: %s", n, h.test.Reason))
		s.Ready = s.Ready && n < failuresNotReady
	}
	s.Warnings = append(s.Warnings, h.vital...)
}

// keepTesting repeats the self-test. When it fails, programs that somebody detached are attached again, and it is repeated
// soon; from the second failure on the daemon is not ready. Nothing else is cut: a scope that enforces is refused by the
// kernel wherever it does not find the way, and what does arrive at the proxy is as well guarded as ever.
func (d *daemon) keepTesting(ctx context.Context) error {
	timer := time.NewTimer(d.cfg.Capture.SelfTest)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		err := d.selftest.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		next := d.cfg.Capture.SelfTest
		switch before, after := d.health.tested(err); {
		case err != nil:
			next = min(next, retryTest)
			d.testFailed(ctx, err, after)
		case before > 0:
			d.Log.Info("the self-test passes again", telemetry.KeyCount, before)
			d.gap(ctx, fmt.Sprintf("the self-test passes again after %d failures", before), int64(before))
			d.tell("STATUS=ready")
		}
		timer.Reset(next)
	}
}

func (d *daemon) testFailed(ctx context.Context, err error, failures int) {
	d.Log.Error("the self-test failed: connections may not be seen", telemetry.KeyCount, failures, telemetry.KeyError, err)
	if failures <= failuresNotReady { // the record says when it began and when it ended, not each of a long night
		d.gap(ctx, "the self-test failed, connections may not have been seen since the last one: "+err.Error(), int64(failures))
	}
	d.tell("STATUS=self-test failed: " + strings.Join(strings.Fields(err.Error()), " "))
	if err := d.kernel.Attach(); err != nil {
		d.Log.Error("attaching the programs again", telemetry.KeyError, err)
	}
}

// gap records a time in which not everything may have been seen.
func (d *daemon) gap(ctx context.Context, reason string, count int64) {
	if err := d.append(ctx, pipeline.Record{Kind: pipeline.KindGap, Time: time.Now(), Body: &pipeline.Gap{Reason: reason, Count: count}}); err != nil {
		d.Log.Error("a gap is not on record", telemetry.KeyError, err)
	}
}

// lookForVital has enrol look whether a scope has come to match what the host cannot do without; what is new is logged.
func (d *daemon) lookForVital() {
	alerts, err := d.enrol.Spare()
	if err != nil {
		d.Log.Error("looking for what the host cannot do without", telemetry.KeyError, err)
		return
	}
	d.health.mu.Lock()
	before := d.health.vital
	d.health.vital = alerts
	d.health.mu.Unlock()
	for _, a := range alerts {
		if !slices.Contains(before, a) {
			d.Log.Error("a scope matches too much", telemetry.KeyError, a)
		}
	}
}
