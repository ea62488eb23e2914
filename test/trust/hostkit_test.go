// SPDX-License-Identifier: Apache-2.0

//go:build root

package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent/trust"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// asHost runs the test that calls it again where nothing of the host is changed, and says whether this is there.
func asHost(t *testing.T) bool {
	t.Helper()
	if os.Getenv(lab.InsideEnv) != "" {
		return true
	}
	out, err := lab.Again(t.Context(), t.Name())
	t.Logf("inside:\n%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// venv is a virtual environment of the end-to-end tests, as a layer over what is built.
func venv(t *testing.T, dir, generation string) string {
	t.Helper()
	built, err := filepath.Abs("../../build/venv-" + generation)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(built, "bin/python")); err != nil {
		t.Fatalf("%v: run test/e2e/python/make-venv.sh", err)
	}
	at := filepath.Join(dir, "venv-"+generation)
	if err := lab.Layer(built, at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return at
}

const sitePackages = "lib/python3.11/site-packages"

// state describes every file below some paths: what it holds, who may do what, and when it was changed.
func state(t *testing.T, paths ...string) string {
	t.Helper()
	var lines []string
	for _, top := range paths {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			st := info.Sys().(*syscall.Stat_t)
			line := fmt.Sprintf("%s %v %d:%d", path, info.Mode(), st.Uid, st.Gid)
			switch {
			case info.Mode()&fs.ModeSymlink != 0:
				line += " -> " + link(path)
			case info.Mode().IsRegular():
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				line += fmt.Sprintf(" %d %x %d.%09d", len(b), sha256.Sum256(b), st.Mtim.Sec, st.Mtim.Nsec)
			}
			lines = append(lines, line)
			return nil
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// hostTrust is a Trust that changes the host's files.
func hostTrust(t *testing.T, c *ca, ledger string) *trust.Trust {
	t.Helper()
	o := trust.Options{Ledger: ledger, RootsFile: filepath.Join(filepath.Dir(ledger), "roots.pem"), Host: trust.HostFiles}
	if c != nil {
		o.Roots = c.RootsPEM()
	}
	tr, err := trust.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close(context.Background()) })
	return tr
}

// stepper adds or removes roots in the host's files for the process PID, and is killed at step number KILL.
func stepper(args []string) error {
	kill, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	o := trust.Options{Ledger: args[2], Host: trust.HostFiles, Step: func(at string) {
		fmt.Println(at)
		if kill--; kill == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}
	if args[1] == "remove" {
		t, err := trust.New(o)
		if err != nil {
			return err
		}
		list, err := t.Remove(context.Background())
		for _, c := range list {
			if strings.HasPrefix(c.State, "failed") {
				err = fmt.Errorf("%s: %s", c.Path, c.State)
			}
		}
		return err
	}
	root, err := os.ReadFile(args[3])
	if err != nil {
		return err
	}
	o.Roots = [][]byte{root}
	t, err := trust.New(o)
	if err != nil {
		return err
	}
	if err := t.PrepareHost(context.Background(), nil); err != nil {
		return err
	}
	r, err := t.Apply(context.Background(), os.Getpid(), 0, args[4:])
	if err == nil && r.Outcome != trust.Covered {
		err = fmt.Errorf("%+v", r)
	}
	return err
}

// step runs a stepper and says at which step it was killed; "" if it came to its end.
func step(t *testing.T, kill int, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{strconv.Itoa(kill)}, args...)...)
	cmd.Env = []string{role + "=stepper", "PATH=/usr/bin:/bin"}
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	lines := strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(out)), " ", "_"))
	switch {
	case err == nil:
		return ""
	case cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && len(lines) > 0:
		return lines[len(lines)-1]
	}
	t.Fatalf("%v: %v: %s", args, err, errOut.String())
	return ""
}

// units writes the drop-ins of the units that match a pattern, or takes them away: "add|remove LEDGER ROOT PATTERN".
func units(args []string) error {
	o := trust.Options{Ledger: args[1], Host: trust.HostUnit, RootsFile: filepath.Join(filepath.Dir(args[1]), "roots.pem")}
	if args[0] == "remove" {
		t, err := trust.New(o)
		if err != nil {
			return err
		}
		list, err := t.Remove(context.Background())
		for _, c := range list {
			fmt.Println(c.Path, c.State)
		}
		return err
	}
	root, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	o.Roots = [][]byte{root}
	t, err := trust.New(o)
	if err != nil {
		return err
	}
	return t.PrepareHost(context.Background(), args[3:])
}
