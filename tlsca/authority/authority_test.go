// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const openai, mistral = "api.openai.com", "api.mistral.ai"

func open(t *testing.T, dir string, names ...string) *Authority {
	t.Helper()
	a, err := Open(Options{Dir: dir, Names: names})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func request(t *testing.T, template *x509.CertificateRequest) *x509.CertificateRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func verify(a *Authority, chain []*x509.Certificate, host string) error {
	o := x509.VerifyOptions{DNSName: host, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	for _, c := range a.Roots() {
		o.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	return err
}

func TestSignAndReload(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "ca")
	a, err := Open(Options{Dir: dir, Names: []string{openai, "API.mistral.ai."}})
	if err != nil {
		t.Fatal(err)
	}
	// What the request asks for, the key excepted, must not matter.
	csr := request(t, &x509.CertificateRequest{DNSNames: []string{"evil.example", "api.openai.com"},
		IPAddresses: []net.IP{{127, 0, 0, 1}}, EmailAddresses: []string{"a@b.example"}, URIs: []*url.URL{{Scheme: "https", Host: "x.example"}}})
	chain, err := a.Sign(t.Context(), "API.OpenAI.com", csr)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(a, chain, openai); err != nil {
		t.Error(err)
	}
	leaf := chain[0]
	if !slices.Equal(leaf.DNSNames, []string{openai}) || len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.URIs) != 0 || leaf.IsCA {
		t.Errorf("the leaf speaks for %v %v %v %v, CA %v", leaf.DNSNames, leaf.IPAddresses, leaf.EmailAddresses, leaf.URIs, leaf.IsCA)
	}
	if d := time.Until(leaf.NotAfter); d > LeafLife || d < LeafLife-time.Minute {
		t.Errorf("the leaf lives %s", d)
	}
	if !leaf.PublicKey.(*ecdsa.PublicKey).Equal(csr.PublicKey) {
		t.Error("the leaf is for another key")
	}
	first := a.Roots()
	if len(first) != 1 || len(a.SPKIs()) != 2 || len(a.RootsPEM()) != 1 || !a.NotAfter().Equal(first[0].NotAfter) {
		t.Fatalf("%d roots, %d keys", len(first), len(a.SPKIs()))
	}
	for _, p := range []string{"", "gen-0001", "gen-0001/" + interKeyFile} {
		st, err := os.Stat(filepath.Join(dir, p))
		if err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", p, st.Mode(), err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "gen-0001", rootKeyFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the root key is on disk: %v", err)
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}

	b := open(t, dir, openai)
	if got := b.Roots(); len(got) != 1 || !got[0].Equal(first[0]) {
		t.Error("a subset of the names did not reuse the root")
	}
	if err := verify(b, chain, openai); err != nil {
		t.Errorf("a leaf from before the restart: %v", err)
	}
}

func TestKeepRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := Open(Options{Dir: dir, Names: []string{openai}, KeepRoot: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := private(filepath.Join(dir, "gen-0001", rootKeyFile), 0); err != nil {
		t.Error(err)
	}
}

func TestNewNamesAddRoots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := Open(Options{Dir: dir, Names: []string{openai}})
	if err != nil {
		t.Fatal(err)
	}
	old, err := a.Sign(t.Context(), openai, request(t, &x509.CertificateRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir, openai, mistral, "eu.api.mistral.ai", "us.eu.api.mistral.ai")
	if n := len(b.Roots()); n != 4 { // the old one, and three names of which each excludes the next
		t.Fatalf("%d roots", n)
	}
	if err := verify(b, old, openai); err != nil {
		t.Error(err)
	}
	for _, h := range []string{openai, mistral, "eu.api.mistral.ai", "us.eu.api.mistral.ai"} {
		chain, err := b.Sign(t.Context(), h, request(t, &x509.CertificateRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(b, chain, h); err != nil {
			t.Error(err)
		}
		if h == openai && !chain[1].Equal(old[1]) {
			t.Error("a covered name left its generation: programs that know only the old root would distrust it")
		}
	}
}

func TestNotPermitted(t *testing.T) {
	a := open(t, filepath.Join(t.TempDir(), "ca"), openai)
	csr := request(t, &x509.CertificateRequest{})
	for _, h := range []string{"eu.api.openai.com", "openai.com", mistral, "127.0.0.1", "*.api.openai.com", ""} {
		if _, err := a.Sign(t.Context(), h, csr); err == nil {
			t.Errorf("signed %q", h)
		}
		if a.Permits(h) {
			t.Errorf("permits %q", h)
		}
		// step-ca itself checks the constraints of its chain.
		if _, err := a.gens[0].sign(t.Context(), h, csr, time.Now()); err == nil && h != "" {
			t.Errorf("step-ca signed %q", h)
		}
	}
	forged := *csr
	forged.Signature = slices.Clone(csr.Signature)
	forged.Signature[len(forged.Signature)-1] ^= 1
	if _, err := a.Sign(t.Context(), openai, &forged); err == nil {
		t.Error("signed a request whose signature does not hold")
	}
}

func TestRefusesNames(t *testing.T) {
	for _, n := range []string{"*.openai.com", "10.0.0.1", "localhost"} {
		if a, err := Open(Options{Dir: filepath.Join(t.TempDir(), "ca"), Names: []string{n}}); err == nil {
			t.Errorf("opened for %q", n)
			a.Close()
		}
	}
}

func TestRefusesState(t *testing.T) {
	const gen = "gen-0001/"
	rewrite := func(name string, f func([]byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			p := filepath.Join(dir, name)
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, f(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	from := func(name string) func(t *testing.T, dir string) { // another CA's file of the same name
		return func(t *testing.T, dir string) {
			other := filepath.Join(t.TempDir(), "ca")
			open(t, other, openai)
			b, err := os.ReadFile(filepath.Join(other, name))
			if err != nil {
				t.Fatal(err)
			}
			rewrite(name, func([]byte) []byte { return b })(t, dir)
		}
	}
	must := func(f func(dir string) error) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := f(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"folder open to others", must(func(d string) error { return os.Chmod(d, 0o755) }), "chmod 700"},
		{"generation open to others", must(func(d string) error { return os.Chmod(filepath.Join(d, gen), 0o750) }), "chmod 700"},
		{"key open to others", must(func(d string) error { return os.Chmod(filepath.Join(d, gen, interKeyFile), 0o644) }), "chmod 600"},
		{"key missing", must(func(d string) error { return os.Remove(filepath.Join(d, gen, interKeyFile)) }), "missing"},
		{"key is a link", must(func(d string) error {
			p := filepath.Join(d, gen, interKeyFile)
			return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p))
		}), "not a regular file"},
		{"certificate is a link", must(func(d string) error {
			p := filepath.Join(d, gen, rootFile)
			return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p))
		}), "damaged"},
		{"key torn", rewrite(gen+interKeyFile, half), "restore it from a backup"},
		{"key empty", rewrite(gen+interKeyFile, func([]byte) []byte { return nil }), "restore it from a backup"},
		{"key of another CA", from(gen + interKeyFile), "not the key"},
		{"root torn", rewrite(gen+rootFile, half), "restore it from a backup"},
		{"root of another CA", from(gen + rootFile), "not signed by the root"},
		{"intermediate of another CA", from(gen + interFile), "not signed by the root"},
		{"intermediate is a folder", must(func(d string) error {
			p := filepath.Join(d, gen, interFile)
			return errors.Join(os.Remove(p), os.Mkdir(p, 0o700))
		}), "damaged"},
		{"foreign generation", must(func(d string) error { return os.Mkdir(filepath.Join(d, "gen-1"), 0o700) }), "move it away"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ca")
			a, err := Open(Options{Dir: dir, Names: []string{openai}})
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, dir)
			_, err = Open(Options{Dir: dir, Names: []string{openai}})
			if err == nil {
				t.Fatal("opened")
			}
			if m := err.Error(); !strings.Contains(m, c.want) || strings.Contains(m, "\n") {
				t.Errorf("error %q, want one line with %q", m, c.want)
			}
		})
	}
	t.Run("folder is a file", func(t *testing.T) {
		p := filepath.Join(t.TempDir(), "ca")
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Options{Dir: p}); err == nil || !strings.Contains(err.Error(), "not a folder") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("in use", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "ca")
		open(t, dir, openai)
		if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no folder given", func(t *testing.T) {
		if _, err := Open(Options{}); err == nil {
			t.Error("opened")
		}
	})
}

