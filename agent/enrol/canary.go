// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// wholeShare is a canary that everybody is in: agent.Scope.Canary counts hundredths of a percent.
const wholeShare = 10_000

// maxInstances bounds how many instances of a scope are counted.
const maxInstances = 4096

// effective is a scope as it is for one workload: an enforcing scope with a canary is an observing one for the instances that
// are not in the canary's share. The kernel knows nothing of that: whether connections are refused while no agent is there, and
// whether QUIC is, follows the scope and so holds for all of its instances. Who cannot be told from others is in the share.
func (e *Enrol) effective(scope *agent.Scope, w *pipeline.Workload) *agent.Scope {
	if scope.Mode != agent.ModeEnforce && scope.Mode != agent.ModeObserve {
		return scope
	}
	id := ""
	if w != nil {
		id = instance(w, e.o.Host)
	}
	in := scope.Mode == agent.ModeEnforce
	sum := sha256.Sum256([]byte(scope.Name + "\x00" + id))
	number := binary.BigEndian.Uint64(sum[:8])
	if in && scope.Canary > 0 && id != "" {
		in = number%wholeShare < uint64(scope.Canary) // so that a greater share has all of a smaller one
	}
	if id != "" {
		e.instances.saw(scope.Name, number, in)
	}
	if in || scope.Mode == agent.ModeObserve {
		return scope
	}
	o := *scope
	o.Mode, o.Deny, o.DenyDNS = agent.ModeObserve, false, false
	return &o
}

// instance names what stays the same when a workload starts new processes, and differs between copies of it: its pod, its
// container, or its unit on this host (an instance of a template is a unit of its own). Failing these, the cgroup, unless it
// is one of a login session, which has a new number each time; then the user's executable.
func instance(w *pipeline.Workload, host string) string {
	switch {
	case w.Pod != "":
		return "pod " + w.Pod
	case w.Container != "":
		return "container " + w.Container
	case w.Unit != "" && !strings.HasSuffix(w.Unit, ".scope"):
		return "unit " + host + " " + w.Unit
	case w.Cgroup != "" && w.Cgroup != "/" && !strings.HasSuffix(w.Cgroup, ".scope"):
		return "cgroup " + host + " " + w.Cgroup
	case w.Exe != "":
		return "exe " + host + " " + strconv.FormatUint(uint64(w.UID), 10) + " " + w.Exe
	}
	return ""
}

// instances remembers which instances of a scope made connections, and whether they are enforced.
type instances struct {
	mu sync.Mutex
	of map[string]map[uint64]bool
}

func (i *instances) saw(scope string, number uint64, enforced bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.of == nil {
		i.of = map[string]map[uint64]bool{}
	}
	m := i.of[scope]
	if m == nil {
		m = map[uint64]bool{}
		i.of[scope] = m
	}
	if _, known := m[number]; known || len(m) < maxInstances {
		m[number] = enforced
	}
}

// Instances counts the instances of a scope that connected to anything since the start, at most 4096.
func (e *Enrol) Instances(scope string) (enforced, observed int) {
	e.instances.mu.Lock()
	defer e.instances.mu.Unlock()
	for _, in := range e.instances.of[scope] {
		if in {
			enforced++
		} else {
			observed++
		}
	}
	return enforced, observed
}
