// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"testing"
	"testing/synctest"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

// Who is not known takes no more than its own share: neither of all that are not known, nor of all that have its uid.
func TestShareOfUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pipeline.ApprovalSettings{}, func(o *approval.Options) { o.MaxEach = 1 })
		defer r.end()
		ask := func(role, container string) error {
			uid := uint32(0)
			w := pipeline.Workload{PID: 7, Container: container}
			_, err := r.desk.Elevate(bg(), approval.Ask{Role: role, For: 1, Reason: "r", By: pipeline.Person{UID: pipeline.NoUID}, Workload: w,
				Subject: pipeline.ElevationSubject{UID: &uid, Workload: w.Place()}})
			return err
		}
		if err := ask("a", "one"); err != nil {
			t.Fatal(err)
		}
		if ask("b", "one") == nil {
			t.Error("a workload has more than its share")
		}
		if err := ask("b", "two"); err != nil {
			t.Errorf("another has none left: %v", err)
		}
	})
}
