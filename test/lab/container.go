// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Container prepares a program to run in a container by crun: with mount, PID, IPC and UTS namespaces of its own, the network
// namespace of the app, and a root folder that is an overlay over the host's own. a.Cgroup is its cgroup, below the lab's, and
// there is nothing else in it but the runtime. As with Command, the caller starts it with Start, and cleanup is called after
// it ended.
func (l *Lab) Container(ctx context.Context, a App) (_ *exec.Cmd, cleanup func() error, err error) {
	return l.contain(ctx, a, `exec crun --root "$1/run" --cgroup-manager=disabled run --bundle "$1" "$2"`)
}

// Containerd is Container by a containerd of its own and its runc, which make the cgroup themselves: the command is to be
// started outside.
func (l *Lab) Containerd(ctx context.Context, a App) (_ *exec.Cmd, cleanup func() error, err error) {
	return l.contain(ctx, a, `containerd --root "$1/lib" --state "$1/run" --address "$1/sock" --log-level error & daemon=$!
for i in $(seq 200); do ctr -a "$1/sock" version >/dev/null 2>&1 && break; sleep 0.05; done
out=0; ctr -a "$1/sock" run --rm --config "$1/config.json" "$2" || out=$?
kill $daemon; wait $daemon || true; exit $out`)
}

// contain prepares a bundle and a command that runs it: $1 is the bundle, $2 the name of the container.
func (l *Lab) contain(ctx context.Context, a App, run string) (_ *exec.Cmd, cleanup func() error, err error) {
	dir, err := os.MkdirTemp(l.opts.Dir, "ctr")
	if err != nil {
		return nil, nil, fmt.Errorf("making a folder for the container: %w", err)
	}
	root := filepath.Join(dir, "root")
	mounted := false
	cleanup = func() error {
		if mounted {
			if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("taking the container's root away: %w", err)
			}
		}
		return os.RemoveAll(dir)
	}
	defer func() {
		if err != nil {
			_ = cleanup() // the first error says more
		}
	}()
	for _, d := range []string{root, filepath.Join(dir, "upper"), filepath.Join(dir, "work")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, nil, err
		}
	}
	if err := unix.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", dir, dir)); err != nil {
		return nil, nil, fmt.Errorf("mounting the container's root: %w", err)
	}
	mounted = true
	hosts := filepath.Join(dir, "hosts")
	text := "127.0.0.1 localhost\n"
	for name, addr := range a.Hosts {
		text += addr + " " + name + "\n"
	}
	if err := os.WriteFile(hosts, []byte(text), 0o644); err != nil {
		return nil, nil, err
	}
	binds := maps.Clone(a.Mounts)
	if binds == nil {
		binds = map[string]string{}
	}
	binds["/etc/hosts"] = hosts
	raw, err := json.Marshal(spec(a, l.Path, root, binds))
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o644); err != nil {
		return nil, nil, err
	}
	// Runtimes refuse a hybrid cgroup tree: they are shown a pure one.
	script := `[ ! -d /sys/fs/cgroup/unified ] || mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup
` + run
	cmd := exec.CommandContext(ctx, "/usr/bin/unshare", "-m", "--propagation", "private", "/bin/sh", "-ec", script, "sh", dir, filepath.Base(a.Cgroup))
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd, cleanup, nil
}

// spec is the runtime's configuration (config.md of the OCI runtime specification).
func spec(a App, under, root string, binds map[string]string) map[string]any {
	type object = map[string]any
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755"}},
		{"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": []string{"nosuid", "nodev"}},
	}
	for at, from := range binds {
		mounts = append(mounts, object{"destination": at, "type": "bind", "source": from, "options": []string{"bind"}})
	}
	spaces := []object{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}
	if a.NetNS == "" {
		spaces = append(spaces, object{"type": "network"})
	} else {
		spaces = append(spaces, object{"type": "network", "path": a.NetNS})
	}
	env := a.Env
	if env == nil {
		env = []string{}
	}
	name, _, _ := strings.Cut(filepath.Base(a.Cgroup), ".")
	return object{
		"ociVersion": "1.0.0", "hostname": name[:min(len(name), 12)],
		"process": object{"user": object{"uid": 0, "gid": 0}, "args": a.Args, "env": env, "cwd": "/", "noNewPrivileges": true},
		"root":    object{"path": root, "readonly": false},
		"mounts":  mounts,
		"linux":   object{"namespaces": spaces, "cgroupsPath": under + "/" + a.Cgroup},
	}
}
