// SPDX-License-Identifier: Apache-2.0

//go:build root

package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/tlsca"
	"github.com/sallyport-dev/sallyport/tlsca/authority"
)

// node connects: "ADDRESS NAME" with the roots of its first argument (or of its environment); an IP address as NAME is
// what the certificate must be for, as Node sends no SNI then.
const node = `
const tls = require("tls"), fs = require("fs"), net = require("net");
const ca = process.argv[1] ? fs.readFileSync(process.argv[1]) : undefined;
console.log("ready");
require("readline").createInterface({input: process.stdin}).on("line", (line) => {
  const [address, name] = line.split(" ");
  const [host, port] = address.split(":");
  const options = {host, port: Number(port), ca};
  if (!net.isIP(name)) options.servername = name;
  const s = tls.connect(options, () => { console.log("ok"); s.destroy(); });
  s.on("error", (e) => console.log("no: " + e.code + " " + e.message.replace(/\n/g, " ")));
});
`

func needNode(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"/usr/bin/node", "/usr/local/bin/node", "/usr/bin/nodejs"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Fatal("Node is not installed: run make deps (apt-get install nodejs)")
	return ""
}

// forger is somebody who stole the key of a CA certificate of ours.
type forger struct {
	t     *testing.T
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	chain [][]byte
}

func steal(t *testing.T, dir, cert, key string) *forger {
	t.Helper()
	c, err := tlsca.ParseCert([]byte(read(t, filepath.Join(dir, cert))))
	if err != nil {
		t.Fatal(err)
	}
	k, err := tlsca.ParseKey(tlsca.NewSecret([]byte(read(t, filepath.Join(dir, key)))))
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{t: t, cert: c, key: k}
	if c.CheckSignatureFrom(c) != nil {
		f.chain = [][]byte{c.Raw}
	}
	return f
}

func (f *forger) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	f.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	c.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, c, f.cert, &key.PublicKey, f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Fatal(err)
	}
	return made, key
}

// ca makes a CA of the forger's own, without name constraints.
func (f *forger) ca() *forger {
	c, key := f.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "rogue"}, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign})
	return &forger{t: f.t, cert: c, key: key, chain: append([][]byte{c.Raw}, f.chain...)}
}

func (f *forger) leaf(names ...string) tls.Certificate {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "x"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	made, key := f.sign(c)
	return tls.Certificate{Certificate: append([][]byte{made.Raw}, f.chain...), PrivateKey: key}
}

// TestNameConstraints: with the keys of our intermediate, and even of our root, in the wrong hands, real clients accept
// exactly the endpoints' names.
func TestNameConstraints(t *testing.T) {
	dir := t.TempDir()
	a, err := authority.Open(authority.Options{Dir: filepath.Join(dir, "ca"), Names: []string{host, "api.mistral.ai"}, KeepRoot: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, a.RootsPEM()[0], 0o644); err != nil {
		t.Fatal(err)
	}
	gen := filepath.Join(dir, "ca", "gen-0001")
	inter := steal(t, gen, "intermediate.crt", "intermediate.key")
	root := steal(t, gen, "root.crt", "root.key")

	py := start(t, nil, "python3", "-u", "-c", python)
	js := start(t, nil, needNode(t), "-e", node, roots)
	pool := x509.NewCertPool()
	pool.AddCert(a.Roots()[0])

	const subtree = "subtree violation"
	for _, c := range []struct {
		what   string
		forger *forger
		name   string   // that the client wants
		names  []string // that the leaf says; default: name
		why    string   // "" = accepted
	}{
		{"an endpoint", inter, host, nil, ""},
		{"another endpoint", inter, "api.mistral.ai", nil, ""},
		{"a sub-name", inter, "eu." + host, nil, subtree},
		{"a deep sub-name", inter, "a.b." + host, nil, subtree},
		{"a wildcard below", inter, "eu." + host, []string{"*." + host}, subtree},
		{"a wildcard beside", inter, host, []string{"*.openai.com"}, subtree},
		{"the parent", inter, "openai.com", nil, subtree},
		{"a neighbour", inter, "xapi.openai.com", nil, subtree},
		{"another name", inter, "evil.example", nil, subtree},
		{"an endpoint and another name", inter, host, []string{host, "evil.example"}, subtree},
		{"an IPv4 address", inter, "127.0.0.1", nil, subtree},
		{"an IPv6 address", inter, "::1", nil, subtree},
		{"an endpoint and an address", inter, host, []string{host, "127.0.0.1"}, subtree},
		{"another name by the root itself", root, "evil.example", nil, subtree},
		{"an address by the root itself", root, "127.0.0.1", nil, subtree},
		{"another name by a new CA below the root", root.ca(), "evil.example", nil, subtree},
		{"an endpoint by a CA below the intermediate", inter.ca(), host, nil, "path length"},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.names == nil {
				c.names = []string{c.name}
			}
			cert := c.forger.leaf(c.names...)
			addr := serve(t, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })
			answers := map[string]string{"Python": py.ask("file", roots, addr, c.name)}
			if c.name != "::1" { // Node compares with the address that it connected to
				answers["Node"] = js.ask(addr, c.name)
			}
			for client, got := range answers {
				if c.why == "" {
					wantOK(t, client, got)
				} else {
					wantNo(t, client, strings.ToLower(got), c.why)
				}
			}
			conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: c.name})
			if err == nil {
				conn.Close()
			}
			var invalid x509.CertificateInvalidError
			switch {
			case c.why == "" && err != nil:
				t.Errorf("Go: %v", err)
			case c.why != "" && !errors.As(err, &invalid):
				t.Errorf("Go: %v", err)
			case c.why == subtree && invalid.Reason != x509.CANotAuthorizedForThisName:
				t.Errorf("Go: reason %v", invalid)
			}
		})
	}
}

// TestNodeAndGo: the stores of the other two languages.
func TestNodeAndGo(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	ns := []string{"unshare", "-m", "--propagation", "private"}
	run := func(env []string, argv ...string) *program {
		return start(t, env, append(ns[:len(ns):len(ns)], argv...)...)
	}
	plain := func() *program { return run([]string{role + "=client"}, os.Args[0]) }

	wantNo(t, "Go before", plain().ask(c.addr, host), "unknown authority")
	g := plain()
	apply(t, tr, g)
	wantOK(t, "Go", g.ask(c.addr, host))

	binary := needNode(t)
	wantNo(t, "Node, its own roots", run(nil, binary, "-e", node).ask(c.addr, host), "UNABLE_TO_GET_ISSUER_CERT_LOCALLY")
	wantOK(t, "Node, environment", run(tr.Env(), binary, "-e", node).ask(c.addr, host))
	n := run([]string{"NODE_OPTIONS=--use-openssl-ca"}, binary, "-e", node)
	apply(t, tr, n)
	wantOK(t, "Node, OpenSSL's roots", n.ask(c.addr, host))
	for _, ch := range remove(t, tr) {
		if ch.State != "removed" {
			t.Errorf("%+v", ch)
		}
	}
	if st, err := os.Stat(tr.RootsFile()); err != nil || st.Mode().Perm() != 0o644 || fmt.Sprint(tr.Env()) != "[NODE_EXTRA_CA_CERTS="+tr.RootsFile()+"]" {
		t.Errorf("%v, %v, %v", st, err, tr.Env())
	}
}
