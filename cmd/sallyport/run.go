// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func runCommand() command {
	return command{
		name: "run", args: "[--] CMD [ARG...]", short: "start a program in a mount namespace of its own, in which it trusts the private CA",
		long: `Makes a private mount namespace, asks the daemon to put its roots into the trust stores that are seen from there, and
becomes CMD: same process, same environment, except that NODE_EXTRA_CA_CERTS is set if it was not, because Node.js
reads no store. Nothing changes for any other process. Needs CAP_SYS_ADMIN: run it as root, with --user for the
program. The exit status is that of CMD; 1 if CMD could not be started.`,
		verbatim: true,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			name := fs.String("user", "", "run CMD as this `user` (name or uid, with that user's groups)")
			inside := fs.Bool(insideFlag, false, "already in a mount namespace of its own: do not make one")
			return func(ctx context.Context, args []string) error {
				if len(args) == 0 {
					return wrong("takes the program to run, as in: sallyport run -- python3 app.py")
				}
				if !*inside {
					again := []string{os.Args[0], "run", "--" + insideFlag, "--socket=" + a.socket, "--user=" + *name, "--"}
					return enter(append(again, args...))
				}
				return a.become(ctx, args, *name)
			}
		},
	}
}

// insideFlag tells the second of two steps. A mount namespace belongs to a thread, and the process's other threads
// would stay behind: so one thread makes it and executes this program again, which leaves no other thread. A service
// manager that gives the program private mounts can set it too.
const insideFlag = "in-namespace"

// enter makes the namespace and starts this program again inside it. It does not return on success.
func enter(args []string) error {
	runtime.LockOSThread() // for good: a thread in another namespace must not run anything else
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		if errors.Is(err, unix.EPERM) {
			return errors.New("making a mount namespace needs CAP_SYS_ADMIN: run it as root (sudo sallyport run --user \"$USER\" -- CMD)")
		}
		return fmt.Errorf("making a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	return fmt.Errorf("starting again inside the namespace: %w", unix.Exec("/proc/self/exe", args, os.Environ()))
}

// become asks for trust and turns into the program. It does not return on success.
func (a *app) become(ctx context.Context, args []string, userName string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	var drop *identity
	if userName != "" {
		if drop, err = lookUp(userName); err != nil {
			return err
		}
	}
	// The daemon notes for whom it changes what: say whom this process is about to be. It is only shown, so without it
	// things go on.
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(path)), 0)
	c := a.client()
	defer c.Close()
	program, err := filepath.Abs(path) // stores that it reads may lie beside it
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	applied, err := c.TrustApply(ctx, program)
	if err != nil {
		return fmt.Errorf("trust was not applied, and %s not started: %w", args[0], err)
	}
	var failed []string
	for _, e := range applied.Entries {
		if strings.HasPrefix(e.State, "failed") {
			failed = append(failed, e.Path+" "+e.State)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("trust was not applied to %s: %s not started", strings.Join(failed, ", "), args[0])
	}
	c.Close()
	env := withNode(os.Environ(), applied.RootsFile)
	if drop != nil {
		if err := drop.assume(); err != nil {
			return err
		}
	}
	if err := unix.Exec(path, args, env); errors.Is(err, unix.ENOEXEC) {
		return fmt.Errorf("%s is no program: it has neither a known format nor a #! line", path)
	} else {
		return fmt.Errorf("starting %s: %w", path, err)
	}
}

// withNode adds the one thing that Node.js reads, unless the caller has set it: then that file is covered as any other.
func withNode(env []string, roots string) []string {
	const name = "NODE_EXTRA_CA_CERTS="
	if roots == "" || slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, name) }) {
		return env
	}
	return append(env, name+roots)
}

// identity is a user with its groups.
type identity struct {
	uid, gid int
	groups   []int
}

// lookUp finds a user by name, else by number. A number that no user has is used as it is, with a group of the same number.
func lookUp(name string) (*identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		n, nerr := strconv.ParseUint(name, 10, 31)
		if nerr != nil {
			return nil, fmt.Errorf("--user %q: no such user", name)
		}
		if u, err = user.LookupId(name); err != nil {
			return &identity{uid: int(n), gid: int(n), groups: []int{int(n)}}, nil
		}
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("--user %q: reading the user's groups: %w", name, err)
	}
	out := &identity{}
	if out.uid, err = strconv.Atoi(u.Uid); err != nil {
		return nil, fmt.Errorf("--user %q: uid %q: %w", name, u.Uid, err)
	}
	if out.gid, err = strconv.Atoi(u.Gid); err != nil {
		return nil, fmt.Errorf("--user %q: gid %q: %w", name, u.Gid, err)
	}
	for _, s := range ids {
		g, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("--user %q: gid %q: %w", name, s, err)
		}
		out.groups = append(out.groups, g)
	}
	return out, nil
}

// assume gives up what this process may do, groups first, while it still may.
func (i *identity) assume() error {
	if err := syscall.Setgroups(i.groups); err != nil {
		return fmt.Errorf("taking the user's groups: %w", err)
	}
	if err := syscall.Setresgid(i.gid, i.gid, i.gid); err != nil {
		return fmt.Errorf("taking group %d: %w", i.gid, err)
	}
	if err := syscall.Setresuid(i.uid, i.uid, i.uid); err != nil {
		return fmt.Errorf("taking uid %d: %w", i.uid, err)
	}
	return nil
}
