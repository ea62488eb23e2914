// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// wanted are the capabilities that an agent uses, and for what.
var wanted = []struct {
	bit       uint
	name, why string
}{
	{unix.CAP_BPF, "CAP_BPF", "to load programs"},
	{unix.CAP_PERFMON, "CAP_PERFMON", "to load programs that read kernel memory"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "to attach them"},
	{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "to see what other users run, and to cut their connections"},
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "for mounts and other namespaces"},
	{unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "for cgroups of our own"},
	{unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "for other users' files"},
}

// holds says whether a capability is effective.
func holds(bit uint) bool {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	return unix.Capget(&h, &d[0]) == nil && (uint64(d[0].Effective)|uint64(d[1].Effective)<<32)>>bit&1 != 0
}

// Mountable says what keeps us from mounting a file system.
func Mountable(kind string) error {
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return fmt.Errorf("reading which file systems the kernel knows: %w", err)
	}
	if !slices.Contains(strings.Fields(string(known)), kind) {
		return errors.New("the kernel has no " + kind + " file system")
	}
	if !holds(unix.CAP_SYS_ADMIN) {
		return errors.New("not mounted, and it cannot be: missing CAP_SYS_ADMIN")
	}
	return nil
}

// Lacking names the capabilities without which no program can be loaded, and which this process does not hold. CAP_SYS_ADMIN
// stands for all of them (capabilities(7)).
func Lacking() (out []string) {
	if holds(unix.CAP_SYS_ADMIN) {
		return nil
	}
	for _, w := range wanted[:3] {
		if !holds(w.bit) {
			out = append(out, w.name)
		}
	}
	return out
}

// Privileges names the capabilities that this process lacks, and what it needs them for.
func Privileges() error {
	var missing []string
	for i, w := range wanted {
		if !holds(w.bit) && !(i < 2 && holds(unix.CAP_SYS_ADMIN)) {
			missing = append(missing, w.name+" ("+w.why+")")
		}
	}
	if missing != nil {
		return errors.New("missing " + strings.Join(missing, ", "))
	}
	return nil
}
