// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"crypto/x509"
	"path/filepath"
	"strings"
	"testing"
)

// TestBeside: only a process that takes over may use the folder of one that lives, and it may add roots.
func TestBeside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	old := open(t, dir, openai)
	b, err := Open(Options{Dir: dir, Names: []string{openai, "api.mistral.ai"}, Beside: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*Authority{old, b} {
		chain, err := a.Sign(t.Context(), openai, request(t, &x509.CertificateRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		for _, verifier := range []*Authority{old, b} {
			if err := verify(verifier, chain, openai); err != nil {
				t.Error(err)
			}
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a third one, which takes nothing over: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := Open(Options{Dir: dir, Beside: true}) // nobody is there any more
	if err != nil {
		t.Fatal(err)
	}
	if got := len(c.Roots()); got != 2 {
		t.Errorf("%d roots, want 2", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
