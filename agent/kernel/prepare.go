// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// fileSystems are those that we need, where systemd would have mounted them.
var fileSystems = []struct {
	kind, at string
	magic    int64
}{
	{"bpf", "/sys/fs/bpf", unix.BPF_FS_MAGIC},
	{"tracefs", "/sys/kernel/tracing", unix.TRACEFS_MAGIC},
}

// mountSource is what /proc/self/mountinfo says of a file system that we mounted: Uninstall knows it by that.
const mountSource = "sallyport"

// prepare mounts bpffs and tracefs where they belong if nothing is mounted there, and says what it mounted. Without
// tracefs only marks are missing: untraced says why.
func prepare(pinDir string) (mounted []string, untraced, err error) {
	for _, f := range fileSystems {
		if isMounted(f.at, f.magic) {
			continue
		}
		merr := os.MkdirAll(f.at, 0o755)
		if merr == nil {
			merr = unix.Mount(mountSource, f.at, f.kind, 0, "")
		}
		switch {
		case merr == nil:
			mounted = append(mounted, f.kind+" at "+f.at)
		case f.magic == unix.TRACEFS_MAGIC:
			untraced = &agent.Unsupported{Feature: "marking LangChain programs", Err: fmt.Errorf("mounting %s at %s: %w: mount it by hand, or grant CAP_SYS_ADMIN", f.kind, f.at, merr)}
		default:
			return mounted, untraced, fmt.Errorf("mounting %s at %s: %w: mount it by hand (mount -t bpf bpf %[2]s), or grant CAP_SYS_ADMIN", f.kind, f.at, merr)
		}
	}
	if err := hostClocks("/proc/self/timens_offsets"); err != nil {
		return mounted, untraced, err
	}
	return mounted, untraced, pinnable(pinDir)
}

// hostClocks fails in a time namespace with clocks of its own: the programs in the kernel compare the heartbeat, deadlines and
// start times of processes with the host's, so that a hung agent might count as alive.
func hostClocks(offsets string) error {
	b, err := os.ReadFile(offsets)
	if errors.Is(err, os.ErrNotExist) { // a kernel without time namespaces
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for a time namespace: %w", err)
	}
	for line := range strings.Lines(string(b)) { // time_namespaces(7)
		if f := strings.Fields(line); len(f) != 3 || f[1] != "0" || f[2] != "0" {
			return fmt.Errorf("sallyportd runs in a time namespace whose clocks differ from the host's (%s): start it outside of that", strings.Join(f, " "))
		}
	}
	return nil
}

// pinnable says what is wrong with a folder for pins, if it need not exist yet.
func pinnable(pinDir string) error {
	parent := filepath.Dir(pinDir)
	var st unix.Statfs_t
	if err := unix.Statfs(parent, &st); err != nil {
		return fmt.Errorf("looking at the folder for pins, %s: %w", parent, err)
	}
	if st.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%s is not in a bpf file system: choose a folder directly below /sys/fs/bpf (capture.pin_dir)", pinDir)
	}
	return nil
}

func isMounted(at string, magic int64) bool {
	var st unix.Statfs_t
	return unix.Statfs(at, &st) == nil && st.Type == magic
}

// CgroupRoot finds the cgroup v2 mount: where systemd has it, also on hosts that have v1 beside it, else wherever it is.
func CgroupRoot() (string, error) {
	for _, at := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if isMounted(at, unix.CGROUP2_SUPER_MAGIC) {
			return at, nil
		}
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("looking for a cgroup v2 mount: %w", err)
	}
	defer f.Close()
	at, err := cgroup2Mount(f)
	if err != nil {
		return "", fmt.Errorf("looking for a cgroup v2 mount: %w", err)
	}
	if at == "" {
		return "", &agent.Unsupported{Feature: "redirection by cgroup", Err: errors.New("no cgroup v2 is mounted: mount one (mount -t cgroup2 none DIR)")}
	}
	return at, nil
}

// subtree is the id of a cgroup and its depth below the root; 0, 0 for the root itself, and for what cannot be placed.
func subtree(dir string) (id uint64, level uint32) {
	root, err := CgroupRoot()
	if err != nil {
		return 0, 0
	}
	rel, err := filepath.Rel(root, dir)
	var st unix.Stat_t
	if err != nil || rel == "." || strings.HasPrefix(rel, "..") || unix.Stat(dir, &st) != nil {
		return 0, 0
	}
	return st.Ino, uint32(strings.Count(rel, "/") + 1)
}

// cgroup2Mount finds a mount of a whole cgroup v2 tree in /proc/PID/mountinfo (proc_pid_mountinfo(5)); "" = none.
func cgroup2Mount(mountinfo io.Reader) (string, error) {
	sc := bufio.NewScanner(mountinfo)
	for sc.Scan() {
		// 36 35 98:0 ROOT MOUNTPOINT options [tags] - TYPE source options
		left, right, ok := strings.Cut(sc.Text(), " - ")
		f := strings.Fields(left)
		if ok && len(f) >= 5 && f[3] == "/" && strings.HasPrefix(right, "cgroup2 ") {
			return unescape.Replace(f[4]), nil
		}
	}
	return "", sc.Err()
}

// unescape undoes what the kernel does to spaces in paths.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
