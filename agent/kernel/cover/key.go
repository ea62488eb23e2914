// SPDX-License-Identifier: Apache-2.0

package cover

import (
	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// The slots of the two scopes that are no rows (bpf/include/types.h).
const (
	slotDefault = agent.MaxScopes
	slotPending = agent.MaxScopes + 1
)

func workloadOf(k *bpf.CoverCoverKey) Workload {
	w := Workload{k.Cgroup, k.Slot}
	switch k.Slot {
	case slotDefault:
		w.Scope = agent.ScopeDefault
	case slotPending:
		w.Scope = agent.ScopePending
	}
	return w
}

func keyOf(w Workload) bpf.CoverCoverKey {
	k := bpf.CoverCoverKey{Cgroup: w.Cgroup, Slot: w.Scope}
	switch w.Scope {
	case agent.ScopeDefault:
		k.Slot = slotDefault
	case agent.ScopePending:
		k.Slot = slotPending
	}
	return k
}
