// SPDX-License-Identifier: Apache-2.0

package procstat

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "77 (a b) c) S 5 77 77 0 -1 4194560 1 2 3 4 250 150 0 0 20 0 4 0 100 1000000 256 18446744073709551615 1"
	s, err := parseStat([]byte(line))
	if err != nil || s.ppid != 5 || s.utime != 2.5 || s.stime != 1.5 || s.rss != 256*int64(os.Getpagesize()) {
		t.Fatalf("%+v %v", s, err)
	}
	if _, err := parseStat([]byte("77 (x")); err == nil {
		t.Fatal("took a broken line")
	}
}

func TestWatchSeesWork(t *testing.T) {
	w, err := NewWatch(os.Getpid(), 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	x := 0
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		for i := range 1000 {
			x += i
		}
	}
	u, peak, err := w.Stop()
	if err != nil || u.CPU() < 0.05 || u.CPU() > 2 || peak <= 0 {
		t.Fatalf("%+v %d %v (%d)", u, peak, err, x)
	}
	if _, err := Tree(1 << 30); err == nil {
		t.Fatal("found a process that cannot exist")
	}
}
