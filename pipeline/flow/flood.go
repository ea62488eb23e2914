// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// So many refused calls of one principal a minute are recorded one by one. Beyond, until the minute is over, its calls are
// refused unread and counted: a refusal costs nothing but our disk, and a local flood of them must not fill that, nor stop
// others by doing so.
const (
	floodEach = 300
	floodFor  = time.Minute
	floodKeys = 4096 // principals; beyond, all others count as one
)

// flood counts refused calls.
type flood struct {
	mu    sync.Mutex
	since time.Time
	m     map[floodKey]*flooder
}

type floodKey struct {
	scope, spiffe, user, place string
	uid                        uint32
}

type flooder struct {
	n     int           // refused one by one
	flow  pipeline.Flow // of the first that was not recorded
	count int64         // not recorded one by one
	told  int64         // of these, in records so far
}

func (f *flood) of(m *pipeline.Meta) *flooder {
	key := floodKey{m.Scope, m.Principal.SPIFFEID, m.Principal.User, placeOf(m), m.Workload.UID}
	k := f.m[key]
	if k == nil && len(f.m) >= floodKeys {
		key = floodKey{}
		k = f.m[key]
	}
	if k == nil {
		if f.m == nil {
			f.m = map[floodKey]*flooder{}
		}
		k = &flooder{}
		f.m[key] = k
	}
	return k
}

// refused notes that a call was refused and recorded.
func (f *flood) refused(m *pipeline.Meta) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(m).n++
}

// enter tells whether a call may be served, and returns what is to be recorded of those that were not. While they come, that is
// after one, two, four, … of them, so that not much is forgotten by whoever is killed.
func (f *flood) enter(m *pipeline.Meta, now time.Time) (ok bool, tell []pipeline.Flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := now.Sub(f.since); d >= floodFor || d < 0 {
		tell = f.rest()
		f.m, f.since = nil, now
	}
	if len(f.m) == 0 {
		return true, tell
	}
	k := f.of(m)
	if k.n < floodEach {
		return true, tell
	}
	if k.count++; k.count == 1 {
		k.flow = pipeline.Flow{Disposition: "refused", Scope: m.Scope, Mode: m.Mode, Workload: m.Workload, Principal: m.Principal,
			Reason: fmt.Sprintf("calls of a principal of which more than %d were refused within a minute", floodEach)}
	}
	if k.count&(k.count-1) == 0 {
		tell = append(tell, k.tell())
	}
	return false, tell
}

// rest returns what is not recorded yet.
func (f *flood) rest() (tell []pipeline.Flow) {
	for _, k := range f.m {
		if k.count > k.told {
			tell = append(tell, k.tell())
		}
	}
	return tell
}

func (k *flooder) tell() pipeline.Flow {
	out := k.flow
	out.ID, out.Count = newID("flw_"), k.count-k.told
	k.told = k.count
	return out
}

// Flush records what is only counted so far. It is for the end: call it when no exchange runs any more.
func (f *Flow) Flush() {
	f.flood.mu.Lock()
	tell := f.flood.rest()
	f.flood.mu.Unlock()
	f.tell(tell)
}

func (f *Flow) tell(flows []pipeline.Flow) {
	for _, fl := range flows {
		f.o.Log.Append(pipeline.Record{Kind: pipeline.KindFlow, Time: f.o.Now(), Body: fl})
	}
}

// drowned refuses a call of somebody who floods us. It is not read, so that the connection ends with it.
func (x *exchange) drowned() error {
	x.tooLarge = true
	return x.respondFailure(&denial{code: codeDenied, verdict: pipeline.Verdict{Action: pipeline.Deny, Stage: "call", Rule: "builtin/flood",
		Reason: fmt.Sprintf("more than %d calls of this principal were refused within a minute; those that follow are refused unread, and only counted, until the minute is over", floodEach)}})
}
