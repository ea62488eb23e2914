// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		name        string
		live, roots uint64
		want        int
	}{
		{"little alive", 8 << 20, 0, 200},
		{"roots count", 4 << 20, 4 << 20, 200},
		{"a good deal alive", 96 << 20, 0, 50},
		{"half of what is alive, never of the roots", 96 << 20, 96 << 20, 25},
		{"less alive than is ever collected", 1 << 20, 0, 425},
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
			want := max(slackBytes, live/2)
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
