// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Every container may run as one uid: one that has no SPIFFE ID gets a role for itself alone.
func TestSubjectOf(t *testing.T) {
	m := pipeline.Meta{Workload: pipeline.Workload{Container: "a"}}
	if s := subjectOf(&m); s.Workload != "container/a" || *s.UID != 0 {
		t.Errorf("a container without an identity: %+v", s)
	}
	m.Principal.SPIFFEID = "spiffe://example.org/a"
	if s := subjectOf(&m); s.Workload != "" || s.SPIFFEID != m.Principal.SPIFFEID {
		t.Errorf("one with an identity: %+v", s)
	}
}
