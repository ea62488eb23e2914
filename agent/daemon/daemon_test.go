// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/config"
)

func certificate(t *testing.T, name string) (*x509.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Our own root in the system's store must not vouch for a provider.
func TestSystemRoots(t *testing.T) {
	dir := t.TempDir()
	theirs, theirPEM := certificate(t, "theirs")
	ours, ourPEM := certificate(t, "ours")
	both, onlyOurs := filepath.Join(dir, "both"), filepath.Join(dir, "ours")
	if err := errors.Join(os.WriteFile(both, append(append([]byte("# comment\n"), theirPEM...), ourPEM...), 0o600), os.WriteFile(onlyOurs, ourPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
	pool, err := systemRoots([]string{filepath.Join(dir, "missing"), both}, []*x509.Certificate{ours})
	if err != nil {
		t.Fatal(err)
	}
	want := x509.NewCertPool()
	want.AddCert(theirs)
	if !pool.Equal(want) {
		t.Error("the pool is not the system's roots less ours")
	}
	for name, files := range map[string][]string{"no bundle": {filepath.Join(dir, "missing")}, "nothing left": {onlyOurs}, "unreadable": {dir}} {
		if _, err := systemRoots(files, []*x509.Certificate{ours}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "mask.key")
	key, err := keyFile(path)
	if err != nil || len(key) != 32 {
		t.Fatalf("%d bytes, %v", len(key), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if again, err := keyFile(path); err != nil || !bytes.Equal(again, key) {
		t.Errorf("the key changed: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := keyFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that everybody can read: %v", err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := keyFile(path); err == nil {
		t.Error("a short key is taken")
	}
}

// A bypass is on disk before it takes effect, also if it then cannot take effect.
func TestBypassIsNotedFirst(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Default()
	cfg.Record.Dir = filepath.Join(dir, "journal")
	cfg.Capture.PinDir = filepath.Join(dir, "pins")
	cfg.Protect = []config.Scope{{Name: "support"}}
	var usage *UsageError
	if err := Bypass(cfg, "other", time.Minute, "r"); !errors.As(err, &usage) {
		t.Errorf("an unknown scope: %v", err)
	}
	if err := Bypass(cfg, "support", time.Minute, "incident 12"); err == nil {
		t.Error("nothing is pinned, but the bypass worked")
	}
	raw, err := os.ReadFile(bypassNote(cfg))
	if err != nil {
		t.Fatal(err)
	}
	var b BypassChange
	if err := json.Unmarshal(raw, &b); err != nil || b.Scope != "support" || b.Reason != "incident 12" || b.For != time.Minute {
		t.Errorf("noted %+v, %v", b, err)
	}
}

// Only the self-test's own child counts as the self-test.
func TestSelfTestSaw(t *testing.T) {
	s := newSelfTest(nil, "")
	s.row.Store(3)
	for name, c := range map[string]struct {
		conn agent.Conn
		want bool
	}{
		"the child":              {agent.Conn{Scope: 3, Proc: agent.Process{UID: selfTestUID}}, true},
		"another scope":          {agent.Conn{Scope: 2, Proc: agent.Process{UID: selfTestUID}}, false},
		"another user":           {agent.Conn{Scope: 3, Proc: agent.Process{UID: 0}}, false},
		"a process of a default": {agent.Conn{Scope: agent.ScopeDefault, Proc: agent.Process{UID: selfTestUID}}, false},
	} {
		if got := s.saw(c.conn); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestOnlyUs(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	dir := t.TempDir()
	procs := filepath.Join(dir, "cgroup.procs")
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"empty": {"", false}, "somebody else": {"1\n", false}, "both": {"1\n" + self + "\n", false}, "us": {self + "\n", true},
		"a predecessor": {"7\n" + self + "\n", true}, "only a predecessor": {"7\n", false}, "a predecessor and somebody else": {"1\n7\n" + self + "\n", false},
	} {
		if err := os.WriteFile(procs, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := onlyUs(dir, []int{7, 8}); err != nil || got != c.want {
			t.Errorf("%s: %t %v", name, got, err)
		}
	}
	if _, err := onlyUs(filepath.Join(dir, "missing"), nil); err == nil {
		t.Error("a folder that is not there: no error")
	}
}

// TestPorts: an endpoint's port is captured whether or not it is named, and DNS over TLS where a scope enforces.
func TestPorts(t *testing.T) {
	for _, c := range []struct {
		name string
		mode string
		want []uint16
	}{
		{"observing", "observe", []uint16{80, 443, 8443}},
		{"enforcing", "enforce", []uint16{80, 443, 853, 8443}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := daemon{cfg: &config.Config{Capture: config.Capture{Ports: []uint16{443, 80}}, Protect: []config.Scope{{Mode: c.mode}},
				Endpoints: []config.Endpoint{{Port: 8443}, {Port: 443}}}}
			if got := d.ports(); !slices.Equal(got, c.want) {
				t.Errorf("got %v", got)
			}
		})
	}
}
