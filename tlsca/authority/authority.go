// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/tlsca"
)

const (
	// LeafLife is how long a leaf is valid, or until its generation ends.
	LeafLife = 24 * time.Hour
	// backdate allows for a client whose clock is behind.
	backdate = time.Hour

	rootLife  = 2 * 365 * 24 * time.Hour
	successor = 60 * 24 * time.Hour // how long before its end a generation gets a successor
)

// ErrNotPermitted is returned for a host that no root of ours may speak for.
var ErrNotPermitted = errors.New("no root of ours covers this host")

// Options configure an authority.
type Options struct {
	Dir      string   // where the keys live; made if missing; nobody else may read it
	Names    []string // exact host names of the endpoints that are terminated
	KeepRoot bool     // write root keys beside the intermediates, to be moved offline; default: destroy them
	Beside   bool     // this process takes over from another that uses Dir until it ends; only one at a time may
}

// Authority signs leaves. It is safe for concurrent use.
type Authority struct {
	gens []*generation // oldest first; expired ones left out

	mu   sync.Mutex
	lock *os.File // nil once closed
}

// Open loads the CA and makes what is missing. Its errors are one line and say what to do.
func Open(o Options) (*Authority, error) {
	names, err := hosts(o.Names)
	if err != nil {
		return nil, err
	}
	lock, err := openDir(o.Dir, o.Beside)
	if err != nil {
		return nil, err
	}
	a := &Authority{lock: lock}
	if err := a.load(o.Dir, names, o.KeepRoot, time.Now()); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := share(lock); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func hosts(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		h, err := tlsca.Host(n)
		if err != nil {
			return nil, fmt.Errorf("CA: %w", err)
		}
		out = append(out, h)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// load reads the generations, makes new ones for names that are not covered for long enough, and starts step-ca.
func (a *Authority) load(dir string, names []string, keepRoot bool, now time.Time) error {
	if err := sweep(dir); err != nil {
		return err
	}
	gens, last, err := readAll(dir)
	if err != nil {
		return err
	}
	var missing []string
	for _, n := range names {
		if !slices.ContainsFunc(gens, func(g *generation) bool {
			return g.covers(n) && now.Add(successor).Before(g.end())
		}) {
			missing = append(missing, n)
		}
	}
	for _, group := range groups(missing) {
		last++
		g, err := create(dir, last, group, keepRoot, now)
		if err != nil {
			return fmt.Errorf("making a CA root in %s: %w", dir, err)
		}
		gens = append(gens, g)
	}
	for _, g := range gens {
		if !now.Before(g.end()) {
			continue
		}
		if err := g.start(); err != nil {
			return fmt.Errorf("starting step-ca for %s: %w", filepath.Join(dir, g.name), err)
		}
		a.gens = append(a.gens, g)
	}
	return nil
}

// Roots returns all roots that are honoured, oldest first.
func (a *Authority) Roots() []*x509.Certificate {
	out := make([]*x509.Certificate, len(a.gens))
	for i, g := range a.gens {
		out[i] = g.root
	}
	return out
}

// RootsPEM returns the same as Roots, each as one PEM block.
func (a *Authority) RootsPEM() [][]byte {
	out := make([][]byte, len(a.gens))
	for i, g := range a.gens {
		out[i] = tlsca.EncodeCerts(g.root)
	}
	return out
}

// SPKIs returns the SHA-256 of the subjectPublicKeyInfo of every root and intermediate of ours: upstream connections
// must not accept a chain that holds one of them.
func (a *Authority) SPKIs() [][sha256.Size]byte {
	var out [][sha256.Size]byte
	for _, g := range a.gens {
		out = append(out, sha256.Sum256(g.root.RawSubjectPublicKeyInfo), sha256.Sum256(g.inter.RawSubjectPublicKeyInfo))
	}
	return out
}

// NotAfter returns when the first of the honoured generations ends, for a metric; zero if there is none.
func (a *Authority) NotAfter() time.Time {
	var t time.Time
	for _, g := range a.gens {
		if t.IsZero() || g.end().Before(t) {
			t = g.end()
		}
	}
	return t
}

// Permits says whether a root of ours may speak for host.
func (a *Authority) Permits(host string) bool {
	h, err := tlsca.Host(host)
	return err == nil && a.pick(h, time.Now()) != nil
}

// pick returns the oldest generation that covers host for another day, because programs that started before its
// successor was made trust only it; else the one that lasts longest.
func (a *Authority) pick(host string, now time.Time) *generation {
	var best *generation
	for _, g := range a.gens {
		if !g.covers(host) || !now.Before(g.end()) {
			continue
		}
		if now.Add(LeafLife).Before(g.end()) {
			return g
		}
		if best == nil || g.end().After(best.end()) {
			best = g
		}
	}
	return best
}

// Sign makes a server certificate for the key of csr (whose signature is checked) and for the one name host; whatever
// else csr asks for is ignored. It returns the leaf and the intermediate.
func (a *Authority) Sign(ctx context.Context, host string, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	h, err := tlsca.Host(host)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	now := time.Now()
	g := a.pick(h, now)
	if g == nil {
		return nil, fmt.Errorf("signing a certificate for %s: %w", h, ErrNotPermitted)
	}
	chain, err := g.sign(ctx, h, csr, now)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate for %s: %w", h, err)
	}
	return chain, nil
}

// Close stops step-ca and releases the folder. Sign must not be called any more.
func (a *Authority) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lock == nil {
		return nil
	}
	var errs []error
	for _, g := range a.gens {
		errs = append(errs, g.ca.Shutdown())
	}
	errs = append(errs, a.lock.Close())
	a.lock = nil
	return errors.Join(errs...)
}
