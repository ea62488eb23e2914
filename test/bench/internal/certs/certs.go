// SPDX-License-Identifier: Apache-2.0

// Package certs makes a throw-away test CA and a server certificate. The keys
// are for benchmarks only and live no longer than the folder they are put in.
package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Set is a CA with one leaf signed by it, as PEM.
type Set struct{ CA, CAKey, Cert, Key []byte }

// Make creates a P-256 CA and leaf for the given names and IP addresses.
func Make(names ...string) (*Set, error) {
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "bench test CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(48 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	s := &Set{CA: block("CERTIFICATE", caDER), Cert: block("CERTIFICATE", der)}
	if s.CAKey, err = keyPEM(caKey); err != nil {
		return nil, err
	}
	s.Key, err = keyPEM(key)
	return s, err
}

func block(kind string, b []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})
}

func keyPEM(k *ecdsa.PrivateKey) ([]byte, error) {
	b, err := x509.MarshalPKCS8PrivateKey(k)
	return block("PRIVATE KEY", b), err
}

// Write puts the set into dir: ca.pem, ca-key.pem, cert.pem, key.pem, and the
// joined forms that some proxies want (server.pem, ca-both.pem).
func (s *Set) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, b := range map[string][]byte{"ca.pem": s.CA, "ca-key.pem": s.CAKey, "cert.pem": s.Cert, "key.pem": s.Key,
		"server.pem": bytes.Join([][]byte{s.Cert, s.Key}, nil), "ca-both.pem": bytes.Join([][]byte{s.CAKey, s.CA}, nil)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// TLS is the server side configuration. One classical curve on purpose: peers
// differ in post-quantum defaults, and a benchmark must compare equal work.
func (s *Set) TLS() (*tls.Config, error) {
	c, err := tls.X509KeyPair(s.Cert, s.Key)
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12,
		CurvePreferences: []tls.CurveID{tls.X25519}}, err
}

// Pool is a root pool with just this PEM.
func Pool(pemBytes []byte) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(pemBytes)
	return p
}
