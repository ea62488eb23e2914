// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func assign(s *Sessions, pid uint32, start uint64) string {
	m := &pipeline.Meta{Workload: pipeline.Workload{PID: pid, Start: start}}
	s.Assign(m, &pipeline.Call{})
	return m.Session
}

func TestAssign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		first := assign(s, 7, 100)
		if raw, ok := strings.CutPrefix(first, "ses_"); !ok || uuid.MustParse(raw).Version() != 7 {
			t.Fatalf("ID %q", first)
		}
		steps := []struct {
			name       string
			wait       time.Duration
			pid        uint32
			start      uint64
			same, open int
		}{
			{"same process at once", 0, 7, 100, 1, 1},
			{"same process just in time", 30*time.Minute - 1, 7, 100, 1, 1},
			{"same pid, later process", 0, 7, 200, 0, 2},
			{"other process", 0, 8, 100, 0, 3},
			{"after half an hour", 30 * time.Minute, 7, 100, 0, 1},
		}
		for _, st := range steps {
			time.Sleep(st.wait)
			got := assign(s, st.pid, st.start)
			if (got == first) != (st.same == 1) {
				t.Errorf("%s: %s, the first was %s", st.name, got, first)
			}
			if s.Len() != st.open {
				t.Errorf("%s: %d open, want %d", st.name, s.Len(), st.open)
			}
		}
	})
}

func TestAssignKeepsAndSeparates(t *testing.T) {
	s := New(Options{})
	m := &pipeline.Meta{Session: "ses_given", Workload: pipeline.Workload{PID: 7}}
	if s.Assign(m, nil); m.Session != "ses_given" {
		t.Errorf("session %q", m.Session)
	}
	if a, b := assign(s, 0, 0), assign(s, 0, 0); a == b {
		t.Error("unknown processes share a session")
	}
	if s.Len() != 0 {
		t.Errorf("%d open", s.Len())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := New(Options{Max: 100})
	keep := assign(s, 1, 1)
	for i := range 1000 {
		assign(s, uint32(2+i), 1)
		if assign(s, 1, 1) != keep {
			t.Fatal("the session in use was closed")
		}
	}
	if s.Len() != 100 || len(s.open) != 100 {
		t.Errorf("%d open, want 100", s.Len())
	}
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		now := time.Now()
		s.Resume(Process{1, 10}, "ses_old", now.Add(-time.Hour))
		s.Resume(Process{2, 10}, "ses_recent", now.Add(-20*time.Minute))
		s.Resume(Process{2, 10}, "ses_second", now)
		s.Resume(Process{0, 0}, "ses_unknown", now)
		s.Resume(Process{3, 10}, "ses_three", now.Add(-time.Minute))
		if got := assign(s, 1, 10); got == "ses_old" {
			t.Error("an idle session was continued")
		}
		time.Sleep(5 * time.Minute)
		if got := assign(s, 2, 10); got != "ses_recent" {
			t.Errorf("got %s", got)
		}
		if got := assign(s, 2, 11); got == "ses_recent" {
			t.Error("another process continues the session")
		}
		time.Sleep(25 * time.Minute)
		if got := assign(s, 3, 10); got == "ses_three" {
			t.Error("restarting extended the idle time")
		}
	})
}

func TestConcurrentAssign(t *testing.T) {
	s := New(Options{})
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				id := assign(s, uint32(1+i%10), 1)
				mu.Lock()
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 10 {
		t.Errorf("%d sessions, want 10", len(seen))
	}
}

func BenchmarkAssign(b *testing.B) {
	s := New(Options{})
	m := pipeline.Meta{Workload: pipeline.Workload{PID: 1, Start: 1}}
	for b.Loop() {
		m.Session = ""
		s.Assign(&m, nil)
	}
}
