// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
)

// Trusting is a process that wanted to connect to an endpoint, and how its trust stood then.
type Trusting struct {
	Process   agent.Process
	Kind      string
	Host      string // of the endpoint
	State     agent.TrustState
	Why, Mend string
	Last      time.Time
	Conns     uint64 // how often it was asked about
}

// maxSeen bounds the list; those that are gone leave first, then those that were not heard of for longest.
const maxSeen = 4096

type seen struct {
	mu   sync.Mutex
	of   map[process]*Trusting // root left out
	proc string
}

func (s *seen) note(c *agent.Conn, host string, state agent.TrustState, kind, why, mend string) {
	k := process{pid: c.Proc.TGID, start: c.Proc.Start}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.of[k]
	if t == nil {
		if len(s.of) >= maxSeen {
			s.shrink()
		}
		t = &Trusting{Process: c.Proc}
		s.of[k] = t
	}
	if kind != "" {
		t.Kind = kind
	}
	t.Host, t.State, t.Why, t.Mend, t.Last = host, state, why, mend, time.Now()
	t.Conns++
}

// shrink makes room; mu is held.
func (s *seen) shrink() {
	maps.DeleteFunc(s.of, func(k process, _ *Trusting) bool { return !s.lives(k) })
	if len(s.of) < maxSeen {
		return
	}
	keys := slices.SortedFunc(maps.Keys(s.of), func(a, b process) int { return s.of[a].Last.Compare(s.of[b].Last) })
	for _, k := range keys[:maxSeen/4] {
		delete(s.of, k)
	}
}

// lives says whether a process is still there, and no other one of that number.
func (s *seen) lives(k process) bool {
	b, err := os.ReadFile(filepath.Join(s.proc, strconv.FormatUint(uint64(k.pid), 10), "stat"))
	if err != nil {
		return false
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return len(f) > 19 && f[19] == strconv.FormatUint(k.start/10_000_000, 10)
}

// Trusting lists the processes that still run, those without proof first.
func (e *Enrol) Trusting() []Trusting {
	s := &e.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.of, func(k process, _ *Trusting) bool { return !s.lives(k) })
	out := make([]Trusting, 0, len(s.of))
	for _, t := range s.of {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Trusting) int {
		if a.State.Proven() != b.State.Proven() {
			if a.State.Proven() {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.Process.TGID, b.Process.TGID)
	})
	return out
}
