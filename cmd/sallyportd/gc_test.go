// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestSlack(t *testing.T) {
	for live, want := range map[uint64]uint64{0: 16, 8: 14, 32: 8, 48: 12, 64: 16, 160: 64, 1024: 496} {
		if got := slack(live << 20); got != want<<20 {
			t.Errorf("%d MB alive: %d bytes, want %d MB", live, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		name        string
		live, roots uint64
		want        int
	}{
		{"little alive", 8 << 20, 0, 175},
		{"roots count", 8 << 20, 6 << 20, 100},
		{"a good deal alive", 32 << 20, 0, 25},
		{"a part of what is alive, never of the roots", 96 << 20, 96 << 20, 16},
		{"less alive than is ever collected", 1 << 20, 0, 418},
		{"nothing alive", 0, 0, 400},
		{"roots without end", 1, 1 << 62, 1},
	} {
		if got := percent(c.live, c.roots); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// goal reads how much the heap may grow to, and what was alive after the last collection.
func goal() (goal, live uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

func TestPacer(t *testing.T) {
	old := debug.SetGCPercent(100)
	defer debug.SetGCPercent(old)
	t.Setenv("GOGC", "")
	p := pace()
	defer p.stop()
	for _, size := range []uint64{1 << 20, 128 << 20, 2 << 20} {
		held := make([]byte, size)
		for end := time.Now().Add(30 * time.Second); ; {
			runtime.GC() // what it sets is seen once the finalizer has run
			goal, live := goal()
			want := slack(live)
			if grow := goal - live; live >= size && grow > want*9/10 && grow < want*11/10 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("with %d bytes held: %d are alive, the goal is %d", size, live, goal)
			}
			time.Sleep(time.Millisecond)
		}
		runtime.KeepAlive(held)
	}
}

func TestPacerLeavesGOGC(t *testing.T) {
	old := debug.SetGCPercent(123)
	defer debug.SetGCPercent(old)
	t.Setenv("GOGC", "123")
	defer pace().stop()
	if got := debug.SetGCPercent(123); got != 123 {
		t.Errorf("GOGC is %d although the environment says 123", got)
	}
}
