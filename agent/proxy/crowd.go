// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"sync"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// errNoRoom is a body that the scope has no memory for. To a handler it is one that is too large.
var errNoRoom = fmt.Errorf("the scope holds as many bytes as proxy.max_memory allows: %w", pipeline.ErrBodyTooLarge)

// small is what an exchange may hold without being counted: what nearly all of them hold.
const small = 64 << 10

// crowd counts the open connections of each scope, and the bytes that are held for it.
type crowd struct {
	mu   sync.Mutex
	n    map[string]int
	held map[string]int64
}

// enter tells whether one more connection fits; then leave must be called at its end.
func (c *crowd) enter(scope string, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[scope] >= limit {
		return false
	}
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[scope]++
	return true
}

func (c *crowd) leave(scope string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[scope]--; c.n[scope] == 0 {
		delete(c.n, scope)
	}
}

// reserve tells whether n bytes more fit; then they must be released.
func (c *crowd) reserve(scope string, n, limit int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[scope]+n > limit {
		return false
	}
	if c.held == nil {
		c.held = map[string]int64{}
	}
	c.held[scope] += n
	return true
}

func (c *crowd) release(scope string, n int64) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[scope] -= n; c.held[scope] == 0 {
		delete(c.held, scope)
	}
}

// hold counts that one direction of an exchange holds n bytes. *held is what is counted for the exchange already: the
// most that it ever held, for buffers that have grown stay.
func (c *conn) hold(held *int64, n int) bool {
	more := int64(n) - *held
	if n <= small || more <= 0 {
		return true
	}
	if !c.s.crowd.reserve(c.route.Scope, more, c.s.o.MaxMemory) {
		return false
	}
	*held += more
	return true
}
