// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

// TestCloseWaits: whoever takes over reads everything that was decided, and a decision that comes too late is refused.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{})
		a := r.wait(bg(), call("1", `{}`))
		a.waits(t)
		id := r.one(approval.Filter{}).ID
		r.log.slow = time.Second
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := r.desk.Decide(bg(), id, alice, yes); first <- err }()
		synctest.Wait() // its record is on its way
		go func() { _, err := r.desk.Decide(bg(), id, bob, no); second <- err }()
		synctest.Wait()
		r.desk.Close()
		if n := r.log.len(); r.log.onDisk != n {
			t.Errorf("closed with %d of %d records on disk", r.log.onDisk, n)
		}
		synctest.Wait()
		if err := <-first; err != nil {
			t.Errorf("decided before: %v", err)
		}
		if err := <-second; err == nil {
			t.Error("decided after")
		}
		a.want(t, pipeline.Hold)
		r.stop()
		r.begin()
		if it := r.one(approval.Filter{}); it.State != pipeline.ApprovalApproved {
			t.Errorf("taken over: %+v", it)
		}
		r.end()
	})
}
