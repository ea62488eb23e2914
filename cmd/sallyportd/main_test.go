// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sallyportd": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Vars = []string{"WORK=" + e.WorkDir, "PATH=" + e.Getenv("PATH"), "TMPDIR=" + e.WorkDir}
			return nil
		}})
}

// TestExitCodes: 0 fine, 1 the world, 2 what was asked for.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"help", []string{"--help"}, 0},
		{"version", []string{"version"}, 0},
		{"unknown command", []string{"dance"}, 2},
		{"unknown flag", []string{"--dance"}, 2},
		{"left over argument", []string{"doctor", "now"}, 2},
		{"configuration that is not there", []string{"--config", "/no/such/file"}, 2},
		{"bypass without a reason", []string{"bypass", "--scope", "x", "--for", "1m"}, 2},
		{"bypass for too long", []string{"bypass", "--scope", "x", "--for", "48h", "--reason", "r"}, 2},
		{"quarantine of nobody", []string{"quarantine", "--reason", "r"}, 2},
		{"quarantine without a reason", []string{"quarantine", "uid:7"}, 2},
		{"quarantine that ends and is lifted", []string{"quarantine", "uid:7", "--lift", "--for", "1m"}, 2},
		{"quarantine listed as yaml", []string{"quarantine", "--list", "-o", "yaml"}, 2},
		{"guard with an argument", []string{"guard", "now"}, 2},
		{"guard without a configuration", []string{"guard", "--config", "/no/such/file"}, 2},
		{"self-test that cannot connect", []string{"self-test-connect", "127.0.0.1:1"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := run(c.args, discard{}, discard{}); got != c.want {
				t.Errorf("exit code %d, want %d", got, c.want)
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
