// SPDX-License-Identifier: Apache-2.0

//go:build root

package trust

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/trust"
	"github.com/sallyport-dev/sallyport/tlsca/authority"
)

// BenchmarkApply measures what a process waits for when it is marked: first use in a new namespace (system folder, one
// copy of certifi), and again where nothing is left to do.
func BenchmarkApply(b *testing.B) {
	dir := b.TempDir()
	a, err := authority.Open(authority.Options{Dir: filepath.Join(dir, "ca"), Names: []string{host}})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	bundle, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		b.Fatal(err)
	}
	packages := filepath.Join(dir, "lib/python3.11/site-packages")
	if err := os.MkdirAll(filepath.Join(packages, "certifi"), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(packages, "certifi/cacert.pem"), bundle, 0o644); err != nil {
		b.Fatal(err)
	}
	hints := []string{filepath.Join(packages, "langchain_core/__init__.py")}
	tr, err := trust.New(trust.Options{Ledger: filepath.Join(dir, "ledger"), Roots: a.RootsPEM()})
	if err != nil {
		b.Fatal(err)
	}
	defer tr.Close(b.Context())
	spawn := func() int {
		cmd := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", "echo; exec sleep 1000")
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		if _, err := out.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		return cmd.Process.Pid
	}
	run := func(b *testing.B, pid int) {
		r, err := tr.Apply(b.Context(), pid, 0, hints)
		if err != nil || r.Outcome != trust.Covered {
			b.Fatal(r, err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			pid := spawn()
			b.StartTimer()
			run(b, pid)
		}
	})
	pid := spawn()
	b.Run("again", func(b *testing.B) {
		for range b.N {
			run(b, pid)
		}
	})
	b.Run("trusted", func(b *testing.B) {
		for range b.N {
			if ok, why := tr.Trusted(pid, 0); !ok {
				b.Fatal(why)
			}
		}
	})
}
