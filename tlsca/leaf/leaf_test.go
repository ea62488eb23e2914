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
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	host = "api.openai.com"
	day  = 24 * time.Hour
)

// signer is a CA of one key that signs what it is asked to, for a day, after a while.
type signer struct {
	key   *ecdsa.PrivateKey
	takes time.Duration
	calls atomic.Int64
	fail  atomic.Bool
	names func(host string) []string             // what the leaf says; default: host
	pub   func(csr *x509.CertificateRequest) any // whose key it is; default: csr's
	now   func() time.Time                       // default: time.Now
}

func newSigner(t testing.TB) *signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{key: key, takes: time.Second}
}

func (s *signer) Permits(h string) bool { return strings.HasSuffix(h, ".openai.com") }

func (s *signer) Sign(ctx context.Context, h string, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	n := s.calls.Add(1)
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.fail.Load() {
		return nil, errors.New("out of ink")
	}
	names, pub := []string{h}, csr.PublicKey
	if s.names != nil {
		names = s.names(h)
	}
	if s.pub != nil {
		pub = s.pub(csr)
	}
	now := time.Now()
	if s.now != nil {
		now = s.now()
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(n), DNSNames: names, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(day)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, pub, s.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return []*x509.Certificate{leaf, leaf}, err
}

func newCache(t testing.TB, o Options) *Cache {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func get(t *testing.T, c *Cache, h string) *tls.Certificate {
	t.Helper()
	cert, err := c.Leaf(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		c := newCache(t, Options{Signer: s})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				cert, err := c.Leaf(t.Context(), "API.openai.com.")
				if err != nil || cert.Leaf.DNSNames[0] != host || len(cert.Certificate) != 2 {
					t.Errorf("%v, %v", cert, err)
				}
			})
		}
		wg.Wait()
		if n := s.calls.Load(); n != 1 {
			t.Errorf("%d signatures", n)
		}
	})
}

func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		c := newCache(t, Options{Signer: s})
		first := get(t, c, host)
		time.Sleep(15 * time.Hour)
		if get(t, c, host) != first || s.calls.Load() != 1 {
			t.Fatal("renewed before two thirds of its life")
		}
		time.Sleep(2 * time.Hour)
		s.fail.Store(true)
		begin := time.Now()
		if get(t, c, host) != first || time.Since(begin) != 0 {
			t.Error("renewal made the caller wait")
		}
		time.Sleep(s.takes)
		synctest.Wait()
		if get(t, c, host) != first || s.calls.Load() != 2 {
			t.Errorf("a failed renewal lost the certificate or was tried again at once (%d)", s.calls.Load())
		}
		s.fail.Store(false)
		time.Sleep(retry)
		get(t, c, host)
		time.Sleep(s.takes)
		synctest.Wait()
		if second := get(t, c, host); second == first || s.calls.Load() != 3 {
			t.Error("not renewed after the retry")
		}
	})
}

func TestEndedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		c := newCache(t, Options{Signer: s})
		first := get(t, c, host)
		time.Sleep(day + time.Hour)
		s.fail.Store(true)
		if _, err := c.Leaf(t.Context(), host); err == nil {
			t.Error("a certificate that has ended was handed out")
		}
		if _, err := c.Leaf(t.Context(), host); err == nil || s.calls.Load() != 2 {
			t.Errorf("error %v after %d signatures, want one at once", err, s.calls.Load())
		}
		s.fail.Store(false)
		time.Sleep(retry)
		if get(t, c, host) == first {
			t.Error("not renewed")
		}
	})
}

func TestFailureIsNotCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		s.fail.Store(true)
		c := newCache(t, Options{Signer: s})
		if _, err := c.Leaf(t.Context(), host); err == nil || !strings.Contains(err.Error(), "out of ink") {
			t.Errorf("error %v", err)
		}
		s.fail.Store(false)
		get(t, c, host)
	})
}

func TestCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		c := newCache(t, Options{Signer: s})
		ctx, cancel := context.WithTimeout(t.Context(), s.takes/2)
		defer cancel()
		if _, err := c.Leaf(ctx, host); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		get(t, c, host)
		if n := s.calls.Load(); n != 1 {
			t.Errorf("%d signatures: the one under way was lost", n)
		}
	})
}

func TestLimitAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		s.takes = time.Hour
		c := newCache(t, Options{Signer: s, Limit: 5 * time.Second})
		begin := time.Now()
		if _, err := c.Leaf(t.Context(), host); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 5*time.Second {
			t.Errorf("error %v after %s", err, time.Since(begin))
		}
		done := make(chan error)
		go func() { _, err := c.Leaf(t.Context(), host); done <- err }()
		synctest.Wait()
		c.Close()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if _, err := c.Leaf(t.Context(), host); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestRefusesHosts(t *testing.T) {
	s := newSigner(t)
	c := newCache(t, Options{Signer: s})
	for _, h := range []string{"", "evil.example", "*.openai.com", "127.0.0.1", "api.openai.com:443"} {
		if _, err := c.Leaf(t.Context(), h); err == nil {
			t.Errorf("certificate for %q", h)
		}
	}
	if s.calls.Load() != 0 || len(c.entries) != 0 {
		t.Error("refused hosts left something behind")
	}
}

func TestRefusesWrongCertificates(t *testing.T) {
	for name, spoil := range map[string]func(*signer){
		"other name":  func(s *signer) { s.names = func(string) []string { return []string{"other.openai.com"} } },
		"second name": func(s *signer) { s.names = func(h string) []string { return []string{h, "x.openai.com"} } },
		"no name":     func(s *signer) { s.names = func(string) []string { return nil } },
		"other key":   func(s *signer) { s.pub = func(*x509.CertificateRequest) any { return s.key.Public() } },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSigner(t)
			s.takes = 0
			spoil(s)
			if _, err := newCache(t, Options{Signer: s}).Leaf(t.Context(), host); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		c := newCache(t, Options{Signer: s, Max: 3})
		for i := range 10 {
			get(t, c, fmt.Sprintf("a%d.openai.com", i))
			get(t, c, host) // used all the time: stays
		}
		if n := len(c.entries); n != 3 {
			t.Errorf("%d entries", n)
		}
		if n := s.calls.Load(); n != 11 {
			t.Errorf("%d signatures, want one per host", n)
		}
	})
}

func BenchmarkCached(b *testing.B) {
	s := newSigner(b)
	s.takes = 0
	c := newCache(b, Options{Signer: s})
	if _, err := c.Leaf(b.Context(), host); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.Leaf(b.Context(), host); err != nil {
			b.Fatal(err)
		}
	}
}
