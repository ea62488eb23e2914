// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of the pool.
const (
	poolEach = 1_024 // connections of one place
	poolAll  = 4_096 // of all together
)

// maxIdle is how long an unused upstream connection is kept: longer, and middle boxes have forgotten it.
const maxIdle = 90 * time.Second

// pool holds upstream connections between exchanges. One is used again only for the same place and the same credential.
// What is in the pool belongs to the pool.
type pool struct {
	mu     sync.Mutex
	m      map[place][]pooled
	n      int
	closed bool
}

// place is whose connection it is and where it leads: two principals never share one, nor do two namespaces, in which an
// address may mean different machines. conf stands for the name, its roots and the protocol: other roots, another conf.
type place struct {
	netns     uint64
	dest      netip.AddrPort
	host      string
	conf      *tls.Config
	principal string
}

type pooled struct {
	up         *upstream
	credential string // fingerprint of the last one, and the name of the one that was applied
}

// has tells whether somebody might be served without a dial.
func (p *pool) has(at place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.m[at]) > 0
}

// take returns a connection, the one used last, or nil. It may have died: ask fresh.
func (p *pool) take(at place, credential string) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	have := p.m[at]
	for i := len(have) - 1; i >= 0; i-- {
		if have[i].credential == credential {
			up := have[i].up
			p.set(at, slices.Delete(have, i, i+1))
			p.n--
			return up
		}
	}
	return nil
}

// put takes a connection that no exchange uses and that no buffer belongs to; false if there is no room.
func (p *pool) put(at place, credential string, up *upstream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	have := p.m[at]
	if p.closed || p.n >= poolAll || len(have) >= poolEach {
		return false
	}
	if p.m == nil {
		p.m = map[place][]pooled{}
	}
	p.m[at] = append(have, pooled{up, credential})
	p.n++
	return true
}

func (p *pool) set(at place, left []pooled) {
	if len(left) == 0 {
		delete(p.m, at)
		return
	}
	p.m[at] = left
}

// reap closes what was not used for maxIdle.
func (p *pool) reap(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, have := range p.m {
		left := slices.DeleteFunc(have, func(e pooled) bool {
			old := now.Sub(e.up.idle) > maxIdle
			if old {
				_ = e.up.tcp.Close()
				p.n--
			}
			return old
		})
		p.set(at, left)
	}
}

// forget closes what is there of a network namespace.
func (p *pool) forget(netns uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, have := range p.m {
		if at.netns == netns {
			for _, e := range have {
				_ = e.up.tcp.Close()
			}
			p.n -= len(have)
			delete(p.m, at)
		}
	}
}

// close closes what is there; the pool takes nothing any more.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, have := range p.m {
		for _, e := range have {
			_ = e.up.tcp.Close()
		}
	}
	p.m, p.n, p.closed = nil, 0, true
}
