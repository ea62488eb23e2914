// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// systemBundles are the places where distributions keep the bundle of roots, in the order in which we look.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Arch, Alpine
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", // openSUSE
	"/etc/ssl/cert.pem",
}

// systemRoots is the system's bundle less every root of ours, told by its public key: once our root is in the system
// store for the applications' sake, a connection upstream must still not accept a certificate of our own making.
func systemRoots(files []string, ours []*x509.Certificate) (*x509.CertPool, error) {
	drop := make(map[[sha256.Size]byte]bool, len(ours))
	for _, c := range ours {
		drop[sha256.Sum256(c.RawSubjectPublicKeyInfo)] = true
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the system's roots: %w", err)
		}
		pool, n := x509.NewCertPool(), 0
		for len(raw) > 0 {
			var block *pem.Block
			if block, raw = pem.Decode(raw); block == nil {
				break
			}
			if block.Type != "CERTIFICATE" {
				continue
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				continue // distributions ship a few that Go does not accept; they verify nothing here
			}
			if !drop[sha256.Sum256(c.RawSubjectPublicKeyInfo)] {
				pool.AddCert(c)
				n++
			}
		}
		if n == 0 {
			return nil, fmt.Errorf("%s holds no root certificate: install the distribution's ca-certificates", file)
		}
		return pool, nil
	}
	return nil, errors.New("no bundle of root certificates found: install the distribution's ca-certificates")
}
