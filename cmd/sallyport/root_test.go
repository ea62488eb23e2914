// SPDX-License-Identifier: Apache-2.0

//go:build root

package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestRootScripts runs what makes mount namespaces.
func TestRootScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test makes mount namespaces and needs root: run it with sudo")
	}
	p := params("testdata/root")
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		// Programs run as another user find their way through the folders of the test.
		for _, dir := range []string{e.WorkDir, e.WorkDir + "/.."} {
			if err := os.Chmod(dir, 0o755); err != nil {
				return err
			}
		}
		return setup(e)
	}
	testscript.Run(t, p)
}
