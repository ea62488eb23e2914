// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"sync"
	"time"
)

// Of each stage, so many failures a minute are logged one by one, and the rest is counted: a local flood must not fill the log,
// nor hide what else is in it.
const (
	noticesEach = 20
	noticesFor  = time.Minute
)

// notices counts failures by stage. Stages are our own words, so there are few.
type notices struct {
	mu    sync.Mutex
	since time.Time
	n     map[string]int
}

// admit tells whether a failure is logged.
func (c *notices) admit(stage string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n, c.since = map[string]int{}, now
	}
	c.n[stage]++
	return c.n[stage] <= noticesEach
}

// rest returns how many were not logged, by stage, once the minute is over or at the end.
func (c *notices) rest(now time.Time, end bool) map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil || now.Sub(c.since) < noticesFor && !end {
		return nil
	}
	out := map[string]int{}
	for stage, n := range c.n {
		if n > noticesEach {
			out[stage] = n - noticesEach
		}
	}
	c.n = nil
	return out
}
