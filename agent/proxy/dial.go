// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// open dials the provider and opens the TLS. offer is what it may choose from. The connection ends with c, until it is
// let go.
func (c *conn) open(ctx context.Context, offer string) (*upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, c.s.o.DialTimeout)
	defer cancel()
	raw, dest, err := c.dialAny(ctx)
	if err != nil {
		return nil, failure(ctx, FailDial, err)
	}
	u := &upstream{tcp: &counted{Conn: raw}}
	u.nc = u.tcp
	if !c.route.Plain {
		if u.conf, err = c.config(offer); err != nil {
			_ = raw.Close()
			return nil, &UpstreamError{FailVerify, err}
		}
		tc := tls.Client(u.tcp, u.conf)
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			var bad *tls.CertificateVerificationError
			kind := FailTLS
			if errors.As(err, &bad) {
				kind = FailVerify
			}
			return nil, failure(ctx, kind, err)
		}
		u.nc = tc
		c.s.learned.add(c.netns, c.host(), dest)
		if c.s.o.Addresses != nil {
			c.s.o.Addresses.Verified(c.netns, c.host(), dest.Addr())
		}
	}
	u.idle = time.Now()
	u.bind(c)
	return u, nil
}

// config is the TLS configuration toward this connection's provider.
func (c *conn) config(offer string) (*tls.Config, error) {
	c.digest.Do(func() {
		if len(c.route.UpstreamCA) > 0 {
			c.ca = sha256.Sum256(c.route.UpstreamCA)
		}
	})
	return c.s.up.config(upstreamKey{c.host(), offer, c.ca}, c.route.UpstreamCA, c.s.o.Roots)
}

// otherAfter is how long the address that the application chose is tried alone. RFC 8305 section 8 has 250 ms, for two
// families of equal standing; here the other addresses are a resort.
const otherAfter = 2 * time.Second

// dialAny dials the original destination. If that fails, or takes long, other addresses at which the same name was
// verified lately, or that programs were given for it, are tried as well, one after the other: whoever answers there must
// prove the name. Without TLS nothing is proven, and only the original destination will do.
func (c *conn) dialAny(ctx context.Context) (net.Conn, netip.AddrPort, error) {
	if c.route.Plain {
		raw, err := c.s.o.Dial(ctx, c.rec)
		return raw, c.rec.Orig, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		raw  net.Conn
		dest netip.AddrPort
		err  error
	}
	results := make(chan result)
	var dials sync.WaitGroup
	start := func(dest netip.AddrPort) {
		rec := c.rec
		rec.Orig = dest
		dials.Go(func() {
			raw, err := c.s.o.Dial(ctx, rec)
			select {
			case results <- result{raw, dest, err}:
			case <-ctx.Done(): // somebody else won, or nobody in time
				if raw != nil {
					_ = raw.Close()
				}
			}
		})
	}
	defer dials.Wait()
	defer cancel()
	patience := time.NewTimer(otherAfter)
	defer patience.Stop()
	start(c.rec.Orig)
	var failed error // that of the original destination, which says most
	var others []netip.AddrPort
	looked := false
	pending := true // it has not failed yet
	for running := 1; ; {
		select {
		case r := <-results:
			if r.err == nil {
				return r.raw, r.dest, nil
			}
			running--
			if r.dest == c.rec.Orig {
				pending = false
			}
			if failed == nil || r.dest == c.rec.Orig {
				failed = r.err
			}
			patience.Reset(0)
		case <-patience.C:
			if !looked {
				looked, others = true, c.others()
			}
			if len(others) > 0 {
				start(others[0])
				others = others[1:]
				running++
				patience.Reset(otherAfter)
			} else if running == 0 {
				return nil, netip.AddrPort{}, failed
			}
		case <-ctx.Done():
			if pending {
				failed = ctx.Err()
			}
			return nil, netip.AddrPort{}, failed
		}
	}
}

// others are the addresses that may stand in for the one that the application chose.
func (c *conn) others() []netip.AddrPort {
	out := c.s.learned.others(c.netns, c.host(), c.rec.Orig)
	if c.s.o.Addresses == nil {
		return out
	}
	for _, a := range c.s.o.Addresses.Addresses(c.netns, c.host()) {
		to := netip.AddrPortFrom(a, c.rec.Orig.Port())
		if len(out) < learnedEach && to != c.rec.Orig && local(a) == local(c.rec.Orig.Addr()) && !slices.Contains(out, to) {
			out = append(out, to)
		}
	}
	return out
}

// Bounds of what is learned.
const (
	learnedFor   = 10 * time.Minute
	learnedEach  = 8    // addresses of one name
	learnedNames = 1024 // names, those of all network namespaces together
)

// learned remembers at which addresses a provider's name was verified. It is how a dead address is got round, and how a
// connection that hides its name at a provider's address is recognised.
type learned struct {
	mu sync.Mutex
	m  map[learnedKey]map[netip.AddrPort]time.Time
}

type learnedKey struct {
	netns uint64
	host  string
}

// add notes that the name was verified at dest just now.
func (l *learned) add(netns uint64, host string, dest netip.AddrPort) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	key := learnedKey{netns, host}
	at := l.m[key]
	if at == nil {
		if len(l.m) >= learnedNames {
			l.forget(now)
		}
		if len(l.m) >= learnedNames {
			return
		}
		if l.m == nil {
			l.m = map[learnedKey]map[netip.AddrPort]time.Time{}
		}
		at = map[netip.AddrPort]time.Time{}
		l.m[key] = at
	}
	at[dest] = now
	if len(at) > learnedEach {
		oldest := dest
		for a, t := range at {
			if t.Before(at[oldest]) {
				oldest = a
			}
		}
		delete(at, oldest)
	}
}

// leave drops what was learned in a network namespace.
func (l *learned) leave(netns uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.m {
		if key.netns == netns {
			delete(l.m, key)
		}
	}
}

// forget drops what is too old.
func (l *learned) forget(now time.Time) {
	for key, at := range l.m {
		for a, t := range at {
			if now.Sub(t) > learnedFor {
				delete(at, a)
			}
		}
		if len(at) == 0 {
			delete(l.m, key)
		}
	}
}

// others returns the addresses of a name but one. A loopback or link-local address means the same in no two places, so
// it stands in for nothing else, and nothing else for it.
func (l *learned) others(netns uint64, host string, but netip.AddrPort) []netip.AddrPort {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []netip.AddrPort
	for a, t := range l.m[learnedKey{netns, host}] {
		if a != but && now.Sub(t) <= learnedFor && local(a.Addr()) == local(but.Addr()) {
			out = append(out, a)
		}
	}
	return out
}

func local(a netip.Addr) bool { return a.IsLoopback() || a.IsLinkLocalUnicast() }

// at tells whether a name of a provider was verified at this address lately.
func (l *learned) at(netns uint64, dest netip.AddrPort) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, at := range l.m {
		if t, ok := at[dest]; ok && key.netns == netns && now.Sub(t) <= learnedFor {
			return true
		}
	}
	return false
}
