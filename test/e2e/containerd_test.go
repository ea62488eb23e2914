// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e && containerd

package e2e

import (
	"io"
	"os/exec"
	"testing"

	"github.com/sallyport-dev/sallyport/test/lab"
)

// TestContainerd is TestContainer by containerd, its shim and runc (apt-get install containerd). Not in CI, which would need
// the package: go test -count=1 -tags root,e2e,containerd -run TestContainerd ./test/e2e
func TestContainerd(t *testing.T) {
	contained(t, func(w *world, a lab.App, out, errOut io.Writer) (*exec.Cmd, func() error, error) {
		cmd, cleanup, err := w.lab.Containerd(t.Context(), a)
		if err == nil {
			cmd.Stdout, cmd.Stderr = out, errOut
			err = w.lab.Start("", cmd)
		}
		return cmd, cleanup, err
	})
}
