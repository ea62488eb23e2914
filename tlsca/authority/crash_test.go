// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// childDir tells the test binary, run again, to make roots in that folder until it is killed.
const childDir = "SALLYPORT_TEST_CA"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		for i := range 1000 {
			a, err := Open(Options{Dir: dir, Names: []string{fmt.Sprintf("a%d.example", i), fmt.Sprintf("b%d.example", i)}})
			if err == nil {
				err = a.Close()
			}
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Print(".")
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestKilledWhileMakingRoots kills a process at ten different moments of making roots: each time the next start finds
// a folder in which every generation is whole.
func TestKilledWhileMakingRoots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	unfinished := 0
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{childDir + "=" + dir}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		for range round + 1 { // some generations later, at whatever point of the next one
			if _, err := out.Read(b); err != nil || b[0] != '.' {
				t.Errorf("the child says %q, %v", b, err)
				break
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		left, _ := filepath.Glob(filepath.Join(dir, building+"*"))
		unfinished += len(left)
		a := open(t, dir, openai)
		if _, err := a.Sign(t.Context(), openai, request(t, &x509.CertificateRequest{})); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("killed in the middle of a root %d times", unfinished)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if strings.Contains(p, building) {
			t.Errorf("left behind: %s", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