func TestUnconstrainedRootRefused(t *testing.T) {
	g, rootKey, err := mint("gen-0001", []string{openai}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*x509.Certificate){
		"names":    func(c *x509.Certificate) { c.PermittedDNSDomains, c.ExcludedDNSDomains = nil, nil },
		"subnames": func(c *x509.Certificate) { c.ExcludedDNSDomains = nil },
		"ranges":   func(c *x509.Certificate) { c.ExcludedIPRanges = c.ExcludedIPRanges[:1] },
		"mail":     func(c *x509.Certificate) { c.PermittedEmailAddresses = nil },
		"uri":      func(c *x509.Certificate) { c.PermittedURIDomains = nil },
		"critical": func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = false },
	} {
		c := *g.root
		c.ExtraExtensions = nil
		spoil(&c)
		made, err := issue(&c, &c, &rootKey.PublicKey, rootKey)
		if err != nil {
			t.Fatal(err)
		}
		if constrained(made) == nil {
			t.Errorf("%s: a root without it was accepted", name)
		}
	}
	if err := errors.Join(constrained(g.root), constrained(g.inter)); err != nil {
		t.Error(err)
	}
}

func TestUnfinishedGenerationIsSwept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if err := os.MkdirAll(filepath.Join(dir, building+"123"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, building+"123", interKeyFile), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := open(t, dir, openai)
	if left, _ := filepath.Glob(filepath.Join(dir, building+"*")); len(left) != 0 || len(a.Roots()) != 1 {
		t.Errorf("left %v, %d roots", left, len(a.Roots()))
	}
}

func TestSuccessorBeforeTheEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	synctest.Test(t, func(t *testing.T) {
		csr := request(t, &x509.CertificateRequest{})
		at := func(wait time.Duration, roots, gen int) {
			t.Helper()
			time.Sleep(wait)
			a, err := Open(Options{Dir: dir, Names: []string{openai}})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			chain, err := a.Sign(context.Background(), openai, csr)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(a.Roots()); n != roots {
				t.Errorf("%d roots, want %d", n, roots)
			}
			if want := "Sallyport intermediate " + genName(gen); !strings.HasPrefix(chain[1].Subject.CommonName, want) {
				t.Errorf("signed by %s, want %s", chain[1].Subject.CommonName, want)
			}
			if chain[0].NotAfter.After(chain[1].NotAfter) {
				t.Error("the leaf outlives its intermediate")
			}
		}
		const day = 24 * time.Hour
		at(0, 1, 1)
		at(rootLife-successor-day, 1, 1)
		at(2*day, 2, 1)               // the successor is there, the old root still signs
		at(successor-day-day/2, 2, 2) // half a day before the end
		at(day, 1, 2)                 // the old one has ended
	})
}

func BenchmarkSign(b *testing.B) {
	a, err := Open(Options{Dir: filepath.Join(b.TempDir(), "ca"), Names: []string{openai}})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	csr, _ := x509.ParseCertificateRequest(der)
	for b.Loop() {
		if _, err := a.Sign(context.Background(), openai, csr); err != nil {
			b.Fatal(err)
		}
	}
}
