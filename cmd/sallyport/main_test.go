// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite what the scripts compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sallyport": main})
}

// params says how scripts run: with an environment of their own, and a command "daemon" that starts an admin server.
func params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			path := e.Getenv("PATH")
			e.Vars = []string{"WORK=" + e.WorkDir, "PATH=" + path, "HOME=/no-home", "TMPDIR=" + e.WorkDir, "TZ=UTC", "TERM=xterm",
				"SALLYPORT_SOCKET=" + filepath.Join(e.WorkDir, "admin.sock")}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"daemon": daemonCmd, "elastic": elasticCmd, "unescaped": unescapedCmd, "journal": journalCmd, "flip": flipCmd},
	}
}

func TestScripts(t *testing.T) { testscript.Run(t, params("testdata/script")) }

// unescapedCmd checks that no control character but newline and tab came out.
func unescapedCmd(ts *testscript.TestScript, neg bool, args []string) {
	for _, r := range ts.ReadFile(args[0]) {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			ts.Fatalf("control character %U in the output", r)
		}
	}
}

// Every verb is explained and has a script of its own.
func TestVerbs(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands() {
		if seen[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		seen[c.name] = true
		if c.short == "" || strings.HasSuffix(c.short, ".") {
			t.Errorf("%s: short text %q", c.name, c.short)
		}
		script := strings.ReplaceAll(c.name, " ", "_") + ".txtar"
		if _, err := os.Stat(filepath.Join("testdata", "script", script)); err != nil {
			t.Errorf("%s has no script: %v", c.name, err)
		}
	}
}
