// SPDX-License-Identifier: Apache-2.0

//go:build root

package trust

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/agent/trust"
)

// javaClass compiles the client.
func javaClass(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if out, err := exec.Command("javac", "-d", folder, "Client.java").CombinedOutput(); err != nil {
		t.Fatalf("a JDK is needed: make deps: %v: %s", err, out)
	}
	return folder
}

// TestJava: a Java machine that has not read its key store yet trusts us; one that has does not; and it can be undone.
func TestJava(t *testing.T) {
	class := javaClass(t)
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	argv := []string{"unshare", "-m", "--propagation", "private", "java", "-Xshare:auto", "-Xmx64m", "-cp", class, "Client"}
	early, late := start(t, nil, argv...), start(t, nil, argv...)
	wantNo(t, "before", early.ask(c.addr, host), "unable to find valid certification path")
	before := late.mounts()
	for _, p := range []*program{early, late} {
		r := apply(t, tr, p)
		java := 0
		for _, s := range r.Stores {
			if s.Kind == "java" || s.Path == "/etc/ssl/certs" {
				java++
			}
		}
		if r.Outcome != trust.Covered || java == 0 {
			t.Errorf("%+v", r)
		}
		if got := tr.Trusting(p.pid(), p.startTime()); got.Kind != "java" || got.State != "unread" {
			t.Errorf("%+v", got)
		}
	}
	wantOK(t, "after", late.ask(c.addr, host))
	wantNo(t, "one that has read its key store", early.ask(c.addr, host), "unable to find valid certification path")
	if out, err := exec.Command("nsenter", "-t", itoa(late.pid()), "-m", "keytool", "-list", "-cacerts", "-storepass", "changeit").CombinedOutput(); err != nil {
		t.Errorf("keytool does not take the key store: %v: %s", err, out)
	}
	remove(t, tr)
	if d := cmp.Diff(before, late.mounts()); d != "" {
		t.Error(d)
	}
}

// TestPKCS12: a key store without a password, as JDK 18 and newer bring it, gets our root too.
func TestPKCS12(t *testing.T) {
	dir := t.TempDir()
	c := newCA(t, filepath.Join(dir, "ca"), host)
	other := newCA(t, filepath.Join(dir, "other"), "example.org")
	tr := newTrust(t, c, filepath.Join(dir, "ledger"))
	home := filepath.Join(dir, "jdk")
	store := filepath.Join(home, "lib/security/cacerts")
	if err := os.MkdirAll(filepath.Dir(store), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("keytool", "-importcert", "-noprompt", "-alias", "a", "-file", filepath.Join(other.dir, "gen-0001/root.crt"), "-keystore", store,
		"-storetype", "PKCS12", "-storepass", "changeit", "-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE", "-J-Dkeystore.pkcs12.macAlgorithm=NONE").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := namespaced(t, "JAVA_HOME="+home)
	apply(t, tr, p)
	out, err := exec.Command("nsenter", "-t", itoa(p.pid()), "-m", "keytool", "-list", "-keystore", store, "-storepass", "changeit").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "contains 2 entries") || !strings.Contains(string(out), "sallyport-") {
		t.Errorf("%v: %s", err, out)
	}
}
