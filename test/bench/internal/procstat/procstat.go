// SPDX-License-Identifier: Apache-2.0

// Package procstat reads CPU time and memory of process trees from /proc.
package procstat

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const ticksPerSecond = 100 // USER_HZ, fixed on Linux for user space

// Usage is what one process tree used.
type Usage struct {
	User   float64 `json:"user_s"`
	System float64 `json:"system_s"`
	RSS    int64   `json:"rss_bytes"`
	Procs  int     `json:"procs"`
}

// CPU is user plus system seconds.
func (u Usage) CPU() float64 { return u.User + u.System }

type stat struct {
	ppid         int
	utime, stime float64
	rss          int64
}

// parseStat reads one /proc/PID/stat line; the name may hold spaces and ')'.
func parseStat(b []byte) (s stat, err error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return s, fmt.Errorf("no name in %q", b)
	}
	f := strings.Fields(string(b[i+1:]))
	if len(f) < 22 {
		return s, fmt.Errorf("short stat line %q", b)
	}
	s.ppid, _ = strconv.Atoi(f[1])
	ut, _ := strconv.ParseFloat(f[11], 64)
	st, _ := strconv.ParseFloat(f[12], 64)
	pages, _ := strconv.ParseInt(f[21], 10, 64)
	return stat{s.ppid, ut / ticksPerSecond, st / ticksPerSecond, pages * int64(os.Getpagesize())}, nil
}

// Tree sums a process and all its living descendants.
func Tree(root int) (Usage, error) {
	var u Usage
	err := walk(root, func(_ int, s stat) error {
		u.User += s.utime
		u.System += s.stime
		u.RSS += s.rss
		u.Procs++
		return nil
	})
	return u, err
}

// Memory is what one process tree has in memory, in bytes.
type Memory struct {
	RSS  int64 `json:"rss_bytes"`  // all of it, pages of files and shared ones too
	Anon int64 `json:"anon_bytes"` // that nobody else has: heap and stacks
}

// MemoryOf reads the memory of a process and all its living descendants.
func MemoryOf(root int) (Memory, error) {
	var m Memory
	err := walk(root, func(pid int, _ stat) error {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return err
		}
		m.RSS += field(b, "VmRSS:")
		m.Anon += field(b, "RssAnon:")
		return nil
	})
	return m, err
}

// field is one line of /proc/PID/status, in bytes; 0 if there is none (a process that ended).
func field(status []byte, name string) int64 {
	for l := range strings.Lines(string(status)) {
		if f := strings.Fields(l); len(f) >= 2 && f[0] == name {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// walk calls f for a process and all its living descendants.
func walk(root int, f func(pid int, s stat) error) error {
	all := map[int]stat{}
	kids := map[int][]int{}
	d, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range d {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		if s, err := parseStat(b); err == nil {
			all[pid] = s
			kids[s.ppid] = append(kids[s.ppid], pid)
		}
	}
	if _, ok := all[root]; !ok {
		return fmt.Errorf("no process %d", root)
	}
	for q := []int{root}; len(q) > 0; q = q[1:] {
		if err := f(q[0], all[q[0]]); err != nil {
			return err
		}
		q = append(q, kids[q[0]]...)
	}
	return nil
}

// Watch follows one tree from New to Stop and keeps its RSS peak.
type Watch struct {
	Pid   int
	Start Usage
	mu    sync.Mutex
	peak  int64
	quit  chan struct{}
	wg    sync.WaitGroup
}

// NewWatch takes the first reading and samples memory every interval.
func NewWatch(pid int, every time.Duration) (*Watch, error) {
	u, err := Tree(pid)
	if err != nil {
		return nil, err
	}
	w := &Watch{Pid: pid, Start: u, peak: u.RSS, quit: make(chan struct{})}
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-w.quit:
				return
			case <-t.C:
				if u, err := Tree(pid); err == nil {
					w.mu.Lock()
					w.peak = max(w.peak, u.RSS)
					w.mu.Unlock()
				}
			}
		}
	}()
	return w, nil
}

// Reset makes now the start of the CPU reading (after a warm-up); the memory
// baseline of NewWatch stays.
func (w *Watch) Reset() {
	if u, err := Tree(w.Pid); err == nil {
		w.Start.User, w.Start.System = u.User, u.System
	}
}

// Stop gives the CPU seconds since the start and the RSS peak.
func (w *Watch) Stop() (cpu Usage, peak int64, err error) {
	close(w.quit)
	w.wg.Wait()
	u, err := Tree(w.Pid)
	if err != nil {
		return u, w.peak, err
	}
	peak = max(w.peak, u.RSS)
	u.User -= w.Start.User
	u.System -= w.Start.System
	return u, peak, nil
}
