// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"testing"

	"github.com/sallyport-dev/sallyport/agent/admin"
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

// Who asks from inside a service is nobody in particular, whatever login it has written for itself: then two have to approve.
func TestRequesting(t *testing.T) {
	ada := admin.Person{Peer: admin.Peer{UID: 1000}, ID: 1000, Login: true, User: "ada", Inside: true}
	session := &pipeline.Meta{Workload: pipeline.Workload{Unit: "session-1.scope", Cgroup: "/user.slice/user-1000.slice/session-1.scope"}}
	service := &pipeline.Meta{Workload: pipeline.Workload{UID: 1000, Unit: "app.service", Cgroup: "/system.slice/app.service"}}
	if p := requesting(ada, session); p.User != "ada" || p.UID != 1000 {
		t.Errorf("in a session: %+v", p)
	}
	if p := requesting(ada, service); p.User != "" || p.UID != pipeline.NoUID {
		t.Errorf("in a service: %+v", p)
	}
	if ada.Inside = false; requesting(ada, nil).User != "ada" {
		t.Error("outside")
	}
}
