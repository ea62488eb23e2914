// SPDX-License-Identifier: Apache-2.0

package session

import (
	"container/list"
	"hash/maphash"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// leans is for how long an exchange may say that earlier ones of its session hold what it repeats. After it one is whole again, so that
// copies which are kept for a time go away together, but for so much.
const leans = 24 * time.Hour

// sum of what was recorded. Its seeds are of this process alone, and nobody outside can try texts for one that has the same.
type sum [2]uint64

// kept is what an exchange was recorded with.
type kept struct {
	exchange string
	session  string
	who      mark // whose it is: what is erased of one must not be what another's leans on
	messages int
	said     sum // of all messages
	frame    sum // of instructions and tools
	framed   bool
	whole    time.Time // when the exchange was that holds the oldest of it
}

// records knows what the last exchanges were recorded with.
type records struct {
	seeds [2]maphash.Seed
	of    map[string]*list.Element // by exchange; of *kept
	order *list.List               // the oldest first
	max   int
}

func newRecords(n int) records {
	return records{[2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, map[string]*list.Element{}, list.New(), max(1, n)}
}

// add takes all of a step that a record has, behind what was added before.
func (r *records) add(to sum, s *pipeline.Step) sum {
	for i, seed := range r.seeds {
		to[i] = maphash.Comparable(seed, [...]uint64{to[i], maphash.String(seed, s.Kind), maphash.String(seed, s.Name), maphash.String(seed, s.ID), uint64(s.Index),
			maphash.String(seed, s.Text), maphash.Bytes(seed, s.Args)})
	}
	return to
}

// Recorded tells what steps an exchange is recorded with: masked, as they are kept. It gives how many of its messages, from the first, the
// record of its parent has word for word, which are all of the parent's or none; and whether that has its instructions and tools. Of an
// exchange that was recorded before this process began nothing is known, and nothing of one whose session was erased. Without steps it was
// not recorded after all.
func (s *Sessions) Recorded(m *pipeline.Meta, steps []pipeline.Step) (repeats int, sameFrame bool) {
	if len(steps) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e := s.records.of[m.Exchange]; e != nil {
			s.records.drop(e)
		}
		return 0, false
	}
	now := time.Now()
	k := &kept{exchange: m.Exchange, session: m.Session, who: s.who(&m.Principal, &m.Workload), whole: now}
	for i := range steps {
		if pipeline.InFrame(&steps[i]) {
			k.frame = s.records.add(k.frame, &steps[i])
			k.framed = true
		}
	}
	var shared sum
	for _, st := range pipeline.Messages(steps) {
		k.said = s.records.add(k.said, st)
		if k.messages++; k.messages == m.Shared {
			shared = k.said
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.records.of[m.Parent]; e != nil {
		p := e.Value.(*kept)
		if p.session == k.session && p.who == k.who && now.Sub(p.whole) < leans {
			if m.Shared > 0 && m.Shared <= k.messages && m.Shared == p.messages && shared == p.said {
				repeats = m.Shared
			}
			sameFrame = k.framed && p.framed && k.frame == p.frame
			if repeats > 0 || sameFrame {
				k.whole = p.whole
			}
		}
	}
	s.records.put(k)
	return repeats, sameFrame
}

func (r *records) put(k *kept) {
	if e := r.of[k.exchange]; e != nil {
		r.order.Remove(e)
	}
	r.of[k.exchange] = r.order.PushBack(k)
	for r.order.Len() > r.max {
		r.drop(r.order.Front())
	}
}

func (r *records) drop(e *list.Element) {
	delete(r.of, e.Value.(*kept).exchange)
	r.order.Remove(e)
}

// Forget makes that no later exchange leans on what these sessions said so far: it is, or is about to be, erased.
func (s *Sessions) Forget(sessions []string) {
	set := make(map[string]bool, len(sessions))
	for _, id := range sessions {
		set[id] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.records.order.Front(); e != nil; {
		next := e.Next()
		if set[e.Value.(*kept).session] {
			s.records.drop(e)
		}
		e = next
	}
}
