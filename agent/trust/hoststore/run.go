// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func (s *Store) run(ctx context.Context, program string, args ...string) (string, error) {
	return s.runWith(ctx, "", program, args...)
}

// runWith runs a program of the system with an environment of its own. Where systemd runs this host it starts the program,
// outside of the limits of our unit: hooks start package managers, and Java.
func (s *Store) runWith(ctx context.Context, in, program string, args ...string) (string, error) {
	if s.underSystemd() {
		return s.direct(ctx, in, "/usr/bin/systemd-run", append([]string{"--quiet", "--wait", "--collect", "--pipe", "--", program}, args...)...)
	}
	return s.direct(ctx, in, program, args...)
}

func (s *Store) direct(ctx context.Context, in, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/"}
	if s.o.Top != "" {
		cmd.Env = append(cmd.Env, "TOP="+s.at("/")) // for the tools of tests
	}
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(in)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return string(out), err
}

// underSystemd says whether systemd can start programs in this mount namespace.
func (s *Store) underSystemd() bool {
	if s.o.Top != "" {
		return false
	}
	for _, p := range []string{"/run/systemd/system", "/usr/bin/systemd-run"} {
		if _, err := os.Stat(p); err != nil {
			return false
		}
	}
	init, err := os.Readlink("/proc/1/ns/mnt")
	if err != nil {
		return false
	}
	self, err := os.Readlink("/proc/self/ns/mnt")
	return err == nil && init == self
}

// lastLine is what a program said last, as an error; nil if nothing.
func lastLine(out string) error {
	out = strings.TrimSpace(out)
	if out == "" {
		return nil
	}
	out = out[strings.LastIndexByte(out, '\n')+1:]
	return errors.New(out[:min(len(out), 300)])
}
