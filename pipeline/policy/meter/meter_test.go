// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var key = Key{"r", 1, "p"}

func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := New(nil), Limit{Requests: 3, Per: time.Minute}
		for range 3 {
			if s := m.Take("", key, l); s.What != "" {
				t.Fatal(s)
			}
			time.Sleep(10 * time.Second)
		}
		s := m.Take("", key, l)
		if s.What != "requests" || s.Limit != 3 || s.Per != time.Minute {
			t.Fatal(s)
		}
		if wait := time.Until(s.Again); wait < 29*time.Second || wait > 33*time.Second {
			t.Errorf("again in %v", wait)
		}
		if s := m.Take("", Key{"r", 1, "other"}, l); s.What != "" {
			t.Error("another principal is refused")
		}
		time.Sleep(time.Until(s.Again) - time.Millisecond)
		if m.Room(key, l).What == "" {
			t.Error("room too early")
		}
		time.Sleep(time.Millisecond)
		if s := m.Take("", key, l); s.What != "" {
			t.Error("no room when promised", s)
		}
		if m.Room(key, l).What == "" {
			t.Error("room for two")
		}
	})
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := New(nil), Limit{Tokens: 100, Per: time.Hour}
		m.Take("e1", key, l)
		m.Spend("e1", 99)
		m.Spend("e1", 99) // counted once
		m.Spend("e0", 99) // not taken
		if s := m.Take("e2", key, l); s.What != "" {
			t.Fatal(s)
		}
		m.Spend("e2", -5)
		m.Take("e3", key, l)
		m.Spend("e3", 1)
		if s := m.Take("e4", key, l); s.What != "tokens" || s.Limit != 100 {
			t.Fatal(s)
		}
		time.Sleep(2 * time.Hour)
		if s := m.Take("e5", key, l); s.What != "" {
			t.Error(s)
		}
	})
}

// TestClockJumps: a wall clock that is set forth does not empty a window, one that is set back does not lock it.
func TestClockJumps(t *testing.T) {
	start := time.Now()
	now := start
	m, l := New(func() time.Time { return now }), Limit{Requests: 1, Per: time.Minute}
	m.Take("", key, l)
	now = start.Add(2 * time.Second) // by the monotonic clock
	if m.Room(key, l).What == "" {
		t.Error("room")
	}
	m = New(func() time.Time { return now.Round(0) }) // a clock without
	m.Restore(key, l, now.Add(time.Hour), 1, 0)
	now = now.Add(62 * time.Second)
	if s := m.Room(key, l); s.What != "" {
		t.Error("what was written by a clock ahead counts for ever", s)
	}
}

func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * time.Hour)
		m, l := New(nil), Limit{Requests: 10, Tokens: 100, Per: time.Hour}
		m.Restore(key, l, time.Now().Add(-50*time.Minute), 5, 60)
		m.Restore(key, l, time.Now().Add(-2*time.Hour), 5, 60)
		if s := m.Room(key, l); s.What != "" {
			t.Error(s)
		}
		m.Restore(key, l, time.Now(), 1, 50)
		if s := m.Room(key, l); s.What != "tokens" || time.Until(s.Again) > 14*time.Minute {
			t.Error(s, time.Until(s.Again))
		}
	})
}

func TestLimitChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(nil)
		for range 5 {
			m.Take("", key, Limit{Requests: 9, Per: time.Minute})
		}
		if s := m.Room(key, Limit{Requests: 5, Per: time.Hour}); s.What != "requests" {
			t.Error(s)
		}
		time.Sleep(30 * time.Minute)
		if s := m.Room(key, Limit{Requests: 5, Per: time.Minute}); s.What != "" {
			t.Error(s)
		}
	})
}

// TestBounded: when all counters are in use, who has none is refused; unused ones go.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := New(nil), Limit{Requests: 1, Per: time.Minute}
		for i := range maxKeys {
			m.Take(fmt.Sprint(i), Key{Principal: fmt.Sprint(i)}, l)
		}
		if s := m.Take("", key, l); s.What != "counters" {
			t.Error(s)
		}
		time.Sleep(2 * time.Minute)
		if s := m.Take("", key, l); s.What != "" {
			t.Error(s)
		}
		for i := range maxOpen + 10 {
			m.Take(fmt.Sprint("x", i), key, Limit{Per: time.Minute})
		}
		if len(m.open) > maxOpen || len(m.keys) > maxKeys {
			t.Error(len(m.open), len(m.keys))
		}
	})
}

// TestTogether: however many ask at once, no more pass than the limit says.
func TestTogether(t *testing.T) {
	m, l := New(nil), Limit{Requests: 50, Per: time.Hour}
	var mu sync.Mutex
	passed := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if m.Take("", key, l).What == "" {
					mu.Lock()
					passed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if passed != 50 {
		t.Errorf("%d passed", passed)
	}
}
