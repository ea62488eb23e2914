// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// What one user may have recorded connection by connection in a minute. What is beyond is counted, and recorded once: a
// local flood must not fill the disk, nor crowd out the records of others.
const (
	tallyEach = 300  // of one kind: scope, user, disposition
	tallyKeys = 1024 // kinds; beyond, users and scopes are put together
)

// tally counts the records of connections.
type tally struct {
	mu sync.Mutex
	m  map[tallyKey]*tallied
}

type tallyKey struct {
	scope, disposition string
	uid                uint32
	others             bool
}

type tallied struct {
	n     int           // recorded one by one
	count int64         // not recorded
	first pipeline.Flow // of these
	up    int64
	down  int64
}

// admit tells whether a connection gets a record of its own. If not, it is counted.
func (t *tally) admit(f *pipeline.Flow) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := tallyKey{scope: f.Scope, disposition: f.Disposition, uid: f.Workload.UID}
	k := t.m[key]
	if k == nil && len(t.m) >= tallyKeys {
		key = tallyKey{disposition: f.Disposition, others: true}
		k = t.m[key]
	}
	if k == nil {
		if t.m == nil {
			t.m = map[tallyKey]*tallied{}
		}
		k = &tallied{}
		t.m[key] = k
	}
	if k.n < tallyEach {
		k.n++
		return true
	}
	if k.count == 0 {
		k.first = *f
		if key.others {
			k.first.Scope, k.first.Workload, k.first.Principal = "", pipeline.Workload{}, pipeline.Principal{}
		}
	}
	k.count++
	k.up += f.BytesUp
	k.down += f.BytesDown
	return false
}

// take ends the minute and returns a record for each kind of which something was not recorded.
func (t *tally) take() []pipeline.Flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []pipeline.Flow
	for _, k := range t.m {
		if k.count == 0 {
			continue
		}
		f := k.first
		f.ID, f.Count, f.BytesUp, f.BytesDown = newFlowID(), k.count, k.up, k.down
		f.SNI, f.Dest = "", "" // of the first only
		f.Reason = fmt.Sprintf("more than %d connections of this kind within a minute; the first of the rest: %s", tallyEach, k.first.Reason)
		out = append(out, f)
	}
	t.m = nil
	return out
}

// ledger records a connection, or counts it.
func (s *Server) ledger(f pipeline.Flow) {
	if s.tally.admit(&f) {
		s.o.Ledger.Flow(pipeline.Record{Kind: pipeline.KindFlow, Time: time.Now(), Body: f})
	}
}

// reportCounts records what was not recorded one by one.
func (s *Server) reportCounts() {
	flows := s.tally.take()
	for netns, n := range s.misses.take() {
		flows = append(flows, pipeline.Flow{ID: newFlowID(), Disposition: "missed", Count: n,
			Reason: fmt.Sprintf("no program of ours redirected it (network namespace %d)", netns)})
	}
	for _, f := range flows {
		s.o.Ledger.Flow(pipeline.Record{Kind: pipeline.KindFlow, Time: time.Now(), Body: f})
	}
}
