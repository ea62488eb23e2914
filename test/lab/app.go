// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// App is a program as an operator would start it: unmodified, with an environment of its own.
type App struct {
	Cgroup string            // child cgroup to run in
	Hosts  map[string]string // names that its private /etc/hosts maps
	Mounts map[string]string // file in the program's view → file on the host that stands there
	Env    []string          // the whole environment
	Args   []string          // absolute path of the program first
	Root   bool              // in a root file system of its own, an overlay over the host's, as a container has
	Faulty bool              // under the lab's Faults
	NetNS  string            // path of the network namespace to run in; "" = where we are
	Shared bool              // stay in the host's mount namespace (Hosts and Mounts must be empty)
}

// LoggedIn makes the arguments of a program those of one that somebody has logged in to start. Its user stays as it is.
func LoggedIn(uid int, args ...string) []string {
	return append([]string{"/bin/sh", "-c", fmt.Sprintf(`echo %d > /proc/self/loginuid; exec "$@"`, uid), "sh"}, args...)
}

// Run runs the program to its end and returns what it printed. A nonzero exit is an error that carries the output.
func (l *Lab) Run(ctx context.Context, a App) (stdout, stderr string, err error) {
	cmd, cleanup, err := l.Command(ctx, a)
	if err != nil {
		return "", "", err
	}
	defer cleanup()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := l.Start(a.Cgroup, cmd); err != nil {
		return "", "", err
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), errOut.String(), fmt.Errorf("%s: %w: %s", filepath.Base(a.Args[0]), err, tail(errOut.String()))
	}
	return out.String(), errOut.String(), nil
}

// Command prepares a program without starting it; start it with Start. cleanup removes its private files and is
// called after it ended.
func (l *Lab) Command(ctx context.Context, a App) (_ *exec.Cmd, cleanup func(), err error) {
	if a.Faulty {
		if a.Args, a.Env, err = l.Faults.wrap(a.Args, a.Env); err != nil {
			return nil, nil, err
		}
	}
	var cmd *exec.Cmd
	dir, err := os.MkdirTemp(l.opts.Dir, "app")
	if err != nil {
		return nil, nil, fmt.Errorf("making a folder for the program: %w", err)
	}
	cleanup = func() { os.RemoveAll(dir) }
	if a.Shared {
		cmd = exec.CommandContext(ctx, a.Args[0], a.Args[1:]...)
	} else {
		var hosts strings.Builder
		hosts.WriteString("127.0.0.1 localhost\n::1 localhost\n")
		for name, addr := range a.Hosts {
			fmt.Fprintf(&hosts, "%s %s\n", addr, name)
		}
		file := filepath.Join(dir, "hosts")
		if err := os.WriteFile(file, []byte(hosts.String()), 0o644); err != nil {
			cleanup()
			return nil, nil, err
		}
		script := []string{"set -e"}
		if a.Root {
			top := filepath.Join(dir, "root")
			if err := os.Mkdir(top, 0o755); err != nil {
				cleanup()
				return nil, nil, err
			}
			script = append(script, ownRoot(top, l.opts.Dir)...)
		}
		script = append(script, "mount --bind "+quote(file)+" /etc/hosts")
		for at, from := range a.Mounts {
			script = append(script, "mount --bind "+quote(from)+" "+quote(at))
		}
		script = append(script, `exec "$@"`)
		args := []string{"-m", "--propagation", "private", "/bin/sh", "-c", strings.Join(script, "; "), "sh"}
		cmd = exec.CommandContext(ctx, "/usr/bin/unshare", append(args, a.Args...)...)
	}
	if a.NetNS != "" {
		cmd.Args = append([]string{"nsenter", "--net=" + a.NetNS}, append([]string{cmd.Path}, cmd.Args[1:]...)...)
		cmd.Path = "/usr/bin/nsenter"
	}
	cmd.Env = a.Env
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd, cleanup, nil
}

// ownRoot are the commands that change the root to an overlay over the host's, with the folder share in common. All goes with
// the mount namespace.
func ownRoot(top, share string) []string {
	merged := filepath.Join(top, "merged")
	out := []string{"cd " + quote(top), "mount -t tmpfs tmpfs .", "cd .", "cd " + quote(top), "mkdir upper work merged",
		"mount -t overlay overlay -o lowerdir=/,upperdir=" + filepath.Join(top, "upper") + ",workdir=" + filepath.Join(top, "work") + " merged"}
	for _, at := range []string{"/proc", "/dev", "/sys", share} {
		out = append(out, "mkdir -p "+quote(merged+at), "mount --rbind "+quote(at)+" "+quote(merged+at))
	}
	return append(out, "cd merged", "mkdir -p .old", "pivot_root . .old", "cd /", "umount -l /.old")
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func tail(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	return s
}
