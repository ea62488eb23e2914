// SPDX-License-Identifier: Apache-2.0

package leaf

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/tlsca"
)

// Signer signs leaves (tlsca/authority).
type Signer interface {
	// Permits says whether a certificate for host can be signed at all. It is called for every connection.
	Permits(host string) bool
	// Sign returns the leaf for csr's key and the one name host, then its intermediates.
	Sign(ctx context.Context, host string, csr *x509.CertificateRequest) ([]*x509.Certificate, error)
}

// Options configure a cache.
type Options struct {
	Signer Signer
	Max    int           // certificates kept; default 1024
	Limit  time.Duration // how long one signature may take; default 10 s
	Now    func() time.Time
}

// retry is how long a certificate that could not be renewed is used before it is tried again.
const retry = time.Minute

// Cache hands out leaves. It is safe for concurrent use and starts no goroutine that outlives a signature; Close waits.
type Cache struct {
	opts Options
	key  *ecdsa.PrivateKey // of all leaves: it lives in this process only, and as long as they do
	csr  *x509.CertificateRequest

	ctx    context.Context // of signatures, ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	entries map[string]*entry
	tick    uint64
}

// entry is the certificate of one host, and the signature under way if there is one.
type entry struct {
	cert  *tls.Certificate // nil before the first signature
	renew time.Time        // when to ask for the next, by the clock on the wall, as certificates go
	rest  time.Time        // not before, after a failure: by the clock that nobody sets
	used  uint64
	run   *run
}

// run is one signature; cert and err are set before done is closed.
type run struct {
	done chan struct{}
	cert *tls.Certificate
	err  error
}

// New returns an empty cache with a key of its own.
func New(o Options) (*Cache, error) {
	if o.Max <= 0 {
		o.Max = 1024
	}
	if o.Limit <= 0 {
		o.Limit = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of the leaves: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making the request for leaves: %w", err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("making the request for leaves: %w", err)
	}
	c := &Cache{opts: o, key: key, csr: csr, entries: map[string]*entry{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("the certificate cache is closed")

// Leaf returns a certificate for exactly host, with its chain and with Leaf parsed; callers share it and must not
// change it. A certificate past two thirds of its life is renewed behind the caller's back; only one that is not valid now
// (it has ended, or the clock was set back before its begin), or a host that has none yet, makes the caller wait. ctx ends
// the wait, not the signature that others wait for.
func (c *Cache) Leaf(ctx context.Context, host string) (*tls.Certificate, error) {
	h, err := tlsca.Host(host)
	if err != nil {
		return nil, err
	}
	if !c.opts.Signer.Permits(h) {
		return nil, fmt.Errorf("host %s: no root of ours covers it: add it to endpoints and restart", h)
	}
	now := c.wall()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	e := c.entries[h]
	if e == nil {
		c.evict()
		e = &entry{}
		c.entries[h] = e
	}
	c.tick++
	e.used = c.tick
	cert, r := e.cert, e.run
	good := cert != nil && !now.Before(cert.Leaf.NotBefore) && now.Before(cert.Leaf.NotAfter)
	if r == nil && (!good || !now.Before(e.renew)) && !time.Now().Before(e.rest) {
		r = &run{done: make(chan struct{})}
		e.run = r
		c.wg.Add(1)
		go c.sign(h, e, r)
	}
	c.mu.Unlock()

	if good {
		return cert, nil
	}
	if r == nil { // renewal failed moments ago
		return nil, fmt.Errorf("host %s: the certificate is not valid now and could not be renewed; it is tried again within %s", h, retry)
	}
	select {
	case <-r.done:
		return r.cert, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the certificate of %s: %w", h, ctx.Err())
	}
}

// wall is the time on the wall: without its monotonic part, which does not go along when the clock is set.
func (c *Cache) wall() time.Time { return c.opts.Now().Round(0) }

// sign runs one signature and files the result.
func (c *Cache) sign(host string, e *entry, r *run) {
	defer c.wg.Done()
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.Limit)
	defer cancel()
	chain, err := c.opts.Signer.Sign(ctx, host, c.csr)
	if err == nil {
		r.cert, err = c.certificate(host, chain)
	}
	r.err = err
	c.mu.Lock()
	e.run = nil
	switch {
	case err == nil:
		e.cert = r.cert
		now := c.wall()
		e.renew, e.rest = now.Add(r.cert.Leaf.NotAfter.Sub(now)*2/3), time.Time{}
	case e.cert == nil: // the next caller tries again
		if c.entries[host] == e {
			delete(c.entries, host)
		}
	default:
		e.rest = time.Now().Add(retry)
	}
	c.mu.Unlock()
	close(r.done)
}

// certificate checks what the signer returned: a remote one is not under our control.
func (c *Cache) certificate(host string, chain []*x509.Certificate) (*tls.Certificate, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("host %s: the signer returned no certificate", host)
	}
	leaf := chain[0]
	pub, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || !pub.Equal(&c.key.PublicKey):
		return nil, fmt.Errorf("host %s: the signer returned a certificate for another key", host)
	case len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != host || len(leaf.IPAddresses)+len(leaf.URIs)+len(leaf.EmailAddresses) != 0:
		return nil, fmt.Errorf("host %s: the signer returned a certificate for other names", host)
	case !c.wall().Before(leaf.NotAfter):
		return nil, fmt.Errorf("host %s: the signer returned a certificate that has ended", host)
	case c.wall().Before(leaf.NotBefore):
		return nil, fmt.Errorf("host %s: the signer returned a certificate that begins later: compare its clock with ours", host)
	}
	out := &tls.Certificate{PrivateKey: c.key, Leaf: leaf}
	for _, x := range chain {
		out.Certificate = append(out.Certificate, x.Raw)
	}
	return out, nil
}

// evict makes room for one entry: the least recently used that is not being signed. The permitted names bound the map
// anyway; Max bounds it where they are many.
func (c *Cache) evict() {
	for len(c.entries) >= c.opts.Max {
		var oldest string
		for h, e := range c.entries {
			if e.run == nil && (oldest == "" || e.used < c.entries[oldest].used) {
				oldest = h
			}
		}
		if oldest == "" {
			return
		}
		delete(c.entries, oldest)
	}
}

// Close ends signatures under way and waits for them.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	return nil
}
