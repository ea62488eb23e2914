// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/smallstep/certificates/authority"
	"github.com/smallstep/certificates/authority/provisioner"
)

// nobody is a name that cannot exist (RFC 6761 section 6.4): the only URI and mail domain that our roots permit.
const nobody = "sallyport.invalid"

// generation is one root with its intermediate.
type generation struct {
	name        string // of its folder
	root, inter *x509.Certificate
	key         *ecdsa.PrivateKey // of the intermediate
	ca          *authority.Authority
}

func (g *generation) covers(host string) bool {
	return slices.Contains(g.inter.PermittedDNSDomains, host)
}

func (g *generation) end() time.Time { return g.inter.NotAfter }

// groups parts names so that no name is a sub-name of another one in its group.
func groups(names []string) [][]string {
	var out [][]string
next:
	for _, n := range names {
		for i, g := range out {
			if !slices.ContainsFunc(g, func(o string) bool {
				return strings.HasSuffix(n, "."+o) || strings.HasSuffix(o, "."+n)
			}) {
				out[i] = append(g, n)
				continue next
			}
		}
		out = append(out, []string{n})
	}
	return out
}

// constrain writes the name constraints (RFC 5280 section 4.2.1.10) into a CA certificate. Both root and intermediate
// carry them, because some verifiers ignore those of a trust anchor. A form of name that has a permitted subtree is
// limited to it, one that has none is free: hence a permitted mail and URI domain that nobody has.
func constrain(c *x509.Certificate, names []string) {
	c.PermittedDNSDomainsCritical = true
	c.PermittedDNSDomains = names
	for _, n := range names {
		c.ExcludedDNSDomains = append(c.ExcludedDNSDomains, "."+n)
	}
	c.ExcludedIPRanges = []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
	c.PermittedEmailAddresses = []string{nobody}
	c.PermittedURIDomains = []string{nobody}
}

// constrained says whether c has the profile that constrain writes.
func constrained(c *x509.Certificate) error {
	want := &x509.Certificate{}
	constrain(want, c.PermittedDNSDomains)
	nets := func(l []*net.IPNet) string { return fmt.Sprint(l) }
	switch {
	case !c.IsCA || !c.BasicConstraintsValid:
		return errors.New("is no CA")
	case !c.PermittedDNSDomainsCritical || len(c.PermittedDNSDomains) == 0,
		!slices.Equal(c.ExcludedDNSDomains, want.ExcludedDNSDomains),
		nets(c.ExcludedIPRanges) != nets(want.ExcludedIPRanges),
		len(c.PermittedIPRanges) != 0,
		!slices.Equal(c.PermittedEmailAddresses, want.PermittedEmailAddresses),
		!slices.Equal(c.PermittedURIDomains, want.PermittedURIDomains):
		return errors.New("lacks our name constraints")
	}
	return nil
}

// mint makes a root and an intermediate for names. The caller owns the root's key.
func mint(name string, names []string, now time.Time) (*generation, *ecdsa.PrivateKey, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	// The subjects are unique, because some verifiers find an issuer by its name only.
	serial, err := serialNumber()
	if err != nil {
		return nil, nil, err
	}
	tag := fmt.Sprintf("%s %x", name, serial.Bytes()[:4])
	root := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Sallyport"}, CommonName: "Sallyport root " + tag},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
	}
	constrain(root, names)
	root, err = issue(root, root, &rootKey.PublicKey, rootKey)
	if err != nil {
		return nil, nil, err
	}
	if serial, err = serialNumber(); err != nil {
		return nil, nil, err
	}
	inter := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Sallyport"}, CommonName: "Sallyport intermediate " + tag},
		NotBefore:             root.NotBefore,
		NotAfter:              root.NotAfter,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	constrain(inter, names)
	inter, err = issue(inter, root, &key.PublicKey, rootKey)
	if err != nil {
		return nil, nil, err
	}
	return &generation{name: name, root: root, inter: inter, key: key}, rootKey, nil
}

func issue(template, parent *x509.Certificate, pub *ecdsa.PublicKey, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// serialNumber returns a random positive number of 127 bits with the top one set (RFC 5280 section 4.1.2.2).
func serialNumber() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b), nil
}

// start runs step-ca for this generation, without a database: leaves live a day and are not revoked.
func (g *generation) start() error {
	ca, err := authority.NewEmbedded(
		authority.WithX509RootCerts(g.root),
		authority.WithX509Signer(g.inter, g.key),
		authority.WithQuietInit(),
	)
	g.ca = ca
	return err
}

// sign has step-ca sign csr's key for host. What the certificate says is ours alone, the key excepted; step-ca then
// checks it against the name constraints of its own chain.
func (g *generation) sign(ctx context.Context, host string, csr *x509.CertificateRequest, now time.Time) ([]*x509.Certificate, error) {
	notAfter := now.Add(LeafLife)
	if notAfter.After(g.end()) {
		notAfter = g.end()
	}
	profile := provisioner.CertificateEnforcerFunc(func(c *x509.Certificate) error {
		c.RawSubject = nil
		c.Subject = pkix.Name{Organization: []string{"Sallyport"}}
		if len(host) <= 64 { // ub-common-name, RFC 5280 appendix A.1
			c.Subject.CommonName = host
		}
		c.DNSNames = []string{host}
		c.IPAddresses, c.EmailAddresses, c.URIs = nil, nil, []*url.URL(nil)
		c.ExtraExtensions = nil
		c.NotBefore, c.NotAfter = now.Add(-backdate), notAfter
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.UnknownExtKeyUsage = nil
		c.BasicConstraintsValid, c.IsCA = true, false
		return nil
	})
	chain, err := g.ca.SignWithContext(ctx, csr, provisioner.SignOptions{}, profile)
	if err != nil {
		return nil, err
	}
	if len(chain) != 2 || !slices.Equal(chain[0].DNSNames, []string{host}) {
		return nil, errors.New("step-ca returned another certificate than the one asked for")
	}
	return chain, nil
}
